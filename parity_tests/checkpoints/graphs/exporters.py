"""The exporters by name, and what is to be found in the files that they make."""

from __future__ import annotations

import torch

from parity_tests.checkpoints.graphs.exporting import (
    PRESERVE,
    TRAINING,
    dynamo_exporter,
    keras_exporter,
    lite_exporter,
    lite_exporter_of_function,
    optimised,
    own_exporter,
    script_exporter,
    tf2onnx_exporter,
)

UNFOLDED = {"do_constant_folding": False}
EXPORTERS = {
    "script-torchvision": script_exporter("torchvision"),
    "script-unfolded-torchvision": script_exporter("torchvision", **UNFOLDED),
    "script-preserve-torchvision": script_exporter("torchvision", training=PRESERVE),
    "script-softmax-torchvision": script_exporter("torchvision", wrap=torch.nn.Softmax(1)),
    "script-sigmoid-torchvision": script_exporter("torchvision", wrap=torch.nn.Sigmoid()),
    "script-half-torchvision": script_exporter("torchvision", half=True),
    "script-timm-tf": script_exporter("timm-tf"),
    "script-unfolded-timm-tf": script_exporter("timm-tf", **UNFOLDED),
    "script-headless-timm-tf": script_exporter("timm-tf", classes=None),
    "script-training-timm-tf": script_exporter("timm-tf", training=TRAINING, **UNFOLDED),
    "script-efficientnet-pytorch": script_exporter("efficientnet-pytorch"),
    "script-timm-xception": script_exporter("timm-xception"),
    "script-unfolded-timm-xception": script_exporter("timm-xception", **UNFOLDED),
    "dynamo-torchvision": dynamo_exporter("torchvision"),
    "dynamo-timm-tf": dynamo_exporter("timm-tf", external_data=False),
    "dynamo-unfolded-torchvision": dynamo_exporter("torchvision", optimize=False),
    "dynamo-unfolded-timm-tf": dynamo_exporter("timm-tf", optimize=False),
    "own-torch": own_exporter("torch"),
    "own-keras": own_exporter("keras"),
    "own-endpoints": own_exporter("torch", endpoints=True),
    "own-xception": own_exporter("keras", "xception"),
    "tf2onnx-keras": tf2onnx_exporter(),
    "tf2onnx-18-keras": tf2onnx_exporter(18),
    "tf2onnx-softmax-keras": tf2onnx_exporter(activation="softmax"),
    "tf2onnx-keras-xception": tf2onnx_exporter(preset="xception"),
    "keras-keras": keras_exporter,
    "tflite-function-keras": lite_exporter_of_function,
    "tflite-softmax-keras": lite_exporter(activation="softmax"),
    "tflite-half-keras": lite_exporter(half=True),
    "tflite-keras-xception": lite_exporter(preset="xception"),
}
for _level in ("BASIC", "EXTENDED", "ALL"):
    EXPORTERS[f"onnxruntime-{_level}-torchvision"] = optimised(
        EXPORTERS["script-unfolded-torchvision"], _level
    )
    EXPORTERS[f"onnxruntime-{_level}-own"] = optimised(EXPORTERS["own-torch"], _level)
EXPORTERS["onnxruntime-EXTENDED-timm-xception"] = optimised(
    EXPORTERS["script-unfolded-timm-xception"], "EXTENDED"
)
# Those that take many seconds each.
SLOW = {
    *("dynamo-timm-tf", "dynamo-unfolded-timm-tf", "tf2onnx-18-keras", "tf2onnx-softmax-keras"),
    *("tf2onnx-keras-xception", "keras-keras", "tflite-half-keras", "tflite-keras-xception"),
    *("tflite-softmax-keras", "script-timm-xception", "onnxruntime-EXTENDED-timm-xception"),
    *("script-preserve-torchvision", "onnxruntime-EXTENDED-own", "own-xception"),
    *("dynamo-unfolded-torchvision", "own-endpoints"),
}
INTACT = (
    *("script-unfolded-torchvision", "script-preserve-torchvision", "script-unfolded-timm-tf"),
    *("script-unfolded-timm-xception", "dynamo-unfolded-torchvision", "dynamo-unfolded-timm-tf"),
    *("own-torch", "own-keras", "own-endpoints", "own-xception"),
)
FOLDED = (
    *("script-torchvision", "script-softmax-torchvision", "script-sigmoid-torchvision"),
    *("script-timm-tf", "script-headless-timm-tf", "script-efficientnet-pytorch"),
    *("script-timm-xception", "dynamo-torchvision", "dynamo-timm-tf", "tf2onnx-keras"),
    *("tf2onnx-18-keras", "tf2onnx-softmax-keras", "tf2onnx-keras-xception", "keras-keras"),
    *("tflite-function-keras", "tflite-softmax-keras", "tflite-keras-xception"),
    "onnxruntime-BASIC-torchvision",
    *("onnxruntime-EXTENDED-torchvision", "onnxruntime-EXTENDED-timm-xception"),
    *("onnxruntime-BASIC-own", "onnxruntime-EXTENDED-own"),
)
HALF = ("script-half-torchvision", "tflite-half-keras")
LIBRARIES = (
    *("timm-xception", "keras-xception", "xception", "efficientnet-pytorch", "torchvision"),
    *("timm-tf", "keras", "own", "torch", "endpoints"),
)


def library_of(name: str) -> str:
    """The library whose network an exporter was given, as `exporting.source` has it."""
    found = next(library for library in LIBRARIES if name.endswith(library))
    return "keras-xception" if found == "xception" else found
