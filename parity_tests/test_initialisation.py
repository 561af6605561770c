"""Claim 6: the official initialisation, by the standard deviations it has when measured.

Source: conv_kernel_initializer and dense_kernel_initializer of the paper's code.  A kernel of
n values has a standard deviation known to about 1 / sqrt(2 n); five of those are allowed.
"""

import math

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.claiming import caught, holds, mistakes
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
        error = 5 / math.sqrt(2 * kernel.size)
        assert kernel.std() == pytest.approx(std, rel=error), layer.role
        assert abs(kernel.mean()) < 5 * std / math.sqrt(kernel.size), layer.role


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


# ------------------------------------------------------------------ claim 6


def test_the_claim_holds():
    holds(claims.initialisation)


@pytest.mark.parametrize("mistake", mistakes(claims.initialisation), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)


@pytest.mark.parametrize("library", ["torchvision", "transformers"])
def test_known_deviations_of_initialisation_are_seen(library):
    """torchvision's fan-out knows no groups; transformers draws N(0, 0.02), scales included."""
    network = resolve("b0")
    weights = initial(network)
    assert claims.unlikely(network, weights)[0] < claims.DEVIATIONS
    random = np.random.default_rng(0)
    for layer in network.layers:
        if library == "torchvision" and layer.kind == "depthwise_conv":
            std = np.sqrt(2 / (layer.kernel**2 * layer.out_channels))
        elif library == "transformers" and layer.kind == "conv":
            std = 0.02
        else:
            continue
        shape = layer.tensors[f"{layer.role}.weight"]
        weights[f"{layer.role}.weight"] = random.normal(0, std, shape).astype(np.float32)
    assert claims.unlikely(network, weights)[0] > 100
