"""What the picture of a difference says: where it is, and what makes the one value the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..backends.elementwise import is_function_of
from ..backends.operations import Sort
from .kind import Kind
from .places import at_an_edge, shifted, within_edges
from .scene import Scene

EXACT = 1e-2  # of a difference: what a pattern that explains it may leave
SORTED = 1e-4  # of a spread, that values in another order differ by at most
SAMPLES = 16  # values of a channel, from which on its factor and constant can be found
ONE = 1e-6  # relative, within which factors are equal
ONE_SIDED = 0.95  # of the values, from which on one operation is never below the other
LARGEST = re.compile("max", re.I)
ROOTS = (-2, 2)  # powers that undo 1/sqrt(x) and sqrt(x)
EPSILONS = (0.0, *(10.0**-power for power in range(12, 1, -1)))

Look = Callable[[Scene], Kind | None]


def factor_between(source: np.ndarray, value: np.ndarray) -> str | None:
    """Whether a value is its source times a number, with a number added; in words."""
    if source.size != value.size or source.size < SAMPLES:
        return None
    x = source.astype(np.float64).ravel()
    y = value.astype(np.float64).ravel()
    if not np.isfinite([x, y]).all() or not x.std():
        return None
    slope, constant = np.polyfit(x, y, 1)
    if not _explained(y - slope * x - constant, y - x):
        return None
    added = f" and adds {constant:.6g}" if abs(constant) > EXACT * float(y.std()) else ""
    return f"multiplies by {slope:.6g}{added}"


# ------------------------------------------------------------------ the same values elsewhere


def moved(one: np.ndarray, other: np.ndarray, channel: int) -> Kind | None:
    """Whether channels, or what is along another axis, are the same ones in another order."""
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    gap = other - one
    if not gap.any():
        return None
    for axis in range(1, one.ndim):
        if one.shape[axis] < 2:
            continue
        first, second = (_rows(value, axis) for value in (one, other))
        order = np.argsort(first.sum(1)), np.argsort(second.sum(1))
        if _explained(first[order[0]] - second[order[1]], gap):
            if axis == channel:
                return Kind("order of channels", "the channels are the same ones, elsewhere")
            return Kind("layout", f"all along axis {axis} is the same, in another order")
    return None


def permuted(scene: Scene) -> Kind | None:
    """Channels, or what is along another axis, that are the same ones in another order."""
    return moved(scene.one, scene.other, scene.channel)


def rest_permuted(scene: Scene) -> Kind | None:
    """Sums of a value that agrees, and of another that is in another order."""
    for source in scene.sources:
        if source.shape == scene.one.shape:
            found = moved(scene.one - source, scene.other - source, scene.channel)
            if found is not None:
                return found
    return None


def reordered(source: np.ndarray, value: np.ndarray) -> Kind | None:
    """Whether a value has the numbers of its source in other places."""
    if source.size != value.size or not np.ptp(source):
        return None
    if not np.array_equal(np.sort(source, None), np.sort(value, None)):
        return None
    return Kind("layout", "the values are the same ones, in another order")


def other_entries(scene: Scene) -> Kind | None:
    """Parts of the same value, which are others."""
    if scene.sort == scene.other_sort == "cut":
        return Kind("layout", "both take a part of the same value, and other entries of it")
    return None


def turned(scene: Scene) -> Kind | None:
    """Values that are the same ones at other places."""
    one, other = scene.one, scene.other
    is_square = one.ndim == 4 and one.shape[2] == one.shape[3]
    if is_square and _explained(one - other.swapaxes(2, 3), scene.gap):
        return Kind("layout", "one map is the other with its rows and columns exchanged")
    # Large maps of other values have nearly the same ones when they are sorted.
    apart = np.abs(np.sort(one, None) - np.sort(other, None))
    if _explained(apart, scene.gap) and float(apart.max()) <= SORTED * float(one.std()):
        return Kind("layout", "the values are the same ones, in another order")
    return None


def flattened(scene: Scene) -> Kind | None:
    """A product of what was a map before."""
    if scene.is_map:
        return None
    inner = scene.one.shape[-1:]
    is_map = any(
        source.ndim > 3 and sum(side > 1 for side in source.shape[1:]) > 1
        for source in scene.sources
    )
    if is_map and inner:
        return Kind(
            "layout",
            "it follows a map that is flattened, whose values come in another order where channels "
            "are last",
        )
    return None


# ------------------------------------------------------------------ functions of values


def of_values(scene: Scene) -> Kind | None:
    """Both are functions of the same values, one by one, and no straight lines."""
    for source in scene.sources:
        if source.shape != scene.one.shape:
            continue
        if not all(is_function_of(source, value) for value in (scene.one, scene.other)):
            continue
        if _has_other_epsilon(source, scene):
            return Kind("epsilon", "both are roots of the same input, with another number added")
        if factor_between(scene.one, scene.other):
            return Kind("scale", "one is the other times a factor, or with a constant added")
        return Kind("activation", "both are functions of the same input, and of another form")
    return None


def _has_other_epsilon(source: np.ndarray, scene: Scene) -> bool:
    """Whether both values are roots of their source and of a number that is added to it."""
    if not (source > 0).all() or not all((v > 0).all() for v in (scene.one, scene.other)):
        return False
    for power in ROOTS:
        added = [np.asarray(v, np.float64) ** power - source for v in (scene.one, scene.other)]
        if all(np.ptp(a) <= ONE * float(source.max()) for a in added):
            return True
    return False


def of_another(scene: Scene) -> Kind | None:
    """The one is a function of the other, as where one of two fused activations is another.

    What is nearly the other looks like a function of it, and so it is the difference that is to
    be one.
    """
    if not any(is_function_of(value, scene.gap) for value in (scene.one, scene.other)):
        return None
    factor = factor_between(scene.one, scene.other)
    if factor is not None:
        return Kind("scale", f"one is the other, which it {factor}")
    return Kind("activation", "one is a function of the other, value by value")


def an_activation(scene: Scene) -> Kind:
    """An activation whose input agrees."""
    return Kind("activation", "it is an activation, and its input agrees")


def times_a_factor(scene: Scene) -> Kind | None:
    """The one is the other times a number, or each channel by a factor and a constant."""
    if factor := factor_between(scene.one, scene.other):
        return Kind("scale", f"one is the other, which it {factor}")
    if scene.sources and all(_channels_apart(source, scene) for source in scene.sources[:1]):
        return Kind("scale", "every channel is scaled by other numbers")
    return None


def _channels_apart(source: np.ndarray, scene: Scene) -> bool:
    return source.size == scene.one.size and _by_channel(scene) is not None


# ------------------------------------------------------------------ normalizations


def of_a_row(scene: Scene) -> Kind | None:
    """A normalization over channels: each row is wrong by a factor, that of an epsilon."""
    for source in scene.sources:
        if source.shape != scene.one.shape:
            continue
        for rows, is_moved in _rows_of(source, scene.is_map):
            found = [
                _epsilon(rows, is_moved, value, scene.channel) for value in (scene.one, scene.other)
            ]
            if None not in found and found[0] != found[1]:
                return Kind(
                    "epsilon",
                    f"an epsilon of {found[0]:.0e} explains one, and {found[1]:.0e} the other",
                )
    return None


def _rows_of(source: np.ndarray, is_map: bool) -> Iterator[tuple[np.ndarray, bool]]:
    """A value as rows along its last axis, in all ways that normalizations reckon over rows.

    Tokens have one way.  Of a map the channels of a place are normalized, which are then moved to
    the end, or groups of channels, from all in one to each by itself, at all places.
    """
    if not is_map:
        yield source, False
        return
    channels = source.shape[1]
    for groups in range(1, channels + 1):
        if channels % groups == 0:
            yield source.reshape(len(source), groups, -1), False
    yield np.moveaxis(source, 1, -1), True


def _epsilon(rows: np.ndarray, is_moved: bool, value: np.ndarray, channel: int) -> float | None:
    """The epsilon with which a value is its source, normalized by rows and scaled by channel.

    None where there is none, or any will do: of single rows, whose scale hides it.
    """
    mean, variance = rows.mean(-1, keepdims=True), rows.var(-1, keepdims=True)
    found: list[tuple[float, float]] = []
    for centre in (mean, np.zeros_like(mean)):
        power = variance if centre is mean else np.square(rows).mean(-1, keepdims=True)
        for epsilon in EPSILONS:
            normal = (rows - centre) / np.sqrt(power + epsilon + 1e-300)
            normal = np.moveaxis(normal, -1, 1) if is_moved else normal.reshape(value.shape)
            found.append((_unexplained(_rows(normal, channel), _rows(value, channel)), epsilon))
        if all(left < ONE for left, _ in found[-len(EPSILONS) :]):
            return None
    left, epsilon = min(found)
    return epsilon if left < ONE else None


def _unexplained(x: np.ndarray, y: np.ndarray) -> float:
    """The share of rows that lines, one a row, leave unexplained."""
    x = x - x.mean(1, keepdims=True)
    y = y - y.mean(1, keepdims=True)
    slopes = (x * y).sum(1) / (np.square(x).sum(1) + 1e-300)
    total = float(np.square(y).sum())
    return float(np.sqrt(np.square(y - slopes[:, None] * x).sum() / total)) if total else np.inf


def by_channel(scene: Scene) -> Kind | None:
    """Each channel is wrong by a factor and a constant of its own."""
    factors = _by_channel(scene)
    if factors is None:
        return None
    from_one = float(np.abs(factors - 1).max())
    alike = float(np.ptp(factors)) <= EXACT * from_one
    if alike and (factor := factor_between(scene.one, scene.other)):
        return Kind("scale", f"one is the other, which it {factor}")
    if not scene.has("normalization") and not scene.has("linear"):
        return None
    knows_statistics = all(len(constants) > 2 for constants in scene.constants)
    if scene.sort == scene.other_sort == "normalization" and knows_statistics:
        return Kind("epsilon", "the weights and statistics agree: an epsilon is left to differ")
    about_one = EXACT * from_one
    same_side = bool(
        (factors >= 1 - about_one).all()
        or ((factors > 0).all() and (factors <= 1 + about_one).all())
    )
    if same_side and from_one and _keeps_middle(scene, from_one):
        return Kind(
            "epsilon",
            f"every channel is wrong by a factor on one side of 1, from {factors.min():.4g} to "
            f"{factors.max():.4g}",
        )
    return Kind("statistics", "every channel is wrong by a factor and a constant of its own")


def _by_channel(scene: Scene) -> np.ndarray | None:
    """The factor of every channel that varies, if factors and constants explain the difference."""
    axis = scene.channel
    if scene.one.ndim < 2 or scene.one.size // scene.one.shape[axis] < SAMPLES:
        return None
    first, second = (_rows(value, axis) for value in (scene.one, scene.other))
    centred = first - first.mean(1, keepdims=True)
    others = second - second.mean(1, keepdims=True)
    varies = np.square(centred).sum(1)
    kept = varies > ONE * varies.max()
    if not kept.any():
        return None
    factors: np.ndarray = (others * centred).sum(1)[kept] / varies[kept]
    left = factors[:, None] * centred[kept] - others[kept]
    return factors if _explained(left, scene.gap) else None


def _keeps_middle(scene: Scene, from_one: float) -> bool:
    """Whether channels are scaled about a value within them, as an epsilon does.

    Running statistics that are others move a channel as well.
    """
    axis = scene.channel
    first, second = (_rows(value, axis) for value in (scene.one, scene.other))
    apart = np.abs(second.mean(1) - first.mean(1))
    return bool((apart <= 3 * from_one * first.std()).all())


def a_normalization(scene: Scene) -> Kind:
    """A normalization whose input agrees."""
    near = float(np.sqrt(np.square(scene.gap).mean())) < 0.02 * float(scene.one.std())
    if near and _by_channel(scene) is None:
        return Kind("epsilon", "it is a normalization, its input agrees, and it is hardly wrong")
    return Kind("statistics", "it is a normalization, and its input agrees")


# ------------------------------------------------------------------ what else there is


def a_pooling(scene: Scene) -> Kind:
    """The same windows are reduced in another way, or other windows in the same."""
    if scene.sort != scene.other_sort and scene.has("cut"):
        return Kind("pooling", "one takes a single value where the other takes one of all")
    reductions = [LARGEST.search(name) is not None for name in scene.operations]
    if reductions[0] != reductions[1]:
        return Kind("pooling", "one takes the largest value where the other takes the mean")
    if factor := factor_between(scene.one, scene.other):
        return Kind("scale", f"one is the other, which it {factor}")
    larger = float((scene.gap > 0).mean())
    if max(larger, 1 - larger) > ONE_SIDED:
        return Kind("pooling", "one is never below the other, as the largest value and the mean")
    return Kind("padding", "its input agrees, and so does what it takes of a window: others are")


def of_attention(scene: Scene) -> Kind:
    """Attention whose inputs agree: by what the scores are divided, if that explains both."""
    reads = scene.reads if scene.sort == "attention" else scene.others
    if len(reads) >= 3:
        query, key, value = (array.astype(np.float64) for array in reads[:3])
        width = query.shape[-1]
        factors = (width**-0.5, 1.0, 1 / width, width**0.5)
        if query.ndim == key.ndim == value.ndim and key.shape == value.shape:
            products = [_attended(query, key, value, factor) for factor in factors]
            fits = [
                [_explained(found - product, scene.gap) for product in products]
                for found in (scene.one, scene.other)
                if found.shape == products[0].shape
            ]
            if len(fits) == 2 and all(map(any, fits)):
                return Kind("scale", "the scores are multiplied by another number")
            if len(fits) == 2 and any(map(any, fits)):
                return Kind("missing operation", "one of the two hides nothing")
    return Kind("scale", "it is attention, and its inputs agree")


def _attended(query: np.ndarray, key: np.ndarray, value: np.ndarray, factor: float) -> np.ndarray:
    scores = factor * (query @ key.swapaxes(-1, -2))
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    found: np.ndarray = (shares / shares.sum(-1, keepdims=True)) @ value
    return found


def an_interpolation(scene: Scene) -> Kind:
    """A map that is resized in another way."""
    return Kind("interpolation", "a map is resized by another rule, from the same input")


def a_linear_map(scene: Scene) -> Kind | None:
    """A product whose input agrees."""
    if scene.constants[0] and scene.constants[1]:
        if scene.is_map:
            return Kind("padding", "its input and weights agree: it is applied at other places")
        return Kind("layout", "its input and weights agree: they meet in another order")
    if len(scene.reads) > 1 and not any(scene.constants):
        return Kind("layout", "both that it multiplies agree: they meet in another order")
    return Kind("weights", "it is linear, its input agrees, and the error has no pattern")


OF_MAPS: tuple[Look, ...] = (at_an_edge, within_edges, shifted)
ELSEWHERE: tuple[Look, ...] = (permuted, turned)
OF_NORMALIZATION: tuple[Look, ...] = (*ELSEWHERE, of_a_row, by_channel, a_normalization)

OF: Mapping[Sort, tuple[Look, ...]] = {
    "activation": (*ELSEWHERE, of_values, an_activation),
    "softmax": (*ELSEWHERE, an_activation),
    "normalization": OF_NORMALIZATION,
    "linear": (*OF_MAPS, *ELSEWHERE, flattened, by_channel, of_values, of_another, a_linear_map),
    "recurrent": (*ELSEWHERE,),
    "pool": (*OF_MAPS, *ELSEWHERE, a_pooling),
    "pad": (lambda scene: Kind("padding", "another rule fills the edges"),),
    "resize": (an_interpolation,),
    "multiply": (*ELSEWHERE, of_values, times_a_factor),
    "attention": (*ELSEWHERE, of_attention),
    "cat": ELSEWHERE,
    "add": (*ELSEWHERE, rest_permuted),
    "cut": (*ELSEWHERE, other_entries),
}
OF_ANY: tuple[Look, ...] = (
    *OF_MAPS,
    *ELSEWHERE,
    of_values,
    of_another,
    of_a_row,
    by_channel,
    times_a_factor,
)


def _rows(value: np.ndarray, axis: int) -> np.ndarray:
    """A row for every entry along an axis."""
    return np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)


def _explained(left: np.ndarray, gap: np.ndarray) -> bool:
    """Whether what a pattern leaves of a difference is a small part of it."""
    return bool(np.sqrt(np.square(left).mean()) <= EXACT * np.sqrt(np.square(gap).mean()))
