"""The error that a person, not a programmer, is meant to read."""


class RosettaError(ValueError):
    """Bad input.  The message is one line: what is wrong, with which file, and what to do."""
