"""Programs that take turns in one process, and what their times come to: ratios, and goals met.

What is measured alternates, so that a machine that slows down slows all of them; the time of each
is its median over the rounds.  Absolute times mean nothing beyond the machine they were taken on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

Program = Callable[[], Any]
Key = TypeVar("Key")
WARM_UP = 3  # runs, which trace, allocate and choose kernels


@dataclass(frozen=True)
class Row:
    """One comparison: the milliseconds of ours and of another program on the same work."""

    work: str
    ours: float
    beside: str
    theirs: float
    goal: float | None = None  # the least ratio that is asked for
    limit: float | None = None  # the most milliseconds of ours

    @property
    def ratio(self) -> float:
        """Their time over ours: above 1 where ours is faster."""
        return self.theirs / self.ours

    @property
    def missed(self) -> bool:
        """Whether a goal is not met."""
        slow = self.limit is not None and self.ours > self.limit
        return slow or (self.goal is not None and self.ratio < self.goal)

    def __str__(self) -> str:
        wanted = f"at least {self.goal:.2f}" if self.goal is not None else ""
        if self.limit is not None:
            wanted = f"at most {self.limit:g} ms"
        return (
            f"{self.work:<42}{self.ours:>10.2f}{self.beside:>36}{self.theirs:>10.2f}"
            f"{self.ratio:>7.2f}  {wanted:<15}{'MISSED' if self.missed else ''}"
        ).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The fields, the ratio and whether the goal was missed, as JSON has them."""
        return {**asdict(self), "ratio": round(self.ratio, 3), "missed": self.missed}


HEAD = f"{'work':<42}{'ours, ms':>10}{'beside':>36}{'ms':>10}{'ratio':>7}  goal"


def seconds_of(
    programs: Mapping[Key, Program],
    rounds: int,
    runs: int = 1,
    wait: Program = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, list[float]]:
    """Seconds of a run of each program in every round, in which each has its turn.

    A turn is of so many `runs`; `wait` returns when the device has done what it was given.
    """
    for program in programs.values():
        for _ in range(WARM_UP):
            program()
    found: dict[Key, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            wait()
            began = clock()
            for _ in range(runs):
                program()
            wait()
            found[name].append((clock() - began) / runs)
    return found


def taking_turns(
    programs: Mapping[Key, Program],
    rounds: int,
    runs: int = 1,
    wait: Program = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, float]:
    """Median milliseconds of a run of each program, as `seconds_of` has them."""
    found = seconds_of(programs, rounds, runs, wait, clock)
    return {name: 1000 * statistics.median(times) for name, times in found.items()}


def rows(
    work: str, times: Mapping[str, float], goals: Mapping[str, float] | None = None
) -> list[Row]:
    """The first program's time beside that of each other; `goals` are ratios by their names."""
    (_, ours), *others = times.items()
    return [Row(work, ours, name, theirs, (goals or {}).get(name)) for name, theirs in others]
