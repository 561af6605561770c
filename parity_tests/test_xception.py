"""Xception: figure 5 as literals, both programs, both exports, and every command."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import ARCHITECTURES, PRESETS, changed, resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.network import TENSORFLOW
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.parity.run import Settings, parity_images
from efficientnet_rosetta.common.training.plan import frozen_sections
from efficientnet_rosetta.common.weights.canonical import load, save
from efficientnet_rosetta.common.weights.metadata import metadata, network_from
from efficientnet_rosetta.common.xception import FIGURE_5
from efficientnet_rosetta.parity_tests import mutations
from parity_tests.claiming import caught
from parity_tests.support import (
    BACKENDS,
    FAMILIES,
    exported,
    images_for,
    parity,
    reference,
    run,
    weights_of,
)

XCEPTION = resolve("xception")
QUARTER = {"width": 0.25, "middle_blocks": 2}
SMALL = resolve("xception", resolution=64, **QUARTER)

# Figure 5 at 299 x 299: the map after each part, its channels, and where a ReLU comes first.
# fmt: off
RESOLVED = {
    "entry.stem.0":  (149, 32),
    "entry.stem.1":  (147, 64),
    "entry.blocks.0": (74, 128),
    "entry.blocks.1": (37, 256),
    "entry.blocks.2": (19, 728),
    **{f"middle.blocks.{number}": (19, 728) for number in range(8)},
    "exit.blocks.0":  (10, 1024),
    "exit.head.0":    (10, 1536),
    "exit.head.1":    (10, 2048),
}
# fmt: on
PROJECTED = {"entry.blocks.0", "entry.blocks.1", "entry.blocks.2", "exit.blocks.0"}


def rosetta(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.stdout


# ------------------------------------------------------------------ the specification


def test_the_specification_is_figure_5():
    found = {s.role: (s.output_size[0], s.out_channels) for s in XCEPTION.maps}
    assert found == RESOLVED
    assert {block.role for block in XCEPTION.blocks if block.has_projection} == PROJECTED
    assert {block.role for block in XCEPTION.blocks if block.has_pool} == PROJECTED
    relus = [[conv.relu_first for conv in block.separable] for block in XCEPTION.blocks]
    assert relus == [[False, True], *[[True, True]] * 2, *[[True] * 3] * 8, [True, True]]
    widths = [[conv.out_channels for conv in block.separable] for block in XCEPTION.blocks]
    assert widths[-1] == [728, 1024]
    assert [row.channels for row in FIGURE_5 if row.flow == "entry"] == [
        (128, 128),
        (256, 256),
        (728, 728),
    ]
    assert not any(part.padded for part in XCEPTION.stem)
    assert [s.role for s in XCEPTION.maps if s.reduction] == [
        *("entry.stem.1", "entry.blocks.0", "entry.blocks.1", "middle.blocks.7", "exit.head.1")
    ]


def test_parameters_are_the_published_ones():
    """keras.applications counts 22,910,480, of which 22,855,952 are trainable."""
    found = count(XCEPTION)
    assert (found.parameters, found.trainable) == (22_910_480, 22_855_952)
    model = get_backend("keras").build(XCEPTION)
    assert model.count_params() == found.parameters
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == found.trainable
    peer = keras.applications.Xception(weights=None)
    assert peer.count_params() == found.parameters


def test_every_part_follows_from_the_one_before():
    network = resolve("xception", width=0.5, middle_blocks=3, resolution=(90, 133))
    before = None
    for section in network.maps:
        if before is not None:
            assert section.in_channels == before.out_channels
            assert section.input_size == before.output_size
        before = section
    assert network.name == "custom"
    assert sum(block.flow == "middle" for block in network.blocks) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 2.0}, "Xception has no depth; leave it out"),
        ({"drop_path_rate": 0.2}, "Xception has no drop_path_rate"),
        ({"middle_blocks": 0}, "middle_blocks is 0; it must be a whole number of at least 1"),
        ({"middle_blocks": 10**9}, "middle_blocks is 1000000000; it must be at most 800"),
        ({"width": -1}, "width is -1; it must be a positive number"),
        ({"resolution": 16}, "resolution is 16; each side must be"),
        ({"dialect": "keras"}, "unknown dialect 'keras'; choose from tensorflow"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        resolve("xception", **arguments)
    with pytest.raises(ValueError, match=r"unknown preset 'b9'; choose from b0, .*, xception"):
        resolve("b9")


def test_the_specifications_know_no_framework():
    program = (
        "import sys, efficientnet_rosetta.common.architectures\n"
        "found = {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(bool(found & {'numpy', 'torch', 'keras', 'tensorflow'}))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_presets_of_all_architectures():
    assert list(ARCHITECTURES)[:: len(ARCHITECTURES) - 1] == ["efficientnet", "xception"]
    assert list(PRESETS)[-1] == "xception"
    for preset, architecture in PRESETS.items():
        assert resolve(preset).architecture == architecture.name


# ------------------------------------------------------------------ the programs


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize(
    ("size", "scaling"),
    [
        (112, QUARTER),
        (113, QUARTER),
        *(pytest.param(size, {}, marks=pytest.mark.slow) for size in (112, 113, 299)),
    ],
)
def test_the_frameworks_agree_at_any_size(size, scaling, dialect):
    """Native, even and odd: the poolings of the dialects part on even maps only."""
    network = resolve("xception", resolution=size, dialect=dialect, **scaling)
    for backend, dtype in (("torch", "float32"), ("keras", "float32"), ("keras", "float64")):
        found = parity(backend, network, dtype)
        assert tuple(error.endpoint for error in found.errors) == network.endpoints
        assert found.agrees, (backend, dtype, found.first_divergence)
    for backend in BACKENDS:
        values = exported(backend, network).run(images_for(network))
        found = compare_endpoints(backend, reference(network), values)
        assert tuple(error.endpoint for error in found.errors) == network.endpoints
        assert found.agrees, (backend, found.first_divergence)
    reference.cache_clear()
    exported.cache_clear()


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 10},
        {"num_classes": None},
        {"in_channels": 1},
        {"width": 0.3, "middle_blocks": 1},
        {"width": 1.1, "middle_blocks": 2, "num_classes": 7, "in_channels": 4},
    ],
)
def test_free_scaling(options):
    network = resolve("xception", resolution=(65, 80), **{**QUARTER, **options})
    for backend, dtype in (("torch", "float32"), ("keras", "float64")):
        assert parity(backend, network, dtype).agrees


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_are_those_of_the_specification(backend):
    network = changed(SMALL, resolution=(97, 64))
    values = run(backend, network, images_for(network))
    for section in network.maps:
        expected = (2, section.out_channels, *section.output_size)
        assert values[section.role].shape == expected, section.role
    assert values["logits"].shape == (2, 1000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_of_poolings_matters_on_even_maps_only(backend):
    """Of the maps that are pooled at 299 pixels only the second, 74 x 74, is even."""
    values = []
    for padding in ("same", "symmetric"):
        dialect = asdict(replace(TENSORFLOW, padding=padding))
        network = changed(resolve("xception", **QUARTER), dialect=dialect)
        weights = weights_of(resolve("xception", **QUARTER))
        values.append(run(backend, network, images_for(network, 1), weights=weights))
    first, second = values
    np.testing.assert_allclose(first["entry.blocks.0"], second["entry.blocks.0"], rtol=1e-4)
    assert np.abs(first["entry.blocks.1"] - second["entry.blocks.1"]).max() > 0.1


def test_values_are_of_order_one_and_logits_depend_on_the_image():
    torch = get_backend("torch")
    model = torch.build(XCEPTION)
    torch.load_weights(model, weights_of(XCEPTION))
    values = torch.endpoints(model, parity_images(XCEPTION, Settings()))
    for name, value in values.items():
        for image in value:
            assert 0.15 < image.std() < 6, name
    photograph, noise = values["logits"]
    assert np.corrcoef(photograph, noise)[0, 1] < 0.9
    assert np.abs(photograph - noise).std() > 0.5


# ------------------------------------------------------------------ claims and mistakes


@pytest.mark.parametrize(
    ("middle_blocks", "claim"),
    [
        pytest.param(blocks, claim, id=f"{blocks}-{claim.__name__}", marks=marks)
        for claim in claims.CLAIMS
        # How a network is trained is no business of its own, and neither is where Keras runs.
        for blocks, marks in (
            (1, pytest.mark.slow if claim in (claims.optimizers, claims.variants) else ()),
            (2, pytest.mark.slow),
        )
    ],
)
def test_every_claim_holds(middle_blocks, claim):
    found = list(claim(changed(SMALL, middle_blocks=middle_blocks), 0))
    assert found
    for one in found:
        assert one.holds, one


MISTAKES = [mutation for mutation in mutations.MUTATIONS if mutation.preset == "xception"]


# By default those of the shortcuts, which no other network has.
@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(m, id=m.name, marks=() if "shortcut" in m.name else pytest.mark.slow)
        for m in MISTAKES
    ],
)
def test_every_mistake_is_caught(mutation):
    caught(mutation)


def test_the_mistakes_are_those_that_are_made():
    names = " ".join(mutation.name for mutation in MISTAKES)
    for mistake in ("chained", "full for depthwise", "ReLU after", "no batch norm", "poolings"):
        assert mistake in names


# ------------------------------------------------------------------ files and commands


def test_a_file_says_which_architecture_it_holds(tmp_path):
    path = tmp_path / "small.safetensors"
    save(path, SMALL, weights_of(SMALL))
    network, weights = load(path)
    assert network == SMALL
    assert weights.keys() == SMALL.tensors.keys()
    found = inspect(path)
    assert (found.preset, found.scaling) == ("custom", QUARTER)
    assert "custom (width 0.25, middle blocks 2)" in rosetta("inspect", path)
    graph = exported("torch", SMALL)
    assert network_from("graph", graph.metadata) == SMALL


def test_a_file_from_before_there_was_xception_is_an_efficientnet(tmp_path):
    network = resolve("b0", resolution=32, width=0.25, depth=0.25)
    path = tmp_path / "old.safetensors"
    save(path, network, weights_of(network))
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    del header["__metadata__"]["architecture"]
    old = json.dumps(header).encode()
    path.write_bytes(len(old).to_bytes(8, "little") + old + content[8 + size :])
    assert load(path)[0] == network


def test_a_preset_of_another_architecture_is_damage():
    mixed = {**metadata(XCEPTION), "preset": "b0"}
    with pytest.raises(RosettaError, match=r"damaged .xception has no preset 'b0'"):
        network_from("mixed.safetensors", mixed)


def test_the_table_is_figure_5():
    table = rosetta("table", "xception")
    assert "Xception: width 1, middle blocks 8, dropout 0.5" in table
    assert "22,855,952" in table
    assert "middle: 3 separable" in table


@pytest.mark.slow
def test_parity_of_two_architectures_is_one_report(tmp_path):
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    options = ["--size", 64, "--report", page, "--json", data]
    said = rosetta("parity", "b0", "xception", *options)
    assert "2 of 2 agree" in said
    assert "22,855,952" in said
    found = json.loads(data.read_text())
    assert [preset["preset"] for preset in found["presets"]] == ["b0", "xception"]
    text = page.read_text()
    assert text.count("The largest error of every stage, of all runs") == 2
    for flow in ("entry", "middle", "exit"):
        assert f">{flow}</text>" in text


def test_a_section_is_traced_operation_by_operation():
    said = rosetta("trace", "xception", "entry.blocks.1", "--run", "onnx-keras", "--size", 64)
    assert "shortcut_conv" in said
    assert "separable.1.pointwise_conv" in said


def test_export_reads_its_own_weights(tmp_path):
    save(tmp_path / "w.safetensors", resolve("xception"), weights_of(XCEPTION))
    out = tmp_path / "x.onnx"
    options = ["--backend", "keras", "--weights", tmp_path / "w.safetensors"]
    said = rosetta("export", "xception", out, *options)
    assert said.startswith(f"{out}: Xception from keras, tensorflow dialect, 299x299 pixels")
    assert inspect(out).preset == "xception"


def test_stages_can_be_frozen():
    assert frozen_sections(XCEPTION, "2") == {"entry.stem.0", "entry.stem.1"}
    assert frozen_sections(XCEPTION, "backbone") == {section.role for section in XCEPTION.maps}
    assert len(frozen_sections(XCEPTION, 6)) == 2 + 3 + 8


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_it_is_trained_and_predicts(backend, tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    out = tmp_path / "run"
    network = ["--preset", "xception", "--width", 0.125, "--middle-blocks", 1]
    options = ["--recipe", "xception", "--epochs", 1, "--batch", 4, "--image-size", 48]
    place = ["--data", tmp_path / "data", "--held-out", 0.25, "--out", out, "--backend", backend]
    program = Path(sys.executable).with_name("rosetta")
    command = [program, "train", *network, *options, *place, "--workers", 0]
    peers = [sys.executable, "-m", "parity_tests.peers.operators"] if backend == "torch" else []
    done = subprocess.run([*peers, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Xception-CUSTOM with 2 classes at 48x48 pixels" in done.stdout
    found, _ = load(out / "last.safetensors")
    assert found.scaling == {"width": 0.125, "middle_blocks": 1}
    image = tmp_path / "data" / "one" / "0.png"
    maps = tmp_path / "maps"
    weights = ["--weights", out / "best.safetensors", "--backend", backend, "--cam", maps]
    assert "one" in rosetta("predict", image, *weights)
    assert len(list(maps.glob("*.png"))) == 2
