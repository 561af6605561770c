"""Random numbers that a test gives: to our generator, and to other libraries' modules."""

from types import SimpleNamespace

import numpy as np


class Given:
    """A generator that draws what it is told, and counts."""

    def __init__(self, *draws):
        self.draws, self.taken = list(draws), 0

    def random(self, size=None):
        count = 1 if size is None else int(np.prod(size))
        found = [self.draws.pop(0) for _ in range(count)]
        self.taken += count
        return found[0] if size is None else np.array(found).reshape(size)


def give(monkeypatch, module, *draws):
    """Make a module's `random`, Python's, draw these numbers from 0 to 1, one after the other."""
    left = list(draws)

    def between(low, high):
        return low + left.pop(0) * (high - low)

    fixed = SimpleNamespace(
        random=lambda: left.pop(0),
        uniform=between,
        randint=lambda low, high: low + int(left.pop(0) * (high + 1 - low)),
        choice=lambda choices: choices[int(left.pop(0) * len(choices))],
    )
    monkeypatch.setattr(module, "random", fixed)
