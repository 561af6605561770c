"""keras.applications' graphs as the configuration that a .keras file carries.

Written from the spec, so that porting to .keras builds no model.  Layers keep the names that
their layouts give them; what has no weights is named after its neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...architectures import changed
from ...blocks import FusedMBConvBlock, StagedNetwork
from ...images.normalization import IMAGENET_MEAN, IMAGENET_STD
from ...network import Layer, MapSection, Network
from ...spec import EfficientNetSpec, MBConvBlock
from ...v2 import SCALED, V2Spec
from ...xception import ResidualBlock, SeparableConv, XceptionSpec
from . import keras_applications
from .names import LayerNames
from .schema import Layout
from .xception import KERAS_NAMES

Config = dict[str, Any]
INITIALIZER = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
GLOROT = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"}  # Keras's default
DENSE_INITIALIZER = {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"}


def config(network: Network, activation: str = "softmax") -> Config:
    """The functional model of a network as Keras 3 describes it, with what its classes end in."""
    graph = _graph(network)
    graph.last = activation
    output = graph.build()
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "registered_name": "Functional",
        "config": {
            "name": graph.name,
            "trainable": True,
            "layers": graph.layers,
            "input_layers": ["input_layer", 0, 0],
            "output_layers": [output, 0, 0],
        },
    }


def model_of(layout: Layout, network: Network, activation: str | None) -> Config:
    """The model that a .keras file of a library has, whatever dialect its weights were trained in.

    `activation` is what the source says its classes end in.
    """
    theirs = changed(network, dialect=asdict(layout.dialects[network.name][0]))
    if layout.model_config is not None:
        return layout.model_config(theirs, activation)
    return config(theirs, activation or "softmax")


class _Graph(ABC):
    """Collects layers in Keras's order; a layer is referred to by its name, as in Keras.

    Shapes are those of one image, without the batch: (height, width, channels), or (channels,).
    """

    def __init__(self, name: str, network: Network, names: LayerNames):
        self.name, self.dialect = name, network.dialect
        self.resolution, self.in_channels = network.resolution, network.in_channels
        self.names = names.layers(network)
        self.known = {layer.role: layer for layer in network.layers}
        self.layers: list[Config] = []
        self.shapes: dict[str, list[int]] = {}
        self.last = "softmax"

    @abstractmethod
    def build(self) -> str:
        """Add every layer; the name of the last."""

    def image(self) -> str:
        """The input."""
        shape = [*self.resolution, self.in_channels]
        batch_shape = [None, *shape]
        return self.add(
            "InputLayer", "input_layer", shape=shape, batch_shape=batch_shape, dtype="float32"
        )

    def classifier(self, x: str, classes: int, initializer: Config) -> str:
        """With softmax, as keras.applications has it, unless the weights have another ending."""
        return self.add(
            "Dense",
            self.names["classifier"],
            x,
            shape=[classes],
            units=classes,
            activation=self.last,
            kernel_initializer=_initializer(initializer),
        )

    def batch_norm(self, x: str, role: str) -> str:
        """A batch norm in the numbers of the dialect."""
        return self.add(
            "BatchNormalization",
            self.names[role],
            x,
            axis=3,
            momentum=self.dialect.momentum,
            epsilon=self.dialect.epsilon,
        )

    def activation(self, x: str, name: str, function: str) -> str:
        """An elementwise function."""
        return self.add("Activation", name, x, activation=function)

    def pool(self, name: str, x: str) -> str:
        """The mean of a map."""
        return self.add("GlobalAveragePooling2D", name, x, shape=self.shapes[x][-1:])

    def add(
        self,
        kind: str,
        name: str,
        inputs: str | Sequence[str] = (),
        shape: list[int] | None = None,
        build: list[int] | None = None,
        **options: Any,
    ) -> str:
        """Append a layer, and return its name; its output has the shape of its first input's.

        `build` is the shape that the layer must be told when it is made, `options` its arguments.
        """
        sources = [inputs] if isinstance(inputs, str) else inputs
        self.shapes[name] = shape or self.shapes[sources[0]]
        self.layers.append(
            {
                "module": "keras.layers",
                "class_name": kind,
                "registered_name": None,
                "name": name,
                "config": {"name": name, "trainable": True, **options},
                "inbound_nodes": [self.node(inputs)] if inputs else [],
                **({"build_config": {"input_shape": [None, *build]}} if build else {}),
            }
        )
        if kind == "InputLayer":
            del self.layers[-1]["config"]["trainable"]
        return name

    def node(self, inputs: str | Sequence[str]) -> Config:
        """Where a layer's inputs come from."""
        if isinstance(inputs, str):
            return {"args": [self.tensor(inputs)], "kwargs": {}}
        return {"args": [[self.tensor(name) for name in inputs]], "kwargs": {}}

    def tensor(self, name: str) -> Config:
        """The output of a layer."""
        shape = [None, *self.shapes[name]]
        history = {"shape": shape, "dtype": "float32", "keras_history": [name, 0, 0]}
        return {"class_name": "__keras_tensor__", "config": history}


class _EfficientNet(_Graph):
    """keras.applications.EfficientNetB0 to B7."""

    def __init__(
        self,
        network: EfficientNetSpec | StagedNetwork,
        names: LayerNames = keras_applications.NAMES,
    ):
        super().__init__(f"efficientnet{network.name}", network, names)
        self.network = network

    def build(self) -> str:
        network = self.network
        x = self.normalized(self.image())
        x = self.convolution(x, "stem.conv", "stem_conv_pad")
        x = self.activation(self.batch_norm(x, "stem.bn"), "stem_activation", "silu")
        for block in network.blocks:
            x = self.block(x, block)
        x = self.batch_norm(self.convolution(x, "head.conv"), "head.bn")
        x = self.activation(x, "top_activation", "silu")
        if network.classifier is None:
            return x
        x = self.pool("avg_pool", x)
        if network.classifier.dropout > 0:
            x = self.add("Dropout", "top_dropout", x, rate=network.classifier.dropout)
        return self.classifier(x, network.classifier.num_classes, DENSE_INITIALIZER)

    def normalized(self, x: str) -> str:
        """keras.applications' normalization of the image."""
        shape = self.shapes[x]
        x = self.add("Rescaling", "rescaling", x, scale=1 / 255, offset=0.0)
        # Its mean and variance are weights, which build() makes room for.
        return self.add("Normalization", "normalization", x, build=shape, axis=[3])

    def block(self, x: str, block: Any) -> str:
        """One block, the input of which is added where it has a skip."""
        prefix = self.names[f"{block.role}.project_conv"].removesuffix("project_conv")
        start, x = x, self.path(x, block, prefix)
        if not block.has_skip:
            return x
        if block.drop_path_rate > 0:
            noise = [None, 1, 1, 1]
            x = self.add(
                "Dropout", f"{prefix}drop", x, rate=block.drop_path_rate, noise_shape=noise
            )
        return self.add("Add", f"{prefix}add", [x, start])

    def path(self, x: str, block: MBConvBlock, prefix: str) -> str:
        """The way through an MBConv."""
        if block.has_expansion:
            x = self.convolution(x, f"{block.role}.expand_conv")
            x = self.batch_norm(x, f"{block.role}.expand_bn")
            x = self.activation(x, f"{prefix}expand_activation", "silu")
        x = self.convolution(x, f"{block.role}.depthwise_conv", f"{prefix}dwconv_pad")
        x = self.batch_norm(x, f"{block.role}.depthwise_bn")
        x = self.activation(x, f"{prefix}activation", "silu")
        gate = self.pool(f"{prefix}se_squeeze", x)
        shape = [1, 1, block.expanded_channels]
        gate = self.add("Reshape", f"{prefix}se_reshape", gate, shape=shape, target_shape=shape)
        gate = self.convolution(gate, f"{block.role}.se_reduce", activation="silu")
        gate = self.convolution(gate, f"{block.role}.se_expand", activation="sigmoid")
        x = self.add("Multiply", f"{prefix}se_excite", [x, gate])
        x = self.convolution(x, f"{block.role}.project_conv")
        return self.batch_norm(x, f"{block.role}.project_bn")

    def convolution(self, x: str, role: str, pad: str = "", activation: str = "linear") -> str:
        """A convolution; one of stride 2 may take a padding layer before it, called `pad`."""
        layer = self.known[role]
        x, padding = self.padded(x, layer, pad)
        depthwise = layer.kind == "depthwise_conv"
        kernel = "depthwise_initializer" if depthwise else "kernel_initializer"
        options: Config = {kernel: _initializer(INITIALIZER)}
        if not depthwise:
            options["filters"] = layer.out_channels
        return self.add(
            "DepthwiseConv2D" if depthwise else "Conv2D",
            self.names[role],
            x,
            shape=[*layer.output_size, layer.out_channels],
            kernel_size=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            padding=padding,
            use_bias=layer.bias,
            activation=activation,
            **options,
        )

    def padded(self, x: str, layer: Layer, name: str) -> tuple[str, str]:
        """The input of a convolution, and how that pads it."""
        if layer.stride == 1:
            return x, "same"
        sides = self.padding(layer)
        *size, channels = self.shapes[x]
        shape = [side + sum(zeros) for side, zeros in zip(size, sides, strict=True)]
        x = self.add("ZeroPadding2D", name, x, shape=[*shape, channels], padding=sides)
        return x, "valid"

    def padding(self, layer: Layer) -> list[list[int]]:
        """Zeros for the map that a strided layer sees, which its file fixes for good."""
        inputs = {self.network.stem.role: self.network.stem.input_size}
        inputs |= {block.role: block.input_size for block in self.network.blocks}
        size = inputs[layer.role.rpartition(".")[0]]
        pad = self.dialect.pad
        return [list(pad(side, layer.kernel, layer.stride, layer.kind)) for side in size]


class _EfficientNetV2(_EfficientNet):
    """keras.applications.EfficientNetV2B0 to B3, S, M and L: convolutions pad by themselves."""

    def __init__(self, network: V2Spec):
        super().__init__(network, keras_applications.V2_NAMES)

    def normalized(self, x: str) -> str:
        """B0 to B3 see images as the first EfficientNets did, unless their channels are others."""
        if self.network.name not in SCALED or self.in_channels != len(IMAGENET_MEAN):
            return self.add("Rescaling", "rescaling", x, scale=1 / 128, offset=-1)
        x = self.add("Rescaling", "rescaling", x, scale=1 / 255, offset=0.0)
        mean, variance = IMAGENET_MEAN.tolist(), (IMAGENET_STD**2).tolist()
        return self.add("Normalization", "normalization", x, axis=[3], mean=mean, variance=variance)

    def padded(self, x: str, layer: Layer, name: str) -> tuple[str, str]:
        return x, "same"

    def path(self, x: str, block: MapSection, prefix: str) -> str:
        if isinstance(block, MBConvBlock):
            return super().path(x, block, prefix)
        assert isinstance(block, FusedMBConvBlock)
        if block.has_expansion:
            x = self.convolution(x, f"{block.role}.expand_conv")
            x = self.batch_norm(x, f"{block.role}.expand_bn")
            x = self.activation(x, f"{prefix}expand_activation", "silu")
        x = self.convolution(x, f"{block.role}.project_conv")
        x = self.batch_norm(x, f"{block.role}.project_bn")
        if not block.has_expansion:
            x = self.activation(x, f"{prefix}project_activation", "silu")
        return x


class _Xception(_Graph):
    """keras.applications.Xception."""

    def __init__(self, network: XceptionSpec):
        super().__init__("xception", network, KERAS_NAMES)
        self.network = network

    def build(self) -> str:
        network = self.network
        x = self.image()
        for part in network.stem:
            x = self.convolution(x, f"{part.role}.conv", "valid")
            x = self.batch_norm(x, f"{part.role}.bn")
            x = self.activation(x, f"{self.names[f'{part.role}.conv']}_act", "relu")
        for number, block in enumerate(network.blocks):
            x = self.block(x, block, f"add_{number}" if number else "add")
        for end in network.head:
            x = self.separable(x, end.separable)
            x = self.activation(x, self.act(end.separable), "relu")
        if network.classifier is None:
            return x
        return self.classifier(self.pool("avg_pool", x), network.classifier.num_classes, GLOROT)

    def act(self, conv: SeparableConv) -> str:
        """What the activation beside a separable convolution is called."""
        return f"{self.names[f'{conv.role}.pointwise_conv']}_act"

    def block(self, x: str, block: ResidualBlock, name: str) -> str:
        """One block, whose sum is called `name`."""
        start = x
        for conv in block.separable:
            if conv.relu_first:
                x = self.activation(x, self.act(conv), "relu")
            x = self.separable(x, conv)
        if block.has_projection:
            start = self.convolution(start, f"{block.role}.shortcut_conv", "same")
        if block.has_pool:
            number = block.index + 2  # after the two convolutions of block 1
            x = self.add(
                "MaxPooling2D",
                f"block{number}_pool",
                x,
                shape=[*block.output_size, block.out_channels],
                pool_size=[block.kernel] * 2,
                strides=[block.stride] * 2,
                padding="same",
            )
        if block.has_projection:
            start = self.batch_norm(start, f"{block.role}.shortcut_bn")
        return self.add("Add", name, [x, start])

    def separable(self, x: str, conv: SeparableConv) -> str:
        """A separable convolution and its batch norm."""
        role = f"{conv.role}.pointwise_conv"
        x = self.add(
            "SeparableConv2D",
            self.names[role],
            x,
            shape=[*conv.size, conv.out_channels],
            filters=conv.out_channels,
            kernel_size=[conv.kernel] * 2,
            padding="same",
            use_bias=False,
        )
        return self.batch_norm(x, f"{conv.role}.bn")

    def convolution(self, x: str, role: str, padding: str) -> str:
        """A plain convolution."""
        layer = self.known[role]
        return self.add(
            "Conv2D",
            self.names[role],
            x,
            shape=[*layer.output_size, layer.out_channels],
            filters=layer.out_channels,
            kernel_size=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            padding=padding,
            use_bias=False,
        )


def _graph(network: Network) -> _Graph:
    if isinstance(network, EfficientNetSpec):
        return _EfficientNet(network)
    if isinstance(network, V2Spec):
        return _EfficientNetV2(network)
    if isinstance(network, XceptionSpec):
        return _Xception(network)
    raise TypeError(f"keras.applications has no {network.title}")


def _initializer(options: Config) -> Config:
    return {"module": "keras.initializers", "class_name": "VarianceScaling", "config": options}
