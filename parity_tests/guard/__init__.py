"""The guard of anybody's pair of programs."""
