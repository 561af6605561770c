"""What a person is told of two programs that differ: a short text, most important things first.

The fixture of pytest, the command `rosetta compare` and the report say the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._util.one_line import one_line
from ..backends.align import Divergence
from .finding import Apart, Finding

LINES = 40  # of a message, at most
OUTPUTS = 8  # that are listed
LONGEST = 300  # characters of a line that quotes names of somebody else's

# What to look at, by the kind of a mistake; of one that is unknown there is nothing to say.
ADVICE = {
    "padding": "compare the padding of the operation in both: how much, and on which sides where "
    "the stride leaves one pixel over",
    "stride": "compare the stride of the operation in both, and which operation of a block has it",
    "epsilon": "compare the epsilon of the normalization in both",
    "statistics": "compare the four vectors of the normalization, and that it runs in inference",
    "activation": "compare the functions: an exact one beside its approximation, or another slope",
    "layout": "compare the order of the axes before the values are flattened or exchanged",
    "order of channels": "compare the order in which channels are split, joined or written",
    "scale": "look for a factor that one has and the other lacks",
    "weights": "compare the weights of the operation: parity.weights(first, second)",
    "missing operation": "look for an operation that one has and the other lacks",
    "wiring": "compare which values the operation reads in both: a skip may begin elsewhere",
    "pooling": "compare what the pooling takes of a window: the largest value or the mean, and "
    "whether zeros of the padding count",
    "interpolation": "compare how maps are resized: the method, and where the corners lie",
    "randomness": "look for dropout or noise that is left on in inference",
    "not a number": "look for a division by zero, a root or a logarithm of what is negative",
}


def message(found: Finding, command: str | None = None, report: str | None = None) -> str:
    """A finding in at most `LINES` lines; empty where the programs agree.

    `command` runs the rest again from where they part, and `report` is where a page lies.
    """
    if found.agree:
        return ""
    said = [one_line(line) for line in _lines(found)]
    after = [f"  run only the rest again: {command}"] if command is not None else []
    after += [f"  report: {report}"] if report is not None else []
    return "\n".join([*said[: LINES - len(after)], *after])


def _lines(found: Finding) -> Iterator[str]:
    yield headline(found)
    if found.unfit is not None:
        return
    for name, kind, precision in zip(found.names, found.kinds, found.precisions, strict=True):
        yield f"  {_short(name)}: {_short(kind)}, run in {precision}"
    if found.inputs:
        yield f"  inputs: {_short(', '.join(found.inputs))}"
    if len(found.outputs) > 1:
        yield from _outputs(found.outputs)
    yield from (f"  {line}" for line in details(found))


def details(found: Finding) -> Iterator[str]:
    """Where two programs part, what it looks like, and what to do."""
    if found.divergence is not None:
        yield from place(found.divergence)
        if found.divergence.operation not in {output.output for output in found.outputs}:
            yield growth(found)
    if found.kind is not None:
        yield f"likely: {found.kind.name}; {_short(found.kind.why)}"
        if found.kind.name in ADVICE:
            yield f"what to do: {ADVICE[found.kind.name]}"
    if found.tensors is not None:
        listed = f"; the first of them is {_short(found.tensors[0])}" if found.tensors else ""
        yield f"{len(found.tensors)} tensors of the two files differ{listed}"


def headline(found: Finding) -> str:
    """Which programs, and how far apart they are, in one sentence."""
    first, second = map(_short, found.names)
    if found.unfit is not None:
        return f"{first} and {second} cannot be compared: {_short(found.unfit)}"
    worst, output = found.worst, _short(found.worst.output)
    if found.agree:
        same = "is the same" if worst.error == 0 else f"differs {_distance(worst)}"
        return f"{first} and {second} agree: {output} {same}"
    if worst.is_open:
        return (
            f"nothing can be said of {first} and {second}: {output} differs "
            f"{_distance(worst)}, and rounding alone may move it by {worst.rounding:.1e}; say a "
            "tolerance, or give inputs on which the programs are steadier"
        )
    return f"{first} and {second} differ: {output} {_distance(worst)}"


def _distance(apart: Apart) -> str:
    if apart.error == float("inf"):
        return "has other values, or one of the two is no number"
    if apart.allowed == 0:  # of whole numbers, whose error is a share of places
        return f"has other whole numbers in {apart.error:.1%} of its places"
    return f"by {apart.error:.1e} standard deviations, where {apart.allowed:.1e} are allowed"


def _outputs(outputs: tuple[Apart, ...]) -> Iterator[str]:
    differing = [output for output in outputs if not output.agrees]
    yield f"  {len(differing)} of {len(outputs)} outputs differ:"
    for output in differing[:OUTPUTS]:
        yield f"    {_short(output.output)}: {_distance(output)}"
    if len(differing) > OUTPUTS:
        yield f"    and {len(differing) - OUTPUTS} more"


def place(found: Divergence) -> list[str]:
    """The first place where two programs differ, and what agrees before it, in words."""
    if found.operation is None:
        said = f"first place: only the second program has {_short(found.counterpart)}"
    elif found.counterpart is None:
        said = f"first place: only the first program has {_short(found.operation)}"
    else:
        far = "" if found.error == float("inf") else f" by {found.error:.1e} standard deviations"
        said = (
            f"first place: {_both(found.operation, found.counterpart)} differs{far}, {found.place}"
        )
    if found.after is None:
        return [said, "before it: nothing but the inputs"]
    return [said, f"before it: {_both(*found.after)} agrees"]


def _both(first: str, second: str) -> str:
    """A value by its name in the first program, and in the second where that is another."""
    return _short(first) + ("" if first == second else f" ({_short(second)} in the second)")


def growth(found: Finding) -> str:
    """Whether the error is there at once, or has grown."""
    if found.jump:
        return "it is a jump: the error appears at once, as where one operation is another one"
    return "it is a drift: the error grows from operation to operation, as rounding does"


def _short(text: str | None) -> str:
    """A name of somebody else's without its middle, where it is very long."""
    text = text or "?"
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
