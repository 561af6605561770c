"""Tests of the guard of anybody's pair of programs."""
