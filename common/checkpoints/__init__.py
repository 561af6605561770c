"""Checkpoint files of any library: what they are, and carrying weights between them."""
