"""Mistakes that are played: made in one of two programs, and named by the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
from torch import nn

from efficientnet_rosetta.common.guard.finding import Finding
from efficientnet_rosetta.common.guard.judge import judge
from efficientnet_rosetta.common.guard.program import NHWC, Given, GuardedProgram
from efficientnet_rosetta.keras_impl.programs import ModelProgram as KerasProgram
from efficientnet_rosetta.torch_impl.programs import ModelProgram as TorchProgram


@dataclass(frozen=True)
class Play:
    """A mistake that is made in one of two programs.

    `kinds` is what it is, written down before any program was asked: one name, or several where a
    maintainer would call all of them right.
    """

    network: str
    name: str
    kinds: tuple[str, ...]
    right: Callable[[], GuardedProgram]
    wrong: Callable[[], GuardedProgram]  # called, and run, while the mistake is in the code
    given: Callable[[], Given]
    making: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Played:
    """What the guard said of a mistake."""

    play: Play
    finding: Finding

    @property
    def guessed(self) -> str:
        """The kind that was named; why nothing can be said, where nothing can."""
        if self.finding.kind is not None:
            return self.finding.kind.name
        return self.finding.unfit or "no difference"

    @property
    def right(self) -> bool:
        """The kind that was named is the mistake's."""
        return self.guessed in self.play.kinds

    @property
    def row(self) -> dict[str, Any]:
        """The same as plain data."""
        divergence = self.finding.divergence
        return {
            "network": self.play.network,
            "mistake": self.play.name,
            "kind": list(self.play.kinds),
            "guessed": self.guessed,
            "right": self.right,
            "operation": None if divergence is None else divergence.operation,
            "counterpart": None if divergence is None else divergence.counterpart,
            "why": None if self.finding.kind is None else self.finding.kind.why,
        }


def play(mistake: Play) -> Played:
    """Make a mistake, and ask the guard."""
    right = mistake.right()
    with mistake.making():
        return Played(mistake, judge(right, mistake.wrong(), mistake.given()))


def program(model: nn.Module | keras.Model) -> GuardedProgram:
    """A model as the guard sees it."""
    if isinstance(model, keras.Model):
        return KerasProgram(model, layout=NHWC)
    return TorchProgram(model)


def table(found: Sequence[Played]) -> str:
    """The kinds that were named against the mistakes, as text for a failing test."""
    return "\n".join(
        f"{'ok ' if one.right else 'NO '} {one.play.network}: {one.play.name}: "
        f"{'/'.join(one.play.kinds)} -> {one.guessed} "
        f"({one.row['operation']}, {one.row['counterpart']}: {one.row['why']})"
        for one in found
    )
