"""The parity check must be able to fail: one mistake at a time, each of them caught.

Every mistake is made in one backend only, in float32, and judged by the tolerance of the main
job.  The sizes in the table are of the errors that are expected at least; they show how far
from the tolerance (1e-4) the smallest mistake is.
"""

import dataclasses

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.comparison import TOLERANCES, compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW
from efficientnet_rosetta.common.parity.onnx_program import OnnxGraph
from parity_tests.support import BACKENDS, images_for, parity, reference, run, small, weights_of

NETWORK = small(size=96)


def with_dialect(**changes):
    return dataclasses.replace(NETWORK, dialect=dataclasses.replace(TENSORFLOW, **changes))


def changed(name, change):
    """The weights, with one tensor changed."""
    return {**weights_of(NETWORK), name: np.ascontiguousarray(change(weights_of(NETWORK)[name]))}


def swapped(first, second):
    weights = dict(weights_of(NETWORK))
    weights[first], weights[second] = weights[second], weights[first]
    return weights


def caught(comparison, at_least, first=None):
    assert not comparison.agrees
    assert comparison.output.largest >= at_least
    if first:
        assert comparison.first_divergence.endpoint == first


def against_reference(backend, network=NETWORK, weights=None):
    """A run of another network or other weights against the reference of the right ones."""
    values = run(backend, network, images_for(NETWORK), weights=weights or weights_of(NETWORK))
    return compare_endpoints(backend, reference(NETWORK), values, TOLERANCES["float32"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_mistake_it_agrees(backend):
    assert parity(backend, NETWORK).agrees


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_epsilon_everywhere(backend):
    caught(against_reference(backend, with_dialect(epsilon=PYTORCH.epsilon)), 1e-2, "stem")


def test_wrong_epsilon_in_any_single_batch_norm():
    """The smallest mistake there is, in each of B0's 49 places: caught, and located."""
    torch = get_backend("torch")
    model = torch.build(NETWORK)
    torch.load_weights(model, weights_of(NETWORK))
    norms = [layer.role for layer in NETWORK.layers if layer.kind == "batch_norm"]
    assert len(norms) == 49
    for role in norms:
        norm = model.get_submodule(role)
        norm.epsilon = PYTORCH.epsilon
        values = torch.endpoints(model, images_for(NETWORK))
        norm.epsilon = TENSORFLOW.epsilon
        block = role.rpartition(".")[0]
        caught(compare_endpoints("torch", reference(NETWORK), values), 1e-3, block)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_padding(backend):
    # An image of even size, where SAME and symmetric padding differ.
    caught(against_reference(backend, with_dialect(padding="symmetric")), 1e-1, "stem")


@pytest.mark.parametrize("backend", BACKENDS)
def test_height_and_width_exchanged_in_one_depthwise_kernel(backend):
    name = "stages.6.blocks.1.depthwise_conv.weight"
    weights = changed(name, lambda kernel: kernel.transpose(0, 1, 3, 2))
    caught(against_reference(backend, weights=weights), 1e-2, "stages.6.blocks.1")


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_statistics_swapped(backend):
    role = "stages.3.blocks.1.project_bn"
    weights = swapped(f"{role}.mean", f"{role}.variance")
    caught(against_reference(backend, weights=weights), 1e-2, "stages.3.blocks.1")


@pytest.mark.parametrize("backend", BACKENDS)
def test_scale_and_bias_swapped(backend):
    role = "stages.8.blocks.0.project_bn"
    weights = swapped(f"{role}.scale", f"{role}.bias")
    caught(against_reference(backend, weights=weights), 1e-1, "stages.8.blocks.0")


def test_stochastic_depth_left_on_in_torch(monkeypatch):
    import torch
    from torch.nn import functional

    from efficientnet_rosetta.torch_impl.efficientnet import StochasticDepth

    def always(self, x):
        return x * functional.dropout(x.new_ones(len(x), 1, 1, 1), self.p)

    torch.manual_seed(0)
    monkeypatch.setattr(StochasticDepth, "forward", always)
    only_a_block_can_differ(against_reference("torch"))


def test_stochastic_depth_left_on_in_keras(monkeypatch):
    import keras

    dropout = keras.layers.Dropout.call

    def always(self, x, training=False):
        return dropout(self, x, training or self.name.endswith("drop_path"))

    keras.utils.set_random_seed(0)
    monkeypatch.setattr(keras.layers.Dropout, "call", always)
    only_a_block_can_differ(against_reference("keras"))


def only_a_block_can_differ(comparison):
    caught(comparison, 1e-1)
    place = comparison.first_divergence.endpoint
    skips = [block.role for block in NETWORK.blocks if block.has_skip]
    assert place in skips


@pytest.mark.parametrize("mistake", ["epsilon", "padding", "kernel"])
def test_the_exported_graph_is_judged_by_the_same_check(mistake):
    keras = get_backend("keras")
    network = {
        "epsilon": with_dialect(epsilon=1e-5),
        "padding": with_dialect(padding="symmetric"),
    }.get(mistake, NETWORK)
    model = keras.build(network)
    weights = weights_of(NETWORK)
    if mistake == "kernel":
        name = "stages.4.blocks.1.depthwise_conv.weight"
        weights = changed(name, lambda kernel: kernel.transpose(0, 1, 3, 2))
    keras.load_weights(model, weights)
    graph = OnnxGraph(keras.export_onnx(model, network, True).SerializeToString())
    caught(
        compare_endpoints("onnx-keras", reference(NETWORK), graph.run(images_for(NETWORK))), 1e-3
    )


def test_not_a_number_is_a_difference():
    weights = changed("stem.bn.variance", lambda variance: -np.ones_like(variance))
    comparison = against_reference("torch", weights=weights)
    assert comparison.output.largest == np.inf
    assert comparison.first_divergence.endpoint == "stem"


def test_one_wrong_value_in_a_map_is_seen_in_float64():
    network = small()
    values = dict(reference(network))
    values["head"] = values["head"].copy()
    values["head"][0, 7, 1, 1] += 1e-10 * values["head"].std()
    comparison = compare_endpoints("torch", reference(network), values, TOLERANCES["float64"])
    assert comparison.first_divergence.endpoint == "head"


def test_the_order_of_the_best_classes_is_compared():
    logits = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 2)
    other = logits.copy()
    other[1, [0, 1]] = 4.0, 5.0
    assert compare_endpoints("same", {"logits": logits}, {"logits": logits}).top5_agreement == 1.0
    assert compare_endpoints("other", {"logits": logits}, {"logits": other}).top5_agreement == 0.5
