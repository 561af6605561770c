"""What people have of exported models."""

from __future__ import annotations

from functools import partial

from parity_tests.situations import graphs
from parity_tests.situations.judge import LIMIT, Situation
from parity_tests.situations.rows.words import DENSE

_five_classes = partial(Situation, layout="graph of pytorch", classes=5, head=DENSE)

EXPORTED = (
    _five_classes(
        "onnx-torch",
        "ONNX of torchvision's B0, torch's older exporter",
        "google/cameratrapai#5",
        graphs.torchscript_onnx,
        "model.onnx",
        to="timm",
    ),
    _five_classes(
        "onnx-torch-unfolded",
        "ONNX of torchvision's B0, batch norms kept",
        "",
        graphs.unfolded_onnx,
        "model.onnx",
        to="torchvision",
    ),
    _five_classes(
        "onnx-timm",
        "ONNX of timm's `tf_efficientnet_b0`, torch's older exporter",
        "rwightman/gen-efficientnet-pytorch#38",
        graphs.timm_onnx,
        "model.onnx",
        to="keras-applications",
        slow=True,
    ),
    _five_classes(
        "onnx-dynamo",
        "ONNX of timm's `tf_efficientnet_b0`, torch's newer exporter, weights in a second file",
        "",
        graphs.dynamo_onnx,
        "model.onnx",
        to="timm-tf",
        slow=True,
    ),
    Situation(
        "onnx-keras",
        'ONNX of keras.applications\' B0, `model.export(format="onnx")`',
        "google/cameratrapai#5",
        graphs.keras_onnx,
        "model.onnx",
        "graph of tf2onnx",
        classes=4,
        head=DENSE,
        to="timm-tf",
        slow=True,
    ),
    Situation(
        "onnx-training",
        "ONNX exported in training mode",
        "",
        graphs.training_onnx,
        "model.onnx",
        refused=("training",),
        slow=True,
    ),
    Situation(
        "onnx-quantised",
        "ONNX quantised to integers",
        "",
        graphs.quantised_onnx,
        "model.onnx",
        refused=("quanti",),
        slow=True,
    ),
    Situation(
        "torchscript",
        "TorchScript of torchvision's B0",
        "",
        graphs.traced,
        "model.pt",
        "torchvision",
        classes=5,
        head=DENSE,
        to="timm",
    ),
    Situation(
        "torch-export",
        "`torch.export` of timm's `tf_efficientnet_b0`",
        "",
        graphs.exported_program,
        "model.pt2",
        "timm-tf",
        classes=5,
        head=DENSE,
        dialect="tensorflow",
        to="efficientnet-pytorch",
        slow=True,
    ),
    *(
        Situation(
            f"tflite-{kind}",
            f"TensorFlow Lite of keras.applications' B0, {kind}",
            "",
            graphs.tflite(kind),
            "model.tflite",
            "graph of TensorFlow Lite",
            classes=4,
            head=DENSE,
            to="timm-tf",
            options=options,
            scale=255,
            limit=limit,
            slow=True,
        )
        # What is rounded to float16 computes something else than what it was made from.
        for kind, options, limit in (
            ("float32", {}, LIMIT),
            ("float16", {"dtype": "float32"}, 5e-2),
        )
    ),
    Situation(
        "tflite-integers",
        "TensorFlow Lite, quantised to integers",
        "",
        graphs.tflite("integers"),
        "model.tflite",
        refused=("quanti",),
        slow=True,
    ),
)
