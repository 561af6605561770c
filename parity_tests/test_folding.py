"""Batch norms folded into convolutions: the same function in both frameworks, not for training."""

import keras
import numpy as np
import pytest
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import ARCHITECTURES, PRESETS
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity.onnx_program import OnnxGraph
from efficientnet_rosetta.common.weights import folding
from efficientnet_rosetta.common.weights.folding import folded, folds
from parity_tests.support import BACKENDS, LITTLE, images_for, reference, small, weights_of

SIZE = (49, 32)
XCEPTION = {"width": 0.25, "middle_blocks": 1}
NETWORKS = {
    **{
        name: small(a.presets[0], SIZE, **(XCEPTION if name == "xception" else LITTLE))
        for name, a in ARCHITECTURES.items()
    },
    "symmetric": small(size=SIZE, dialect="pytorch", **LITTLE),
    "headless": small(size=SIZE, num_classes=None, **LITTLE),
}
LIMIT = 1e-11  # of the largest value of an endpoint, in float64
DEFAULT = NETWORKS["efficientnet"]
# Keras takes seconds for each: those of one kind of convolution are left to the slow tests.
IN_KERAS = ("efficientnet", "xception")
backends = pytest.mark.parametrize("backend", BACKENDS)


def model_of(backend, network, dtype="float64"):
    module = get_backend(backend)
    model = module.build(network, dtype, folded=True)
    module.load_weights(model, weights_of(network))
    return model


def difference(backend, network, model):
    """From the network as it is, in PyTorch: the largest over all endpoints."""
    found = get_backend(backend).endpoints(model, images_for(network))
    expected = reference(network)
    assert list(found) == list(network.endpoints)
    return max(
        np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()
    )


@pytest.mark.parametrize(
    ("backend", "network"),
    [
        pytest.param(
            backend,
            network,
            id=f"{backend}-{name}",
            marks=[pytest.mark.slow] if backend == "keras" and name not in IN_KERAS else [],
        )
        for backend in BACKENDS
        for name, network in NETWORKS.items()
    ],
)
def test_every_endpoint_is_that_of_the_network_as_it_is(backend, network):
    assert difference(backend, network, model_of(backend, network)) < LIMIT


@pytest.mark.slow
@backends
@pytest.mark.parametrize("preset", ["b0", "lite0", "v2-s", "v2-rw-t", "edgetpu-s", "xception"])
def test_whole_presets_too(backend, preset):
    network = small(preset, 65)
    assert difference(backend, network, model_of(backend, network)) < LIMIT


@pytest.mark.parametrize("preset", PRESETS)
def test_every_batch_norm_is_folded_into_the_convolution_before_it(preset):
    network = rosetta.resolve(preset)
    layers = {layer.role: layer for layer in network.layers}
    norms = [role for role, layer in layers.items() if layer.kind == "batch_norm"]
    found = folds(network)
    assert sorted(found.values()) == sorted(norms)
    for conv, bn in found.items():
        assert layers[conv].out_channels == layers[bn].out_channels
        assert "conv" in layers[conv].kind


# ------------------------------------------------------------------ mistakes

right = folding._with_bias


def without(name, value):
    """As if a tensor of the batch norm had been forgotten."""

    def wrong(conv, bn, epsilon, weights):
        constant = np.full_like(weights[f"{bn}.{name}"], value)
        return right(conv, bn, epsilon, {**weights, f"{bn}.{name}": constant})

    return wrong


def kernel_only(conv, bn, epsilon, weights):
    bias = np.zeros(conv.out_channels)
    return right(conv, bn, epsilon, weights) | {f"{conv.role}.bias": bias}


MISTAKES = {
    "epsilon": lambda conv, bn, epsilon, weights: right(conv, bn, 0.0, weights),
    "another epsilon": lambda conv, bn, epsilon, weights: right(conv, bn, 1e-5, weights),
    "bias": without("bias", 0),
    "mean": without("mean", 0),
    "scale": without("scale", 1),
    "no bias at all": kernel_only,
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_folding_is_seen(mistake, monkeypatch):
    monkeypatch.setattr(folding, "_with_bias", mistake)
    assert difference("torch", DEFAULT, model_of("torch", DEFAULT)) > 1e5 * LIMIT


def test_folding_in_float32_would_be_seen(monkeypatch):
    def narrow(conv, bn, epsilon, weights):
        found = right(conv, bn, epsilon, weights)
        return {name: array.astype(np.float32) for name, array in found.items()}

    monkeypatch.setattr(folding, "_with_bias", narrow)
    assert difference("torch", DEFAULT, model_of("torch", DEFAULT)) > 100 * LIMIT


# ------------------------------------------------------------------ what a folded model is for


@backends
def test_weights_go_in_whole_and_do_not_come_out(backend):
    module, weights = get_backend(backend), weights_of(DEFAULT)
    model = rosetta.build(DEFAULT, backend, weights=weights, folded=True)
    before = module.run(model, images_for(DEFAULT))
    with pytest.raises(rosetta.WeightsError, match=r"1 missing: stem\.bn\.variance"):
        module.load_weights(
            model, {name: array for name, array in weights.items() if name != "stem.bn.variance"}
        )
    with pytest.raises(rosetta.WeightsError, match="unexpected"):
        module.load_weights(model, folded(DEFAULT, weights, "float32"))
    np.testing.assert_array_equal(module.run(model, images_for(DEFAULT)), before)
    with pytest.raises(rosetta.UsageError, match="take them from what it was loaded from") as found:
        module.dump_weights(model)
    assert "\n" not in str(found.value)


def train(model, images):
    """As a person would begin to."""
    if isinstance(model, keras.Model):
        model.compile("sgd", "mse")
        targets = [np.zeros((len(images), *output.shape[1:])) for output in model.outputs]
        model.train_on_batch(np.zeros((2, *SIZE, 3), np.float32), targets)
    else:
        model.train()


@backends
def test_training_is_refused_in_one_line(backend):
    model, images = model_of(backend, DEFAULT, "float32"), images_for(DEFAULT)
    labels = np.array([0, 1])
    gradients = get_backend(backend).gradients
    for way in (lambda: train(model, images), lambda: gradients(model, images, labels)):
        with pytest.raises(rosetta.UsageError, match="folded into its convolutions") as found:
            way()
        assert "\n" not in str(found.value)
    if backend == "torch":
        assert not any(parameter.requires_grad for parameter in model.parameters())
    else:
        assert model.trainable_variables == []


@backends
def test_feature_maps_of_a_folded_model(backend):
    options = {"weights": weights_of(DEFAULT), "features_only": True, "dtype": "float64"}
    x, models = (
        images_for(DEFAULT),
        [rosetta.build(DEFAULT, backend, folded=folded, **options) for folded in (False, True)],
    )
    if backend == "keras":
        maps = [model(x.transpose(0, 2, 3, 1), training=False) for model in models]
    else:
        with torch.no_grad():
            maps = [model.eval()(torch.tensor(x)) for model in models]
    model_of_maps = models[1]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=0, atol=1e-10)
    with pytest.raises(rosetta.UsageError, match="folded"):
        model_of_maps.train() if backend == "torch" else model_of_maps.make_train_function()


@backends
def test_a_folded_model_is_exported_and_read_again(backend, tmp_path):
    module, network = get_backend(backend), DEFAULT
    exported = module.export_onnx(model_of(backend, network, "float32"), network)
    assert "BatchNormalization" not in {node.op_type for node in exported.graph.node}
    path = tmp_path / "folded.onnx"
    path.write_bytes(exported.SerializeToString())
    logits = OnnxGraph(path).run(images_for(network))["logits"]
    expected = reference(network)["logits"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * scale)
    loaded = rosetta.load(path)
    again = rosetta.build(loaded.network, "torch", weights=loaded)
    found = get_backend("torch").run(again, images_for(network))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.slow
def test_a_saved_folded_model_of_keras_is_an_ordinary_one(tmp_path):
    model = model_of("keras", DEFAULT, "float32")
    model.save(tmp_path / "folded.keras")
    again = keras.models.load_model(tmp_path / "folded.keras")
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in again.layers)
    x = images_for(DEFAULT).transpose(0, 2, 3, 1).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))


def test_weights_without_a_file_are_the_official_initialisation():
    """Of which a batch norm is the identity, but for its epsilon."""
    model = get_backend("torch").build(DEFAULT, folded=True)
    state = model.state_dict()
    assert set(state) == set(folded(DEFAULT, weights_of(DEFAULT), "float32"))
    assert not state["stem.conv.bias"].any()
    assert model.stem.conv.weight.std() > 0.01
