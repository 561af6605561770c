"""Google's own TensorFlow checkpoints: variables, and their moving averages beside them.

tensorflow/tpu has EfficientNet, Lite and EdgeTPU, google/automl EfficientNetV2.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import KERAS
from ...edgetpu import EDGETPU
from ...images.normalization import IMAGENET, LITE_PIXELS, V2_PIXELS
from ...lite import LITE
from ...network import AUTOML, TENSORFLOW
from ...spec import PRESETS
from ...v2 import SCALED, TABLED
from .keras_applications import ATTRIBUTE
from .names import StagedNames
from .schema import TENSORFLOW_ORDER, TENSORFLOW_TENSORS, Form, Layout, same_for

# Of the optimizers that the programs know.
IGNORED = r"^(global_step|beta[12]_power)$|/(RMSProp|Momentum|Adam)(_1)?$"
NAMES = StagedNames(
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
    fused={
        "expand_conv": "conv2d",
        "expand_bn": "tpu_batch_normalization",
        "project_conv": "conv2d_1",
        "project_bn": "tpu_batch_normalization_1",
    },
    fused_plain={"project_conv": "conv2d", "project_bn": "tpu_batch_normalization"},
    head_conv="efficientnet-{P}/head/conv2d",
    head_bn="efficientnet-{P}/head/tpu_batch_normalization",
    classifier="efficientnet-{P}/head/dense",
    presets={preset: preset[:-1] + preset[-1].upper() for preset in EDGETPU.presets},
)
FORM = Form(
    names=NAMES,
    path="{layer}/{tensor}",
    tensors=TENSORFLOW_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=IGNORED,
    ignored_why="state of the optimizer",
    # Not named by the program, and so of the second network in a process stem_1 and head_1.
    numbered=("stem", "head"),
)

TPU = Layout(
    name="tpu",
    library="tensorflow/tpu",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW),
    forms={"tf-checkpoint": FORM},
    expects="RGB / 255, then ImageNet mean and deviation; AdvProp weights use 0.5 for both",
    framework=KERAS,
)
TPU_LITE = replace(
    TPU,
    library="tensorflow/tpu (Lite)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW),
    expects="(RGB - 127) / 128",
    normalization=LITE_PIXELS,
)
TPU_EDGETPU = replace(
    TPU_LITE,
    library="tensorflow/tpu (EdgeTPU)",
    presets=EDGETPU.presets,
    dialects=same_for(EDGETPU.presets, TENSORFLOW),
    notes=("its own networks have 1,001 classes, of which the first is the background",),
)

# ------------------------------------------------------------------ google/automl

# What V2's Keras model is called, before a number that the preset begins with.
V2_NAMES = replace(
    NAMES,
    **{
        name: getattr(NAMES, name).replace("efficientnet-{P}", "efficientnet{P}")
        for name in ("stem_conv", "stem_bn", "block", "head_conv", "head_bn", "classifier")
    },
)
V2_FORM = replace(FORM, names=V2_NAMES)
# `save_weights` of the same model, by its attributes.
OBJECTS = replace(
    FORM,
    names=StagedNames(
        stem_conv="_stem/_conv_stem",
        stem_bn="_stem/_norm",
        block="_blocks/{I}/",
        expanded={
            "expand_conv": "_expand_conv",
            "expand_bn": "_norm0",
            "depthwise_conv": "_depthwise_conv",
            "depthwise_bn": "_norm1",
            "se_reduce": "_se/_se_reduce",
            "se_expand": "_se/_se_expand",
            "project_conv": "_project_conv",
            "project_bn": "_norm2",
        },
        fused={
            "expand_conv": "_expand_conv",
            "expand_bn": "_norm0",
            "project_conv": "_project_conv",
            "project_bn": "_norm1",
        },
        fused_plain={"project_conv": "_project_conv", "project_bn": "_norm1"},
        head_conv="_head/_conv_head",
        head_bn="_head/_norm",
        classifier="_fc",
    ),
    path=f"{{layer}}/{{tensor}}/{ATTRIBUTE}",
    ignored=r"^(save_counter|optimizer|keras_api)/|/\.OPTIMIZER_SLOT/",
    ignored_why="state of the training",
    numbered=(),
)

AUTOML_SCALED = Layout(
    name="automl",
    library="google/automl (EfficientNetV2)",
    presets=SCALED,
    dialects=same_for(SCALED, AUTOML),
    forms={"tf-checkpoint": V2_FORM},
    also_read={"tf-checkpoint": (OBJECTS,)},
    expects="RGB / 255, then ImageNet mean and deviation",
    normalization=IMAGENET,
    framework=KERAS,
)
AUTOML_TABLED = replace(
    AUTOML_SCALED,
    presets=TABLED,
    dialects=same_for(TABLED, AUTOML),
    expects="(RGB - 128) / 128",
    normalization=V2_PIXELS,
)
