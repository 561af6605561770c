"""What kind of mistake a difference looks like: from its place, its operation and its picture.

Where both programs say which weights an operation reads, these are held against one another first:
they are the same ones, the same ones in another order, or others.  What then remains is told by
the picture.  Padding is wrong at an edge, or moves what a stride picks by a part of a pixel; a
normalization is wrong by a factor and a constant of each channel; an activation is another function
of the same input; exchanged channels are all there, elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..backends.align import Divergence, relative_error
from ..backends.operations import Sort, sort_of
from ..backends.trace import Step, Trace
from . import pictures, tensors
from .kind import Kind
from .scene import Scene, scene_of

WITHIN = 1e-4  # of a spread, within which what two operations read is the same
# What an operation is when it stands in one of the two programs only.
ALONE: dict[Sort, Kind] = {
    "activation": Kind("activation", "the activation {} stands in one of the two only"),
    "softmax": Kind("activation", "the softmax {} stands in one of the two only"),
    "pad": Kind("padding", "one of the two pads with something else than zeros, in {}"),
    "mask": Kind("missing operation", "only one of the two hides values, in {}"),
    "resize": Kind("interpolation", "{} stands in one of the two only"),
}


def kind_of(
    divergence: Divergence, first: Trace, second: Trace, inputs: Sequence[np.ndarray] = ()
) -> Kind:
    """The kind of mistake that makes the first value that differs what it is.

    `inputs` are the arrays that the programs were given.
    """
    if divergence.operation is None:
        return _alone(_step(second, divergence.counterpart), second, inputs)
    if divergence.counterpart is None:
        return _alone(_step(first, divergence.operation), first, inputs)
    one = _step(first, divergence.operation)
    other = _step(second, divergence.counterpart)
    other = _with_examples_apart(other, one)
    scene = scene_of(one, other, divergence.parts, first, second, inputs)
    if scene is None:
        return _of_other_size(one, other)
    if not np.isfinite(scene.gap).all():
        if scene.has("normalization"):
            return Kind("statistics", "no number comes out of a normalization: a variance below 0")
        return Kind("not a number", "one of the two is infinite or no number")
    whole: tuple[Sort, ...] = ("attention", "recurrent")  # that the other may have in parts
    sort = next((sort for sort in whole if scene.has(sort)), scene.sort)
    for look in (_wired, tensors.kind_of, *pictures.OF.get(sort, ()), *pictures.OF_ANY):
        found = look(scene)
        if found is not None:
            return found
    return Kind("unknown", "its picture is that of no known mistake")


def _step(trace: Trace, name: str | None) -> Step:
    return next(step for step in trace if step.name == name)


def _with_examples_apart(step: Step, like: Step) -> Step:
    """A normalization of every example by itself, which may have had all channels in one example.

    PyTorch reckons instance normalization as (1, N * C, H, W).
    """
    shape, wanted = step.value.shape, like.value.shape
    is_joined = len(shape) == len(wanted) > 2 and shape[2:] == wanted[2:] and shape != wanted
    if sort_of(step) != "normalization" or not is_joined or step.value.size != like.value.size:
        return step
    return replace(step, value=step.value.reshape(wanted))


def _alone(step: Step, trace: Trace, inputs: Sequence[np.ndarray]) -> Kind:
    """What is wrong where one program has an operation that the other goes without."""
    scene = scene_of(step, step, ((), ()), trace, trace, inputs)
    assert scene is not None  # a value has its own size
    if scene.sort in ALONE:
        kind = ALONE[scene.sort]
        return Kind(kind.name, kind.why.format(step.name))
    for source in scene.sources:
        found = pictures.moved(source, scene.one, scene.channel)
        found = found or pictures.reordered(source, scene.one)
        if found is not None:
            return found
    if scene.sort == "cut":
        found = _put_together(step, trace, scene)
        if found is not None:
            return found
    if scene.sort in ("add", "multiply"):
        for source in scene.sources:
            factor = pictures.factor_between(source, scene.one)
            if factor is not None:
                return Kind("scale", f"{step.name}, in one of the two only, {factor}")
        if not step.inputs:
            return Kind("scale", f"one of the two normalizes its input, in {step.name}")
    return Kind("missing operation", f"only one of the two has {step.name}")


def _put_together(step: Step, trace: Trace, scene: Scene) -> Kind | None:
    """Whether parts of a value are put together in another order, in one of the programs only."""
    led_to = {step.name}
    for later in trace:
        if led_to.isdisjoint(later.inputs):
            continue
        led_to.add(later.name)
        for source in scene.sources:
            found = pictures.moved(source, later.value, source.ndim - 1)
            found = found or pictures.reordered(source, later.value)
            if found is not None:
                return found
    return None


def _of_other_size(one: Step, other: Step) -> Kind:
    """What is wrong where two operations that are alike make values of other sizes."""
    shapes = one.value.shape, other.value.shape
    sides = [sorted(shape[1:]) for shape in shapes]
    said = f"one map is {shapes[0]}, the other {shapes[1]}"
    if one.value.size == other.value.size:
        if "normalization" in (sort_of(one), sort_of(other)):
            return Kind("statistics", f"{said}: they are normalized over other axes")
        return Kind("layout", said)
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < 2:
        return Kind("layout", said)
    ratio = np.prod([float(side) for side in shapes[0]]) / np.prod(
        [float(side) for side in shapes[1]]
    )
    if max(ratio, 1 / ratio) >= 2:
        return Kind("stride", f"{said}, as where one of the two has another stride")
    return Kind("padding", f"{said}, as where one of the two pads more")


def _wired(scene: Scene) -> Kind | None:
    """Whether the two read other values."""
    if not scene.reads or not scene.others:
        return None
    if len(scene.reads) != len(scene.others):
        if scene.sort == scene.other_sort and not scene.is_fused:
            counts = f"{len(scene.reads)} values, the other {len(scene.others)}"
            return Kind("missing operation", f"one of the two reads {counts}")
        return None
    if scene.is_fused or scene.sort != scene.other_sort:
        return None
    alone = [
        value
        for value in scene.reads
        if not any(relative_error(value, other) < WITHIN for other in scene.others)
    ]
    if alone:
        return Kind("wiring", "the two read other values, each of which both programs have")
    return None
