"""Both models compute the same, and go on computing what they did."""

import numpy as np
import pytest

SIDES = 32, 33  # the two paddings of a stride of 2 differ on maps of an even size only


def images(side):
    """Two images (2, 3, side, side): a ramp, and noise."""
    noise = np.random.default_rng(0).standard_normal((3, side, side))
    ramp = np.broadcast_to(np.linspace(-2, 2, side), (3, side, side))
    return np.stack([ramp, noise]).astype("float32")


@pytest.mark.parametrize("side", SIDES)
def test_both_compute_the_same(parity, torch_model, keras_model, side):
    parity(torch_model, keras_model, images(side))


def test_pytorch_keeps_to_the_golden_outputs(parity, torch_model):
    parity(torch_model, parity.golden("classifier"), images(32))


def test_keras_keeps_to_the_golden_outputs(parity, keras_model):
    parity(keras_model, parity.golden("classifier", write=False), images(32))
