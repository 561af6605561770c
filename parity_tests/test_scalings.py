"""A scaling that is no preset goes wherever a preset goes."""

import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.runs import refused, run

SCALING = {"width": 0.5, "depth": 0.3}
OPTIONS = ["--width", "0.5", "--depth", "0.3"]
MORE = (["custom"], ["b0", *OPTIONS])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Calibrated weights of a small network of two classes."""
    path = tmp_path_factory.mktemp("scaled") / "w.safetensors"
    network = resolve("b0", **SCALING, resolution=32, num_classes=2)
    save(path, network, calibrated(network))
    return path


def test_its_table_is_printed():
    printed = run("table", "b0", *OPTIONS, "--size", 64)
    assert "EfficientNet-CUSTOM: width 0.5, depth 0.3" in printed
    assert f"{count(resolve('b0', **SCALING)).trainable:,}" in printed
    assert "CUSTOM" in run("table", "xception", "--middle-blocks", 1, "--width", 0.25)
    assert "Xception has no depth" in refused("table", "xception", "--depth", 2)


@pytest.mark.parametrize(
    "options",
    [["b3", *OPTIONS], *(pytest.param([*more], marks=pytest.mark.slow) for more in MORE)],
    ids=["of another preset", "custom", "scaled"],
)
def test_its_weights_are_exported(weights, options, tmp_path):
    printed = run("export", *options[:1], tmp_path / "w.onnx", *options[1:], "--weights", weights)
    assert "EfficientNet-CUSTOM from " in printed


@pytest.mark.slow
def test_it_is_exported_without_weights(tmp_path):
    printed = run("export", "b0", tmp_path / "r.onnx", *OPTIONS, "--size", 32)
    assert "EfficientNet-CUSTOM from " in printed


def test_other_weights_are_refused(weights, tmp_path):
    out = tmp_path / "w.onnx"
    said = refused("export", "b0", out, "--weights", weights)
    assert said == f"{weights}: holds custom (width 0.5, depth 0.3), not b0"
    said = refused("export", "b0", out, "--width", 0.6, "--weights", weights)
    assert said == f"{weights}: holds custom (width 0.5, depth 0.3), not b0 --width 0.6"
    assert not out.exists()


def test_layouts_of_presets_say_so(weights, tmp_path):
    said = refused("port", weights, tmp_path / "w.pth", "--to", "timm")
    assert said.startswith(
        f"{weights}: timm has presets only, and this is custom (width 0.5, depth 0.3); choose from "
    )
    assert "canonical" in said
    assert not (tmp_path / "w.pth").exists()


def test_a_model_of_it_is_built(weights):
    model = rosetta.build("b0", "torch", weights=weights, **SCALING)
    again = rosetta.load(weights)
    assert model.network.scaling == again.network.scaling
    with pytest.raises(RosettaError, match="holds EfficientNet-CUSTOM, not EfficientNet-B0"):
        rosetta.build("b0", "torch", weights=weights)


@pytest.mark.slow
def test_both_frameworks_agree_on_it():
    printed = run("parity", "b0", *OPTIONS, "--size", 32)
    assert printed.splitlines()[-1].startswith("proved")
