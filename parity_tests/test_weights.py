"""Canonical weights: round trips bit for bit, and strictness both ways."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError, WeightsError
from efficientnet_rosetta.common.network import PYTORCH
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import check, load, save
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.support import BACKENDS, LARGE, LARGEST, SMALL, small, weights_of

ROOT = Path(__file__).parents[1]


def round_trip(backend, network):
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    return module.dump_weights(model)


def identical(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and first[name].tobytes() == second[name].tobytes()
        for name in first
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", SMALL)
def test_canonical_to_backend_and_back_is_bit_identical(preset, backend):
    network = resolve(preset)
    assert identical(round_trip(backend, network), weights_of(network))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", [*LARGE, LARGEST])
def test_round_trips_of_the_large_presets(preset, backend):
    network = resolve(preset)
    assert identical(round_trip(backend, network), weights_of(network))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tensor_missing_extra_or_misshapen_is_named_and_nothing_is_copied(backend):
    network = small()
    module = get_backend(backend)
    model = module.build(network)
    before = module.dump_weights(model)
    weights = dict(weights_of(network))
    del weights["head.bn.mean"]
    weights["head.bn.moving_mean"] = np.zeros(1280, np.float32)
    weights["stem.conv.weight"] = weights["stem.conv.weight"].transpose(2, 3, 1, 0)
    with pytest.raises(WeightsError) as caught:
        module.load_weights(model, weights)
    message = str(caught.value)
    assert "1 missing: head.bn.mean" in message
    assert "1 unexpected: head.bn.moving_mean" in message
    assert "1 of another shape: stem.conv.weight (3, 3, 3, 32) for (32, 3, 3, 3)" in message
    assert identical(module.dump_weights(model), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_in_any_memory_order_are_loaded_by_value(backend):
    network = small()
    module = get_backend(backend)
    model = module.build(network)
    weights = {name: np.flip(np.flip(array).copy()) for name, array in weights_of(network).items()}
    module.load_weights(model, weights)
    assert identical(module.dump_weights(model), weights_of(network))


def test_integers_are_not_weights():
    network = small()
    weights = {**weights_of(network), "stem.bn.mean": np.zeros(32, np.int8)}
    with pytest.raises(WeightsError, match=r"1 tensors are not floating point: stem.bn.mean"):
        check(network.tensors, weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dumped_weights_are_copies(backend):
    network = small()
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    module.dump_weights(model)["stem.bn.mean"][:] = 7
    assert identical(module.dump_weights(model), weights_of(network))


def test_a_file_rebuilds_its_network(tmp_path):
    network = resolve(
        "b1",
        resolution=(96, 64),
        num_classes=7,
        in_channels=1,
        dropout=0.4,
        drop_path_rate=0.1,
        dialect=PYTORCH,
    )
    path = tmp_path / "b1.safetensors"
    save(path, network, weights_of(network))
    found, weights = load(path)
    assert found == network
    assert identical(weights, weights_of(network))


def test_a_custom_network_rebuilds_too(tmp_path):
    network = resolve(width=0.25, depth=0.5, num_classes=None)
    save(tmp_path / "custom.safetensors", network, initial(network))
    assert load(tmp_path / "custom.safetensors")[0] == network
    assert changed(network, resolution=96) == resolve(
        width=0.25, depth=0.5, num_classes=None, resolution=96
    )


def test_metadata_names_preset_dialect_and_classes(tmp_path):
    from safetensors import safe_open

    network = small(num_classes=5, dialect="pytorch")
    save(tmp_path / "w.safetensors", network, weights_of(network))
    with safe_open(tmp_path / "w.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert (metadata["preset"], metadata["dialect"], metadata["classes"]) == ("b0", "pytorch", "5")


def test_arrays_in_any_memory_order_are_saved_by_value(tmp_path):
    network = small()
    weights = {name: np.asfortranarray(array) for name, array in weights_of(network).items()}
    save(tmp_path / "w.safetensors", network, weights)
    loaded = load(tmp_path / "w.safetensors")[1]
    assert all((loaded[name] == weights[name]).all() for name in weights)


def test_wrong_weights_are_not_written(tmp_path):
    network = small()
    weights = {name: array for name, array in weights_of(network).items() if "head" not in name}
    with pytest.raises(WeightsError, match=r"5 missing: head.conv.weight, head.bn.scale"):
        save(tmp_path / "w.safetensors", network, weights)
    assert list(tmp_path.iterdir()) == []


def broken(path, how):
    network = small()
    save(path, network, weights_of(network))
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "random":
        path.write_bytes(np.random.default_rng(0).bytes(4096))
    elif how == "a header of a terabyte":
        path.write_bytes((1 << 40).to_bytes(8, "little") + content[8:])
    elif how == "no metadata":
        save_file(load_file(path), path)
    elif how == "damaged metadata":
        metadata = {"format": "efficientnet-rosetta", "preset": "b0", "network": "{"}
        save_file(load_file(path), path, metadata=metadata)
    elif how == "deep metadata":
        metadata = {"format": "efficientnet-rosetta", "preset": "b0", "network": "[" * 100_000}
        save_file(load_file(path), path, metadata=metadata)
    elif how == "a network without end":
        endless = json.dumps({"depth": 3e4, "dialect": vars(network.dialect)})
        metadata = {"format": "efficientnet-rosetta", "preset": "b0", "network": endless}
        save_file(load_file(path), path, metadata=metadata)
    elif how == "another network":
        other = json.dumps(
            {"width": 1.0, "depth": 1.1, "dialect": vars(network.dialect)},
        )
        metadata = {"format": "efficientnet-rosetta", "preset": "b1", "network": other}
        save_file(load_file(path), path, metadata=metadata)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "is not a safetensors file"),
        ("truncated", "is not a safetensors file"),
        ("random", "is not a safetensors file"),
        ("a header of a terabyte", "is not a safetensors file"),
        ("no metadata", "has no efficientnet-rosetta metadata"),
        ("damaged metadata", "metadata is damaged"),
        ("deep metadata", "metadata is damaged"),
        ("a network without end", "metadata is damaged (depth is 30000"),
        ("another network", "the weights do not fit the network: 128 missing: stages.2.blocks.1"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, how, message):
    path = tmp_path / "w.safetensors"
    broken(path, how)
    with pytest.raises(RosettaError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(RosettaError, match=r"^nowhere.safetensors: no such file$"):
        load("nowhere.safetensors")


def test_a_folder_that_is_not_there(tmp_path):
    network = small()
    with pytest.raises(RosettaError, match="name a file in a folder that exists"):
        save(tmp_path / "no" / "w.safetensors", network, weights_of(network))


def test_weights_are_saved_by_a_process_that_has_imported_nothing_else(tmp_path):
    """NumPy knows bfloat16 only where somebody has imported ml_dtypes."""
    program = (
        "import efficientnet_rosetta as rosetta\n"
        "network = rosetta.resolve('b0', width=0.1, depth=0.1)\n"
        f"rosetta.save({str(tmp_path / 'x.safetensors')!r}, network, rosetta.initial(network))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
