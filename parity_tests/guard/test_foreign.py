"""Networks of others agree with their counterparts, and a mistake in one is found where it is."""

from __future__ import annotations

import copy
from functools import lru_cache

import pytest
from torch import nn

from efficientnet_rosetta.common.guard.judge import judge
from efficientnet_rosetta.common.guard.onnx_file import OnnxProgram
from efficientnet_rosetta.common.guard.program import Given
from parity_tests.guard import foreign, planted
from parity_tests.guard.networks import images
from parity_tests.guard.playing import program

pytestmark = pytest.mark.slow
EXPORTERS = {"dynamo": True, "older": False}


def judged(first, second, given):
    return judge(first, second, Given.of(given))


def said(found):
    return found.divergence.operation, found.divergence.counterpart, found.kind.name


# ------------------------------------------------------------------ ResNet-50, of two libraries


@lru_cache(maxsize=1)
def resnets():
    mine, theirs = foreign.torchvision_resnet(), foreign.keras_resnet()
    foreign.port(mine, theirs)
    return mine, program(theirs)


def stride_where_torchvision_has_it(model):
    block = model.layer3[0]
    block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)


def epsilon_of_pytorch(model):
    model.layer3[2].bn2.eps = 1e-5


def kernel_transposed(model):
    weight = model.layer2[1].conv2.weight
    weight.data = weight.data.transpose(2, 3).clone()


def test_torchvision_and_keras_applications_agree_on_resnet_50():
    mine, theirs = resnets()
    found = judged(program(mine), theirs, images(64))
    assert found.agree
    assert found.precisions == ("float64", "float64")
    assert found.worst.error < 1e-11


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            stride_where_torchvision_has_it,
            ("layer3.0.conv1.convolution", "conv4_block1_1_conv", "stride"),
        ),
        (
            epsilon_of_pytorch,
            ("layer3.2.bn2.native_batch_norm", "conv4_block3_2_bn", "epsilon"),
        ),
        (kernel_transposed, ("layer2.1.conv2.convolution", "conv3_block2_2_conv", "layout")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_in_resnet_50_is_found(mistake, expected):
    mine, theirs = resnets()
    wrong = copy.deepcopy(mine)
    mistake(wrong)
    assert said(judged(program(wrong), theirs, images(64))) == expected


# ------------------------------------------------------------------ ConvNeXt, and two exports of it


@lru_cache(maxsize=2)
def convnext(exporter):
    model = planted.right("ConvNeXt")
    return OnnxProgram(planted.to_onnx(model, (images(64),), dynamo=EXPORTERS[exporter]))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_convnext_agrees_with_its_exports(exporter):
    assert judged(program(planted.right("ConvNeXt")), convnext(exporter), images(64)).agree


BLOCK = "stages.2.blocks.0"
OLDER = "/stages/stages.2/blocks/blocks.0"
AGAINST = {
    "GELU by tanh": (
        f"{BLOCK}.mlp.act.gelu",
        {"dynamo": "gelu_2", "older": f"{OLDER}/mlp/act/Gelu_output_0"},
        "activation",
    ),
    "no layer scale": (
        None,
        {"dynamo": "mul_2", "older": f"{OLDER}/Mul_output_0"},
        "missing operation",
    ),
    "kernel turned around": (
        f"{BLOCK}.conv_dw.convolution",
        {"dynamo": "conv2d_5", "older": f"{OLDER}/conv_dw/Conv_output_0"},
        "layout",
    ),
    "no activation": (
        None,
        {"dynamo": "gelu_2", "older": f"{OLDER}/mlp/act/Gelu_output_0"},
        "activation",
    ),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", AGAINST)
def test_a_mistake_in_convnext_is_found(exporter, name):
    change = next(
        change
        for network, mistake, _, change in planted.MISTAKES
        if (network, mistake) == ("ConvNeXt", name)
    )
    wrong = copy.deepcopy(planted.right("ConvNeXt"))
    change(wrong)
    operation, counterparts, kind = AGAINST[name]
    found = judged(program(wrong), convnext(exporter), images(64))
    assert said(found) == (operation, counterparts[exporter], kind)


# ------------------------------------------------------------------ a vision transformer


@lru_cache(maxsize=2)
def vit(exporter):
    model = foreign.transformers_vit()
    graph = planted.to_onnx(model, (images(32),), dynamo=EXPORTERS[exporter])
    return model, OnnxProgram(graph)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_vision_transformer_agrees_with_its_exports(exporter):
    model, graph = vit(exporter)
    assert judged(program(model), graph, images(32)).agree


def larger_epsilon(model):
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-2


def query_transposed(model):
    weight = model.vit.layers[1].attention.q_proj.weight
    weight.data = weight.data.T.clone()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            larger_epsilon,
            ("vit.layers.0.layernorm_before.native_layer_norm", "layer_norm", "epsilon"),
        ),
        (query_transposed, ("vit.layers.1.attention.q_proj.addmm", "linear_6", "weights")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_in_a_vision_transformer_is_found(mistake, expected):
    model, graph = vit("dynamo")
    wrong = copy.deepcopy(model)
    mistake(wrong)
    assert said(judged(program(wrong), graph, images(32))) == expected
