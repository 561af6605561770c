"""Graphs of Lite, V2 and EdgeTPU, as the libraries' own exporters write them, give weights back."""

from dataclasses import asdict, dataclass

import pytest
import torch

from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.images.normalization import IMAGENET, V2_PIXELS
from efficientnet_rosetta.common.weights.canonical import fingerprint
from efficientnet_rosetta.common.weights.metadata import FOLDED
from parity_tests.checkpoints.graphs.exporting import (
    CLASSES,
    error,
    files,
    image,
    lite_of_function,
    logits,
    script,
    through_tf2onnx,
    timm,
    torchvision,
    weights_of,
)
from parity_tests.support import images_for, small

FOLDING = 4e-5  # what folding in float32 costs: up to 4e-6 of these networks


@dataclass(frozen=True)
class Source:
    """A network of a library: its preset, its dialect, and what the library calls it."""

    preset: str
    dialect: str
    layout: str
    name: str

    @property
    def network(self):
        return small(self.preset, 64, dialect=self.dialect, num_classes=CLASSES)

    def torch(self, folder):
        made = torchvision.models.get_model if self.layout == "torchvision" else timm.create_model
        model = made(self.name, num_classes=CLASSES)
        path = files(folder, self.network, self.layout, ".pth")
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()

    def keras(self, folder):
        import keras

        shape = (*self.network.resolution, 3)
        options = {"weights": None, "classes": CLASSES, "classifier_activation": None}
        model = getattr(keras.applications, self.name)(input_shape=shape, **options)
        model.load_weights(files(folder, self.network, self.layout, ".weights.h5"))
        return model


EDGETPU = Source("edgetpu-s", "pytorch", "timm", "efficientnet_es")
OF_TORCH = [
    EDGETPU,
    Source("edgetpu-s", "tensorflow", "timm-tf", "tf_efficientnet_es"),
    Source("lite0", "pytorch", "timm", "efficientnet_lite0"),
    Source("lite0", "tensorflow", "timm-tf", "tf_efficientnet_lite0"),
    Source("v2-b0", "automl", "timm-tf", "tf_efficientnetv2_b0"),
    Source("v2-s", "torchvision-v2", "torchvision", "efficientnet_v2_s"),
]
OF_KERAS = [
    (Source("v2-b0", "automl", "keras-applications", "EfficientNetV2B0"), IMAGENET),
    (Source("v2-s", "automl", "keras-applications", "EfficientNetV2S"), V2_PIXELS),
]


def computes_alike(path, source):
    """Whether what a graph holds computes what was exported; and what it holds."""
    found = match(path)
    wanted = source.network
    network = changed(found.network, dialect=asdict(found.dialect), resolution=wanted.resolution)
    assert (network.name, network.num_classes) == (wanted.name, CLASSES)
    assert source.dialect in [dialect.name for dialect in found.possible]
    images = images_for(wanted)
    expected = logits(wanted, weights_of(wanted), images)
    assert error(logits(network, found.weights, images), expected) < FOLDING
    return found


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(one, id=one.name, marks=[] if one is EDGETPU else pytest.mark.slow)
        for one in OF_TORCH
    ],
)
def test_through_torch_onnx(source, tmp_path):
    model, given = source.torch(tmp_path), image(source.network)
    found = computes_alike(script(model, given, tmp_path / "folded.onnx"), source)
    assert FOLDED in found.checkpoint.metadata
    whole = script(model, given, tmp_path / "whole.onnx", do_constant_folding=False)
    found = computes_alike(whole, source)
    assert [dialect.name for dialect in found.possible] == [source.dialect]
    assert fingerprint(found.weights) == fingerprint(weights_of(source.network))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "normalization"), [pytest.param(*one, id=one[0].name) for one in OF_KERAS]
)
def test_from_keras_applications(source, normalization, tmp_path):
    """Through tf2onnx and TensorFlow Lite; what the graph begins with is of the weights."""
    model = source.keras(tmp_path)
    for path in (
        through_tf2onnx(model, tmp_path / "x.onnx"),
        lite_of_function(model, tmp_path / "x.tflite"),
    ):
        found = computes_alike(path, source)
        assert found.normalization.mean == pytest.approx(normalization.mean, rel=1e-6)
        assert found.normalization.std == pytest.approx(normalization.std, rel=1e-6)
