"""What the values of a graph are, in the words that networks are described with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..formats.lazy import LazyTensor

# Zeros above, left, below and right of a map; or by a rule, of which the numbers are not known:
# TensorFlow's, stated by its name, or one that is computed as the graph runs.
SAME, COMPUTED = "same", "computed"
Pads = tuple[int, ...] | str
NO_PADS = (0, 0, 0, 0)

# An axis is N, C, H or W, or 1 where a map was pooled; those of an image are letters until a
# convolution takes it, because only then it is known which of them are the channels.
Axes = str
UNRESOLVED = "abcd"
UNKNOWN = ""  # after a change of shape that is computed as the graph runs


@dataclass(frozen=True)
class Step:
    """Arithmetic with a constant on a value, channel by channel.

    `kind` is "add", "sub", "mul" or "div" of one tensor, or "norm" of scale, bias, mean and
    variance with an epsilon.  `axes` are those of the value.
    """

    kind: str
    tensors: tuple[LazyTensor, ...]
    axes: Axes
    epsilon: float = 0.0


@dataclass(frozen=True)
class Linear:
    """A convolution, or a dense layer: kernel (out, in, height, width), or (out, in)."""

    weight: LazyTensor
    strides: tuple[int, int] = (1, 1)
    groups: int = 1
    pads: Pads = NO_PADS
    image_axes: Axes = UNKNOWN  # of what it takes, as it lies there


@dataclass(frozen=True)
class Window:
    """A pooling by the largest value; `ceil` rounds the size of the result up."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: Pads
    ceil: bool = False


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the graph: what was computed, of which others, and the steps after that.

    Two values of the same `identity` are the same but for the order or number of their axes.
    `kind` is that of an `Activation`, or "input", "linear", "sigmoid", "gate", "sum", "mean",
    "max", "softmax", "log_softmax", "pad", "shape" (computed from shapes alone), or "other", of
    which `name` says what it is.
    """

    kind: str
    identity: int
    name: str
    of: tuple[Value, ...] = ()
    cause: Value | None = None  # the first of those before it that is not known, if one is not
    axes: Axes = UNKNOWN
    channels: int = 0  # 0 where they are not known
    linear: Linear | None = None
    window: Window | None = None
    steps: tuple[Step, ...] = ()
    pads: tuple[tuple[int, int], ...] | None = None  # of a "pad", by axis; None if computed
    fill: float = 0.0  # what a "pad" is made of
    sizes: tuple[int | None, ...] | None = None  # of a "shape", where they are put together

    def same(self, other: Value) -> bool:
        """Whether both are one value."""
        return self.identity == other.identity

    def along(self, axes: Axes) -> Value:
        """The same value, whose axes are others now."""
        return replace(self, axes=axes)

    @property
    def is_pooled(self) -> bool:
        """Whether it is one number for each channel."""
        return bool(self.axes) and not set("HW" + UNRESOLVED) & set(self.axes)

    def __str__(self) -> str:
        if self.linear is not None and self.kind == "linear":
            shape = ", ".join(map(str, self.linear.weight.shape))
            what = "dense layer" if len(self.linear.weight.shape) == 2 else "convolution"
            return f"a {what} of ({shape})"
        return WORDS.get(self.kind, self.name)


WORDS = {
    "input": "the image",
    "sigmoid": "a sigmoid",
    "swish": "a swish",
    "relu": "a ReLU",
    "relu6": "a ReLU6",
    "gate": "a gate",
    "sum": "a sum",
    "mean": "a pooling by the mean",
    "max": "a pooling by the largest value",
    "softmax": "a softmax",
    "log_softmax": "a log-softmax",
    "pad": "a border",
    "shape": "arithmetic with shapes",
}


def before(values: Iterable[Value]) -> Iterator[Value]:
    """Values and all that they are computed from, each once."""
    seen: set[int] = set()
    waiting = list(values)
    while waiting:
        found = waiting.pop()
        if found.identity not in seen:
            seen.add(found.identity)
            yield found
            waiting += found.of
