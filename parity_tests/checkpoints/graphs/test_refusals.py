"""What no weights come back from is refused by its own name."""

import warnings

import pytest
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.errors import FileError
from parity_tests.checkpoints.graphs.exporting import OPSET, timm, torchvision


def line(path):
    with pytest.raises(FileError) as caught:
        rosetta.inspect(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


def test_blocked_layouts(exports):
    message = line(exports["onnxruntime-ALL-torchvision"])
    assert "was optimised by onnxruntime for one kind of CPU" in message


def test_training_mode(exports):
    assert "was exported in training mode" in line(exports["script-training-timm-tf"])


def test_random_numbers(exports, tmp_path):
    import onnx
    from onnx import helper

    model = onnx.load(exports["script-torchvision"])
    name = model.graph.initializer[0].name
    model.graph.node.insert(0, helper.make_node("RandomUniformLike", [name], ["drawn"]))
    onnx.save(model, tmp_path / "x.onnx")
    assert "training mode (RandomUniformLike)" in line(tmp_path / "x.onnx")


def test_integer_onnx(exports, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(exports["script-torchvision"], tmp_path / "x.onnx")
    assert "is quantised to integers" in line(tmp_path / "x.onnx")


def convolution(**settings):
    """TensorFlow Lite's converter of one convolution, and the model."""
    import keras
    import numpy as np
    import tensorflow as tf

    model = keras.Sequential([keras.Input((8, 8, 3), batch_size=1), keras.layers.Conv2D(64, 3)])

    def examples():
        yield [np.ones((1, 8, 8, 3), np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if settings.get("whole"):
        converter.representative_dataset = examples
    return converter, model


@pytest.mark.parametrize(
    ("whole", "what"), [(False, "8-bit kernels"), (True, "8-bit kernels and maps")]
)
def test_integer_tflite(whole, what, tmp_path):
    converter, _ = convolution(whole=whole)
    (tmp_path / "x.tflite").write_bytes(converter.convert())
    assert f"is quantised to integers ({what})" in line(tmp_path / "x.tflite")


def test_tflite_without_weights(tmp_path):
    import tensorflow as tf

    _, model = convolution()
    function = tf.function(model).get_concrete_function(tf.TensorSpec((1, 8, 8, 3)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    (tmp_path / "x.tflite").write_bytes(converter.convert())
    assert "holds no weights" in line(tmp_path / "x.tflite")


OTHERS = {
    "mobilenetv3_small_100": "looks like MobileNetV3",
    "mobilenetv2_100": "looks like MobileNetV2 ",
    "mnasnet_100": "looks like MnasNet",
    "mixnet_s": "looks like MixNet",
    "resnet18": "looks like a ResNet",
}


# Builders of timm's that take a multiplier of widths, and what they build of half the width.
HALVES = {
    "_gen_efficientnet": "looks like an EfficientNet of another size",
    "_gen_efficientnet_lite": "looks like an EfficientNet-Lite of another size",
    "_gen_efficientnetv2_base": "looks like an EfficientNetV2 of another size",
    "_gen_efficientnet_edge": "looks like an EfficientNet-EdgeTPU of another size",
}


def exported(model, path):
    """A model, by PyTorch's exporter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            torch.zeros(1, 3, 64, 64),
            str(path),
            dynamo=False,
            opset_version=OPSET,
        )


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("efficientnet_lite0", "lite0"),
        ("tf_efficientnetv2_b0", "v2-b0"),
        ("test_efficientnet", "v2-test"),
    ],
)
def test_the_lineage_is_none_of_them(name, preset, tmp_path):
    exported(timm.create_model(name), tmp_path / "x.onnx")
    assert rosetta.inspect(tmp_path / "x.onnx").preset == preset


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks(name, tmp_path):
    exported(timm.create_model(name), tmp_path / "x.onnx")
    message = line(tmp_path / "x.onnx")
    assert "is a graph of no network that is known here" in message
    assert OTHERS[name] in message


@pytest.mark.parametrize("builder", HALVES)
def test_other_sizes_of_a_network(builder, tmp_path):
    build = getattr(timm.models.efficientnet, builder)
    exported(build("efficientnet_b0", channel_multiplier=0.5), tmp_path / "x.onnx")
    message = line(tmp_path / "x.onnx")
    assert "is a graph of no network that is known here" in message
    assert HALVES[builder] in message


def test_a_transformer(tmp_path):
    model = torchvision.models.VisionTransformer(32, 16, 4, 2, 32, 64).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, torch.zeros(1, 3, 32, 32), str(tmp_path / "x.onnx"), dynamo=False)
    assert "looks like a transformer" in line(tmp_path / "x.onnx")
