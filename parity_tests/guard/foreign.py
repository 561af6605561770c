"""Networks of others that are held against one another: two libraries', or a library's export."""

from __future__ import annotations

import keras
import numpy as np
import torch
from torch import nn

from parity_tests.guard.networks import images, settled
from parity_tests.peers import operators

KERAS_EPSILON = 1.001e-5  # of keras.applications' residual networks
BLOCKS = (3, 4, 6, 3)


def torchvision_resnet() -> nn.Module:
    """ResNet-50 of torchvision, as keras.applications has it.

    There the first block of a stage has its stride in the convolution of one pixel and not in that
    of nine, as in the paper, and epsilon is another one.
    """
    operators.declare()
    from torchvision.models import resnet50

    torch.manual_seed(0)
    model = resnet50()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = KERAS_EPSILON
    for stage in range(2, 5):
        block = model.get_submodule(f"layer{stage}.0")
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return settled(model, images(64, 4, 0))


def keras_resnet() -> keras.Model:
    """ResNet-50 of keras.applications, without weights of anybody's."""
    return keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classifier_activation=None
    )


def port(source: nn.Module, target: keras.Model) -> None:
    """Give torchvision's weights to keras.applications; its biases of convolutions become 0."""
    names = {"conv1": "conv1_conv", "bn1": "conv1_bn"}
    for stage, blocks in enumerate(BLOCKS, 1):
        for block in range(blocks):
            here, there = f"layer{stage}.{block}", f"conv{stage + 1}_block{block + 1}"
            for number in (1, 2, 3):
                names[f"{here}.conv{number}"] = f"{there}_{number}_conv"
                names[f"{here}.bn{number}"] = f"{there}_{number}_bn"
            if block == 0:
                names[f"{here}.downsample.0"] = f"{there}_0_conv"
                names[f"{here}.downsample.1"] = f"{there}_0_bn"
    names["fc"] = "predictions"
    for name, other in names.items():
        part, layer = source.get_submodule(name), target.get_layer(other)
        layer.set_weights(_weights(part, layer))


def _weights(part: nn.Module, layer: keras.Layer) -> list[np.ndarray]:
    arrays = {name: array.detach().numpy() for name, array in part.state_dict().items()}
    if isinstance(part, nn.BatchNorm2d):
        return [arrays[name] for name in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(part, nn.Linear):
        return [arrays["weight"].T, arrays["bias"]]
    return [arrays["weight"].transpose(2, 3, 1, 0), np.zeros(layer.bias.shape, np.float32)]


def transformers_vit() -> nn.Module:
    """A small vision transformer of transformers."""
    operators.declare()
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=10,
    )
    return settled(ViTForImageClassification(config))
