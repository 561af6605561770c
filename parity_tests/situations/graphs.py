"""Exported models, which people keep when the checkpoint is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from parity_tests.situations import from_keras, from_timm, from_torchvision
from parity_tests.situations.making import outputs


def _torchvision() -> nn.Module:
    layers = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 5))
    return from_torchvision.built("b0", layers)


def _timm() -> nn.Module:
    return from_timm.built("tf_efficientnet_b0", num_classes=5)


def onnx_of(build: Callable[[], nn.Module], **options: Any):
    """`torch.onnx.export(model, images, path, ...)`"""

    def make(path: Path, images: np.ndarray) -> np.ndarray:
        model = build()
        truth = outputs(model, images)
        given = torch.tensor(images[:1])
        torch.onnx.export(model, (given,), path, verbose=False, **options)
        return truth

    return make


torchscript_onnx = onnx_of(_torchvision, dynamo=False)
unfolded_onnx = onnx_of(_torchvision, dynamo=False, do_constant_folding=False)
timm_onnx = onnx_of(_timm, dynamo=False)
dynamo_onnx = onnx_of(_timm, dynamo=True, external_data=True)
training_onnx = onnx_of(_torchvision, dynamo=False, training=torch.onnx.TrainingMode.TRAINING)


def quantised_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """onnxruntime's dynamic quantisation."""
    from onnxruntime.quantization import quantize_dynamic

    whole = path.with_suffix(".float.onnx")
    truth = torchscript_onnx(whole, images)
    quantize_dynamic(whole, path)
    whole.unlink()
    return truth


def keras_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.export(path, format="onnx")`, which is tf2onnx."""
    model = from_keras.nested()
    model.export(path, format="onnx", verbose=False)
    return from_keras.logits(model, images)


def traced(path: Path, images: np.ndarray) -> np.ndarray:
    """`torch.jit.trace(model, images).save(path)`"""
    model = _torchvision()
    truth = outputs(model, images)
    torch.jit.trace(model.eval(), torch.tensor(images[:1])).save(path)
    return truth


def exported_program(path: Path, images: np.ndarray) -> np.ndarray:
    """`torch.export.save(torch.export.export(model, ...), path)`"""
    model = _timm()
    truth = outputs(model, images)
    torch.export.save(torch.export.export(model.eval(), (torch.tensor(images[:1]),)), path)
    return truth


def tflite(kind: str):
    """TensorFlow Lite's converter on a Keras model: float32, float16, or integers."""

    def make(path: Path, images: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        model = from_keras.nested()
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())
        return from_keras.logits(model, images)

    return make
