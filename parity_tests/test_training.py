"""Training mode: what is dropped, what batch norm remembers, and that everything learns."""

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.weights.calibration import structured_images
from efficientnet_rosetta.keras_impl.weights import layer_name
from efficientnet_rosetta.torch_impl.efficientnet import StochasticDepth
from efficientnet_rosetta.torch_impl.layers import BatchNorm
from parity_tests.support import images_for, small, weights_of

RATE = 0.2
SAMPLES = 4000


def models(network, dtype="float64"):
    """The same weights in both frameworks."""
    pair = []
    for name in ("torch", "keras"):
        backend = get_backend(name)
        model = backend.build(network, dtype)
        backend.load_weights(model, weights_of(network))
        pair.append(model)
    return pair


def dropped(framework, x, rate):
    """Stochastic depth in training, applied to maps (N, H, W, C) or (N, C, H, W) of ones."""
    if framework == "torch":
        return StochasticDepth(rate).train()(torch.tensor(x)).numpy()
    from efficientnet_rosetta.keras_impl.efficientnet import StochasticDepth as KerasStochasticDepth

    return np.asarray(KerasStochasticDepth(rate, "drop")(x, training=True))


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_stochastic_depth_drops_whole_samples_and_keeps_the_expectation(framework):
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    values = dropped(framework, np.ones((SAMPLES, 2, 3, 4), np.float32), RATE)
    per_sample = values.reshape(SAMPLES, -1)
    assert (per_sample == per_sample[:, :1]).all()
    kept = per_sample[:, 0] > 0
    np.testing.assert_allclose(per_sample[kept, 0], 1 / (1 - RATE), rtol=1e-6)
    deviation = np.sqrt(RATE * (1 - RATE) / SAMPLES)
    assert abs(1 - kept.mean() - RATE) < 4 * deviation


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_rate_of_zero_drops_nothing(framework):
    ones = np.ones((100, 2, 2, 1), np.float32)
    assert (dropped(framework, ones, 0.0) == 1).all()


def test_every_block_has_the_rate_of_the_specification():
    network = small(drop_path_rate=0.4)
    torch_model, keras_model = models(network)
    for block in network.blocks:
        module = torch_model.get_submodule(block.role)
        assert module.drop_path.p == block.drop_path_rate == 0.4 * block.index / 16
        if block.has_skip:
            layer = keras_model.get_layer(layer_name(f"{block.role}.drop_path"))
            assert (layer.rate, layer.noise_shape) == (block.drop_path_rate, (None, 1, 1, 1))
    assert torch_model.dropout.p == keras_model.get_layer("dropout").rate == network.dropout


def test_training_is_random_and_inference_is_not():
    network = small()
    torch_model, keras_model = models(network, "float32")
    images = images_for(network, 4).astype(np.float32)
    channels_last = images.transpose(0, 2, 3, 1)
    with torch.no_grad():
        trained = [torch_model.train()(torch.tensor(images)).numpy() for _ in range(2)]
        inferred = [torch_model.eval()(torch.tensor(images)).numpy() for _ in range(2)]
    assert (trained[0] != trained[1]).any()
    assert (inferred[0] == inferred[1]).all()
    trained = [np.asarray(keras_model(channels_last, training=True)) for _ in range(2)]
    inferred = [np.asarray(keras_model(channels_last, training=False)) for _ in range(2)]
    assert (trained[0] != trained[1]).any()
    assert (inferred[0] == inferred[1]).all()


def test_both_frameworks_train_alike_without_randomness():
    """Logits in training mode, and the batch-norm statistics it leaves, in float64."""
    network = small(dropout=0.0, drop_path_rate=0.0)
    torch_model, keras_model = models(network)
    images = structured_images(4, 3, network.resolution, 5)
    with torch.no_grad():
        ours = torch_model.train()(torch.tensor(images)).numpy()
    theirs = np.asarray(keras_model(images.transpose(0, 2, 3, 1), training=True))
    assert np.abs(ours - theirs).max() < 1e-10 * ours.std()
    before = weights_of(network)
    after = [
        get_backend(name).dump_weights(model)
        for name, model in (("torch", torch_model), ("keras", keras_model))
    ]
    for name in network.tensors:
        np.testing.assert_allclose(after[0][name], after[1][name], rtol=1e-7, atol=1e-9)
        is_statistic = name.endswith((".mean", ".variance"))
        assert (after[0][name] != before[name]).any() == is_statistic, name


def test_running_statistics_are_biased_and_momentum_is_what_is_kept():
    network = small()
    norm = BatchNorm(3, network.dialect).double().train()
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    norm(x)
    batch = x.transpose(0, 1).reshape(3, -1)
    kept = network.dialect.momentum
    torch.testing.assert_close(norm.mean, (1 - kept) * batch.mean(1))
    biased = batch.var(1, correction=0)
    torch.testing.assert_close(norm.variance, kept * torch.ones_like(biased) + (1 - kept) * biased)


def test_every_parameter_has_a_gradient_in_both():
    network = small(num_classes=5)
    torch_model, keras_model = models(network, "float32")
    images = images_for(network, 4).astype(np.float32)
    torch_model.train()(torch.tensor(images)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in torch_model.parameters())

    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = keras_model(images.transpose(0, 2, 3, 1), training=True)
        loss = keras.ops.mean(keras.ops.square(logits))
    gradients = tape.gradient(loss, keras_model.trainable_variables)
    assert len(gradients) == len(list(torch_model.parameters()))
    assert all(float(keras.ops.max(keras.ops.abs(g))) > 0 for g in gradients)
