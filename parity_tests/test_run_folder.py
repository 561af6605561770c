"""A folder of a run that was damaged, or meddled with, is one line that names the file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.named import CLASSES, indexed_names
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import FileError, RosettaError
from efficientnet_rosetta.common.training.recipes import get_recipe
from efficientnet_rosetta.common.training.rows import Epoch
from efficientnet_rosetta.common.training.run import (
    EPOCHS,
    SETTINGS,
    STATE,
    STEPS,
    TENSORBOARD,
    Run,
)
from efficientnet_rosetta.common.training.state import State, read_state, write_state
from parity_tests.runs import short_loop, two_classes

TOTAL = 4  # epochs


@pytest.fixture
def data(tmp_path):
    """Six images of each of two classes."""
    return two_classes(tmp_path / "data")


@pytest.fixture
def fitted(monkeypatch):
    """How often a training came as far as its loop, which here makes one epoch of one step."""
    return short_loop(monkeypatch, lambda training, done: done)


@pytest.fixture
def folder(data, fitted, tmp_path):
    """A run of which one epoch is done."""
    out = tmp_path / "run"
    scaling = {"width": 0.1, "depth": 0.1, "image_size": 32, "batch": 4, "epochs": TOTAL}
    rosetta.train(data, backend="torch", out=out, held_out=0.2, **scaling)
    return out


def test_a_process_that_writes_nothing_has_the_best_weights(tmp_path, monkeypatch):
    """Whether or not the first process has come to writing them."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = Run(tmp_path)
    for epoch, top1 in enumerate((0.2, 0.5, 0.4), start=1):
        weights = {"w": np.full(1, epoch)}
        row = Epoch(epoch, epoch, 1.0, 0.5, 1.0, 1.0, top1, 1.0, 0.1, 10.0, 0)
        run.end_epoch(row, None, weights, lambda best, row=row: State(row.epoch, best, {}, {}, {}))
    assert run.best_weights() == {"w": 2}
    assert not list(tmp_path.iterdir())


def test_a_sound_run_goes_on(folder, fitted):
    rosetta.train(resume=folder)
    assert fitted == [0, 1]
    rows = (folder / EPOCHS).read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]


def refused(folder, fitted, about):
    """The line that resuming ends in, before anything is trained or written."""
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(RosettaError) as caught:
        rosetta.train(resume=folder)
    assert fitted == [0]
    assert str(caught.value).startswith(f"{about}: ")
    assert str(caught.value).isprintable()
    assert {path: path.read_bytes() for path in before} == before
    return str(caught.value)


def changed_settings(**changes):
    def change(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def written(text):
    return lambda path: path.write_bytes(text)


SETTINGS_DAMAGE = {
    "empty": written(b""),
    "garbage": written(os.urandom(100)),
    "nested": written(b"[" * 100_000),
    "a list": written(b"[1, 2]"),
    "no epochs": lambda path: path.write_text(path.read_text().replace('"epochs"', '"era"')),
    "infinite epochs": lambda path: path.write_text(
        path.read_text().replace(f'"epochs": {TOTAL}', '"epochs": 1e400')
    ),
    "half a batch": changed_settings(batch=1.5),
    "true": changed_settings(seed=True),
    "a list for a name": changed_settings(preset=["b0"]),
    "a number for a framework": changed_settings(backend=7),
    "no count": changed_settings(train=None),
    "data of another type": changed_settings(data={"a": 1}),
    "much": written(b" " * (1 << 21)),
}


@pytest.mark.parametrize("damage", SETTINGS_DAMAGE)
def test_damaged_settings(damage, folder, fitted):
    SETTINGS_DAMAGE[damage](folder / SETTINGS)
    refused(folder, fitted, folder / SETTINGS)


@pytest.mark.parametrize("name", ["weights", "data"])
def test_settings_that_lead_nowhere(name, folder, fitted):
    changed_settings(**{name: "x" * 5000, "width": None, "depth": None})(folder / SETTINGS)
    refused(folder, fitted, "x" * 5000)


def test_another_version_of_the_recipe_is_refused(folder, fitted):
    version = get_recipe("official").version
    assert json.loads((folder / SETTINGS).read_text())["recipe_version"] == version
    changed_settings(recipe_version=version + 1)(folder / SETTINGS)
    said = refused(folder, fitted, folder / SETTINGS)
    assert f"began with version {version + 1} of recipe official" in said
    assert said.endswith("continue it with the release of this program that it began with")


TABLE_DAMAGE = {
    "no header": lambda text: text.split(b"\n", 1)[1],
    "a column more": lambda text: b"\n".join(line.strip() + b",7" for line in text.split()),
    "another column": lambda text: text.replace(b"epoch", b"era"),
    "another encoding": lambda text: text.replace(b"0.1", b"\xff\xfe"),
    "garbage": lambda text: bytes(range(256)),
    "words": lambda text: text.replace(b"0.1", b"low") * 1 + text.split(b"\n")[1] + b"\n",
    "a field without end": lambda text: text + b'"' + b"x" * 200_000 + b"\n" + text,
}


@pytest.mark.parametrize("name", [STEPS, EPOCHS])
@pytest.mark.parametrize("damage", TABLE_DAMAGE)
def test_damaged_tables(name, damage, folder, fitted):
    path = folder / name
    path.write_bytes(TABLE_DAMAGE[damage](path.read_bytes()))
    assert "is not the table of a run (" in refused(folder, fitted, path)


@pytest.mark.parametrize("left", [0, 45])
def test_a_row_that_was_being_written_is_dropped(left, folder, fitted):
    path = folder / STEPS
    path.write_bytes(path.read_bytes()[:-6] if left else b"")
    rosetta.train(resume=folder)
    assert path.read_text().splitlines()[0] == "step,epoch,learning_rate,loss"
    assert len(path.read_text().splitlines()) == 2


def resaved(change):
    """A state whose file is sound, but which says something else."""

    def damage(path):
        with safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        change(tensors, metadata)
        save_file(tensors, path, metadata=metadata)

    return damage


def without(start):
    def change(tensors, metadata):
        for key in [key for key in tensors if key.startswith(start)]:
            del tensors[key]

    return change


def reshaped(tensors, metadata):
    tensors["momentum/stem.conv.weight"] = tensors["momentum/stem.conv.weight"].ravel()


def saying(**changes):
    return lambda tensors, metadata: metadata.update(changes)


STATE_DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"),
    "no slots": resaved(lambda *state: [without(slot)(*state) for slot in ("momentum", "square")]),
    "a slot lost": resaved(without("square/stem.conv.weight")),
    "a slot misshapen": resaved(reshaped),
    "no model": resaved(without("model/")),
    "an unknown group": resaved(lambda tensors, _: tensors.update({"x/y": np.zeros(1, "f4")})),
    "more epochs": resaved(saying(epochs="99")),
    "negative epochs": resaved(saying(epochs="-1")),
    "no number": resaved(saying(epochs="many")),
    "no checksum": resaved(lambda tensors, metadata: metadata.pop("sha256")),
    "another schema": resaved(saying(schema="1e9")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", STATE_DAMAGE)
def test_a_damaged_state(damage, folder, fitted):
    STATE_DAMAGE[damage](folder / STATE)
    refused(folder, fitted, folder / STATE)


def test_a_state_of_another_run(folder, fitted):
    """Sound, but after more epochs than there are, or of another network."""
    state = read_state(folder / STATE)
    for epochs, model in ((99, state.model), (1, {"a": np.zeros(1, np.float32)})):
        other = State(epochs, 0.5, model, {}, {})
        write_state(folder / STATE, other)
        refused(folder, fitted, folder / STATE)


@pytest.mark.parametrize("content", [b'{"ant": 0, "bee": 1e999}', b"[" * 100_000, b"\xff", b"[]"])
def test_damaged_classes(content, folder, fitted):
    (folder / CLASSES).write_bytes(content)
    refused(folder, fitted, folder / CLASSES)
    with pytest.raises(FileError):
        indexed_names(folder / "any.safetensors")


def test_a_file_in_the_place_of_the_curves(folder, fitted):
    (folder / TENSORBOARD).write_text("mine")
    assert "move it away" in refused(folder, fitted, folder / TENSORBOARD)


def renamed(data):
    (data / "ant" / "5.png").rename(data / "ant" / "7.png")


def exchanged(data):
    (data / "ant" / "0.png").rename(data / "x.png")
    (data / "ant" / "1.png").rename(data / "ant" / "0.png")
    (data / "x.png").rename(data / "ant" / "1.png")


@pytest.mark.parametrize("change", [renamed, exchanged])
def test_other_images_in_the_same_number(change, data, folder, fitted):
    change(data)
    assert "has other images than the run began with" in refused(folder, fitted, data)


def test_data_may_move(data, folder, fitted):
    data.rename(data.with_name("elsewhere"))
    rosetta.train(data.with_name("elsewhere"), resume=folder)
    assert fitted == [0, 1]


HOLDING = """
import sys
from pathlib import Path
from efficientnet_rosetta.common.training.run import Run
with Run(Path(sys.argv[1])).alone():
    print("in", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_go_on_with_one_run(folder, fitted):
    program = [sys.executable, "-c", HOLDING, str(folder)]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        assert "another process is training there" in refused(folder, fitted, folder)
        other.kill()  # which lets go of it
    rosetta.train(resume=folder)
    assert fitted == [0, 1]


def test_a_process_that_reads_images_does_not_keep_the_lock(folder):
    run = Run(folder)
    with run.alone():
        (read, end), (begun, ready) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            os.write(ready, b"x")
            os.read(read, 1)
            os._exit(0)
        os.read(begun, 1)
    try:
        with run.alone():  # although the child is still there
            pass
    finally:
        os.write(end, b"x")
        os.waitpid(child, 0)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x")])
def test_nothing_remains_of_a_run_that_could_not_begin(error, data, tmp_path, monkeypatch):
    def fit(*arguments, **options):
        raise error

    monkeypatch.setattr(get_backend("torch"), "fit", fit)
    options = ["--width", "0.1", "--depth", "0.1", "--image-size", "32", "--batch", "4"]
    out = tmp_path / "new" / "run"
    done = CliRunner().invoke(
        app, ["train", "--data", str(data), "--backend", "torch", "--out", str(out), *options]
    )
    assert not (tmp_path / "new").exists()
    if isinstance(error, OSError):
        assert str(done.exception) == (
            f"{out}: cannot be written (No space left on device); make room"
        )
    else:
        assert done.exception is error  # a mistake of ours is not hidden


def test_rows_that_find_no_room_name_their_table(tmp_path):
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from efficientnet_rosetta.common.training.rows import Step, append\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    for number in range(100): append(Path(sys.argv[1]), Step(number, 0, 0.1, 1.0))\n"
        "except ValueError as error: print(error)\n"
    )
    path = Path(tmp_path, "steps.csv")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True
    )
    assert done.stdout.startswith(f"{path}: cannot be written (File too large)")


def test_equal_states_make_equal_bytes(folder, tmp_path):
    state = read_state(folder / STATE)
    write_state(tmp_path / "again", state)
    assert (tmp_path / "again").read_bytes() == (folder / STATE).read_bytes()
