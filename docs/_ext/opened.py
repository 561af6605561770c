"""The stages of a network opened into their blocks, and a block into its operations.

Every number is that of the specification, or counted from it.  Nothing here knows Sphinx, so that
tests use it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from efficientnet_rosetta.common.counting import Count, count_layer
from efficientnet_rosetta.common.network import (
    Activation,
    Gate,
    Layer,
    MapSection,
    MaxPool,
    Network,
    Section,
    Size,
)
from efficientnet_rosetta.common.network import Operation as Described
from explored import by
from lines_of_code import Programs, Step
from receptive import Field, fields_within

KINDS = {
    "conv": "convolution",
    "depthwise_conv": "depthwise convolution",
    "pointwise_conv": "pointwise convolution",
    "batch_norm": "batch norm",
    "dense": "dense layer",
}
# What the programs call the input that they keep, what they do to the branch before they add it,
# and the property of the specification that says so.
ADDED = ("skip", "drop_path", "shortcut")
WHOLE = None  # the field of what sees the whole map


@dataclass(frozen=True)
class Operation:
    """What one operation puts out, and what it costs.

    `channels` and `size` are empty where it changes neither; `field` is the side of its receptive
    field in pixels of the image.
    """

    label: str
    channels: str
    size: str
    cost: Count
    field: int | None


@dataclass
class Group:
    """The operations of one step, of one part of a section; `names` are those of its layers."""

    part: str
    step: Step
    names: tuple[str, ...]
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A section; `dropped` is how often stochastic depth leaves out its branch, if it may."""

    role: str
    operator: str
    channels: str
    size: str
    dropped: float | None
    field: int | None
    groups: tuple[Group, ...]

    @property
    def cost(self) -> Count:
        """That of its operations."""
        return sum(
            (operation.cost for group in self.groups for operation in group.operations), Count()
        )


def blocks(network: Network, programs: Programs) -> dict[int, tuple[Block, ...]]:
    """The blocks of each stage; stem, head and classifier count as one block each."""
    found: dict[int, tuple[Block, ...]] = {}
    seen = Field()
    for section in network.sections:
        fields = _fields(network, section, seen)
        groups = _Grouping(network, section, programs, seen).groups(fields)
        out, size = section.layers[-1].out_channels, by((1, 1))
        if isinstance(section, MapSection):
            out = section.out_channels
            size = _change(by(section.input_size), by(section.output_size))
            _, seen = fields[-1]
        is_added = section.shortcut is not None
        block = Block(
            role=section.role,
            operator=section.operator,
            channels=_change(section.in_channels, out),
            size=size,
            dropped=network.drop_path_rates.get(section.role) if is_added else None,
            field=seen.size if isinstance(section, MapSection) else WHOLE,
            groups=tuple(groups),
        )
        found[section.stage] = (*found.get(section.stage, ()), block)
    return found


def _fields(
    network: Network, section: Section, seen: Field
) -> list[tuple[Described, Field | None]]:
    """The operations of a section with what each sees; after pooling, that is everything."""
    if isinstance(section, MapSection):
        return list(fields_within(section, seen, network.dialect))
    return [(operation, WHOLE) for operation in section.path]


def _change(before: object, after: object) -> str:
    return str(before) if before == after else f"{before} → {after}"


@dataclass
class _Grouping:
    """The operations of a section, put together by the step that they stand in."""

    network: Network
    section: Section
    programs: Programs
    seen: Field
    found: list[Group] = field(default_factory=list)

    def groups(self, fields: list[tuple[Described, Field | None]]) -> list[Group]:
        """Those of the way through, and of the shortcut beside it."""
        channels, size = self.section.in_channels, getattr(self.section, "input_size", (1, 1))
        waiting: list[Operation] = []
        for number, (operation, seen) in enumerate(fields):
            side = WHOLE if seen is None else seen.size
            if isinstance(operation, Layer):
                channels, size = operation.out_channels, operation.output_size
            elif isinstance(operation, MaxPool):
                size = self.section.output_size
            lines = list(_lines(operation, channels, size, side))
            if isinstance(operation, Activation) and self._is_first_of_next(number, fields):
                waiting += lines
                continue
            self._put(operation, waiting + lines)
            waiting = []
        self._put_shortcut(channels, size, side)
        for group in self.found:
            group.step = self.programs.step(self.network, self.section, group.names)
        return self.found

    def _is_first_of_next(self, number: int, fields: list[tuple[Described, Field | None]]) -> bool:
        """Whether an activation stands before a part of the section, and not after a layer."""
        following = fields[number + 1][0] if number + 1 < len(fields) else None
        if not self.found or not isinstance(following, Layer):
            return not self.found
        return _part(following.role) != self.found[-1].part

    def _put(self, operation: Described, lines: list[Operation]) -> None:
        """Into the group of its step, which is the last one's for what follows a layer."""
        names, part = _names(operation, self.section), self.section.role
        if isinstance(operation, Layer):
            part = _part(operation.role)
        follows = isinstance(operation, Activation) or (
            isinstance(operation, Layer) and operation.kind == "batch_norm"
        )
        if not follows:
            step = self.programs.step(self.network, self.section, names)
            last = self.found[-1] if self.found else None
            if last is None or (part, step.program, step.name) != (
                last.part,
                last.step.program,
                last.step.name,
            ):
                self.found.append(Group(part, step, ()))
        self.found[-1].names += names
        self.found[-1].operations += lines

    def _put_shortcut(self, channels: int, size: Size, side: int | None) -> None:
        """The operations beside the way through, and that both are added."""
        if self.section.shortcut is None:
            return
        names, lines = ADDED, []
        for operation in self.section.shortcut:
            names += _names(operation, self.section)
            seen = self.seen
            if isinstance(operation, Layer) and operation.kernel:
                seen = seen.through(operation.kernel, operation.stride, 0)
            lines += [
                replace(line, label=f"shortcut: {line.label}")
                for line in _lines(operation, channels, size, seen.size)
            ]
        label = "the shortcut is added"
        if self.section.role in self.network.drop_path_rates:
            label = f"stochastic depth, then {label}"
        lines.append(Operation(label, str(channels), by(size), Count(), side))
        step = self.programs.step(self.network, self.section, names)
        self.found.append(Group(self.section.role, step, names, lines))


def _part(role: str) -> str:
    return role.rpartition(".")[0]


def _names(operation: Described, section: Section) -> tuple[str, ...]:
    """What the programs call an operation."""
    if isinstance(operation, Layer):
        # A section that is one layer is not named where it is described.
        described = ("path",) if operation.role == section.role else ()
        return (operation.role.rpartition(".")[2], *described)
    if isinstance(operation, Gate):
        return (*_names(operation.reduce, section), *_names(operation.expand, section))
    return ("pool",) if isinstance(operation, MaxPool) else ()


def _lines(
    operation: Described, channels: int, size: Size, side: int | None
) -> Iterator[Operation]:
    """An operation in words; a gate is two layers, with a mean of the map before them."""
    if isinstance(operation, Gate):
        for word, layer in (("squeeze", operation.reduce), ("excite", operation.expand)):
            (line,) = _lines(layer, layer.out_channels, layer.output_size, WHOLE)
            yield replace(line, label=f"{word}: {line.label}")
        return
    if isinstance(operation, Activation):
        yield Operation(operation.function, "", "", Count(), side)
        return
    label = "max pool" if isinstance(operation, MaxPool) else KINDS[operation.kind]
    if operation.kernel:
        label += f" {operation.kernel}×{operation.kernel}"
    if operation.stride > 1:
        label += f", stride {operation.stride}"
    cost, change = Count(), str(channels)
    if isinstance(operation, Layer):
        cost = count_layer(operation)
        change = _change(operation.in_channels, operation.out_channels)
        label += "" if operation.padded else ", not padded"
        if operation.kind == "batch_norm":
            yield Operation(label, "", "", cost, side)
            return
    yield Operation(label, change, by(size), cost, side)
