"""What a test is told of two programs that differ: a short text, most important things first."""

from __future__ import annotations

from collections.abc import Iterator

from ..backends.align import Divergence
from ..backends.judgement import Verdict
from .judge import Finding

LINES = 40  # of a message, at most
OUTPUTS = 8  # that are listed


def message(found: Finding, command: str | None = None, report: str | None = None) -> str:
    """A finding in at most `LINES` lines; empty where the programs agree."""
    if found.agree:
        return ""
    return "\n".join(list(_lines(found, command, report))[:LINES])


def _lines(found: Finding, command: str | None, report: str | None) -> Iterator[str]:
    first, second = found.names
    if found.unfit is not None:
        yield f"{first} and {second} cannot be compared: {found.unfit}"
        return
    worst = found.worst
    yield (
        f"{first} and {second} differ: {worst.output} by {worst.error:.1e} standard deviations, "
        f"where rounding explains {worst.allowed:.1e}"
    )
    for name, kind, precision in zip(found.names, found.kinds, found.precisions, strict=True):
        yield f"  {name}: {kind}, run in {precision}"
    if len(found.outputs) > 1:
        yield from _outputs(found)
    if found.divergence is not None:
        yield from _place(found.divergence)
    if found.kind is not None:
        yield f"  likely: {found.kind.name}; {found.kind.why}"
    if command is not None:
        yield f"  only this piece: {command}"
    if report is not None:
        yield f"  report: {report}"


def _outputs(found: Finding) -> Iterator[str]:
    for output in found.outputs[:OUTPUTS]:
        said = "agrees" if output.agrees else "DIFFERS"
        yield f"  {output.output}: {said}, {output.error:.1e} of {output.allowed:.1e} allowed"
    if len(found.outputs) > OUTPUTS:
        yield f"  and {len(found.outputs) - OUTPUTS} more outputs"
