"""Lite, V2 and EdgeTPU: their tables as literals, both programs, both exports, and the commands."""

from math import prod

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common import edgetpu, lite, v2, v2_rw
from efficientnet_rosetta.common.architectures import ARCHITECTURES, PRESETS, changed, resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.graphs.recover import recover
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.network import RELU, RELU6, SWISH, Activation
from efficientnet_rosetta.common.parity.run import Settings, parity_images
from efficientnet_rosetta.common.weights.canonical import load, save
from efficientnet_rosetta.torch_impl import blocks
from parity_tests.support import (
    BACKENDS,
    LITTLE,
    alone,
    exported,
    images_for,
    parity,
    reference,
    run,
    weights_of,
)

LINEAGE = [*lite.PRESETS, *v2.PRESETS, *v2_rw.PRESETS, *edgetpu.PRESETS]
SLOW = pytest.mark.slow
# Padding as the original programs have it, and as PyTorch's libraries do.
PADDINGS = ("tensorflow", "pytorch")
MIXED = (*v2_rw.PRESETS, *edgetpu.PRESETS)  # as KerasHub does

# Trainable parameters, running values, and multiply-accumulates by the side of the image.  Source:
# the programs in tensorflow/tpu (7dc921f) and google/automl (6a54c87), with which
# keras.applications, torchvision and timm agree; of EdgeTPU with 1,000 classes, as in timm.  Of
# timm's own V2s: counted of its live models (1.0.31).
# fmt: off
GOLDEN = {
    "lite0":     (4_652_008,   42_016,  {224: 385_187_552}),
    "lite1":     (5_416_680,   53_664,  {240: 600_185_232}),
    "lite2":     (6_092_072,   58_096,  {260: 859_736_272}),
    "lite3":     (8_197_096,   76_672,  {280: 1_383_321_872}),
    "lite4":     (13_006_568,  112_368, {300: 2_553_034_336}),
    "v2-b0":     (7_139_704,   60_608,  {192: 528_186_752, 224: 718_086_176}),
    "v2-b1":     (8_141_052,   71_072,  {192: 747_003_008, 240: 1_196_819_360}),
    "v2-b2":     (10_096_086,  82_288,  {208: 1_043_476_528, 260: 1_697_542_832}),
    "v2-b3":     (14_358_406,  109_216, {240: 1_908_036_640, 300: 3_011_458_816}),
    "v2-s":      (21_458_488,  153_872, {300: 5_307_561_248, 384: 8_365_617_152}),
    "v2-m":      (54_139_356,  292_032, {384: 15_736_775_680, 480: 24_582_460_384}),
    "v2-l":      (118_515_272, 512_576, {384: 35_899_418_624, 480: 56_079_699_008}),
    "v2-xl":     (208_119_808, 777_024, {384: 52_529_254_400, 512: 93_353_451_520}),
    "v2-rw-t":   (13_649_388,  119_024, {224: 1_912_879_840, 288: 3_159_953_120}),
    "v2-rw-s":   (23_941_296,  160_848, {288: 4_862_701_312, 384: 8_640_282_112}),
    "v2-rw-m":   (53_236_442,  307_232, {320: 12_627_417_344, 416: 21_332_303_888}),
    "v2-test":   (356_196,     2_528,   {160: 57_304_256}),
    "edgetpu-s": (5_438_392,   51_440,  {224: 1_788_731_008}),
    "edgetpu-m": (6_899_496,   67_808,  {240: 3_013_321_088}),
    "edgetpu-l": (10_589_712,  92_208,  {300: 7_936_082_848}),
}

# Stem, channels and blocks of each stage, head, and dropout.  Sources: as above.
RESOLVED = {
    "lite0": (32, [16, 24, 40, 80, 112, 192, 320],      [1, 2, 2, 3, 3, 4, 1],        1280, 0.2),
    "lite1": (32, [16, 24, 40, 80, 112, 192, 320],      [1, 3, 3, 4, 4, 5, 1],        1280, 0.2),
    "lite2": (32, [16, 24, 48, 88, 120, 208, 352],      [1, 3, 3, 4, 4, 5, 1],        1280, 0.3),
    "lite3": (32, [24, 32, 48, 96, 136, 232, 384],      [1, 3, 3, 5, 5, 6, 1],        1280, 0.3),
    "lite4": (32, [24, 32, 56, 112, 160, 272, 448],     [1, 4, 4, 6, 6, 8, 1],        1280, 0.3),
    "v2-b0": (32, [16, 32, 48, 96, 112, 192],           [1, 2, 2, 3, 5, 8],           1280, 0.2),
    "v2-b1": (32, [16, 32, 48, 96, 112, 192],           [2, 3, 3, 4, 6, 9],           1280, 0.2),
    "v2-b2": (32, [16, 32, 56, 104, 120, 208],          [2, 3, 3, 4, 6, 10],          1408, 0.3),
    "v2-b3": (40, [16, 40, 56, 112, 136, 232],          [2, 3, 3, 5, 7, 12],          1536, 0.3),
    "v2-s":  (24, [24, 48, 64, 128, 160, 256],          [2, 4, 4, 6, 9, 15],          1280, 0.2),
    "v2-m":  (24, [24, 48, 80, 160, 176, 304, 512],     [3, 5, 5, 7, 14, 18, 5],      1280, 0.3),
    "v2-l":  (32, [32, 64, 96, 192, 224, 384, 640],     [4, 7, 7, 10, 19, 25, 7],     1280, 0.4),
    "v2-xl": (32, [32, 64, 96, 192, 256, 512, 640],     [4, 8, 8, 16, 24, 32, 8],     1280, 0.4),
    "v2-rw-t": (24, [24, 40, 48, 104, 128, 208],        [2, 4, 4, 6, 9, 14],          1024, 0.2),
    "v2-rw-s": (24, [24, 48, 64, 128, 160, 272],        [2, 4, 4, 6, 9, 15],          1792, 0.2),
    "v2-rw-m": (32, [32, 56, 80, 152, 192, 328],        [3, 5, 5, 8, 15, 24],         2152, 0.2),
    "v2-test": (24, [16, 24, 32, 48, 64],               [1, 1, 1, 1, 1],              256,  0.2),
    "edgetpu-s": (32, [24, 32, 48, 96, 144, 192],       [1, 2, 4, 5, 4, 2],           1280, 0.2),
    "edgetpu-m": (32, [24, 32, 48, 96, 144, 192],       [2, 3, 5, 6, 5, 3],           1280, 0.2),
    "edgetpu-l": (40, [32, 40, 56, 112, 176, 232],      [2, 3, 6, 7, 6, 3],           1536, 0.3),
}
# fmt: on
# What squeeze-and-excitation reduces to, in the first block of a stage and in the others.
SQUEEZED = {
    "v2-b0": [(12, 24), (24, 28), (28, 48)],
    "v2-s": [(16, 32), (32, 40), (40, 64)],
    "v2-m": [(20, 40), (40, 44), (44, 76), (76, 128)],
    "v2-rw-t": [(12, 26), (26, 32), (32, 52)],
    "v2-rw-m": [(20, 38), (38, 48), (48, 82)],
    "v2-test": [(8,), (12,)],
}


def rosetta(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.stdout


# ------------------------------------------------------------------ the specifications


def test_the_presets_are_those_of_the_tables():
    assert list(GOLDEN) == list(RESOLVED) == LINEAGE
    later = ["lite", "v2", "v2_rw", "edgetpu"]
    assert list(ARCHITECTURES) == ["efficientnet", *later, "xception"]
    assert [name for name, found in PRESETS.items() if found.name in later] == LINEAGE


@pytest.mark.parametrize("preset", GOLDEN)
def test_golden_numbers(preset):
    trainable, running, macs = GOLDEN[preset]
    assert resolve(preset).resolution == (max(macs), max(macs))
    for size, expected in macs.items():
        found = count(resolve(preset, resolution=size))
        assert (found.trainable, found.non_trainable) == (trainable, running)
        assert found.macs == expected, size


@pytest.mark.parametrize("preset", RESOLVED)
def test_stages_are_those_of_the_original_programs(preset):
    network = resolve(preset)
    stages = {block.stage: block.out_channels for block in network.blocks}
    layers = [sum(block.stage == stage for block in network.blocks) for stage in stages]
    found = (network.stem.out_channels, list(stages.values()), layers, network.head.out_channels)
    assert (*found, network.dropout) == RESOLVED[preset]
    rates = [block.drop_path_rate for block in network.blocks]
    assert rates == pytest.approx([0.2 * i / len(rates) for i in range(len(rates))])


@pytest.mark.parametrize(
    ("preset", "activation", "dialect"),
    [
        ("lite0", RELU6, "tensorflow"),
        ("v2-s", SWISH, "automl"),
        ("v2-rw-s", SWISH, "pytorch"),
        ("edgetpu-s", RELU, "tensorflow"),
    ],
)
def test_activation_and_dialect_are_the_networks(preset, activation, dialect):
    network = resolve(preset)
    paths = [op for part in network.maps for op in part.path]
    assert {op for op in paths if isinstance(op, Activation)} == {activation}
    assert network.dialect.name == dialect


def test_the_first_stage_of_edgetpu_declares_another_input_and_has_no_skip():
    for preset, stem, declared in (("edgetpu-s", 32, 24), ("edgetpu-l", 40, 32)):
        first, *others = resolve(preset).blocks
        assert (first.in_channels, first.expanded_channels) == (stem, 4 * declared)
        assert all(b.expanded_channels == b.expand_ratio * b.in_channels for b in others)
    one, two, three, *_ = resolve("edgetpu-m").blocks
    assert (one.stage, two.stage, three.stage) == (2, 2, 3)
    assert two.in_channels == two.out_channels
    assert not two.has_skip
    skips = [b.has_skip for b in resolve("edgetpu-m").blocks if b.stage > 2]
    assert skips == [b.repeat > 0 for b in resolve("edgetpu-m").blocks if b.stage > 2]


def test_v2_has_a_skip_in_its_first_block_where_shapes_allow_it():
    for preset in (*v2.PRESETS, *v2_rw.PRESETS):
        first = resolve(preset).blocks[0]
        assert first.has_skip == (preset not in (*v2.SCALED, "v2-test"))


@pytest.mark.parametrize(
    ("preset", "layers"),
    [
        ("v2-s", ["project_conv", "project_bn"]),
        ("v2-rw-t", ["project_conv", "project_bn"]),
        ("v2-rw-s", ["expand_conv", "expand_bn", "project_conv", "project_bn"]),
        ("v2-rw-m", ["expand_conv", "expand_bn", "project_conv", "project_bn"]),
        ("v2-test", ["project_conv", "project_bn"]),
    ],
)
def test_what_is_fused_without_expansion_keeps_its_projection_in_two_networks(preset, layers):
    """Which no activation follows, where there is one."""
    for block in resolve(preset).stages[2]:
        assert (block.expand_ratio, block.expanded_channels) == (1, block.in_channels)
        assert [layer.role.rpartition(".")[2] for layer in block.layers] == layers
        kernels = [layer.kernel for layer in block.layers if layer.kind == "conv"]
        assert kernels == [3, 1][: len(kernels)]
        assert (block.path[-1] == SWISH) == (len(kernels) == 1)


@pytest.mark.parametrize("preset", SQUEEZED)
def test_squeeze_is_from_the_input_of_the_block(preset):
    found = {}
    for block in resolve(preset).blocks:
        if hasattr(block, "squeezed_channels"):
            found.setdefault(block.stage, []).append(block.squeezed_channels)
    assert [(first, *set(others)) for first, *others in found.values()] == SQUEEZED[preset]


@pytest.mark.parametrize("preset", ["lite4", "v2-m", "edgetpu-l"])
def test_every_part_follows_from_the_one_before(preset):
    before = None
    for section in resolve(preset, resolution=(97, 130)).maps:
        if before is not None:
            assert section.in_channels == before.out_channels
            assert section.input_size == before.output_size
        before = section
    assert prod(section.stride for section in resolve(preset).maps) == 32


@pytest.mark.parametrize(
    ("preset", "arguments", "message"),
    [
        ("lite0", {"middle_blocks": 2}, "EfficientNetLite has no middle_blocks; leave it out"),
        ("v2-s", {"table": "xs"}, "unknown table 'xs'; choose from b0, s, m, l, xl"),
        ("v2-rw-s", {"table": "l"}, "unknown table 'l'; choose from t, s, m, test"),
        ("v2-s", {"width": 0}, "width is 0; it must be a positive number"),
        ("edgetpu-s", {"table": "s"}, "EfficientNetEdgeTPU has no table; leave it out"),
        ("edgetpu-s", {"resolution": 16}, "resolution is 16; each side must be"),
    ],
)
def test_what_cannot_be_is_refused(preset, arguments, message):
    with pytest.raises(ValueError, match=message):
        resolve(preset, **arguments)


# ------------------------------------------------------------------ the programs


def agree(network, batch=2, graphs=True):
    """All runs of a network against PyTorch in float64, endpoint by endpoint."""
    for backend, dtype in (("torch", "float32"), ("keras", "float32"), ("keras", "float64")):
        found = parity(backend, network, dtype, batch)
        assert tuple(error.endpoint for error in found.errors) == network.endpoints
        assert found.agrees, (backend, dtype, found.first_divergence)
    for backend in BACKENDS if graphs else ():
        values = exported(backend, network).run(images_for(network, batch))
        found = compare_endpoints(backend, reference(network, batch), values)
        assert tuple(error.endpoint for error in found.errors) == network.endpoints
        assert found.agrees, (backend, found.first_divergence)


def padded(presets):
    """Presets, each in every padding that somebody computes it with."""
    mixed = ("keras-hub-mixed",)
    return [
        (preset, dialect)
        for preset in presets
        for dialect in (*PADDINGS, *(mixed if preset in MIXED else ()))
    ]


NETWORKS = [
    (("lite0", "v2-s", "edgetpu-s"), LITTLE, []),
    (("v2-rw-s", "v2-b0", "v2-m"), LITTLE, [SLOW]),
    (("edgetpu-m",), {"width": 0.25}, [SLOW]),
    (("lite0", "v2-b0", "v2-test", "edgetpu-s"), {}, [SLOW]),
]


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize(
    ("preset", "dialect", "scaling"),
    [
        pytest.param(preset, dialect, scaling, marks=marks)
        for presets, scaling, marks in NETWORKS
        for preset, dialect in padded(presets)
    ],
)
def test_the_frameworks_agree_at_even_and_odd_sizes(preset, dialect, scaling, size):
    network = resolve(preset, resolution=size, dialect=dialect, **scaling)
    agree(network, graphs=size == 64)  # where the paddings differ


@SLOW
@pytest.mark.parametrize(("preset", "dialect"), padded(LINEAGE))
def test_native_resolution(preset, dialect):
    resolution = 256 if preset in ("v2-l", "v2-xl") else None  # float64 takes too much memory
    alone(agree, resolve(preset, dialect=dialect, resolution=resolution), 1)


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("lite0", {"num_classes": None}),
        ("v2-b0", {"in_channels": 1, "num_classes": 10}),
        ("edgetpu-s", {"num_classes": 1001, "dialect": "torchvision-v2"}),
        pytest.param("lite0", {"width": 1.3, "depth": 1.2, "in_channels": 4}, marks=SLOW),
        pytest.param("v2-b0", {"table": "m", "width": 0.3, "depth": 0.3}, marks=SLOW),
        pytest.param("v2-test", {"table": "m", "width": 0.3, "depth": 0.3}, marks=SLOW),
    ],
)
def test_free_scaling(preset, options):
    agree(resolve(preset, resolution=(65, 80), **{**LITTLE, **options}), graphs=False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "preset", ["v2-m", *(pytest.param(name, marks=SLOW) for name in ("lite0", "edgetpu-m"))]
)
def test_shapes_are_those_of_the_specification(preset, backend):
    network = resolve(preset, resolution=(97, 64), **LITTLE)
    values = run(backend, network, images_for(network))
    for section in network.maps:
        expected = (2, section.out_channels, *section.output_size)
        assert values[section.role].shape == expected, section.role
    assert values["logits"].shape == (2, 1000)


def calibrated_values(preset, monkeypatch, resolution=None, **scaling):
    """All endpoints on a photograph and noise, and the share of each activation's input above 6."""
    torch, right, above = get_backend("torch"), blocks.activation, []

    def counted(x, function):
        above.append(float((x > 6).double().mean()))
        return right(x, function)

    network = resolve(preset, resolution=resolution, **scaling)
    model = torch.build(network)
    torch.load_weights(model, weights_of(network))
    monkeypatch.setattr(blocks, "activation", counted)
    return torch.endpoints(model, parity_images(network, Settings())), above


def check_order_one(values):
    """Activations that are held in bounds make logits more alike than those of the first."""
    for name, value in values.items():
        for image, kind in zip(value, ("photograph", "noise"), strict=True):
            assert 0.15 < image.std() < 6, (name, kind)
    photograph, noise = values["logits"]
    assert np.corrcoef(photograph, noise)[0, 1] < 0.95
    assert np.abs(photograph - noise).std() > 0.25


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param(name, marks=[] if name in ("lite0", "v2-b0", "edgetpu-s") else SLOW)
        for name in LINEAGE
    ],
)
def test_values_are_of_order_one_and_logits_depend_on_the_image(preset, monkeypatch):
    resolution = 256 if preset in ("v2-l", "v2-xl") else None
    values, above = calibrated_values(preset, monkeypatch, resolution)
    check_order_one(values)
    if preset in lite.PRESETS:  # or ReLU6 would be ReLU
        assert min(above) >= 0.01


# ------------------------------------------------------------------ files and commands


@pytest.mark.parametrize("preset", ["lite0", "v2-s", "v2-rw-s", "edgetpu-s"])
def test_a_file_says_which_network_it_holds(preset, tmp_path):
    network = resolve(preset, resolution=64, **LITTLE)
    path = tmp_path / "small.safetensors"
    save(path, network, weights_of(network))
    assert load(path)[0] == network
    assert changed(network, num_classes=10).num_classes == 10
    for backend in BACKENDS:
        graph = tmp_path / f"{backend}.onnx"
        graph.write_bytes(exported(backend, network, False).source)
        assert inspect(graph).fingerprint == inspect(path).fingerprint
        found = recover(graph, "onnx", stated=network)  # by what the graph computes
        assert (found.network, found.dialect) == (network, network.dialect)
        for name, tensor in found.weights.items():
            assert (tensor.read() == weights_of(network)[name]).all(), name


@pytest.mark.parametrize(
    ("preset", "backend", "size", "possible"),
    [
        ("edgetpu-s", "torch", 64, ["keras-hub-mixed"]),
        pytest.param("edgetpu-s", "keras", 64, ["keras-hub-mixed"], marks=SLOW),
        pytest.param("v2-rw-t", "torch", 64, ["keras-hub-mixed"], marks=SLOW),
        pytest.param("edgetpu-s", "torch", 65, ["pytorch", "keras-hub-mixed"], marks=SLOW),
        pytest.param("edgetpu-s", "keras", 65, ["pytorch", "keras-hub-mixed"], marks=SLOW),
    ],
)
def test_a_graph_of_mixed_padding_is_known_by_what_it_computes(
    preset, backend, size, possible, tmp_path
):
    """At sizes of which all paddings are alike, it could as well be symmetric."""
    network = resolve(preset, resolution=size, dialect="keras-hub-mixed")
    (tmp_path / "x.onnx").write_bytes(exported(backend, network, False).source)
    found = recover(tmp_path / "x.onnx", "onnx")
    assert found.network.name == preset
    assert [dialect.name for dialect in found.dialects] == possible
    assert found.dialect == (network.dialect if len(possible) == 1 else None)


@SLOW
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", ["lite0", "v2-b0", "edgetpu-s"])
def test_a_graph_is_ported_and_run(preset, backend, tmp_path):
    graph, back = tmp_path / "graph.onnx", tmp_path / "back.safetensors"
    said = rosetta("export", preset, graph, "--backend", backend, "--size", 64)
    network = resolve(preset, resolution=64)
    assert f"{network.title} from {backend}, {network.dialect.name} dialect" in said
    assert "onnxruntime does with the graph itself" in rosetta(
        "port", graph, back, "--to", "canonical"
    )
    assert load(back)[0] == network


def test_tables_are_printed():
    for preset, operator in (
        ("lite0", "MBConv6, k5x5, no SE"),
        ("v2-s", "Fused-MBConv4, k3x3"),
        ("edgetpu-l", "MBConv8, k5x5, no SE"),
    ):
        table = rosetta("table", preset)
        assert operator in table
        assert f"{GOLDEN[preset][0]:,}" in table


@SLOW
@pytest.mark.parametrize("preset", ["lite0", "v2-b0"])
def test_a_section_is_traced_operation_by_operation(preset):
    said = rosetta("trace", preset, "stages.2.blocks.0", "--run", "onnx-keras", "--size", 64)
    assert "project_conv" in said


@SLOW
def test_parity_of_all_three_is_one_report():
    said = rosetta("parity", "lite0", "v2-b0", "edgetpu-s", "--size", 64)
    assert "3 of 3 agree" in said
