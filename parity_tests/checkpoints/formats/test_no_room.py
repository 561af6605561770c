"""A disk that is full while a file is written is one line about that file, and changes nothing."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import SafetensorError

from efficientnet_rosetta.common._util.atomic import NAME, naming, replacing
from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.errors import ExistsError, FileError, UsageError
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.support import small, weights_of

resource = pytest.importorskip("resource", reason="limits of Unix")

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
KINDS = {
    "safetensors": "x.safetensors",
    "torch": "x.pth",
    "h5": "x.h5",
    "weights.h5": "x.weights.h5",
    "keras": "x.keras",
    "npz": "x.npz",
    "tf-checkpoint": "x",
}
# Files may be no longer than so many bytes: nothing fits, most of the tensors do, all but the end.
WRITING = """
import resource, sys
import numpy as np
from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.errors import FileError

kind, path, *limits = sys.argv[1:]
arrays = {
    f"layers/conv2d_{n}/vars/{i}": np.random.default_rng(n).normal(size=(8, 250))
    for n in range(100) for i in range(2)
}
content = Content({k: LazyTensor.of(k, a) for k, a in arrays.items()}, {"format": "pt"}, {}, {})
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        formats.write(path, kind, content)
    except FileError as error:
        print(error)
"""
SIZE = 200 * 2000 * 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_anywhere_in_a_file_is_one_line_that_names_it(kind, tmp_path):
    path = tmp_path / KINDS[kind]
    (formats.index_of(path) if kind == "tf-checkpoint" else path).write_text("mine")
    limits = [0, 1000, 100_000, SIZE // 2, SIZE - 100, SIZE]
    program = [sys.executable, "-c", WRITING, kind, str(path), *map(str, limits)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    line = f"{path}: cannot be written (File too large); name a file on another disk"
    # The values of a checkpoint of TensorFlow's are a file of their own, just as long as they are.
    count = len(limits) - (kind == "tf-checkpoint")
    assert done.stdout.splitlines() == [line] * count
    if kind != "tf-checkpoint":
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
        assert path.read_text() == "mine"


def test_the_command_says_it_as_well(tmp_path):
    source, target = tmp_path / "b0.safetensors", tmp_path / "b0.weights.h5"
    network = small()
    save(source, network, weights_of(network))
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**7)); "
    command = "from efficientnet_rosetta.common.cli import main; main()"
    arguments = ["port", str(source), str(target), "--to", "keras-applications"]
    done = subprocess.run(
        [sys.executable, "-c", limited + command, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"{target}: cannot be written (File too large)" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == [source.name]


# ------------------ whose fault it is


def outcome(path, error, about=None):
    """What an error in the block becomes; `about` makes the name it is about of the temporary."""
    try:
        with replacing(path) as temporary:
            if about is not None:
                error.filename = str(about(temporary))
            raise error
    except Exception as found:
        assert not list(path.parent.glob(".*"))
        return found


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
    ],
)
def test_no_room_names_the_destination(error, tmp_path):
    found = outcome(tmp_path / "x", error)
    assert isinstance(found, FileError)
    assert str(found).startswith(f"{tmp_path}/x: cannot be written (")
    assert str(found).endswith("); make room")


def test_what_comes_of_it_in_closing_a_file_names_the_destination(tmp_path):
    error = ValueError("cannot be closed")
    error.__context__ = FULL
    assert "No space left on device" in str(outcome(tmp_path / "x", error))


def test_errors_about_the_temporary_file_name_the_destination(tmp_path):
    path = tmp_path / "x"
    found = outcome(path, PermissionError(errno.EPERM, "no"), lambda temporary: temporary)
    assert str(found).startswith(f"{path}: cannot be written (Operation not permitted); name a")
    found = outcome(path, OSError(errno.ENOSPC, ""), lambda t: t.with_name(".x.folder"))
    assert str(found).startswith(f"{path}: cannot be written (No space left on device)")


def test_refusals_of_the_temporary_file_name_the_destination(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError) as caught, naming("x", "./.x.12"):
        raise FileError(".x.12/x", "a is in uint16, which it has not", argument="dtype")
    assert str(caught.value) == "x: a is in uint16, which it has not"
    assert caught.value.argument == "dtype"


@pytest.mark.parametrize(
    "error",
    [
        ExistsError("other", "exists"),
        UsageError("no such preset"),
        ValueError("a mistake of ours"),
        BrokenPipeError(errno.EPIPE, "no reader"),
        OSError("without a number"),
        OSError(errno.ENOENT, "no such file", "elsewhere"),
        OSError(errno.ENOSPC, "no room", "/elsewhere/x"),
    ],
)
def test_what_is_about_something_else_passes_as_it_is(error, tmp_path):
    assert outcome(tmp_path / "x", error) is error


@pytest.mark.parametrize("name", ["x" * 250, "ä" * 125, "x" * 2 * NAME])
def test_a_name_may_be_as_long_as_a_name_can_be(name, tmp_path):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"


def test_a_name_may_not_be_longer(tmp_path):
    long = tmp_path / ("x" * 256)
    with pytest.raises(FileError, match="choose a shorter name"), replacing(long):
        pass


@pytest.mark.parametrize(("kind", "dtype"), [("torch", "uint16"), ("tf-checkpoint", "<U3")])
def test_a_tensor_that_a_format_cannot_hold_names_the_destination(kind, dtype, tmp_path):
    path = tmp_path / KINDS[kind]
    content = Content({"a": LazyTensor.of("a", np.ones(2).astype(dtype))})
    with pytest.raises(FileError) as caught:
        formats.write(path, kind, content)
    assert str(caught.value).startswith(f"{path}: ")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_data_file_is_named(tmp_path):
    (tmp_path / "x.data-00000-of-00001").mkdir()
    content = Content({"a": LazyTensor.of("a", np.ones(2))})
    with pytest.raises(FileError, match=r"x: cannot be written \(Is a directory\)"):
        formats.write(tmp_path / "x", "tf-checkpoint", content)
    assert [path.name for path in tmp_path.iterdir()] == ["x.data-00000-of-00001"]
