"""Values of two programs are paired whatever their order, their names and their parts."""

from __future__ import annotations

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.align import align, first_divergence, relative_error
from efficientnet_rosetta.common.backends.trace import Step

LIMIT = 1e-9


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


X = noise(2, 6, 8)
LEFT, RIGHT = (noise(2, 6, 8, seed=seed) for seed in (1, 2))


def branches(*, left=LEFT, right=RIGHT, swapped=False, begin=X):
    steps = [
        Step("x", begin, (), "conv"),
        Step("left", left, ("x",), "conv"),
        Step("right", right, ("x",), "conv"),
        Step("sum", left + right, ("left", "right"), "add"),
    ]
    return [steps[0], steps[2], steps[1], steps[3]] if swapped else steps


def paired(first, second):
    return {p.step.name: p.other and p.other.name for p in align(first, second, LIMIT)}


def found(first, second):
    divergence = first_divergence(first, second, LIMIT)
    return divergence.operation, divergence.counterpart


def test_branches_may_be_run_in_another_order():
    assert paired(branches(), branches(swapped=True)) == {
        name: name for name in ("x", "left", "right", "sum")
    }
    assert found(branches(), branches(left=LEFT + 1, swapped=True)) == ("left", "left")
    assert found(branches(swapped=True), branches(right=RIGHT * 2)) == ("right", "right")


def test_equal_values_are_told_apart_by_what_they_are_made_from():
    def twice(names, wrong=1.0):
        """Two branches that begin with the same value, and go on with others."""
        one, other = names
        return [
            Step("x", X),
            Step(one, np.abs(X), ("x",), "abs"),
            Step(f"{one} on", LEFT, (one,), "conv"),
            Step(other, np.abs(X), ("x",), "abs"),
            Step(f"{other} on", wrong * RIGHT, (other,), "conv"),
            Step("sum", LEFT + wrong * RIGHT, (f"{one} on", f"{other} on"), "add"),
        ]

    first, second = twice(("a", "b")), twice(("c", "d"), wrong=1.5)
    assert paired(first, second) == {
        "x": "x",
        "a": "c",
        "a on": "c on",
        "b": "d",
        "b on": None,
        "sum": None,
    }
    assert found(first, second) == ("b on", "d on")


def test_what_hands_on_its_input_is_no_divergence():
    plain = [Step("x", X), Step("y", LEFT, ("x",), "conv")]
    longer = [Step("x", X), Step("same", X, ("x",)), Step("y", LEFT + 1, ("same",), "conv")]
    assert found(plain, longer) == found(longer, plain) == ("y", "y")


def test_a_function_in_parts_is_found_by_its_last_part():
    def parts(power):
        inner = np.tanh(X + 0.04 * X**power)
        return [
            Step("x", X),
            Step("power", X**power, ("x",), "Pow"),
            Step("inner", inner, ("power",), "Tanh"),
            Step("gelu", X * (1 + inner) / 2, ("x", "inner"), "Mul"),
            Step("end", LEFT + inner.mean(), ("gelu",), "MatMul"),
        ]

    whole = [parts(3)[0], Step("act", parts(3)[3].value, ("x",), "gelu"), parts(3)[4]]
    whole[2] = Step("end", whole[2].value, ("act",), "MatMul")
    assert first_divergence(whole, parts(3), LIMIT) is None
    assert found(whole, parts(5)) == ("act", "gelu")
    assert found(parts(5), whole) == ("gelu", "act")


def test_an_operation_that_is_there_once_is_found_from_either_side():
    kernel = (noise(8, 8),)
    short = [Step("x", X), Step("y", LEFT, ("x",), "Dense", kernel)]
    long = [
        Step("x", X),
        Step("act", np.abs(X), ("x",), "relu"),
        Step("y", RIGHT, ("act",), "addmm", kernel),
    ]
    assert found(long, short) == ("act", None)
    assert found(short, long) == (None, "act")


def test_a_normalization_may_be_folded_into_the_weights():
    kernel, image = noise(8, 4, 3, 3), noise(2, 4, 6, 6)
    value = noise(2, 8, 6, 6)
    factors = np.arange(1.0, 9).reshape(8, 1, 1, 1)
    folded = [Step("x", image), Step("y", value, ("x",), "Conv", (kernel * factors,))]
    apart = [
        Step("x", image),
        Step("conv", value / factors[:, 0], ("x",), "convolution", (kernel,)),
        Step("norm", value * 1.01, ("conv",), "batch_norm", (noise(8), noise(8))),
    ]
    assert found(folded, apart) == ("y", "norm")


@pytest.mark.parametrize("hidden", [-1e9, -3.4e38, -1.7e308])
def test_what_a_mask_hides_is_no_unit(hidden):
    one, other = X.copy(), X.copy() + 1e-3
    one[:, :, 5:] = other[:, :, 5:] = hidden
    assert 1e-4 < relative_error(one, other) < 1e-2


def test_batches_and_heads_may_be_joined():
    tokens = noise(2, 5, 12)
    heads = tokens.reshape(2, 5, 3, 4).transpose(0, 2, 1, 3)
    assert relative_error(tokens, tokens.reshape(10, 12)) == 0
    assert relative_error(tokens, heads) == 0
    assert relative_error(heads, tokens) == 0
    square = noise(2, 5, 4, 4)
    assert relative_error(square, square.swapaxes(2, 3)) > 0.5
