"""Xception's layouts: keras.applications, KerasHub, and timm's `legacy_xception`.

timm's weights came from Keras, and timm runs them in another dialect: epsilon 1e-5 for 1e-3, and
symmetric poolings.  Its `xception41`, `65` and `71` are another network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ...backends.registry import KERAS, TORCH
from ...images.normalization import INCEPTION
from ...network import PYTORCH, TENSORFLOW, Layer, Network, Section
from ...xception import XCEPTION, ResidualBlock, XceptionSpec
from ..formats.detect import KERAS_ARCHIVE, PYTORCH_FILE
from .keras_applications import ATTRIBUTE, COPIES, COUNTED_TENSORS, LEGACY_TENSORS, NESTED_PATH
from .names import Counters, Ordered, Roles
from .schema import (
    BY_NAME,
    TENSORFLOW_ORDER,
    TENSORFLOW_TENSORS,
    Form,
    Layout,
    same_for,
    state_dict,
)
from .smp import REST

PRESETS = XCEPTION.presets

Values = dict[str, str | int]  # of the placeholders of a template
Place = tuple[Layer, str, Values]  # a layer, and the template of its name


@dataclass(frozen=True)
class XceptionNames:
    """Templates for the names of Xception's layers.

    `{N}` is a convolution of the stem, or a separable one, from 1; `{K}` is the block as Keras
    counts them, from 2 on (after the stem) to 14 (the head), and `{T}` as timm does, one less;
    `{C}` and `{B}` are the places of a separable convolution and its batch norm in timm's list
    of a block's layers, of which a leading ReLU is one; `{R}` numbers shortcuts, `_1` being the
    second.
    """

    stem_conv: str
    stem_bn: str
    depthwise: str
    pointwise: str
    bn: str
    shortcut_conv: str
    shortcut_bn: str
    head_depthwise: str
    head_pointwise: str
    head_bn: str
    classifier: str
    territory: ClassVar[str] = r"block\d+[._]"

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role.

        Raises:
            TypeError: the network is no Xception.
        """
        if not isinstance(network, XceptionSpec):
            raise TypeError(f"{network.title} is no Xception")
        return {layer.role: template.format(**v) for layer, template, v in self._places(network)}

    def _places(self, network: XceptionSpec) -> Iterator[Place]:
        for number, section in enumerate(network.stem, 1):
            yield from _each(section, (self.stem_conv, self.stem_bn), {"N": number})
        projected = 0
        for block in network.blocks:
            values: Values = {"K": block.index + 2, "T": block.index + 1}
            yield from self._separable(block, values)
            if block.has_projection:
                values["R"] = f"_{projected}" if projected else ""
                projected += 1
                shortcut = (self.shortcut_conv, self.shortcut_bn)
                yield from zip(block.layers[-2:], shortcut, [values] * 2, strict=True)
        for number, end in enumerate(network.head, 1):
            templates = (self.head_depthwise, self.head_pointwise, self.head_bn)
            values = {"N": number, "N2": number + 2, "K": len(network.blocks) + 2}
            yield from _each(end, templates, values)
        if network.classifier is not None:
            yield from _each(network.classifier, (self.classifier,), {})

    def _separable(self, block: ResidualBlock, values: Values) -> Iterator[Place]:
        layers = iter(block.layers)
        for number in range(len(block.separable)):
            place = 3 * number + (1 if block.separable[0].relu_first else 0)
            places = {**values, "N": number + 1, "C": place, "B": place + 1}
            for template in (self.depthwise, self.pointwise, self.bn):
                yield next(layers), template, places


def _each(section: Section, templates: tuple[str, ...], values: Values) -> Iterator[Place]:
    for layer, template in zip(section.layers, templates, strict=True):
        yield layer, template, values


# ------------------------------------------------------------------ keras.applications

KERAS_NAMES = XceptionNames(
    stem_conv="block1_conv{N}",
    stem_bn="block1_conv{N}_bn",
    depthwise="block{K}_sepconv{N}",
    pointwise="block{K}_sepconv{N}",
    bn="block{K}_sepconv{N}_bn",
    # Not named there, and so numbered through a session: the second model has conv2d_4 to 7.
    shortcut_conv="conv2d{R}",
    shortcut_bn="batch_normalization{R}",
    head_depthwise="block{K}_sepconv{N}",
    head_pointwise="block{K}_sepconv{N}",
    head_bn="block{K}_sepconv{N}_bn",
    classifier="predictions",
)
NUMBERED = ("conv2d", "batch_normalization")

LEGACY = Form(
    names=KERAS_NAMES,
    path="{layer}/{layer}/{tensor}",
    tensors=LEGACY_TENSORS,
    orientation=TENSORFLOW_ORDER,
    numbered=NUMBERED,
)
LEGACY_OF_KERAS_3 = replace(LEGACY, tensors=TENSORFLOW_TENSORS)
LEGACY_NESTED = replace(LEGACY, path=NESTED_PATH)
LEGACY_NESTED_OF_KERAS_3 = replace(LEGACY_OF_KERAS_3, path=NESTED_PATH)
COUNTED = Form(
    names=Counters(),
    path="{layer}/vars/{tensor}",
    tensors=COUNTED_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored="^optimizer/",
    ignored_why="state of the optimizer",
    layer_names=KERAS_NAMES,
)
# The same file by the names that Keras writes beside its counters.
NAMED = replace(COUNTED, names=KERAS_NAMES, path="layers/{layer}/vars/{tensor}", numbered=NUMBERED)
OBJECTS = Form(
    names=Ordered("layer_with_weights-{number}", first=0),
    path=f"{{layer}}/{{tensor}}/{ATTRIBUTE}",
    tensors=TENSORFLOW_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=r"^(save_counter|optimizer|keras_api)/|/\.OPTIMIZER_SLOT/",
    ignored_why="state of the training",
    shifted="layer_with_weights-{number}/",
)
EXPORTED = Form(
    names=Roles(),
    path="variables/{number}",
    tensors=TENSORFLOW_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=COPIES,
    ignored_why="second copies of variables",
    shifted="variables/{number}",
)
EXPECTS = "RGB from -1 to 1: x / 127.5 - 1"

KERAS_APPLICATIONS_XCEPTION = Layout(
    name="keras-applications",
    library="keras.applications (Xception)",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": LEGACY, "weights.h5": COUNTED, KERAS_ARCHIVE: COUNTED},
    expects=EXPECTS,
    normalization=INCEPTION,
    framework=KERAS,
    has_graph=True,
    also_read={
        "h5": (LEGACY_OF_KERAS_3, LEGACY_NESTED, LEGACY_NESTED_OF_KERAS_3),
        BY_NAME: (NAMED,),
        "tf-checkpoint": (OBJECTS,),
        "saved-model": (OBJECTS, EXPORTED),
    },
)
KERAS_HUB_XCEPTION = Layout(
    name="keras-hub",
    library="keras-hub (Xception)",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={
        "weights.h5": replace(
            COUNTED, names=Counters(backbone="xception_backbone/layers/"), layer_names=None
        )
    },
    expects=EXPECTS,
    normalization=INCEPTION,
    framework=KERAS,
)

# ------------------------------------------------------------------ timm

TIMM_NAMES = XceptionNames(
    stem_conv="conv{N}",
    stem_bn="bn{N}",
    depthwise="block{T}.rep.{C}.conv1",
    pointwise="block{T}.rep.{C}.pointwise",
    bn="block{T}.rep.{B}",
    shortcut_conv="block{T}.skip",
    shortcut_bn="block{T}.skipbn",
    head_depthwise="conv{N2}.conv1",
    head_pointwise="conv{N2}.pointwise",
    head_bn="bn{N2}",
    classifier="fc",
)
# The same keys, but another network.  By itself, without its decoder, it cannot be told apart.
PADDED_STEM = (REST, "an encoder of segmentation_models_pytorch, which pads its stem")
FORM = replace(state_dict(TIMM_NAMES), another=PADDED_STEM)
# pretrainedmodels, whose loader renames the classifier.
LAST_LINEAR = replace(FORM, names=replace(TIMM_NAMES, classifier="last_linear"))

TIMM_XCEPTION = Layout(
    name="timm",
    library="timm (legacy_xception)",
    presets=PRESETS,
    dialects=same_for(PRESETS, PYTORCH),
    forms={"safetensors": FORM, PYTORCH_FILE: FORM},
    also_read={"safetensors": (LAST_LINEAR,), PYTORCH_FILE: (LAST_LINEAR,)},
    expects=EXPECTS,
    normalization=INCEPTION,
    framework=TORCH,
)
