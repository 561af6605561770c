"""zeromodels computes what timm's `tf_` models do, with the files that are written for it.

The models of this project have no part in it: what is ported is loaded by the library's own model,
strictly, and both run in float64 on odd and on even sides.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from zeromodels.models.efficientnet import EfficientNetImageClassify, EfficientNetModel
from zeromodels.models.efficientnet.convert_efficientnet_timm_to_keras import (
    EFFICIENTNET_MODEL_CONFIG,
)
from zeromodels.models.efficientnet_lite import EfficientNetLiteImageClassify
from zeromodels.models.efficientnet_lite.convert_efficientnet_lite_timm_to_keras import (
    EFFICIENTNET_LITE_MODEL_CONFIG,
)
from zeromodels.models.efficientnetv2 import EfficientNetV2ImageClassify
from zeromodels.models.efficientnetv2.convert_efficientnetv2_timm_to_keras import (
    EFFICIENTNETV2_MODEL_CONFIG,
)

from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, write
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS, layout_of
from efficientnet_rosetta.common.checkpoints.layouts.zeromodels import model_config
from efficientnet_rosetta.common.checkpoints.port import port
from parity_tests.peers import manifest
from parity_tests.peers.test_lineage_peers import TOLERANCE, double, noise, of_timm, run_torch
from parity_tests.support import images_for, run, small, weights_of
from parity_tests.test_zeromodels_layouts import DIGESTS, digest

__all__ = ["double"]  # a fixture
SIDES = (64, 65)  # where maps are halved, both kinds of padding have odd and even ones to pad
V1 = {
    name.removeprefix("efficientnet_").removesuffix("_800"): options
    for name, options in EFFICIENTNET_MODEL_CONFIG.items()
    if not name.endswith("_475")
}
LITE = {f"lite{name[-1]}": options for name, options in EFFICIENTNET_LITE_MODEL_CONFIG.items()}
V2 = {
    name.replace("efficientnetv2_", "v2-"): options
    for name, options in EFFICIENTNETV2_MODEL_CONFIG.items()
    if not name.endswith("_in21k")
}
PRESETS = {**V1, **LITE, **V2}
# Of the smallest, and by how much small tests of them are narrower.  Its Lite can be no narrower:
# the first block would have a skip, from a stem that does not become narrower, to what does.
WIDTHS = {"b0": 0.25, "lite0": 1.0, "v2-b0": 0.25}
SMALLEST = tuple(WIDTHS)
FORMATS = ("weights.h5", "keras", "h5")


def build(preset: str, **options) -> keras.Model:
    """The library's own model, with its own numbers; its layers are the first of a session."""
    keras.backend.clear_session()
    if preset == "v2-xl":  # which is deeper than Python lets Keras go down, layer by layer
        sys.setrecursionlimit(2000)
    classes = {"l": EfficientNetLiteImageClassify, "v": EfficientNetV2ImageClassify}
    made = EfficientNetImageClassify if preset in V1 else classes[preset[0]]
    return made(**{**PRESETS[preset], **options})


def load(model: keras.Model, path: Path) -> None:
    """With its own loader; a .keras file brings a model of its own, maybe of another size."""
    if path.suffix == ".keras":
        whole = keras.saving.load_model(path)
        assert type(whole) is type(model)
        model.set_weights(whole.get_weights())
    else:
        model.load_weights(path)


def save(model: keras.Model, path: Path) -> None:
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images.transpose(0, 2, 3, 1), training=False))


def test_the_library_has_these_presets():
    named = [layout for layout in LAYOUTS if layout.name == "zeromodels"]
    assert {preset for layout in named for preset in layout.presets} == PRESETS.keys()


# ------------------------------------------------------------------ what it computes


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("side", [65, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("preset", SMALLEST)
def test_small_networks_compute_what_ours_do(preset, side, tmp_path):
    """Of the same forms, by which whole presets are ported, and in every format."""
    network = small(preset, side, width=WIDTHS[preset], depth=0.1, num_classes=7)
    layout, weights, images = (
        layout_of("zeromodels", preset),
        weights_of(network),
        images_for(network),
    )
    expected = run("torch", network, images, "float64")["logits"]
    own = {"head_filters": network.head.out_channels} if preset in V2 else {}
    model = build(
        preset,
        image_size=side,
        width_coefficient=WIDTHS[preset],
        depth_coefficient=0.1,
        num_classes=7,
        **own,
    )
    for kind in FORMATS:
        keys = layout.forms[kind].keys(network)
        arrays = {
            key.path: LazyTensor.of(key.path, weights[name].transpose(key.axes))
            for name, key in keys.items()
        }
        path = tmp_path / f"small.{kind}"
        write(path, kind, Content(arrays, config=model_config(network, None)))
        model.set_weights([np.zeros_like(array) for array in model.get_weights()])
        load(model, path)
        assert np.abs(logits(model, images) - expected).max() < TOLERANCE * expected.std()


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("preset", "suffix"),
    [(p, suffix) for p in PRESETS for suffix in (FORMATS if p in SMALLEST else FORMATS[:1])],
)
def test_what_timm_saves_it_computes_and_what_it_saves_is_read(preset, suffix, tmp_path):
    source = of_timm(preset, "tf_")
    torch.save(source.state_dict(), tmp_path / "timm.pth")
    path = tmp_path / f"ported.{suffix}"
    dialect = layout_of("zeromodels", preset).dialects[preset][0].name
    done = port(tmp_path / "timm.pth", path, "zeromodels", dialect=dialect, run=False)
    assert (done.source.preset, done.faithful, done.verified) == (preset, True, True)
    for side in SIDES:
        model = build(preset, image_size=side)
        load(model, path)
        images = noise(side)[:2]
        expected = run_torch(source, images)
        assert np.abs(logits(model, images) - expected).max() < TOLERANCE * expected.std()
    saved = tmp_path / f"saved.{suffix}"
    save(model, saved)
    for file in (path, saved):
        found = inspect(file)
        assert (found.layouts, found.preset, found.dialect) == (("zeromodels",), preset, dialect)
        assert (found.num_classes, found.fingerprint) == (1000, done.source.fingerprint)


# ------------------------------------------------------------------ its files


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_library_still_has_the_keys_of_its_digests(preset, tmp_path):
    model = build(preset, image_size=64)
    for kind, number in (("h5", 0), ("weights.h5", 1)):
        path = tmp_path / f"saved.{kind}"
        save(model, path)
        assert digest(manifest.in_file(path)) == DIGESTS[preset][number]


@pytest.mark.parametrize("classes", [7, None])
@pytest.mark.parametrize("preset", SMALLEST)
def test_the_model_that_a_file_names_is_the_librarys_own(preset, classes):
    network = small(preset, width=WIDTHS[preset], depth=0.1, num_classes=classes, in_channels=4)
    said = model_config(network, None)
    ours = keras.saving.deserialize_keras_object(said)
    assert f"{type(ours).__module__}.{type(ours).__name__}" == (
        f"{said['module']}.{said['class_name']}"
    )
    assert (ours.input_shape, ours.output_shape[-1]) == (
        (None, *network.resolution, 4),
        classes or network.head.out_channels,
    )
    known = ours.get_config()
    assert said["config"].keys() <= known.keys()
    stated = {key: value for key, value in said["config"].items() if key != "dtype"}
    assert {key: known[key] for key in stated} == {
        key: tuple(value) if key == "image_size" else value for key, value in stated.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "activation", "read"),
    [("lite0", "softmax", "softmax"), ("v2-b0", "linear", "linear"), ("b0", None, "linear")],
)
def test_what_its_classes_end_in_is_read_and_written_again(preset, activation, read, tmp_path):
    save(build(preset, classifier_activation=activation), tmp_path / "first.keras")
    done = port(tmp_path / "first.keras", tmp_path / "second.keras", "zeromodels", run=False)
    model = keras.saving.load_model(tmp_path / "second.keras")
    assert (done.verified, model.classifier_activation) == (True, read)


@pytest.mark.slow
def test_its_backbone_alone_and_inside_another_model_is_read(tmp_path):
    backbone = EfficientNetModel(image_size=64)
    pooling, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)
    nested = keras.Sequential([keras.Input((64, 64, 3)), backbone, pooling, dense])
    for name, model, classes in (("alone", backbone, None), ("nested", nested, 5)):
        for kind in FORMATS:
            save(model, tmp_path / f"{name}.{kind}")
            found = inspect(tmp_path / f"{name}.{kind}")
            assert (found.layouts, found.preset) == (("zeromodels",), "b0")
            assert (found.num_classes, found.dialect) == (classes, "tensorflow")
