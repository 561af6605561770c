"""Anybody's programs, held to compute the same."""
