"""Networks without their heads: the last map of each resolution, to be trained for other tasks."""

import itertools
import operator

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.keras_impl.weights import variables
from parity_tests.support import BACKENDS, LITTLE, images_for, run, small, weights_of

# Neither square nor even, so that no two axes and no two paddings are mistaken for each other.
SIZE = (97, 64)
NETWORKS = {
    "efficientnet": small(size=SIZE, width=0.25, depth=0.5, drop_path_rate=0.0),
    "xception": small("xception", SIZE, width=0.25, middle_blocks=2),
    "headless": small(size=SIZE, width=0.25, depth=0.5, num_classes=None, dialect="pytorch"),
}
# Made of the same blocks as one another, in one class.
STAGED = {
    "lite": small("lite0", SIZE, drop_path_rate=0.0, **LITTLE),
    "v2": small("v2-b0", SIZE, drop_path_rate=0.0, **LITTLE),
    "edgetpu": small("edgetpu-s", SIZE, drop_path_rate=0.0, **LITTLE),
}
HEADS = {
    **dict.fromkeys(("efficientnet", *STAGED), ("head.", "classifier.")),
    "xception": ("classifier.",),
}
TOLERANCE = 1e-5  # of the largest value of a map, in float32

# Keras says so where a model that takes one tensor wants it in a list.
pytestmark = pytest.mark.filterwarnings("error:The structure of `inputs` doesn't match")
networks = pytest.mark.parametrize(
    "network",
    [
        *(pytest.param(network, id=name) for name, network in NETWORKS.items()),
        *(
            pytest.param(network, id=name, marks=pytest.mark.slow)
            for name, network in STAGED.items()
        ),
    ],
)
backends = pytest.mark.parametrize("backend", BACKENDS)


def features(backend, network, **options):
    """A model without its head, with calibrated weights unless others are given."""
    options = {"weights": weights_of(network), **options}
    return rosetta.build(network, backend, features_only=True, **options)


def maps_of(model, images):
    """Its outputs in inference, in the framework's own order of axes."""
    if isinstance(model, keras.Model):
        return [np.asarray(value) for value in model(channels_last(images), training=False)]
    with torch.inference_mode():
        return [value.numpy() for value in model.eval()(torch.tensor(images, dtype=torch.float32))]


def channels_last(images):
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.float32)


def channels_first(model, maps):
    return [x.transpose(0, 3, 1, 2) for x in maps] if isinstance(model, keras.Model) else maps


def assert_the_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * np.abs(other).max())


def last_of_each_resolution(network):
    """Roles of sections, by a look at the strides of all of them."""
    sections = [part for part in network.maps if part.role != "head"]
    strides = itertools.accumulate((part.stride for part in sections), operator.mul)
    return list(
        {stride: part.role for stride, part in zip(strides, sections, strict=True)}.values()
    )


@networks
@backends
def test_outputs_are_the_last_map_of_each_resolution_of_the_full_model(backend, network):
    images = images_for(network)
    full = run(backend, network, images)
    model = features(backend, network)
    maps = maps_of(model, images)
    axis = 3 if backend == "keras" else 1
    roles = last_of_each_resolution(network)
    channels = {part.role: part.out_channels for part in network.maps}
    assert [value.shape[axis] for value in maps] == [channels[role] for role in roles]
    sizes = [value.shape[2] for value in channels_first(model, maps)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes) == 5
    assert_the_same(channels_first(model, maps), [full[role] for role in roles])
    assert_the_same(channels_first(model, maps), [full[name] for name in network.feature_maps])


@networks
def test_both_frameworks_give_the_same_maps(network):
    images = images_for(network)
    ours, theirs = (
        channels_first(model, maps_of(model, images))
        for model in (features(backend, network) for backend in BACKENDS)
    )
    assert_the_same(theirs, ours)


def left(network):
    """Canonical names of what is not in the head."""
    head = HEADS[network.architecture]
    return {name for name in network.tensors if not name.startswith(head)}


@networks
@backends
def test_the_head_is_gone_and_nothing_else(backend, network):
    model = features(backend, network)
    if backend == "torch":
        names = [name.removeprefix("model.") for name in model.state_dict()]
    else:
        names = [name for name, _, _ in variables(model)]
    assert len(names) == len(set(names))
    assert set(names) == left(network)


def gradients(model, images):
    """Of every parameter, by its name, when all maps are asked for something."""
    if isinstance(model, keras.Model):
        with tf.GradientTape() as tape:
            maps = model(channels_last(images), training=True)
            loss = sum(tf.reduce_mean(x**2) for x in maps)
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        names = {id(variable): name for name, variable, _ in variables(model)}
        paths = [names[id(variable)] for variable in model.trainable_variables]
        return dict(zip(paths, found, strict=True))
    assert model.training
    loss = sum(x.square().mean() for x in model(torch.tensor(images, dtype=torch.float32)))
    loss.backward()
    return {name.removeprefix("model."): p.grad for name, p in model.named_parameters()}


@networks
@backends
def test_gradients_reach_every_parameter(backend, network):
    """DistributedDataParallel, for one, stops at a parameter that has no part in the outputs."""
    if network.drop_path_rates:  # chance may drop a block for both images, and its gradient is 0
        network = changed(network, drop_path_rate=0.0)
    found = gradients(features(backend, network), images_for(network))
    trained = {name for name in left(network) if not name.endswith((".mean", ".variance"))}
    assert set(found) == trained
    without = [name for name, gradient in found.items() if gradient is None]
    assert without == []
    # Rounding apart, nothing can come of a constant that the next batch norm takes away again.
    constants = {name for name in trained if name.endswith("bn.bias")}
    for name in trained - constants:
        assert np.abs(np.asarray(found[name])).max() > 1e-8, name


@backends
def test_the_model_can_be_trained_from_the_official_initialisation(backend):
    network = NETWORKS["efficientnet"]
    model = features(backend, network, weights=None)
    maps = maps_of(model, images_for(network))
    assert all(np.isfinite(value).all() for value in maps)
    assert all(gradient is not None for gradient in gradients(fresh(model), images_for(network)))


def fresh(model):
    return model if isinstance(model, keras.Model) else model.train()


@backends
def test_a_checkpoint_of_another_layout_is_taken(backend, tmp_path):
    """Which decides the dialect too: these are PyTorch's, and the preset's is TensorFlow's."""
    network = small(size=SIZE, dialect="pytorch", num_classes=7)
    save(tmp_path / "ours.safetensors", network, weights_of(network))
    theirs = tmp_path / "theirs.pth"
    rosetta.port(tmp_path / "ours.safetensors", theirs, "torchvision", run=False)
    model = rosetta.build("b0", backend, weights=theirs, features_only=True)
    images = images_for(network)
    full = run(backend, network, images)
    expected = [full[role] for role in last_of_each_resolution(network)]
    assert_the_same(channels_first(model, maps_of(model, images)), expected)
