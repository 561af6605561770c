"""The paper's own TensorFlow checkpoints: variables, and their moving averages beside them."""

from __future__ import annotations

from ...backends.registry import KERAS
from ...network import TENSORFLOW
from ...spec import PRESETS
from .schema import TENSORFLOW_ORDER, TENSORFLOW_TENSORS, EfficientNetNames, Form, Layout, same_for

TPU = Layout(
    name="tpu",
    library="tensorflow/tpu",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW),
    forms={
        "tf-checkpoint": Form(
            names=EfficientNetNames(
                stem_conv="efficientnet-{P}/stem/conv2d",
                stem_bn="efficientnet-{P}/stem/tpu_batch_normalization",
                block="efficientnet-{P}/blocks_{I}/",
                expanded={
                    "expand_conv": "conv2d",
                    "expand_bn": "tpu_batch_normalization",
                    "depthwise_conv": "depthwise_conv2d",
                    "depthwise_bn": "tpu_batch_normalization_1",
                    "se_reduce": "se/conv2d",
                    "se_expand": "se/conv2d_1",
                    "project_conv": "conv2d_1",
                    "project_bn": "tpu_batch_normalization_2",
                },
                # Numbered by use: without the expansion everything moves up by one.
                plain={
                    "depthwise_conv": "depthwise_conv2d",
                    "depthwise_bn": "tpu_batch_normalization",
                    "se_reduce": "se/conv2d",
                    "se_expand": "se/conv2d_1",
                    "project_conv": "conv2d",
                    "project_bn": "tpu_batch_normalization_1",
                },
                head_conv="efficientnet-{P}/head/conv2d",
                head_bn="efficientnet-{P}/head/tpu_batch_normalization",
                classifier="efficientnet-{P}/head/dense",
            ),
            path="{layer}/{tensor}",
            tensors=TENSORFLOW_TENSORS,
            orientation=TENSORFLOW_ORDER,
            ignored=r"^global_step$|/(RMSProp|Momentum)(_1)?$",
            ignored_why="state of the optimizer",
        )
    },
    expects="RGB / 255, then ImageNet mean and deviation; AdvProp weights use 0.5 for both",
    framework=KERAS,
)
