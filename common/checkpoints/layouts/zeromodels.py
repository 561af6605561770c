"""zeromodels: EfficientNet, Lite and V2 in Keras 3, with the weights of timm's `tf_` models.

Keras keeps them by counters, which other libraries' files have too.  The layers' names beside the
counters are its own, and what its files are recognised by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...backends.registry import KERAS
from ...images.normalization import INCEPTION
from ...lite import LITE, LiteSpec
from ...network import AUTOML, TENSORFLOW, Network
from ...spec import PRESETS, EfficientNetSpec
from ...v2 import SCALED, TABLED, V2Spec
from ..formats.detect import KERAS_ARCHIVE
from .keras_applications import COUNTED_TENSORS, NESTED_PATH, OF_KERAS_3
from .names import Counters, StagedNames
from .schema import BY_NAME, TENSORFLOW_ORDER, Form, Layout, same_for
from .timm import IMAGENET_EXPECTED, MINUS_ONE_TO_ONE

NAMES = StagedNames(
    stem_conv="conv_stem",
    stem_bn="batchnorm_1",
    block="blocks_{S}_{B}_",
    expanded={
        "expand_conv": "conv2d_1",
        "expand_bn": "batchnorm_1",
        "depthwise_conv": "dwconv2d",
        "depthwise_bn": "batchnorm_2",
        "se_reduce": "se_conv_reduce",
        "se_expand": "se_conv_expand",
        "project_conv": "conv2d_2",
        "project_bn": "batchnorm_3",
    },
    head_conv="conv_head",
    head_bn="batchnorm_2",
    classifier="predictions",
)
V2_NAMES = StagedNames(
    stem_conv="conv_stem",
    stem_bn="batchnorm1",
    block="blocks_{S}_{B}_",
    expanded={
        "expand_conv": "MBconv1",
        "expand_bn": "batchnorm1",
        "depthwise_conv": "MBdwconv",
        "depthwise_bn": "batchnorm2",
        "se_reduce": "se_conv_reduce",
        "se_expand": "se_conv_expand",
        "project_conv": "MBconv2",
        "project_bn": "batchnorm3",
    },
    fused={
        "expand_conv": "FMBconv1",
        "expand_bn": "batchnorm1",
        "project_conv": "FMBconv2",
        "project_bn": "batchnorm2",
    },
    fused_plain={"project_conv": "FMBconv2", "project_bn": "batchnorm2"},
    head_conv="conv_head",
    head_bn="batchnorm2",
    classifier="predictions",
)


# ------------------------------------------------------------------ what a .keras file says


def model_config(network: Network, activation: str | None) -> dict[str, Any]:
    """How Keras makes a model of the library's own class; logits where no activation is known.

    Raises:
        TypeError: the library has no class for the network.
    """
    if isinstance(network, V2Spec):
        folder, name = "efficientnetv2", "EfficientNetV2"
        table = "B" if network.table == "b0" else network.table.upper()
        own = {"block_arch": name + table, "head_filters": network.head.out_channels}
    elif isinstance(network, LiteSpec):
        folder, name = "efficientnet_lite", "EfficientNetLite"
        own = {"drop_connect_rate": network.drop_path_rate}
    elif isinstance(network, EfficientNetSpec):
        folder, name, own = "efficientnet", "EfficientNet", {}
    else:
        raise TypeError(f"zeromodels has no {network.title}")
    name += "Model" if network.num_classes is None else "ImageClassify"
    head = {
        "num_classes": network.num_classes,
        "classifier_activation": activation or "linear",
        "dropout_rate": network.dropout,
    }
    return {
        "module": f"zeromodels.models.{folder}.{folder}_model",
        "class_name": name,
        "registered_name": f"zeromodels>{name}",
        "config": {
            "name": name,
            "trainable": True,
            "dtype": "float32",
            "width_coefficient": network.width,
            "depth_coefficient": network.depth,
            "default_size": network.resolution[0],
            "image_size": [*network.resolution, network.in_channels],
            **own,
            **({} if network.num_classes is None else head),
        },
    }


# ------------------------------------------------------------------ layouts


def _forms(names: StagedNames) -> dict[str, Form]:
    """The forms that are written, by format."""
    named_by_path = Form(
        names=names,
        path="{layer}/{layer}/{tensor}",
        tensors=OF_KERAS_3,
        orientation=TENSORFLOW_ORDER,
    )
    counted = Form(
        names=Counters(),
        path="{layer}/vars/{tensor}",
        tensors=COUNTED_TENSORS,
        orientation=TENSORFLOW_ORDER,
        ignored="^optimizer/",
        ignored_why="state of the optimizer",
        layer_names=names,
        written_only=True,
    )
    return {"h5": named_by_path, "weights.h5": counted, KERAS_ARCHIVE: counted}


def _also_read(names: StagedNames) -> dict[str, tuple[Form, ...]]:
    """A model inside another, and the counted files by the names in them."""
    forms = _forms(names)
    named = replace(
        forms["weights.h5"],
        names=names,
        path="layers/{layer}/vars/{tensor}",
        layer_names=None,
        written_only=False,
    )
    return {"h5": (replace(forms["h5"], path=NESTED_PATH),), BY_NAME: (named,)}


IMPORT_FIRST = "import zeromodels before Keras loads a .keras file, which is of a class of its own"

ZEROMODELS = Layout(
    name="zeromodels",
    library="zeromodels (EfficientNet)",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW),
    forms=_forms(NAMES),
    expects="RGB / 255, then ImageNet mean and deviation; AdvProp weights use 0.5 for both",
    framework=KERAS,
    model_config=model_config,
    notes=(IMPORT_FIRST,),
    also_read=_also_read(NAMES),
)
ZEROMODELS_LITE = replace(
    ZEROMODELS,
    library="zeromodels (EfficientNet-Lite)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW),
    expects=MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
    notes=(
        IMPORT_FIRST,
        "its image processor takes ImageNet's mean and deviation unless it is given others; "
        "timm's weights of Lite, which are its own, want 0.5 for both",
    ),
)
ZEROMODELS_V2_SCALED = replace(
    ZEROMODELS,
    library="zeromodels (EfficientNetV2)",
    presets=SCALED,
    dialects=same_for(SCALED, AUTOML),
    forms=_forms(V2_NAMES),
    expects=f"{IMAGENET_EXPECTED}; B3's weights from 21k classes use 0.5",
    notes=(
        IMPORT_FIRST,
        "its image processor takes 0.5 as mean and deviation unless it is given others; timm's "
        "weights of B0 to B2, which are its own, want ImageNet's",
    ),
    also_read=_also_read(V2_NAMES),
)
V2_BELOW_XL = tuple(name for name in TABLED if name != "v2-xl")
ZEROMODELS_V2 = replace(
    ZEROMODELS_V2_SCALED,
    presets=V2_BELOW_XL,
    dialects=same_for(V2_BELOW_XL, AUTOML),
    expects=MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
    notes=(IMPORT_FIRST,),
)
ZEROMODELS_V2_XL = replace(
    ZEROMODELS_V2,
    presets=("v2-xl",),
    dialects=same_for(("v2-xl",), AUTOML),
    notes=(
        IMPORT_FIRST,
        "Keras builds its XL only after sys.setrecursionlimit(2000): it goes down layer by layer",
    ),
)
