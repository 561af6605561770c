"""The framework-neutral half: the specification, the weights and the comparison."""

__version__ = "0.1.0"
