"""The libraries' own evaluation transforms, and ours of the same family, on the same pixels.

Differences are in levels, of which an image has 255.  Where both sides resize by Pillow, they are
the same levels, up to the float32 of the normalization (`SAME`).  TensorFlow resizes in float32,
of which 0.01 levels are the rounding where many pixels are averaged (`FLOAT`).
"""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from efficientnet.preprocessing import center_crop_and_resize
from PIL import Image

from efficientnet_rosetta.common.architectures import PRESETS
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.images.families import FAMILIES, family_of
from efficientnet_rosetta.common.images.fitting import Interpolation, Squash
from efficientnet_rosetta.common.images.normalization import IMAGENET, INCEPTION, Normalization
from efficientnet_rosetta.common.images.transforms import evaluation_image
from parity_tests.peers import kecam, operators

operators.declare()

import keras  # noqa: E402
import keras_hub  # noqa: E402
import timm  # noqa: E402
import timm.data  # noqa: E402
import torchvision  # noqa: E402
from keras.src.applications.efficientnet_v2 import (  # noqa: E402
    DEFAULT_BLOCKS_ARGS,
    EfficientNetV2,
)
from keras_hub.src.utils.timm.preset_loader import TimmPresetLoader  # noqa: E402
from transformers import EfficientNetImageProcessor  # noqa: E402
from transformers.models.efficientnet.image_processing_pil_efficientnet import (  # noqa: E402
    EfficientNetImageProcessorPil,
)
from zeromodels.models.efficientnet import (  # noqa: E402
    EfficientNetImageProcessor as EfficientNetZero,
)
from zeromodels.models.efficientnet_lite import (  # noqa: E402
    EfficientNetLiteImageProcessor as EfficientNetLiteZero,
)
from zeromodels.models.efficientnetv2 import (  # noqa: E402
    EfficientNetV2ImageProcessor as EfficientNetV2Zero,
)

SAME, FLOAT = 1e-3, 1e-2
# Of the published processors' configurations: what the processor divides by twice.
ROOT_STD = [0.47853944, 0.4732864, 0.47434163]
LEVELS = Normalization((0.0,), (1 / 255,))


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@cache
def images():
    """A photograph, upright and on its side, and odd sides, larger and smaller than asked for."""
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    return photograph, photograph.transpose(1, 0, 2).copy(), noise(333, 418), noise(91, 33)


def levels(normalised, family):
    """(3, h, w) as a network is given it -> (h, w, 3) from 0 to 255."""
    mean, std = family.normalization.mean, family.normalization.std
    return (np.asarray(normalised).transpose(1, 2, 0) * std + mean) * 255


def ours(pixels, size, family):
    return levels(evaluation_image(pixels, size, family), family)


def differences(transform, size, family):
    """The differences of all levels of all images, `transform` being of levels to levels."""
    found = [np.abs(transform(pixels) - ours(pixels, size, family)) for pixels in images()]
    assert all(difference.shape == (*size, 3) for difference in found)
    return np.concatenate([difference.ravel() for difference in found])


# ------------------------------------------------------------------ torchvision and timm

TORCHVISION = [
    weights
    for preset in range(8)
    for weights in torchvision.models.get_model_weights(f"efficientnet_b{preset}")
]


@pytest.mark.parametrize("weights", TORCHVISION, ids=str)
def test_torchvision(weights):
    theirs = weights.transforms()
    second = str(weights) == "EfficientNet_B1_Weights.IMAGENET1K_V2"
    family = FAMILIES["torchvision-b1-v2" if second else "torchvision"]
    size = (*theirs.crop_size, *theirs.crop_size)
    found = differences(lambda x: levels(theirs(Image.fromarray(x)), family), size, family)
    assert found.max() < SAME


TIMM = [
    name
    for pattern in ("efficientnet_b[0-8].*", "tf_efficientnet_b[0-8].*", "tf_efficientnet_l2.*")
    for name in timm.list_pretrained(pattern)
]
XCEPTIONS = timm.list_pretrained("legacy_xception.*")


def test_timm_lists_its_weights():
    assert len(TIMM) > 40
    assert XCEPTIONS


@pytest.mark.parametrize("name", [*TIMM, *XCEPTIONS])
def test_timm(name):
    """Every tag of every model, at the size it was trained at and at that of its test."""
    configuration = timm.get_pretrained_cfg(name).to_dict()
    for test in (False, True):
        data = timm.data.resolve_data_config(pretrained_cfg=configuration, use_test_size=test)
        stated = Normalization(tuple(data["mean"]), tuple(data["std"]))
        layout = "timm-tf" if name.startswith("tf_") else "timm"
        family = family_of((layout,), stated, "xception" if name in XCEPTIONS else "efficientnet")
        _, _, tag = name.partition("sw_in12k")
        if "sw_in12k" in name:
            family = FAMILIES["timm-sw-in12k-ft" if tag else "timm-sw-in12k"]
        if test and configuration.get("test_crop_pct"):
            family = replace(family, fit=FAMILIES["timm-test"].fit)
        theirs, size = timm.data.create_transform(**data), data["input_size"][1:]
        pixels = images()[0]
        expected = levels(theirs(Image.fromarray(pixels)), family)
        assert np.abs(expected - ours(pixels, size, family)).max() < SAME


LINEAGE = [
    (name, preset)
    for preset, size in (
        *((f"lite{number}", f"efficientnet_lite{number}") for number in range(5)),
        *((f"v2-{size}", f"efficientnetv2_{size}") for size in ("b0", "b1", "b2", "b3")),
        *((f"v2-{size}", f"efficientnetv2_{size}") for size in ("s", "m", "l", "xl")),
        *((f"v2-rw-{size}", f"efficientnetv2_rw_{size}") for size in ("t", "s", "m")),
        ("v2-test", "test_efficientnet"),
        *((f"edgetpu-{size}", f"efficientnet_e{size}") for size in ("s", "m", "l")),
    )
    for pattern in (f"{size}.*", f"tf_{size}.*")
    for name in timm.list_pretrained(pattern)
]


def test_timm_lists_the_weights_of_the_lineage():
    assert len(LINEAGE) > 25


@pytest.mark.parametrize(("name", "preset"), LINEAGE, ids=[name for name, _ in LINEAGE])
def test_timm_on_the_lineage(name, preset):
    """Every tag, at the size of its test."""
    configuration = timm.get_pretrained_cfg(name).to_dict()
    data = timm.data.resolve_data_config(pretrained_cfg=configuration, use_test_size=True)
    stated = Normalization(tuple(data["mean"]), tuple(data["std"]))
    layout = "timm-tf" if name.startswith("tf_") else "timm"
    family = family_of((layout,), stated, PRESETS[preset].name, preset)
    if name.endswith("in21k_ft_in1k") and preset == "v2-b3":  # of its 0.9, we keep all
        data["crop_pct"], family = 1.0, replace(family, fit=Squash())
    theirs, size = timm.data.create_transform(**data), data["input_size"][1:]
    pixels = images()[0]
    expected = levels(theirs(Image.fromarray(pixels)), family)
    assert np.abs(expected - ours(pixels, size, family)).max() < SAME


@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_torchvision_on_v2(size):
    (weights,) = torchvision.models.get_model_weights(f"efficientnet_v2_{size}")
    theirs = weights.transforms()
    stated = Normalization(tuple(theirs.mean), tuple(theirs.std))
    family = family_of(("torchvision",), None, "v2", f"v2-{size}")
    assert family.normalization == stated
    side = (*theirs.crop_size, *theirs.crop_size)
    found = differences(lambda x: levels(theirs(Image.fromarray(x)), family), side, family)
    assert found.max() < SAME


@pytest.mark.parametrize("name", ["efficientnet_b4.ra2_in1k", "tf_efficientnet_b3.ap_in1k"])
def test_timm_on_odd_sides(name):
    data = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    stated = Normalization(tuple(data["mean"]), tuple(data["std"]))
    family = family_of(("timm-tf" if name.startswith("tf_") else "timm",), stated)
    theirs = timm.data.create_transform(**data)
    found = differences(
        lambda x: levels(theirs(Image.fromarray(x)), family), data["input_size"][1:], family
    )
    assert found.max() < SAME


# ------------------------------------------------------------------ transformers


@pytest.mark.parametrize(
    ("processor", "name", "largest", "mean"),
    [
        (EfficientNetImageProcessorPil, "transformers", SAME, SAME),
        (EfficientNetImageProcessorPil, "transformers-nearest", SAME, SAME),
        (EfficientNetImageProcessor, "transformers-nearest", SAME, SAME),
        # PyTorch's bicubic of uint8 rounds its weights to 16 bits, and after either direction.
        (EfficientNetImageProcessor, "transformers", 3.01, 0.1),
    ],
)
def test_transformers(processor, name, largest, mean):
    family = FAMILIES[name]
    kernel = Image.Resampling[family.interpolation.kernel.upper()]
    theirs = processor(
        size={"height": 224, "width": 224},
        resample=kernel,
        image_mean=list(family.normalization.mean),
        image_std=ROOT_STD,
    )
    if name == "transformers":
        assert kernel == processor().resample
    found = differences(
        lambda x: levels(theirs(Image.fromarray(x))["pixel_values"][0], family), (224, 224), family
    )
    assert found.max() < largest
    assert found.mean() < mean


# ------------------------------------------------------------------ TensorFlow


@pytest.mark.parametrize("size", [(224, 224), (301, 77), (600, 600)])
@pytest.mark.parametrize(
    ("how", "resize"),
    [
        (
            Interpolation("tensorflow1", antialias=False),
            lambda x, size: tf.raw_ops.ResizeBicubic(
                images=x[None], size=size, align_corners=False, half_pixel_centers=False
            )[0],
        ),
        (
            Interpolation("tensorflow"),
            lambda x, size: tf.image.resize(x, size, "bicubic", False, True),
        ),
        (
            Interpolation("tensorflow", antialias=False),
            lambda x, size: tf.image.resize(x, size, "bicubic"),
        ),
        (
            Interpolation("tensorflow", "bilinear"),
            lambda x, size: tf.image.resize(x, size, "bilinear", False, True),
        ),
        (
            Interpolation("tensorflow", "bilinear", antialias=False),
            lambda x, size: tf.image.resize(x, size, "bilinear"),
        ),
    ],
)
def test_tensorflows_resizing(how, resize, size):
    family = replace(FAMILIES["tpu"], fit=Squash(), interpolation=how, normalization=LEVELS)
    assert differences(lambda x: resize(x, size).numpy(), size, family).max() < FLOAT


def centre(pixels, share, odd_before):
    """What the released code cuts out, in TensorFlow's arithmetic."""
    height, width = pixels.shape[:2]
    side = tf.cast(share * tf.cast(tf.minimum(height, width), tf.float32), tf.int32)
    top, left = ((length - side + odd_before) // 2 for length in (height, width))
    return tf.image.crop_to_bounding_box(pixels, top, left, side, side)


@pytest.mark.parametrize("size", [224, 240, 300, 380])
@pytest.mark.parametrize(
    "name",
    [
        *("tpu", "tpu-paper", "tpu-advprop", "tpu-lite", "tpu-edgetpu"),
        *("automl-v2-b", "keras-applications", "keras-applications-v2-b"),
    ],
)
def test_the_released_code(name, size):
    """Of which there is no package: its steps, by TensorFlow's own operations."""
    padding = 32 if FAMILIES[name].fit.padding else round(size * (1 / 0.875 - 1))

    def theirs(pixels):
        cut = centre(pixels, size / (size + padding), 1)
        return tf.compat.v1.image.resize_bicubic([cut], [size, size])[0].numpy()

    assert differences(theirs, (size, size), FAMILIES[name]).max() < FLOAT


@pytest.mark.parametrize("size", [224, 300, 384])
@pytest.mark.parametrize("name", ["automl-v2", "keras-applications-v2"])
def test_the_released_code_of_v2(name, size):
    """Small sizes are cut out, large ones squash the whole image."""

    def theirs(pixels):
        cut = centre(pixels, size / (size + 32), 0) if size < 320 else pixels
        return tf.image.resize(cut, [size, size]).numpy()

    assert differences(theirs, (size, size), FAMILIES[name]).max() < FLOAT


@pytest.mark.parametrize(
    "name", ["efficientnet-jax", "efficientnet-jax-ap", "efficientnet-jax-lite"]
)
def test_efficientnet_jax(name):
    """Its steps, for it cannot be installed."""

    def theirs(pixels):
        cut = centre(pixels, 300 / (300 + 32), 1)
        return tf.image.resize(cut, [300, 300], "bicubic", antialias=True).numpy()

    assert differences(theirs, (300, 300), FAMILIES[name]).max() < FLOAT


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its own
@pytest.mark.parametrize("preset", ["b0", "lite0", "v2-b0", "v2-s", "edgetpu-s"])
def test_kecam(preset):
    """Its evaluation, whose function is TensorFlow's, and what its model normalises by."""
    model = kecam.on_pytorch(preset, (3, 224, 224))
    from keras_cv_attention_models.imagenet.tf_data import evaluation_process_crop_resize

    family = family_of(("kecam",), None, PRESETS[preset].name, preset)

    def theirs(pixels):
        resized = evaluation_process_crop_resize(pixels, (224, 224), 1.0, "bicubic", True)
        return levels(model.preprocess_input(resized.numpy())[0], family)

    assert differences(theirs, (224, 224), family).max() < FLOAT


# ------------------------------------------------------------------ Keras, KerasHub and qubvel


def test_keras_preprocesses_xception():
    """It neither cuts nor resizes; what is left of it is the normalization."""
    family = replace(FAMILIES["keras-applications-xception"], fit=Squash())
    for pixels in images():
        theirs = keras.applications.xception.preprocess_input(pixels.astype(np.float32))
        expected = levels(theirs.transpose(2, 0, 1), family)
        assert np.abs(expected - ours(pixels, pixels.shape[:2], family)).max() < SAME


@pytest.mark.parametrize("preset", ["v2-b0", "v2-b3", "v2-s", "v2-m", "v2-l"])
def test_what_the_graph_of_v2_normalises_by(preset):
    """Its first layers, before a first stage that is the same in all."""
    name = f"efficientnet{preset}"
    model = EfficientNetV2(
        *(1.0, 1.0, 32),
        name=name,
        blocks_args=DEFAULT_BLOCKS_ARGS[name][:1],
        include_top=False,
        weights=None,
        input_shape=(32, 32, 3),
    )
    first = keras.Model(model.inputs[0], model.get_layer("stem_conv").input)
    family = family_of(("keras-applications",), None, "v2", preset)
    pixels = noise(32, 32)
    found = levels(first(pixels[None])[0].numpy().transpose(2, 0, 1), family)
    assert np.abs(found - pixels).max() < SAME


def _of_efficientnet(family):
    mean, std = family.normalization.mean, family.normalization.std
    return keras_hub.layers.EfficientNetImageConverter(
        image_size=(224, 224),
        scale=[1 / 255 / value for value in std],
        offset=[-m / s for m, s in zip(mean, std, strict=True)],
        interpolation="bicubic",
    )


def _of_lite(_):
    """As the library makes it of what timm says of its weights."""
    said = timm.get_pretrained_cfg("efficientnet_lite0.ra_in1k").to_dict()
    loader = SimpleNamespace(config={"pretrained_cfg": said})
    converter = keras_hub.layers.EfficientNetImageConverter
    return TimmPresetLoader.load_image_converter(loader, converter)


def _of_xception(_):
    return keras_hub.layers.XceptionImageConverter(
        image_size=(299, 299), scale=1 / 127.5, offset=-1.0
    )


@pytest.mark.parametrize(
    ("name", "converter", "side"),
    [
        ("keras-hub", _of_efficientnet, 224),
        ("keras-hub-lite", _of_lite, 224),
        ("keras-hub-xception", _of_xception, 299),
    ],
)
def test_keras_hub(name, converter, side):
    """Of a hundred thousand levels, a few are so near to a half that float32 rounds otherwise."""
    family = FAMILIES[name]
    theirs = converter(family)
    found = differences(
        lambda x: levels(np.asarray(theirs(x)).transpose(2, 0, 1), family), (side, side), family
    )
    assert (found > SAME).mean() < 1e-4
    assert found.max() < 1 + SAME


@pytest.mark.parametrize(
    ("name", "processor", "stated"),
    [
        ("zeromodels", EfficientNetZero, IMAGENET),
        ("zeromodels-lite", EfficientNetLiteZero, IMAGENET),  # though its weights want 0.5
        ("zeromodels-v2", EfficientNetV2Zero, INCEPTION),
        ("zeromodels-v2-b", EfficientNetV2Zero, INCEPTION),  # though they want ImageNet's
    ],
)
def test_zeromodels(name, processor, stated):
    """Its processors say one normalization for all weights of an architecture."""
    family = FAMILIES[name]
    theirs = processor(size=300)
    assert (theirs.image_mean, theirs.image_std) == (stated.mean, stated.std)
    fed = replace(family, normalization=stated)

    def transform(pixels):
        return levels(np.asarray(theirs(pixels))[0].transpose(2, 0, 1), fed)

    assert differences(transform, (300, 300), fed).max() < FLOAT


@pytest.mark.parametrize("size", [224, 380])
def test_qubvel(size):
    """Both in float64, and we cut off the spline's tails."""
    found = differences(lambda x: center_crop_and_resize(x, size), (size, size), FAMILIES["qubvel"])
    assert found.max() < SAME


# ------------------------------------------------------------------ layouts


@pytest.mark.parametrize(
    "layout",
    [layout for layout in LAYOUTS if layout.normalization],
    ids=lambda layout: layout.library,
)
def test_layouts_and_families_agree_on_what_weights_are_normalised_by(layout):
    for preset in layout.presets:
        family = family_of((layout.name,), None, PRESETS[preset].name, preset)
        assert family.normalization == layout.normalization, preset
