"""Claim 1: both backends compute the same function: every endpoint, both dialects, any size."""

import sys

import keras
import numpy as np
import pytest

from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import PRESETS, resolve
from efficientnet_rosetta.keras_impl import layers
from efficientnet_rosetta.keras_impl.layers import global_average_pool
from parity_tests.claiming import caught, holds, mistakes
from parity_tests.support import (
    BACKENDS,
    DEPTHS,
    FAMILIES,
    LARGE,
    LARGEST,
    SMALL,
    alone,
    images_for,
    parity,
    reference,
    rosetta_process,
    run,
    small,
    weights_of,
)

# Where other implementations break: odd, even but not native, and not square.
SIZES = [225, pytest.param(240, marks=pytest.mark.slow), (200, 264), (97, 64)]
RUNS = [("torch", "float32"), ("keras", "float32"), ("keras", "float64")]


def agree(network, batch=2):
    for backend, dtype in RUNS:
        comparison = parity(backend, network, dtype, batch)
        assert tuple(error.endpoint for error in comparison.errors) == network.endpoints
        assert comparison.agrees, (backend, dtype, comparison.first_divergence)


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize(
    "preset", ["b0", *(pytest.param(preset, marks=pytest.mark.slow) for preset in SMALL[1:])]
)
def test_native_resolution(preset, dialect):
    agree(resolve(preset, dialect=dialect))


def test_means_are_added_up_row_by_row():
    """In one step TensorFlow's float32 loses a digit on the largest map of B4."""
    shape = (1, *resolve("b4").stem.output_size, 64)
    maps = np.random.default_rng(0).random(shape).astype(np.float32)
    right = maps.astype(np.float64).mean((1, 2))
    pooled = keras.ops.convert_to_numpy(global_average_pool(keras.ops.convert_to_tensor(maps)))
    assert np.abs(pooled / right - 1).max() < 6e-7


@pytest.mark.slow
@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("preset", LARGE)
def test_native_resolution_of_the_large_presets(preset, dialect):
    resolution = 256 if preset == "b8" else None  # it takes too much memory at its own
    alone(agree, resolve(preset, dialect=dialect, resolution=resolution), 1)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", FAMILIES)
def test_l2_every_way(dialect):
    """Both backends in float64, both exports, every endpoint; 19 GiB and six minutes."""
    options = ("--size", "256", "--dtype", "float64", "--dialect", dialect)
    done = rosetta_process("parity", LARGEST, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 agree" in done.stdout


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_any_size(depth, size, dialect):
    agree(resolve("b0", dialect=dialect, resolution=size, **depth))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_model_built_for_one_size_is_right_at_another(backend, dialect):
    built, used = (resolve("b0", dialect=dialect, resolution=size) for size in (224, 161))
    module = get_backend(backend)
    model = module.build(built)
    module.load_weights(model, weights_of(used))
    values = module.endpoints(model, images_for(used))
    assert compare_endpoints(backend, reference(used), values).agrees


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("depth", DEPTHS)
def test_any_batch(depth, batch):
    agree(small(**depth), batch)


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 10},
        {"num_classes": None},
        {"in_channels": 1},
        {"width": 0.25, "depth": 0.5},
        {"width": 1.3, "depth": 1.2, "num_classes": 7, "in_channels": 4},
        pytest.param(
            {"width": 1.3, "depth": 2.1, "num_classes": 7, "in_channels": 4},
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("depth", DEPTHS)
def test_free_scaling(depth, options):
    agree(small(**{**depth, **options}))


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_are_those_of_the_specification(backend):
    network = small(size=(97, 64))
    values = run(backend, network, images_for(network))
    sizes = {section.role: section for section in (network.stem, *network.blocks, network.head)}
    sizes |= {block.reduction: block for block in network.blocks if block.reduction}
    for name, section in sizes.items():
        assert values[name].shape == (2, section.out_channels, *section.output_size), name
    assert values["features"].shape == (2, network.head.out_channels)
    assert values["logits"].shape == (2, 1000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_endpoints_are_asked_for_by_name_and_leave_the_result_alone(backend):
    network = small()
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    images = images_for(network)
    everything = module.endpoints(model, images)
    assert tuple(everything) == network.endpoints
    some = module.endpoints(model, images, ["reductions.3", "stem"])
    assert list(some) == ["reductions.3", "stem"]
    for name, value in some.items():
        assert (value == everything[name]).all()
    assert (everything["reductions.3"] == everything["stages.4.blocks.1"]).all()
    assert (module.run(model, images) == everything["logits"]).all()
    for few in ([], ["stem"], ["logits"]):
        values = module.endpoints(model, images, few)
        assert list(values) == few
        assert all((value == everything[name]).all() for name, value in values.items())
    with pytest.raises(ValueError, match=r"unknown endpoint 'stages.1'; choose from stem, "):
        module.endpoints(model, images, ["stages.1"])


def test_a_graph_as_deep_as_l2_needs_a_higher_limit_of_recursion(monkeypatch):
    network, largest = small(width=0.1, depth=PRESETS[LARGEST].depth), resolve(LARGEST)
    assert len(network.blocks) == len(largest.blocks)
    keras_backend = get_backend("keras")
    keras_backend.build(network)
    monkeypatch.setattr(layers, "RECURSION", sys.getrecursionlimit())
    with pytest.raises(RecursionError):
        keras_backend.build(network)


def test_every_preset_is_in_a_sweep():
    assert (*SMALL, *LARGE, LARGEST) == tuple(PRESETS)


def test_the_claim_holds():
    holds(claims.forward)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", mistakes(claims.forward), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)
