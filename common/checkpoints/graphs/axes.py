"""Operations that move the axes of a value, or take some away: no value changes but by the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .graph import Node
from .values import UNKNOWN, Value
from .walk import Walk

AXES_LIMIT = 8


def mean(walk: Walk, node: Node) -> Value | None:
    """A pooling by the mean, or a part of one along some of the axes."""
    given = walk.first(node)
    if given is None or not given.axes:
        return None
    places = walk.constants.numbers(node, 1, "axes")
    if node.operation == "GlobalAveragePool":
        places = list(range(2, len(given.axes)))
    if places is None:
        return None
    taken = {place % len(given.axes) for place in places}
    if any(given.axes[place] not in "HW1" for place in taken):
        return None
    kept = node.operation == "GlobalAveragePool" or node.integer("keepdims", 1)
    axes = "".join(
        ("1" if kept else "") if place in taken else axis for place, axis in enumerate(given.axes)
    )
    base = given.of[0] if given.kind == "mean" and not given.steps else given
    # The order in which axes are taken changes nothing but the rounding.
    left = "".join(sorted(axis for axis in axes if axis in "HW"))
    return walk.new("mean", node.title, base, key=left, axes=axes, channels=given.channels)


def transposed(walk: Walk, node: Node) -> Value | None:
    """The same value with its axes in another order."""
    given, turn = walk.first(node), node.integers("perm")
    if given is None or sorted(turn) != list(range(len(given.axes))) or not turn:
        return None
    pads = None if given.pads is None else tuple(given.pads[axis] for axis in turn)
    return replace(given, axes="".join(given.axes[axis] for axis in turn), pads=pads)


def flattened(walk: Walk, node: Node) -> Value | None:
    """A pooled value as rows."""
    given = walk.first(node)
    if given is None or not given.is_pooled or node.integer("axis", 1) != 1:
        return None
    return given.along("NC") if given.axes[:1] == "N" else None


def squeezed(walk: Walk, node: Node) -> Value | None:
    """A pooled value without some of its axes of one place."""
    given = walk.first(node)
    places = walk.constants.numbers(node, 1, "axes")
    if given is None or not given.axes or places is None:
        return None
    taken = {place % len(given.axes) for place in places}
    if any(given.axes[place] != "1" for place in taken):
        return None
    return given.along("".join(axis for i, axis in enumerate(given.axes) if i not in taken))


def unsqueezed(walk: Walk, node: Node) -> Value | None:
    """A value with more axes of one place."""
    given = walk.first(node)
    places = walk.constants.numbers(node, 1, "axes")
    if given is None or not given.axes or places is None:
        return None
    axes = list(given.axes)
    rank = len(axes) + len(places)
    if rank > AXES_LIMIT:
        return None
    for place in sorted(place % rank for place in places):
        axes.insert(place, "1")
    return given.along("".join(axes))


def with_shape(walk: Walk, node: Node) -> Value | None:
    """Another shape of a value with one number a channel, which are what it is found by."""
    given = walk.first(node)
    if given is None or not given.is_pooled:
        return None
    sizes: Sequence[int | None] | None = walk.constants.numbers(node, 1, "shape")
    if sizes is None and len(node.inputs) > 1 and node.inputs[1] in walk.values:
        sizes = walk.values[node.inputs[1]].sizes
    if sizes is None:
        return given.along(UNKNOWN)
    if not 2 <= len(sizes) <= 4:
        return None
    places = [place for place, size in enumerate(sizes) if place and size == given.channels]
    open_ones = [place for place, size in enumerate(sizes) if place and size == -1]
    places = (places or open_ones)[:1]
    if not places:
        return given.along(UNKNOWN)
    return given.along(
        "".join("N" if i == 0 else "C" if i == places[0] else "1" for i in range(len(sizes)))
    )


def passed_on(walk: Walk, node: Node) -> Value | None:
    """What is handed on as it is in inference."""
    return walk.first(node)
