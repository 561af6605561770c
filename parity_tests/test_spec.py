"""The specification against the paper and the released code, as literals."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from efficientnet_rosetta.common import spec
from efficientnet_rosetta.common.network import (
    AUTOML,
    DIALECTS,
    PYTORCH,
    TENSORFLOW,
    same_padding,
    symmetric_padding,
)
from efficientnet_rosetta.common.spec import (
    PRESETS,
    TABLE_1,
    compound_scaling,
    resolve,
    scale_channels,
)

# Resolved networks: stem, outputs of stages 2 to 8, head, blocks per stage, and the stride-2
# depthwise convolutions that see an odd map at native size (block index: input size), which is
# where SAME padding is symmetric.  Source: the released builder, timm's tf_efficientnet_*.
# fmt: off
RESOLVED = {
    "b0": (32, (16, 24, 40, 80, 112, 192, 320), 1280, (1, 2, 2, 3, 3, 4, 1), {}),
    "b1": (32, (16, 24, 40, 80, 112, 192, 320), 1280, (2, 3, 3, 4, 4, 5, 2), {16: 15}),
    "b2": (32, (16, 24, 48, 88, 120, 208, 352), 1408, (2, 3, 3, 4, 4, 5, 2),
           {5: 65, 8: 33, 16: 17}),
    "b3": (40, (24, 32, 48, 96, 136, 232, 384), 1536, (2, 3, 3, 5, 5, 6, 2), {5: 75, 18: 19}),
    "b4": (48, (24, 32, 56, 112, 160, 272, 448), 1792, (2, 4, 4, 6, 6, 8, 2), {6: 95}),
    "b5": (48, (24, 40, 64, 128, 176, 304, 512), 2048, (3, 5, 5, 7, 7, 9, 3), {13: 57, 27: 29}),
    "b6": (56, (32, 40, 72, 144, 200, 344, 576), 2304, (3, 6, 6, 8, 8, 11, 3), {31: 33}),
    "b7": (64, (32, 48, 80, 160, 224, 384, 640), 2560, (4, 7, 7, 10, 10, 13, 4), {18: 75}),
    "b8": (72, (32, 56, 88, 176, 248, 424, 704), 2816, (4, 8, 8, 11, 11, 15, 4), {}),
    "l2": (136, (72, 104, 176, 344, 480, 824, 1376), 5504, (6, 11, 11, 16, 16, 22, 6), {}),
}
LAST_DROP_PATH = {
    "b0": 0.1875, "b1": 0.1913, "b2": 0.1913, "b3": 0.1923, "b4": 0.1938,
    "b5": 0.1949, "b6": 0.1956, "b7": 0.1964, "b8": 0.1967, "l2": 0.1977,
}
# Table 1 of the paper: stage, resolution of its input, output channels, layers.
TABLE_1_PRINTED = [
    (2, 112, 16, 1), (3, 112, 24, 2), (4, 56, 40, 2), (5, 28, 80, 3),
    (6, 14, 112, 3), (7, 14, 192, 4), (8, 7, 320, 1),
]
# fmt: on


@pytest.mark.parametrize("preset", PRESETS)
def test_resolved_blocks_are_those_of_the_released_models(preset):
    network = resolve(preset)
    stem, channels, head, layers, odd = RESOLVED[preset]
    stages = [[b for b in network.blocks if b.stage == row.number] for row in TABLE_1]
    assert network.stem.out_channels == stem
    assert tuple(blocks[-1].out_channels for blocks in stages) == channels
    assert network.head.out_channels == head
    assert tuple(map(len, stages)) == layers
    strided = {b.index: b.input_size[0] for b in network.blocks if b.stride == 2}
    assert {index: size for index, size in strided.items() if size % 2} == odd


@pytest.mark.parametrize("preset", PRESETS)
def test_every_block_follows_from_the_one_before(preset):
    network = resolve(preset)
    before = network.stem
    for index, block in enumerate(network.blocks):
        assert block.index == index
        assert (block.in_channels, block.input_size) == (before.out_channels, before.output_size)
        assert block.squeezed_channels == block.in_channels // 4
        assert block.expanded_channels == block.in_channels * (1 if block.stage == 2 else 6)
        assert block.has_expansion == (block.stage != 2)
        assert block.has_skip == (block.repeat > 0)
        assert block.drop_path_rate == pytest.approx(0.2 * index / len(network.blocks))
        before = block
    assert before.drop_path_rate == pytest.approx(LAST_DROP_PATH[preset], abs=5e-5)
    assert network.head.in_channels == before.out_channels


COMMON = Path(spec.__file__).parent
KNOWN_TO_EACH_OTHER = {
    *("network", "spec", "blocks", "lite", "v2", "v2_rw", "edgetpu", "xception"),
    *("errors", "architectures"),
    *("_util.arguments", "_util.resolving", "_util.one_line"),
    "arguments",  # from within _util
}


def test_b0_is_table_1_as_printed():
    network = resolve("b0")
    assert (network.stem.out_channels, network.stem.input_size) == (32, (224, 224))
    rows = [
        (row.number, first.input_size[0], first.out_channels, row.layers)
        for row in TABLE_1
        for first in [next(b for b in network.blocks if b.stage == row.number)]
    ]
    assert rows == TABLE_1_PRINTED
    assert (network.head.out_channels, network.head.input_size) == (1280, (7, 7))


def test_dropout_is_a_table_of_its_own():
    dropout = [preset.dropout for preset in PRESETS.values()]
    assert dropout == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5, 0.5, 0.5]


def test_compound_scaling_is_equation_3_and_not_the_presets():
    assert compound_scaling(0) == spec.Scaling(1.0, 1.0, 224)
    one = compound_scaling(1)
    assert (one.width, one.depth, one.resolution) == (1.1, 1.2, 258)
    b7 = PRESETS["b7"]
    for phi in (6, 7):
        scaling = compound_scaling(phi)
        assert (scaling.width, scaling.depth) != (b7.width, b7.depth)
        assert scaling.resolution != b7.resolution


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 1.0, 32), (32, 1.1, 32), (40, 1.1, 48), (16, 0.25, 8), (24, 0.01, 8), (80, 1.05, 88)],
)
def test_channels_are_multiples_of_8_and_at_least_90_percent(channels, width, expected):
    assert scale_channels(channels, width) == expected


@pytest.mark.parametrize("size", range(1, 40))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_covers_every_pixel_with_the_odd_zero_after(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    outputs = (size + before + after - kernel) // stride + 1
    assert outputs == -(-size // stride)
    assert after - before in (0, 1)
    if stride == 2 and size % 2 and size >= kernel:
        assert (before, after) == symmetric_padding(kernel)


def test_free_scaling():
    network = resolve(
        width=0.25,
        depth=0.5,
        resolution=(96, 64),
        num_classes=None,
        in_channels=1,
        drop_path_rate=0.5,
    )
    assert network.name == "custom"
    assert network.stem.in_channels == 1
    assert network.stem.output_size == (48, 32)
    assert network.classifier is None
    assert network.output == "features"
    assert network.blocks[-1].drop_path_rate == 0.5 * (len(network.blocks) - 1) / len(
        network.blocks
    )
    # At this width a stage's first block may have a skip: stride 1 and 8 channels on both sides.
    first = network.blocks[0]
    assert (first.in_channels, first.out_channels, first.has_skip) == (8, 8, True)


def test_reductions_name_the_last_map_of_each_resolution():
    network = resolve("b0")
    reductions = {block.reduction: block for block in network.blocks if block.reduction}
    sizes = [(b.out_channels, b.output_size[0]) for b in reductions.values()]
    assert list(reductions) == [f"reductions.{i}" for i in range(1, 6)]
    assert sizes == [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)]
    assert network.endpoints[:3] == ("stem", "stages.2.blocks.0", "reductions.1")
    assert network.endpoints[-4:] == ("reductions.5", "head", "features", "logits")


def test_dialects():
    assert (TENSORFLOW.padding, TENSORFLOW.epsilon, TENSORFLOW.momentum) == ("same", 1e-3, 0.99)
    assert (PYTORCH.padding, PYTORCH.epsilon, PYTORCH.momentum) == ("symmetric", 1e-5, 0.9)
    assert resolve(dialect="pytorch").dialect is PYTORCH
    large = DIALECTS["torchvision-large"]
    assert (large.padding, large.epsilon, large.momentum) == ("symmetric", 1e-3, 0.99)
    assert DIALECTS["torchvision-v2"].momentum == 0.9
    assert (AUTOML.padding, AUTOML.epsilon, AUTOML.momentum) == ("same", 1e-3, 0.9)
    mixed = DIALECTS["keras-hub-mixed"]
    assert (mixed.padding, mixed.epsilon, mixed.momentum) == ("mixed", 1e-5, 0.9)
    newer = ("torchvision-large", "automl", "torchvision-v2", "keras-hub-mixed")
    assert tuple(DIALECTS) == ("tensorflow", "pytorch", *newer)


@pytest.mark.parametrize("kind", ["conv", "depthwise_conv", "max_pool"])
def test_mixed_padding_is_same_in_depthwise_convolutions_alone(kind):
    rule = "same" if kind == "depthwise_conv" else "symmetric"
    assert DIALECTS["keras-hub-mixed"].rule(kind) == rule
    assert (TENSORFLOW.rule(kind), PYTORCH.rule(kind)) == ("same", "symmetric")
    ends = {"same": (0, 1), "symmetric": (1, 1)}  # of a map of 64 pixels
    for dialect in DIALECTS.values():
        assert dialect.pad(64, 3, 2, kind) == ends[dialect.rule(kind)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "b9"}, "unknown preset 'b9'; choose from b0, b1"),
        ({"dialect": "caffe"}, "unknown dialect 'caffe'; choose from tensorflow, pytorch, "),
        ({"width": 0.0}, "width is 0.0; it must be a positive number"),
        ({"width": float("nan")}, "width is nan"),
        ({"depth": -1.0}, "depth is -1.0; it must be a positive number"),
        ({"width": 101}, "width is 101; it must be a positive number, at most 100"),
        ({"width": "1"}, "width is 1; it must be a positive number"),
        ({"preset": None}, "unknown preset None"),
        ({"resolution": 224.0}, "whole number"),
        ({"resolution": (64, 64, 64)}, "whole number"),
        ({"num_classes": True}, "num_classes is True"),
        ({"resolution": 31}, "at least 32 pixels"),
        ({"resolution": (64, 16)}, "at least 32 pixels"),
        ({"num_classes": 0}, "num_classes is 0; .* or None for no classifier"),
        ({"in_channels": 0}, "in_channels is 0; it must be a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"drop_path_rate": -0.1}, "drop_path_rate is -0.1"),
    ],
)
def test_what_is_not_allowed_says_what_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        resolve(**arguments)


def test_numpy_integers_are_whole_numbers():
    import numpy as np

    network = resolve(num_classes=np.int64(10), resolution=np.int32(64))
    assert network == resolve(num_classes=10, resolution=64)


@pytest.mark.parametrize(
    "wrong", [{"padding": "SAME"}, {"epsilon": -5.0}, {"epsilon": None}, {"momentum": "x"}]
)
def test_a_dialect_is_checked_when_it_is_made(wrong):
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(TENSORFLOW, **wrong)


def test_a_resolved_network_cannot_be_changed():
    network = resolve("b0")
    with pytest.raises(AttributeError):
        network.blocks[0].stride = 2
    assert hash(network) == hash(resolve("b0"))


@pytest.mark.parametrize(
    "module",
    [
        *("spec", "blocks", "lite", "v2", "v2_rw", "edgetpu", "xception"),
        *("network", "architectures", "counting", "errors"),
        *("_util/arguments", "_util/resolving"),
    ],
)
def test_the_descriptions_import_the_standard_library_only(module):
    tree = ast.parse((COMMON / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= set(
                sys.stdlib_module_names
            )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):  # another of these
            assert node.module in KNOWN_TO_EACH_OTHER


def test_a_bare_checkout_imports_the_same_classes_by_the_name_of_the_folder(tmp_path):
    """`import common.spec` works where nothing is installed, and is no second copy."""
    program = """
import common.spec, common.network
import efficientnet_rosetta.common.spec as spec
from efficientnet_rosetta.common.network import Network
assert common.spec is spec and common.network.Network is Network
import sys
assert "numpy" not in sys.modules
print(common.spec.resolve("b0").title)
"""
    checkout = COMMON.parent
    # -S: no site-packages, where this project may be installed.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=checkout
    )
    assert done.stdout.strip() == "EfficientNet-B0", done.stderr


def test_the_spec_works_where_numpy_torch_and_tensorflow_cannot_be_imported():
    program = """
import sys
for name in ("numpy", "torch", "tensorflow", "keras", "onnx", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.spec import resolve
print(count(resolve("b0")).trainable)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "5288548", done.stderr
