"""Whether two operations have the same weights, or what one's weights are to the other's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from ..backends.suspects import directions
from .kind import Kind
from .scene import Constants, Scene

WITHIN = 1e-5  # of their spread, within which weights are the same: float32 holds them
# Of kernels from one framework's order of axes into another's: (H, W, I, O), (H, W, C, M),
# (O, H, W, I), to (O, I, H, W).
KERNELS = ((0, 1, 2, 3), (3, 2, 0, 1), (2, 3, 0, 1), (0, 3, 1, 2))
CONSTANT = 1e-2  # of a difference: what of it may vary, if it is one number a channel
WIDEST = 11  # pixels of a kernel: what is larger is a number of channels


def kind_of(scene: Scene) -> Kind | None:
    """What is wrong with the weights; None if they are the same, or if they are not known."""
    one, other = scene.constants
    if scene.has("recurrent"):
        return _of_recurrent(one, other)
    if not one or not other:
        return _bias(scene, one, other)
    if scene.sort == scene.other_sort == "normalization":
        return _of_normalization(one, other)
    if scene.is_folded:
        one, other = (_kernels_of_length_one(constants) for constants in (one, other))
    pairs, rest, others = _paired(one, other)
    for array, candidate in pairs:
        found = _between(array, candidate, scene)
        if found is not None:
            return found
    return _bias(scene, rest, others) if pairs else None


def _of_recurrent(one: Constants, other: Constants) -> Kind | None:
    """What is wrong with weights that frameworks join and split by gates and directions."""
    if not one or not other:
        return None
    fewer, more = sorted(
        (
            np.unique(np.concatenate([array.ravel() for array in weights]))
            for weights in (one, other)
        ),
        key=len,
    )  # of two directions one program may have them in one operation
    above = np.clip(np.searchsorted(more, fewer), 1, len(more) - 1)
    apart = np.minimum(np.abs(more[above] - fewer), np.abs(more[above - 1] - fewer))
    if apart.max() <= WITHIN * more.std():
        return Kind("order of channels", "the weights are the same numbers: gates are exchanged")
    return Kind("weights", "the weights of the two are others")


def _kernels_of_length_one(constants: Constants) -> Constants:
    """Kernels as they are whether or not a normalization is folded in; nothing else."""
    return tuple(
        directions(array.T if array.ndim == 2 else _outputs_first(array))
        for array in constants
        if array.ndim in (2, 3, 4)
    )


def _paired(
    one: Constants, other: Constants
) -> tuple[list[tuple[np.ndarray, np.ndarray]], Constants, Constants]:
    """Arrays of one size with one another, the equal ones first; and what is left of both."""
    rest, left, pairs = list(one), list(other), []
    for equal in (True, False):
        for array in sorted(rest, key=lambda array: -array.size):
            for candidate in left:
                if candidate.size == array.size and (not equal or is_equal(array, candidate)):
                    pairs.append((array, candidate))
                    rest = [kept for kept in rest if kept is not array]
                    left = [kept for kept in left if kept is not candidate]
                    break
    return pairs, tuple(rest), tuple(left)


def is_equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of weights are the same, in one of the usual orders of axes."""
    one = _outputs_first(one)
    return any(_same(one, turned) for turned in _turned(other, one.shape))


def _outputs_first(array: np.ndarray) -> np.ndarray:
    """A kernel as (O, I, ...) or (C, 1, H, W), if it looks like (..., I, O) or (H, W, C, 1)."""
    if array.ndim == 3 and _place_axis(array) == 0:
        return array.transpose(2, 1, 0)
    if array.ndim != 4 or max(array.shape[:2]) > WIDEST or array.shape[0] != array.shape[1]:
        return array
    if array.shape[2] == array.shape[3] and array.shape[0] > 1:
        return array
    return array.transpose((2, 3, 0, 1) if array.shape[3] == 1 else (3, 2, 0, 1))


def _turned(array: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The ways to read weights as those of another shape, as frameworks have them."""
    if array.ndim == 4:
        for axes in KERNELS:
            turned = array.transpose(axes)
            if turned.shape == shape:
                yield turned
            elif turned.shape[:2] == (shape[0], 1) and turned.size == np.prod(shape):
                yield turned.reshape(shape)
    elif array.ndim >= 2 and array.ndim == len(shape):
        for order in permutations(range(array.ndim)):
            if array.transpose(order).shape == shape:
                yield array.transpose(order)
    if array.ndim != len(shape) and array.size == np.prod(shape):
        yield array.reshape(shape)
        if array.ndim == 2:
            yield array.T.reshape(shape)
    elif array.ndim == 1 and array.shape == shape:
        yield array


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    allowed = WITHIN * max(float(one.std()), float(np.abs(one).mean()) * 1e-3)
    return bool(np.abs(one - other).max() <= allowed * 10)


def _between(one: np.ndarray, other: np.ndarray, scene: Scene) -> Kind | None:
    """What is wrong between two arrays of one size; None if they are the same."""
    if is_equal(one, other):
        return _transposed(one, other, scene)
    name = f"the weights {one.shape}"
    one = _outputs_first(one)
    for turned in _turned(other, one.shape):
        if one.ndim == 3 and _same(one, turned[..., ::-1]):
            return Kind("layout", f"{name} are those of the other turned around")
        if one.ndim == 4 and one.shape[2:] == one.shape[:1:-1]:
            flips = {
                "rows and columns exchanged": turned.swapaxes(2, 3),
                "rows and columns turned around": turned[:, :, ::-1, ::-1],
                "rows turned around": turned[:, :, ::-1],
                "columns turned around": turned[..., ::-1],
            }
            for what, flipped in flips.items():
                if _same(one, flipped):
                    return Kind("layout", f"{name} are those of the other with {what}")
        for axis in range(turned.ndim):
            if turned.shape[axis] > 1 and _is_permuted(one, turned, axis):
                said = f"{name} are those of the other in another order along axis {axis}"
                return Kind("order of channels" if axis < 2 else "layout", said)
        factor = float((one * turned).sum() / np.square(turned).sum())
        if factor > 0 and _same(one, factor * turned):
            return Kind("scale", f"{name} are those of the other times {factor:.6g}")
    if _same(np.sort(one, None), np.sort(other, None)):
        return Kind("layout", f"{name} are the same numbers in another order of axes")
    if one.ndim in (3, 4) and any(
        _same(directions(one), directions(turned)) for turned in _turned(other, one.shape)
    ):
        said = "are those of the other times a factor an output, as where a normalization is folded"
        return Kind("missing operation", f"{name} {said} into one, and the other has none")
    return Kind("weights", f"{name} are others")


def _place_axis(kernel: np.ndarray) -> int:
    """Along which axis a kernel (O, I, K) or (K, I, O) has its places, which are the fewer ones."""
    return 0 if kernel.shape[0] < kernel.shape[2] else 2


def _is_permuted(one: np.ndarray, other: np.ndarray, axis: int) -> bool:
    """Whether an array is the other with its entries along an axis in another order."""
    rows, others = (
        np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (one, other)
    )
    random = np.random.default_rng(0).normal(size=rows.shape[1])
    order, other_order = (np.argsort(array @ random) for array in (rows, others))
    return _same(rows[order], others[other_order])


def _transposed(one: np.ndarray, other: np.ndarray, scene: Scene) -> Kind | None:
    """Whether square matrices that are equal when one is transposed are used in the wrong way."""
    if one.ndim != 2 or one.shape[0] != one.shape[1] or _same(one, other):
        return None
    found = Kind("weights", f"the matrix {one.shape} is transposed in one of the two")
    if scene.operations[0] == scene.operations[1]:  # which has it in one order of axes
        return found
    for source in scene.sources:
        for rows in _as_rows(source, one.shape[0]):
            fits = [
                [_fits(rows @ matrix, value) for matrix in (one, one.T)]
                for value in (scene.one, scene.other)
            ]
            if sorted(fits) == [[False, True], [True, False]]:
                return found
    return None


def _as_rows(source: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """A value as rows of a width; heads (N, H, T, D / H) may have to be joined for that."""
    if source.shape[-1] == width:
        yield source.reshape(-1, width)
    elif source.ndim == 4 and source.shape[1] * source.shape[3] == width:
        yield source.transpose(0, 2, 1, 3).reshape(-1, width)
    elif source.ndim == 4 and source.shape[1] == width:
        yield source.transpose(0, 2, 3, 1).reshape(-1, width)


def _fits(product: np.ndarray, value: np.ndarray) -> bool:
    """Whether a product is a value but for what is added to every column."""
    if product.size != value.size:
        return False
    rest = value.reshape(product.shape) - product
    return bool(np.ptp(rest, axis=0).max() <= 1e-3 * value.std())


def _of_normalization(one: Constants, other: Constants) -> Kind | None:
    """Scale, bias, mean and variance, in this order in every framework; the first two may lack."""
    if len(one) != len(other):
        fewer, more = sorted((one, other), key=len)
        if len(more) - len(fewer) == 2 and all(
            array.size == candidate.size and _same(array.ravel(), candidate.ravel())
            for array, candidate in zip(fewer, more, strict=False)
        ):
            return Kind("statistics", "one of the two uses the mean and variance of its input")
        return Kind("weights", "one of the two normalizations has no scale or no bias")
    one, other = zip(*(_once_each(*pair) for pair in zip(one, other, strict=True)), strict=True)
    different = [
        place
        for place, (array, candidate) in enumerate(zip(one, other, strict=True))
        if array.size != candidate.size or not _same(array.ravel(), candidate.ravel())
    ]
    if not different:
        return None
    if len(one) >= 3 and different[-1] >= len(one) - 2:
        constant = [
            array for pair in (one, other) for array in pair[-2:] if float(np.ptp(array)) == 0
        ]
        why = (
            "one of the two has the mean or variance of a new one"
            if constant
            else ("the running mean or variance are others")
        )
        return Kind("statistics", why)
    array, candidate = one[different[0]].ravel(), other[different[0]].ravel()
    if array.size == candidate.size and _same(np.sort(array), np.sort(candidate)):
        return Kind("order of channels", "scale or bias are the same ones in another order")
    return Kind("weights", "the scale or bias of the normalization are others")


def _once_each(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays, of which one may be there once for every example, each once."""
    size = min(one.size, other.size)
    once = [array.reshape(-1, size) if array.size % size == 0 else array for array in (one, other)]
    first, second = (rows[0] if (rows == rows[0]).all() else rows for rows in once)
    return first, second


def _bias(scene: Scene, rest: Constants, others: Constants) -> Kind | None:
    """Whether all that the two differ by is what one of them adds to every channel."""
    if scene.sort != "linear" and scene.other_sort != "linear":
        return None
    axis = scene.channel
    if bool(rest) == bool(others) and scene.gap.ndim < 2:
        return None
    columns = np.moveaxis(scene.gap, axis, 0).reshape(scene.gap.shape[axis], -1)
    left = columns - columns.mean(1, keepdims=True)
    if columns.shape[1] > 1 and np.square(left).mean() <= CONSTANT**2 * np.square(columns).mean():
        if bool(rest) != bool(others):
            return Kind("missing operation", "one of the two adds no bias")
        return Kind("missing operation", "the two differ by a number a channel: a bias that lacks")
    return None
