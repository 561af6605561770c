"""What became of comparing two programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._util.result import Result, plain
from ..backends.align import Divergence, operation_sentences
from ..backends.judgement import DIFFERS, NOT_COMPARED, PROVED, Verdict
from ..weights.metadata import SCHEMA, SCHEMA_KEY
from .kind import Kind


@dataclass(frozen=True)
class Apart:
    """How far apart one output of two programs is, in standard deviations of the first's.

    Whole numbers have no deviations: their error is the share of places in which they differ, those
    apart that rounding turns from one number into another.
    """

    output: str  # its name in the first program
    error: float  # the largest
    allowed: float
    other: str = ""  # its name in the second
    shape: tuple[int, ...] = ()
    # What rounding explains, where that is so much that an agreement would say nothing; infinite
    # where it explains anything.
    rounding: float | None = None

    @property
    def agrees(self) -> bool:
        """The error is allowed, and so small an error says something."""
        return self.rounding is None and self.error <= self.allowed

    @property
    def is_open(self) -> bool:
        """Nothing can be said: rounding may be all that they differ by."""
        return self.rounding is not None and self.error <= self.rounding

    @property
    def differs(self) -> bool:
        """The error is more than rounding explains."""
        return not self.agrees and not self.is_open

    @property
    def share(self) -> float:
        """The error, in units of what is allowed."""
        if self.error == 0:
            return 0.0
        return self.error / self.allowed if self.allowed else float("inf")


@dataclass(frozen=True)
class Finding(Result):
    """Two programs on the same inputs: whether they compute the same, and where they part.

    `unfit` says why nothing can be said by these programs: there is then no output and no
    divergence.
    """

    names: tuple[str, str]
    kinds: tuple[str, str]  # of programs
    precisions: tuple[str, str]
    outputs: tuple[Apart, ...] = ()
    unfit: str | None = None
    divergence: Divergence | None = None
    kind: Kind | None = None
    jump: bool = False  # whether the error appears at once, or else grows bit by bit
    # Steps that agree, one of each program, and their error: of all that were looked into.
    pairs: tuple[tuple[str, str, float], ...] = ()
    # The last values that agree before the divergence, one of each program; given as `after`, only
    # what follows is run.  None if there is none but the input, or if it cannot be run so.
    resume: tuple[str, str] | None = None
    tensors: tuple[str, ...] | None = None  # of two checkpoints whose outputs differ: those that do
    incomparable: bool = False  # unfit, as the outputs have other shapes, or are more in one
    inputs: tuple[str, ...] = ()  # what both were given: "float32 (1, 3, 64, 64)"

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, with the version of their meaning, and what follows from them.

        `output`, `shape`, `error`, `tolerance` and `rounding` are those of the worst output.
        """
        said = {"agree": self.agree, "verdict": plain(self.verdict)}
        worst = {
            name: plain(getattr(self, name))
            for name in ("output", "shape", "error", "tolerance", "rounding")
        }
        return {SCHEMA_KEY: SCHEMA, **said, **worst, **super().to_dict()}

    @property
    def agree(self) -> bool:
        """Every output is within what is allowed, and says something."""
        return self.unfit is None and all(output.agrees for output in self.outputs)

    @property
    def worst(self) -> Apart:
        """The output that is furthest apart for what is allowed; of equals the last."""
        return max(
            reversed(self.outputs), key=lambda apart: (apart.differs, apart.is_open, apart.share)
        )

    @property
    def output(self) -> str | None:
        """The name of the worst output; None where nothing was compared."""
        return self.worst.output if self.outputs else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the worst output."""
        return self.worst.shape if self.outputs else None

    @property
    def error(self) -> float:
        """The error of the worst output; infinite where nothing was compared."""
        return self.worst.error if self.outputs else float("inf")

    @property
    def tolerance(self) -> float:
        """What is allowed of the worst output; nothing where none was compared."""
        return self.worst.allowed if self.outputs else 0.0

    @property
    def rounding(self) -> float | None:
        """What rounding explains of the worst output, where that is too much to say anything."""
        return self.worst.rounding if self.outputs else None

    @property
    def verdict(self) -> Verdict:
        """What the comparison ended in; there are no weights to be proved, but outputs alone."""
        if self.unfit is not None:
            return Verdict(DIFFERS if self.incomparable else NOT_COMPARED, self.unfit)
        if self.agree:
            return Verdict(PROVED, "both programs compute the same on these inputs")
        worst = self.worst
        if worst.is_open:
            return Verdict(
                NOT_COMPARED,
                f"rounding alone may move {worst.output} by {worst.rounding:.1e} standard "
                "deviations",
            )
        if self.divergence is None:
            return Verdict(DIFFERS, f"{worst.output}, by {worst.error:.1e} standard deviations")
        return Verdict(DIFFERS, operation_sentences(self.divergence)[0])
