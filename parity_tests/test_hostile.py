"""Names, paths, pipes and claims that were not meant well: one line each, and nothing left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common._util.one_line import LONGEST, one_line
from efficientnet_rosetta.common.checkpoints import port as porting
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.cli.command import say
from efficientnet_rosetta.common.errors import FileError, RosettaError, UnreadableImageError
from efficientnet_rosetta.common.images.datasets import Sample, read_folder
from efficientnet_rosetta.common.images.decode import PIXELS_LIMIT, decode, load_image
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.metadata import metadata
from parity_tests.fuzz.networks import network, weights
from parity_tests.support import rosetta_process


@pytest.fixture
def source(tmp_path):
    """Canonical weights of a network of 33,000 parameters."""
    save(tmp_path / "source.safetensors", network(), weights())
    return tmp_path / "source.safetensors"


def line(*arguments):
    """The line that the command ends in, which is an error of ours."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, RosettaError), done.output + repr(done.exception)
    assert str(done.exception).isprintable()
    return str(done.exception)


# ------------------------------------------------------------------ names


LONG = ("x" * 250, "x" * 256, "ä" * 200, "x" * 5000, "x/" * 3000)


@pytest.mark.parametrize("name", [".", "/", "", "..", *LONG], ids=lambda name: name[:3])
def test_names_that_are_no_files(name, source, tmp_path, tmp_path_factory, monkeypatch):
    inner = tmp_path_factory.mktemp("outer") / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)  # where neither it nor the folder above it has a checkpoint
    for command in (("inspect", name), ("verify", source, name), ("compare", name, source)):
        assert ": no such file" in line(*command) or "is a folder" in line(*command)
    assert line("port", name, tmp_path / "x.pth", "--to", "timm")
    assert line("port", source, name, "--to", "tpu")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_names_as_long_as_they_may_be_are_read_and_written(source, tmp_path):
    long = tmp_path / ("x" * 243 + ".safetensors")
    port(source, long, "canonical", run=False)
    assert inspect(long).fingerprint == inspect(source).fingerprint
    assert "no such file" in line("predict", tmp_path / LONG[1], "--weights", tmp_path / LONG[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[red]x[/red]", "[red]x[/red]"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b1m\u202e", r"\x1b[2J\x9b1m\u202e"),
        ("\udcff", r"\udcff"),
        ("Käse 日本", "Käse 日本"),
    ],
)
def test_a_text_from_outside_is_one_line_as_it_is(text, shown, capsys):
    assert one_line(text) == shown
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"
    assert str(FileError(text, "x")) == f"{shown}: x"
    assert len(one_line("x" * 10**6)) < LONGEST + 10


def test_json_escapes_what_a_terminal_would_obey(tmp_path):
    key = "a\x1b\x9b\u202e\n"
    save_file(
        {**weights(), key: np.zeros(1, np.float32)},
        tmp_path / "x\x9b.safetensors",
        metadata=metadata(network()),
    )
    assert "unexpected" in line("inspect", tmp_path / "x\x9b.safetensors")
    save(tmp_path / "x\x9b.safetensors", network(), weights())
    done = CliRunner().invoke(app, ["inspect", "--json", str(tmp_path / "x\x9b.safetensors")])
    assert r"x\u009b.safetensors" in done.output
    assert json.loads(done.output)["path"].endswith("x\x9b.safetensors")


# ------------------------------------------------------------------ where it writes


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [["layouts"], ["--help"], ["inspect", "SOURCE", "--json"]])
def test_an_output_that_takes_no_more_is_one_line(arguments, source):
    arguments = [str(source) if word == "SOURCE" else word for word in arguments]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "efficientnet_rosetta", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == (
        "rosetta: what there is to say cannot be printed (No space left on device); send it to "
        "another place\n"
    )


def test_a_port_onto_its_own_source_is_refused(source, tmp_path):
    before = source.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(source)
    os.link(source, tmp_path / "hard.safetensors")
    for destination in (source, link, tmp_path / "hard.safetensors"):
        with pytest.raises(RosettaError, match="is the source itself; name another file"):
            port(source, destination, "canonical", force=True, run=False)
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["old.safetensors", "old"])
def test_what_does_not_read_back_takes_no_files_place(name, source, tmp_path, monkeypatch):
    """Here its library is one that reads back something else."""
    full = tmp_path / "full.safetensors"
    preset = rosetta.resolve("b0", num_classes=2)
    save(full, preset, rosetta.initial(preset))
    old = tmp_path / name
    target = {"old": "tpu"}.get(name, "canonical")
    files = [old] if "." in name else [tmp_path / f"{name}{end}" for end in (".index", ".data-0")]
    for path in files:
        path.write_text("mine")

    def other(*arguments, **options):
        raise FileError(arguments[0], "does not read back")

    monkeypatch.setattr(porting, "_check_read_back", other)
    with pytest.raises(RosettaError) as caught:
        port(full, old, target, force=True, run=False)
    assert str(caught.value) == f"{old}: does not read back"
    assert all(path.read_text() == "mine" for path in files)
    assert len(list(tmp_path.iterdir())) == 2 + len(files)


ENDED = """
import sys, time
from pathlib import Path
from efficientnet_rosetta.common._util import atomic
name = Path(sys.argv[1])
beside = atomic.folder_beside(name)
with atomic.leaving_nothing_behind(), atomic.replacing(name) as path, beside as folder:
    path.with_name(path.name + ".h5").write_text("half")
    (folder / "inner").write_text("half")
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_end_leaves_nothing(number, tmp_path):
    (tmp_path / "x").write_text("mine")
    program = [sys.executable, "-c", ENDED, str(tmp_path / "x")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        assert len(list(tmp_path.iterdir())) == 4
        process.send_signal(number)
    assert process.returncode == -number
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "mine"


def test_the_command_listens_to_it(source, tmp_path):
    """The handler is that of the command: an export is stopped where it waits for its weights."""
    done = rosetta_process("--version")
    assert done.returncode == 0
    program = (
        "import signal, sys; from efficientnet_rosetta.common.cli import command\n"
        "command.app = lambda: print(signal.getsignal(signal.SIGTERM).__qualname__)\n"
        "command.main(); print(signal.getsignal(signal.SIGTERM))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["leaving_nothing_behind.<locals>.end", "0"]


def test_equal_weights_make_equal_bytes(source, tmp_path):
    for number in range(5):
        save(tmp_path / "again", network(), weights())
        assert (tmp_path / "again").read_bytes() == source.read_bytes(), number


# ------------------------------------------------------------------ pipes and devices


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path)


@contextlib.contextmanager
def promptly(seconds=60):
    """A test that waits for a pipe would never end: whoever waits is woken, and fails."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    try:
        yield
    finally:
        timer.cancel()
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("make", [pipe, endless, circle])
def test_only_files_are_read(make, source, tmp_path):
    odd = tmp_path / "odd.png"
    make(odd)
    make(source.with_name("config.json"))
    (tmp_path / "class").mkdir()
    make(tmp_path / "class" / "x.jpg")
    with promptly():
        assert inspect(source).preset == "custom"
        assert "is not a file; name one" in line("inspect", odd)
        with pytest.raises(UnreadableImageError, match=r"x.jpg: (is not a file|cannot be read \()"):
            Sample(tmp_path / "class" / "x.jpg", 0).read()
        with pytest.raises(RosettaError, match=r"odd.png: no such file"):
            load_image(odd, (8, 8))


def test_a_file_beside_is_read_to_a_limit(source):
    config = source.with_name("config.json")
    with config.open("wb") as file:
        file.truncate(2**40)  # a terabyte that takes no room
    assert inspect(source).preset == "custom"


def test_an_image_file_is_read_to_a_limit(tmp_path):
    with (tmp_path / "x.jpg").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableImageError, match="has more than 268,435,456 bytes"):
        Sample(tmp_path / "x.jpg", 0).read()


def test_folders_of_odd_names_are_one_line():
    for name in LONG[1:]:
        with pytest.raises(FileError, match="is no folder"):
            read_folder(name)


# ------------------------------------------------------------------ claims


def claiming(path, **changes):
    said = metadata(network())
    inner = {**json.loads(said["network"]), **changes}
    save_file(weights(), path, metadata={**said, "network": json.dumps(inner)})


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 10**400},
        {"resolution": [32, "32"]},
        {"resolution": 10**6},
        {"width": 10**400},
        {"dropout": float("nan")},
        {"num_classes": 10**400},
        {"in_channels": [3]},
        {"dialect": ["tensorflow"]},
        {"dialect": {"name": ["x"], "padding": "same", "epsilon": 0.1, "momentum": 0.1}},
        {"dialect": {"name": "x", "padding": [], "epsilon": 0.1, "momentum": 0.1}},
        {"dialect": {"name": "x", "padding": "same", "epsilon": float("inf"), "momentum": 0.1}},
    ],
    ids=str,
)
def test_a_network_that_cannot_be(changes, tmp_path):
    claiming(tmp_path / "x.safetensors", **changes)
    assert line("inspect", tmp_path / "x.safetensors").startswith(f"{tmp_path / 'x.safetensors'}: ")


NORMALIZATIONS = {
    "deep": '{"mean": ' + "[" * 10**5,
    "400 digits": '{"mean": [' + "9" * 400 + ', 0, 0], "std": [1, 1, 1]}',
    "zeros": '{"mean": [0, 0, 0], "std": [0, 0, 0]}',
    "negative": '{"mean": [0, 0, 0], "std": [1, 1, -1]}',
    "NaN": '{"mean": [NaN, 0, 0], "std": [1, 1, 1]}',
    "infinity": '{"mean": [0, 0, 0], "std": [1, 1, 1e999]}',
    "two": '{"mean": [0, 0], "std": [1, 1]}',
    "uneven": '{"mean": [0, 0, 0], "std": [1]}',
    "text": '{"mean": "abc", "std": "abc"}',
    "a list": "[1, 2]",
}


@pytest.mark.parametrize("said", NORMALIZATIONS)
def test_a_normalization_that_cannot_be(said, tmp_path):
    path = tmp_path / "x.safetensors"
    save(path, network(), weights(), {"normalization": NORMALIZATIONS[said]})
    assert f"{path}: the normalization in it" in line("inspect", path)
    save(path, network(), weights())
    config = tmp_path / "config.json"
    config.write_text(f'{{"pretrained_cfg": {NORMALIZATIONS[said]}}}')
    if said in ("deep", "a list"):  # no JSON, or none that speaks of images
        assert inspect(path).expects == ("what the weights it was made from expect",)
    else:
        assert f"{config}: the normalization in it" in line("inspect", path)


@pytest.mark.parametrize("variance", [np.nan, 0.0, -1.0])
def test_constants_of_a_graph_that_cannot_be(variance, tmp_path):
    preset = rosetta.resolve("b0", num_classes=2)
    save(tmp_path / "b0.safetensors", preset, rosetta.initial(preset))
    path = tmp_path / "b0.h5"
    port(tmp_path / "b0.safetensors", path, "keras-applications", run=False)
    with h5py.File(path, "r+") as file:
        (name,) = [key for key in file if key.startswith("normalization")]
        group = file[f"{name}/{name}"]
        (key,) = [key for key in group if key.startswith("variance")]
        group[key][...] = variance
    assert f"{path}: the normalization in it" in line("inspect", path)


def test_a_sound_normalization_is_believed(tmp_path):
    path, said = tmp_path / "x.safetensors", '{"mean": [0.5, 0, 1], "std": [1, 2, 3]}'
    save(path, network(), weights(), {"normalization": said})
    assert inspect(path).expects == ("RGB / 255, mean 0.5 0 1, standard deviation 1 2 3",)
    save(path, network(), weights())
    (tmp_path / "config.json").write_text(f'{{"pretrained_cfg": {said}}}')
    assert inspect(path).expects == ("RGB / 255, mean 0.5 0 1, standard deviation 1 2 3",)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("stem.conv.weight", np.nan, "holds NaN"),
        ("stem.bn.variance", np.inf, "holds infinity"),
        ("stem.bn.variance", -1.0, "holds a variance below 0"),
    ],
)
def test_weights_that_are_no_numbers_are_named(name, value, why, tmp_path):
    path, out = tmp_path / "x.safetensors", tmp_path / "out.safetensors"
    found = {key: array.copy() for key, array in weights().items()}
    name = next(key for key in found if key.endswith(name.split(".")[-1]))
    found[name].flat[0] = value
    save(path, network(), found)
    assert inspect(path).unusable == {name: why}
    done = CliRunner().invoke(app, ["inspect", str(path)])
    assert f"warning     {name} {why}" in done.output
    with pytest.raises(RosettaError, match=f"{name} {why}; force it") as caught:
        port(path, out, "canonical", run=False)
    assert caught.value.argument == "force"
    assert not out.exists()
    port(path, out, "canonical", run=False, force=True)
    assert inspect(out).unusable == {name: why}


def test_sound_weights_are_not_warned_of(source):
    assert inspect(source).unusable == {}
    assert "warning" not in CliRunner().invoke(app, ["inspect", str(source)]).output


@pytest.mark.parametrize("shape", [(1, 3, 20000, 20000), (1, 2**40, 8, 8)])
def test_a_graph_of_enormous_images_is_not_run(shape, source, tmp_path):
    path = tmp_path / "huge.onnx"
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "graph", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    assert "as x, which no memory is made for" in line("compare", path, path)


# ------------------------------------------------------------------ images


def png(width, height):
    """The beginning of a picture that is said to be so large."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (header, data, b"IEND")
    )


@pytest.mark.filterwarnings("ignore:Image size")
def test_pictures_that_would_fill_the_memory_are_not_decoded(tmp_path):
    side = int(PIXELS_LIMIT**0.5)
    for width, height in ((side, side + 1), (13_300, 13_300), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(UnreadableImageError, match="cannot be read as an image"):
            decode(png(width, height), "x.png")
    with pytest.raises(UnreadableImageError, match=r"has 67,117,056 pixels, more than 67,108,864"):
        decode(png(side, side + 1), "x.png")
    (tmp_path / "x.png").write_bytes(png(side, side + 1))
    with pytest.raises(RosettaError, match="pixels, more than"):
        load_image(tmp_path / "x.png", (8, 8))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pictures_are_converted_as_if_at_once(mode, tmp_path, monkeypatch):
    from efficientnet_rosetta.common.images import decode as decoding

    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(37, 20, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(random.integers(2**16, size=(37, 20), dtype=np.uint16))
    else:
        image = Image.fromarray(pixels).convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    options = {"transparency": 3} if mode == "P" else {}
    image.save(path, **options)
    whole = decode(path.read_bytes(), "x")
    monkeypatch.setattr(decoding, "ROWS", 5)
    assert np.array_equal(decode(path.read_bytes(), "x"), whole)
    assert whole.shape == (37, 20, 3)


def test_memory_of_a_dataset_follows_the_file(tmp_path):
    """Never written, or all zeros: 400,000 classes take no room in a file."""
    path = tmp_path / "x.h5"
    for options in ({}, {"data": np.zeros(200_000, "f4"), "compression": 9}):
        with h5py.File(path, "w") as file:
            shape = {} if options else {"shape": (400_000, 1280)}
            if options:
                options = {**options, "data": np.broadcast_to(options["data"], (100, 200_000))}
            file.create_dataset("a/kernel:0", dtype="f4", chunks=(1, 1000), **shape, **options)
        (stored,) = rosetta_tensors(path)
        with pytest.raises(RosettaError, match="cannot be read as HDF5"):
            stored.read()


def rosetta_tensors(path):
    from efficientnet_rosetta.common.checkpoints import formats

    return formats.read(path).tensors.values()
