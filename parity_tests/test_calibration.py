"""Calibrated weights are what makes the parity checks mean something."""

import hashlib

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity.run import Settings, parity_images
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.support import FAMILIES, LARGE, LARGEST, SMALL, reference, small, weights_of

# SHA-256 over B0's tensors in order.  It changes only with the scheme, or with NumPy's streams.
B0_SEED_0 = "0200482c1a43252cb5477239396594ee8ce755d4f0ebd5e5dd9f53353353f2f6"


def check_order_one(preset, resolution=None):
    network = resolve(preset, resolution=resolution)
    torch = get_backend("torch")
    model = torch.build(network)
    torch.load_weights(model, weights_of(network))
    values = torch.endpoints(model, parity_images(network, Settings()))
    for name, value in values.items():
        for image, kind in zip(value, ("photograph", "noise"), strict=True):
            assert 0.15 < image.std() < 6, (name, kind)
    photograph, noise = values["logits"]
    assert np.corrcoef(photograph, noise)[0, 1] < 0.9
    assert np.abs(photograph - noise).std() > 0.5


@pytest.mark.parametrize("preset", SMALL)
def test_activations_are_of_order_one_and_logits_depend_on_the_image(preset):
    check_order_one(preset)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [*LARGE, LARGEST])
def test_activations_of_the_large_presets(preset):
    check_order_one(preset, 256 if preset in ("b8", "l2") else None)


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize(
    "options", [{}, {"in_channels": 1}, {"width": 0.25, "depth": 0.5}, {"num_classes": 3}]
)
def test_networks_of_any_shape_can_be_calibrated(options, dialect):
    for name, value in reference(small(dialect=dialect, **options)).items():
        assert 0.05 < value.std() < 20, name


def test_logits_of_the_official_initialisation_would_hide_every_mistake():
    network = small(size=224)
    torch = get_backend("torch")
    model = torch.build(network)
    torch.load_weights(model, initial(network))
    images = parity_images(network, Settings())
    assert torch.run(model, images).std() < 1e-3 * reference(network)["logits"].std()


def test_the_same_on_every_machine_and_in_every_process():
    digest = hashlib.sha256()
    for array in calibrated(resolve("b0")).values():
        digest.update(array.tobytes())
    assert digest.hexdigest() == B0_SEED_0


def test_a_function_of_the_seed_and_not_of_the_resolution():
    weights = weights_of(resolve("b0"))
    again = calibrated(resolve("b0", resolution=96))
    other = calibrated(resolve("b0"), seed=1)
    assert all((weights[name] == again[name]).all() for name in weights)
    assert not any((weights[name] == other[name]).all() for name in weights)


def test_float32_in_the_order_of_the_network():
    network = resolve("b0")
    weights = weights_of(network)
    assert list(weights) == list(network.tensors)
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}
    assert all(array.shape == network.tensors[name] for name, array in weights.items())
