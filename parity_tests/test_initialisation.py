"""The official initialisation, by the standard deviations it has when measured.

Source: conv_kernel_initializer and dense_kernel_initializer of the paper's code.  A kernel of
n values has a standard deviation known to about 1 / sqrt(2 n); four of those are allowed.
"""

import math

import numpy as np
import pytest

from common.backend import get_backend
from common.spec import resolve
from common.weights import initial
from parity_tests.support import BACKENDS

NETWORK = resolve("b0")


def drawn(source):
    if source == "numpy":
        return initial(NETWORK)
    backend = get_backend(source)
    return backend.dump_weights(backend.build(NETWORK))


def expected_std(layer):
    """Written out again on purpose: sqrt(2 / fan-out), TensorFlow's fan-out for depthwise."""
    if layer.kind == "dense":
        return 1 / math.sqrt(layer.out_channels) / math.sqrt(3)
    filters = 1 if layer.kind == "depthwise_conv" else layer.out_channels
    return math.sqrt(2 / (layer.kernel**2 * filters))


@pytest.mark.parametrize("source", [*BACKENDS, "numpy"])
def test_spread_of_every_kernel(source):
    weights = drawn(source)
    for layer in NETWORK.layers:
        if layer.kind == "batch_norm":
            continue
        kernel, std = weights[f"{layer.role}.weight"], expected_std(layer)
        error = 4 / math.sqrt(2 * kernel.size)
        assert kernel.std() == pytest.approx(std, rel=error), layer.role
        assert abs(kernel.mean()) < 4 * std / math.sqrt(kernel.size), layer.role


@pytest.mark.parametrize("source", [*BACKENDS, "numpy"])
def test_kernels_are_normal_and_untruncated_and_the_classifier_uniform(source):
    weights = drawn(source)
    kernel = weights["head.conv.weight"]
    beyond_two = (np.abs(kernel) > 2 * kernel.std()).mean()
    assert beyond_two == pytest.approx(0.0455, abs=0.002)  # 0 if truncated, as Keras's default
    classifier = weights["classifier.weight"]
    bound = 1 / math.sqrt(1000)
    assert np.abs(classifier).max() == pytest.approx(bound, rel=1e-3)
    assert np.abs(classifier).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("source", [*BACKENDS, "numpy"])
def test_biases_and_batch_norms_start_neutral(source):
    weights = drawn(source)
    for name, array in weights.items():
        last = name.rpartition(".")[2]
        if last in ("scale", "variance"):
            assert (array == 1).all(), name
        elif last in ("bias", "mean"):
            assert (array == 0).all(), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_models_differ(backend):
    first, second = drawn(backend), drawn(backend)
    assert (first["stem.conv.weight"] != second["stem.conv.weight"]).any()


def test_numpy_draws_are_a_function_of_the_seed():
    assert (
        initial(NETWORK, 3)["stem.conv.weight"] == initial(NETWORK, 3)["stem.conv.weight"]
    ).all()
    assert (
        initial(NETWORK, 3)["stem.conv.weight"] != initial(NETWORK, 4)["stem.conv.weight"]
    ).any()
