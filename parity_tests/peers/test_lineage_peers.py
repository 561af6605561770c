"""Lite, V2 and EdgeTPU from one library to another: each computes what the other does.

The models of this project have no part in it: what is ported is loaded by the libraries' own
loaders, strictly, and both run in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts.keras_graph import config
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from parity_tests.peers import legacy, operators
from parity_tests.peers.of_timm import SIDE, noise, of_timm, run_torch, timm_name

operators.declare()

import keras_hub  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import torchvision  # noqa: E402
from keras_hub.src.utils.timm.convert_efficientnet import convert_backbone_config  # noqa: E402

TOLERANCE = 1e-11  # of the deviation of the logits
INITIALIZERS = ("kernel_initializer", "depthwise_initializer", "bias_initializer")


@dataclass(frozen=True)
class Target:
    """A library that is given weights: its layout, a file of it, and what it computes."""

    layout: str
    suffix: str
    run: Callable[[str, Path, np.ndarray], np.ndarray]  # preset, file, images (N, C, H, W)


def torchvision_run(preset: str, path: Path, images: np.ndarray) -> np.ndarray:
    model = torchvision.models.get_model(f"efficientnet_{preset.replace('-', '_')}")
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return run_torch(model, images)


def timm_run(preset: str, path: Path, images: np.ndarray) -> np.ndarray:
    model = of_timm(preset, "tf_")
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return run_torch(model, images)


@pytest.fixture
def double():
    """Keras builds in float64."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def keras_build(preset: str) -> keras.Model:
    build = getattr(keras.applications, f"EfficientNet{preset.upper().replace('-', '')}")
    return build(
        weights=None,
        classifier_activation=None,
        input_shape=(SIDE, SIDE, 3),
        include_preprocessing=False,
    )


def keras_run(preset: str, path: Path, images: np.ndarray) -> np.ndarray:
    model = keras_build(preset)
    model.load_weights(path)
    saved = path.with_name(f"saved-{path.name}")
    model.save_weights(saved) if ".weights" in path.name else model.save(saved)
    assert inspect(saved).preset == preset
    assert inspect(saved).fingerprint == inspect(path).fingerprint
    return np.asarray(model(images.transpose(0, 2, 3, 1), training=False))


def keras_hub_run(preset: str, path: Path, images: np.ndarray) -> np.ndarray:
    config = convert_backbone_config({"architecture": timm_name(preset)})
    backbone = keras_hub.models.EfficientNetBackbone(**config)
    model = keras_hub.models.EfficientNetImageClassifier(backbone=backbone, num_classes=1000)
    model.load_weights(path)
    return np.asarray(model(images.transpose(0, 2, 3, 1), training=False))


def keras_archive_run(preset: str, path: Path, images: np.ndarray) -> np.ndarray:
    """What is in the file's own graph, which is of the preset's size, computes at any."""
    whole, model = keras.saving.load_model(path), keras_build(preset)
    for layer in model.layers[1:]:
        layer.set_weights(whole.get_layer(layer.name).get_weights())
    return np.asarray(model(images.transpose(0, 2, 3, 1), training=False))


KERAS, KERAS_LEGACY = (
    Target("keras-applications", suffix, keras_run) for suffix in ("weights.h5", "h5")
)
KERAS_ARCHIVE = Target("keras-applications", "keras", keras_archive_run)
KERAS_HUB = Target("keras-hub", "weights.h5", keras_hub_run)
TORCHVISION = Target("torchvision", "pth", torchvision_run)
TIMM_TF = Target("timm-tf", "pth", timm_run)
# The preset, timm's prefix, the epsilon that it is given, the dialect of that, and to whom.
CASES = [
    ("v2-b0", "tf_", None, "automl", KERAS, False),
    ("v2-s", "", 1e-3, "torchvision-v2", TORCHVISION, False),
    ("v2-b0", "tf_", None, "automl", KERAS_LEGACY, True),
    ("v2-b0", "tf_", None, "automl", KERAS_ARCHIVE, True),
    ("v2-s", "tf_", None, "automl", KERAS_ARCHIVE, True),
    *((f"v2-{size}", "tf_", None, "automl", KERAS, True) for size in ("b1", "b2", "b3", "s")),
    *((f"v2-{size}", "tf_", None, "automl", KERAS, True) for size in ("m", "l")),
    *((f"v2-{size}", "", 1e-3, "torchvision-v2", TORCHVISION, True) for size in ("m", "l")),
    ("lite0", "", None, "pytorch", KERAS_HUB, True),
    ("edgetpu-s", "tf_", None, "tensorflow", TIMM_TF, True),
]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("preset", "prefix", "epsilon", "dialect", "target"),
    [
        pytest.param(
            *case,
            marks=[pytest.mark.slow] if slow else [],
            id=f"{case[0]}-{case[-1].layout}.{case[-1].suffix}",
        )
        for *case, slow in CASES
    ],
)
def test_what_timm_saves_another_library_computes(
    preset, prefix, epsilon, dialect, target, tmp_path
):
    model = of_timm(preset, prefix, epsilon)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    path = tmp_path / f"ported.{target.suffix}"
    done = port(tmp_path / "timm.pth", path, target.layout, dialect=dialect, run=False)
    assert done.source.preset == preset
    assert done.faithful
    assert inspect(path, dialect=dialect).fingerprint == done.source.fingerprint
    images = noise()[:2]  # whose statistics the batch norms have
    expected = run_torch(model, images)
    found = target.run(preset, path, images)
    assert np.abs(found - expected).max() < TOLERANCE * expected.std()


ENCODERS = [
    *((f"lite{n}", "timm-tf_efficientnet_lite{}", "", "pytorch", SIDE, n > 0) for n in range(5)),
    ("b0", "timm-efficientnet-b{}", "", "pytorch", SIDE, True),
    ("b1", "timm-efficientnet-b{}", "", "pytorch", SIDE, True),
    # It pads for this size, whatever it is given.
    ("b0", "efficientnet-b{}", "tf_", "tensorflow", 224, True),
]


@pytest.mark.parametrize(
    ("preset", "encoder", "prefix", "dialect", "side"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] if slow else [], id=f"{case[1]}-{case[0]}")
        for *case, slow in ENCODERS
    ],
)
def test_the_encoder_of_a_segmentation_model(preset, encoder, prefix, dialect, side, tmp_path):
    """It loads what is written for it, has timm's last map, and is read again in the model."""
    source = of_timm(preset, prefix)
    torch.save(source.state_dict(), tmp_path / "timm.pth")
    path = tmp_path / "encoder.pth"
    done = port(tmp_path / "timm.pth", path, "smp", dialect=dialect, drop_head=True, run=False)
    assert (done.verified, done.faithful) == (True, True)
    model = smp.Unet(encoder.format(preset[-1]), encoder_weights=None)
    model.encoder.load_state_dict(torch.load(path, weights_only=True), strict=True)
    torch.save(model.state_dict(), tmp_path / "unet.pth")
    found = inspect(tmp_path / "unet.pth")
    assert (found.layouts, found.preset, found.dialect) == (("smp",), preset, dialect)
    assert (found.num_classes, found.fingerprint) == (None, done.fingerprint)
    images = torch.tensor(noise(side)[:2])
    with torch.inference_mode():
        whole = source.double()
        expected = whole.blocks(whole.bn1(whole.conv_stem(images)))
        error = (model.double().eval().encoder(images)[-1] - expected).abs().max()
    assert error < TOLERANCE * expected.std()


def stated(value):
    """What a configuration says, without what only says where it is from."""
    if isinstance(value, dict):
        return {k: stated(v) for k, v in value.items() if k not in ("registered_name", "module")}
    return [stated(one) for one in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("preset", ["v2-b0", pytest.param("v2-s", marks=pytest.mark.slow)])
def test_the_graph_that_is_written_is_the_librarys_own(preset):
    """Layer by layer, once Keras has read it."""
    build = getattr(keras.applications, f"EfficientNet{preset.upper().replace('-', '')}")
    keras.backend.clear_session()
    theirs = build(weights=None, input_shape=(*resolve(preset).resolution, 3))
    ours = keras.saving.deserialize_keras_object(config(resolve(preset)))
    assert ours.name == theirs.name
    assert [layer.name for layer in ours.layers[1:]] == [layer.name for layer in theirs.layers[1:]]
    for mine, own in zip(ours.layers[1:], theirs.layers[1:], strict=True):
        assert type(mine) is type(own)
        mine, own = (stated(layer.get_config()) for layer in (mine, own))
        for said in (mine, own):  # how new weights are made, and policies of a session
            for key in (*INITIALIZERS, "dtype"):
                said.pop(key, None)
        assert mine == own, own["name"]


# ------------------------------------------------------------------ every way that Keras saves


@pytest.mark.slow
def test_every_way_that_keras_3_saves_v2_is_read(tmp_path):
    model = keras.applications.EfficientNetV2B0(weights=None)
    model.save_weights(tmp_path / "x.weights.h5")
    for name in ("x.h5", "x.keras"):
        model.save(tmp_path / name)
    model.export(tmp_path / "folder", verbose=False)
    found = [inspect(tmp_path / name) for name in ("x.weights.h5", "x.h5", "x.keras", "folder")]
    assert {(one.layouts, one.preset, one.num_classes) for one in found} == {
        (("keras-applications",), "v2-b0", 1000)
    }
    assert len({one.fingerprint for one in found}) == 1
    base = keras.applications.EfficientNetV2B0(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    pooling, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)
    nested = keras.Sequential([base, pooling, dense])
    nested(np.zeros((1, SIDE, SIDE, 3), np.float32))
    nested.save_weights(tmp_path / "nested.weights.h5")
    for name in ("nested.h5", "nested.keras"):
        nested.save(tmp_path / name)
    for path in tmp_path.glob("nested.*"):
        one = inspect(path)
        assert (one.preset, one.num_classes, one.head) == ("v2-b0", 5, {}), path.name


@pytest.mark.slow
def test_keras_2_loads_v2_and_saves_it_in_ways_that_are_read(tmp_path):
    model = of_timm("v2-b0", "tf_")
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    path = tmp_path / "ported.h5"
    done = port(tmp_path / "timm.pth", path, "keras-applications", run=False)
    images = noise(224)[:2]
    pixels = (images.transpose(0, 2, 3, 1) * IMAGENET_STD + IMAGENET_MEAN) * 255
    logits = legacy.run("keras-applications", "v2-b0", path, pixels, tmp_path / "saved")
    expected = run_torch(model, images)
    assert np.abs(logits - expected).max() < 1e-3 * expected.std()
    for how, name in legacy.SAVED.items():
        found = inspect(tmp_path / "saved" / name)
        assert (found.layouts, found.preset) == (("keras-applications",), "v2-b0"), how
        whole = (found.num_classes, found.fingerprint) == (1000, done.fingerprint)
        assert whole or (how, found.num_classes) == ("nested", 5), how
