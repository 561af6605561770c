"""Damaged and hostile files of every format, counted: `python -m parity_tests.fuzz --help`."""
