"""Programs of which nothing can be said, or that differ in ways easily overlooked: none passes."""

import numpy as np
import pytest

from efficientnet_rosetta.common.guard.fixture import ParityError

from .fixtures import fixture_of, images, means


class Random:
    """A program that adds noise, another each time."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def __call__(self, x):
        return means(x) + self.random.standard_normal((len(x), x.shape[1]))


def constant(x):
    return np.arange(6.0).reshape(2, 3)


def beside_a_constant(x):
    return {"means": means(x), "anchors": np.arange(6.0).reshape(2, 3)}


def no_number(x):
    return np.full((len(x), 3), np.nan)


def partly_no_number(x):
    found = means(x)
    found[0, 0] = np.nan
    return found


def partly_infinite(x):
    found = means(x)
    found[0, 0] = -np.inf
    return found


def infinite(x):
    return np.full((len(x), 3), np.inf)


def changing(x):
    x *= 2
    return means(x)


def swapped(x):
    return means(x) * 2, means(x)


def both(x):
    return means(x), means(x) * 2


def classes(x):
    return means(x).argmax(1)


def other_classes(x):
    return (classes(x) + 1) % 3


def saturated(x):
    return 1 / (1 + np.exp(np.minimum(-1e6 * (1 + means(x)), 700)))


def one_hot(x):
    powers = np.exp(np.float64(1e5) * (means(x) - means(x).max(1, keepdims=True)))
    return powers / powers.sum(1, keepdims=True)


def failing(x):
    raise KeyError("conv2d_7")


CONTROLS = {
    "a constant": (constant, constant, "does not depend on its inputs"),
    "a constant beside another program": (means, constant, "does not depend on its inputs"),
    "no number on both sides": (no_number, no_number, "return no number at all"),
    "no number on one side": (means, no_number, "no number"),
    "one value that is no number": (means, partly_no_number, "no number"),
    "the same in both": (partly_no_number, partly_no_number, "(NaN) as output, in 1 of 6 places"),
    "infinite on both sides": (infinite, infinite, "return no number at all"),
    "another shape": (means, lambda x: means(x)[:, :2], "shape"),
    "another number of examples": (means, lambda x: means(x)[:1], "shape"),
    "an output less": (both, lambda x: both(x)[:1], "differ"),
    "no output": (lambda x: (), lambda x: (), "returns nothing"),
    "an empty output": (lambda x: x[:, :0], lambda x: x[:, :0], "no value at all"),
    "random": (Random(), Random(), "is random"),
    "random beside another program": (means, Random(), "is random"),
    "changes its input": (changing, changing, "writes into its inputs"),
    "outputs in another order": (both, swapped, "differ"),
    "other classes": (classes, other_classes, "differ"),
    "saturated": (saturated, saturated, "does not depend on its inputs"),
    "nearly saturated": (one_hot, one_hot, "is saturated"),
    "saturated beside another program": (one_hot, lambda x: one_hot(2 * x), "is saturated"),
    "an exception": (failing, means, "KeyError: 'conv2d_7'"),
    "no array": (lambda x: "cat", means, "no array of numbers"),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_functions(control, tmp_path):
    first, second, said = CONTROLS[control]
    with pytest.raises(ParityError) as raised:
        fixture_of(tmp_path)(first, second, images())
    assert said in str(raised.value)


def test_a_control_of_the_controls(tmp_path):
    for program in (means, both, classes, partly_infinite, beside_a_constant):
        (found,) = fixture_of(tmp_path)(program, lambda x, p=program: p(x), images())
        assert found.agree


def test_what_fails_is_found_in_the_code_of_the_test(tmp_path):
    with pytest.raises(ParityError, match=rf"\(at {__file__}:\d+\)$"):
        fixture_of(tmp_path)(failing, means, images())


def test_a_test_fails_the_same_way_each_time(tmp_path):
    def said():
        with pytest.raises(ParityError) as raised:
            fixture_of(tmp_path)(means, lambda x: means(x) * 1.01, images())
        return str(raised.value)

    assert said() == said()


# ------------------------------------------------------------------ in frameworks


def torch_controls():
    import torch

    class Wrong(torch.nn.Module):
        def __init__(self, forward):
            super().__init__()
            self.linear = torch.nn.Linear(3, 4)
            self.wrong = forward

        def forward(self, x):
            return self.wrong(self.linear(x.mean((2, 3))), x)

    return {
        "right": (Wrong(lambda y, x: y), None),
        "constant": (Wrong(lambda y, x: torch.ones(2, 4)), "does not depend on its inputs"),
        "no number": (Wrong(lambda y, x: y * float("nan")), "return no number at all"),
        "infinite": (Wrong(lambda y, x: y * float("inf")), "return no number at all"),
        "random": (Wrong(lambda y, x: y + torch.rand(2, 4)), "is random"),
        "changing": (Wrong(lambda y, x: y + x.mul_(2).mean()), "writes into its inputs"),
        "nothing": (Wrong(lambda y, x: None), "returns nothing"),
        "saturated": (Wrong(lambda y, x: (1e9 * x.mean((2, 3))).softmax(1)), "is saturated"),
        "failing": (Wrong(lambda y, x: y @ y), "shapes cannot be multiplied"),
    }


def keras_controls():
    import keras
    from keras import ops

    def model(wrong):
        class Wrong(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(4)
                self.dense.build((None, 3))

            def call(self, x):
                return wrong(self.dense(ops.mean(x, (2, 3))), x)

        return Wrong()

    return {
        "right": (model(lambda y, x: y), None),
        "constant": (model(lambda y, x: ops.ones((2, 4))), "does not depend on its inputs"),
        "no number": (model(lambda y, x: y * float("nan")), "return no number at all"),
        "infinite": (model(lambda y, x: y * float("inf")), "return no number at all"),
        "random": (model(lambda y, x: y + keras.random.uniform((2, 4))), "is random"),
        "saturated": (model(lambda y, x: ops.softmax(1e9 * ops.mean(x, (2, 3)))), "is saturated"),
        "failing": (model(lambda y, x: ops.matmul(y, y)), "failing: "),
    }


@pytest.mark.parametrize("controls", [torch_controls, keras_controls])
def test_models(controls, tmp_path):
    for name, (model, said) in controls().items():
        parity = fixture_of(tmp_path)
        if said is None:
            (found,) = parity(model, model, images())
            assert found.agree
            continue
        with pytest.raises(ParityError) as raised:
            parity(model, model, images(), names=("failing", "other"))
        assert said in str(raised.value), name
