"""Comparing programs: runs of one network, claims about it, and any two programs."""
