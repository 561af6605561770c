"""Keras trains alike on JAX and on PyTorch: each run in a process of its own."""

import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends import registry
from efficientnet_rosetta.common.backends.registry import (
    get_backend,
    on_keras,
    prefer_keras_on,
)
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import MissingDependencyError, UsageError
from efficientnet_rosetta.common.training.run import BEST, EPOCHS, SETTINGS, STATE, Run, read_table
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.keras_impl.reading import piece
from parity_tests.loops.support import (
    BACKENDS,
    DEADLINE,
    Interrupting,
    arguments,
    finished,
    fitted,
    losses,
    network,
    rosetta,
    training,
)
from parity_tests.loops.test_interruptions import KILLED
from parity_tests.loops.test_loops import tensorboard_tags

ELSEWHERE = ("jax", "torch")
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(scope="module")
def start(folder, tmp_path_factory):
    """Weights of a network in which nothing is dropped."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    net = network()
    save(path, net, calibrated(net))
    return path


def training_on(framework, folder, out, *further, start=None, epochs=1, **environment):
    """A training of Keras elsewhere, as a process."""
    options = arguments(folder, "keras", out, *further, epochs=epochs)
    if start:  # which say what network they are of
        options = [option for option in options if option not in ("--width", "0.25")]
        options += ["--weights", str(start)]
    return rosetta(*options, "--keras-backend", framework, **environment)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ELSEWHERE)
def test_losses_in_float64_are_those_of_pytorch(framework, start, folder, tmp_path):
    """Over two epochs of the official recipe, with validation between them."""
    fitted("torch", training(folder, epochs=2), tmp_path / "torch")
    there = tmp_path / "there"
    finished(training_on(framework, folder, there, "--precision", "float64", start=start, epochs=2))
    ours = losses(tmp_path / "torch")
    assert np.ptp(ours) > 0.1
    np.testing.assert_allclose(losses(there), ours, rtol=0, atol=1e-9)
    rows = [read_table(path / EPOCHS) for path in (tmp_path / "torch", there)]
    for ours, theirs in zip(*rows, strict=True):
        for column in ("step", "loss", "top1", "val_loss", "val_top1", "learning_rate"):
            assert theirs[column] == pytest.approx(ours[column], rel=1e-5), column
    assert tensorboard_tags(there / "tensorboard") >= {"loss", "top1", "learning_rate"}
    # What it wrote is evaluated there as it was at the end of its best epoch.
    options = ("evaluate", "--data", str(folder), "--held-out", str(1 / 6), "--batch", "8")
    options += ("--weights", str(there / BEST), "--keras-backend", framework)
    best = max(row["val_top1"] for row in rows[1])
    assert f"images: top-1 {best:.2%}" in finished(rosetta(*options))


@pytest.mark.slow
@pytest.mark.parametrize("framework", ELSEWHERE)
def test_the_first_losses_in_float32_are_those_of_pytorch(framework, start, folder, tmp_path):
    fitted("torch", training(folder, precision="float32"), tmp_path / "torch")
    finished(training_on(framework, folder, tmp_path / "there", start=start))
    ours, theirs = (losses(tmp_path / name)[:5] for name in ("torch", "there"))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


@pytest.mark.slow
def test_two_devices_of_jax_give_the_losses_of_one(start, folder, tmp_path):
    """Their batch norms see the whole batch."""
    options = ("--precision", "float64")
    finished(training_on("jax", folder, tmp_path / "one", *options, start=start))
    options += ("--devices", "2")
    two = training_on("jax", folder, tmp_path / "two", *options, start=start, **TWO_DEVICES)
    finished(two)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-9)


@pytest.mark.slow
def test_two_devices_of_jax_go_through_the_pieces_of_two_processes(start, folder, tmp_path):
    """Each piece has as much of both shares of a batch, which its batch norms see."""
    options = ("--precision", "float64", "--accumulate", "2")
    two = training_on(
        *("jax", folder, tmp_path / "jax", *options, "--devices", "2"), start=start, **TWO_DEVICES
    )
    finished(two)
    common = arguments(folder, "torch", tmp_path / "torch", *options, epochs=1)
    common = [option for option in common if option not in ("--width", "0.25")]
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    finished(rosetta(*common, "--weights", str(start), prefix=torchrun))
    np.testing.assert_allclose(losses(tmp_path / "jax"), losses(tmp_path / "torch"), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ELSEWHERE)
def test_a_killed_run_goes_on_where_it_was(framework, folder, tmp_path):
    """With everything random in it, on the framework that the run is of without being told."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(training_on(framework, folder, whole, epochs=2))
    program = tmp_path / "killed.py"
    program.write_text(KILLED.format(place="step"))
    options = arguments(folder, "keras", killed, "--keras-backend", framework, epochs=2)
    process = rosetta(*options, program=program)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGKILL, out + err
    assert (killed / STATE).exists()
    assert Run(killed).settings()["keras_backend"] == framework
    assert "continuing after epoch 1" in finished(rosetta("train", "--resume", str(killed)))
    np.testing.assert_array_equal(losses(killed), losses(whole))


@pytest.mark.slow
@pytest.mark.parametrize("framework", ELSEWHERE)
def test_a_loss_that_is_no_number_is_named_there_too(framework, start, folder, tmp_path):
    options = arguments(folder, "keras", tmp_path / "run", epochs=1)
    wild = tmp_path / "wild.py"
    wild.write_text(WILD)
    process = rosetta(*options, "--keras-backend", framework, program=wild)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2, err
    written = losses(tmp_path / "run")
    assert not np.isfinite(written[-1])
    assert f"the loss of step {len(written) - 1} (epoch 1, rate 1e+30) is" in err


# A program whose recipe has a rate with which nothing can be trained.
WILD = """
from dataclasses import replace
from efficientnet_rosetta.common.cli import main
from efficientnet_rosetta.common.training import recipes

recipe = recipes.get_recipe("official")
recipes.RECIPES["official"] = replace(recipe, rate=1e30 * 32, warmup_epochs=0)
main()
"""


@pytest.mark.parametrize(
    ("framework", "options", "line"),
    [
        ("jax", ["--devices", "9"], "devices is 9, but JAX sees 1"),
        ("torch", ["--devices", "2"], "Keras on PyTorch trains on one device in one process"),
    ],
)
@pytest.mark.slow
def test_devices_that_there_are_not_are_one_line(framework, options, line, folder, tmp_path):
    process = training_on(framework, folder, tmp_path / "run", *options)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert line in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / SETTINGS).exists()


# ------------------------------------------------------------------ parts, and float16


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(1, [[0, 1, 2, 3], [4, 5, 6, 7]]), (2, [[0, 1, 4, 5], [2, 3, 6, 7]])],
)
def test_a_piece_has_as_much_of_the_share_of_each_device(devices, expected):
    batch = np.stack([np.arange(8), 10 * np.arange(8)], -1)
    for number, places in enumerate(expected):
        found = np.asarray(piece(batch, number, pieces=2, devices=devices))
        np.testing.assert_array_equal(found, batch[places])


@pytest.mark.slow
def test_parts_of_a_batch_add_up_to_its_step(folder, tmp_path):
    """Where batch norms run as in inference; elsewhere they see one part at a time."""
    for parts in (1, 4):
        plan = training(folder, freeze="backbone", changes={"accumulation": parts})
        fitted("keras", plan, tmp_path / str(parts))
    np.testing.assert_allclose(losses(tmp_path / "4"), losses(tmp_path / "1"), rtol=1e-12)


@pytest.mark.slow
def test_parts_of_a_batch_are_those_of_pytorch(folder, tmp_path):
    plan = training(folder, changes={"accumulation": 2})
    for backend in BACKENDS:
        fitted(backend, plan, tmp_path / backend)
    np.testing.assert_allclose(
        losses(tmp_path / "keras"), losses(tmp_path / "torch"), rtol=0, atol=1e-8
    )


@pytest.mark.slow
def test_float16_goes_on_with_the_scale_of_its_loss(folder, tmp_path):
    plan = training(folder, epochs=2, precision="float16")
    whole = fitted("keras", plan, tmp_path / "whole").state
    for epochs in (1, 2):
        part = replace(plan, recipe=replace(plan.recipe, epochs=epochs))
        parts = fitted("keras", part, tmp_path / "parts").state
    np.testing.assert_array_equal(losses(tmp_path / "parts"), losses(tmp_path / "whole"))
    assert parts.slots[LOSS_SCALE] == whole.slots[LOSS_SCALE]
    fitted("torch", training(folder, precision="float32"), tmp_path / "float32")
    apart = np.abs(losses(tmp_path / "whole")[:6] - losses(tmp_path / "float32")[:6])
    assert 0 < apart.max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_scale_of_a_loss_goes_on_in_another_phase(backend, folder, tmp_path):
    plan = training(folder, recipe="finetune", epochs=2, precision="float16")
    assert [phase.began for phase in plan.phases] == [0, 1]
    start = calibrated(plan.network)
    with pytest.raises(KeyboardInterrupt):
        get_backend(backend).fit(plan, start, Interrupting(tmp_path, 1))
    run = Run(tmp_path)
    run.restore()
    scaled = run.state.slots[LOSS_SCALE]
    scaled["scale"][:], scaled["steps"][:] = 128.0, 100
    get_backend(backend).fit(plan, start, run)
    found = run.state.slots[LOSS_SCALE]
    assert (found["scale"].item(), found["steps"].item()) == (128.0, 100 + plan.steps_per_epoch)


# ------------------------------------------------------------------ what Keras is to run on


@pytest.fixture
def running(monkeypatch):
    """Have Keras run on something, or not be imported."""

    def on(framework):
        keras = SimpleNamespace(config=SimpleNamespace(backend=lambda: framework))
        monkeypatch.setitem(sys.modules, "keras", keras)
        if framework is None:
            monkeypatch.delitem(sys.modules, "keras")

    monkeypatch.setenv("KERAS_BACKEND", "any")  # so that what is set is taken back in the end
    monkeypatch.delenv("KERAS_BACKEND")
    return on


def test_what_keras_runs_on_is_chosen_before_it_is_imported(running, monkeypatch):
    running(None)
    assert on_keras("torch", None) == "torch"
    assert on_keras(None, "jax") == on_keras("keras", "jax") == "keras"
    assert registry.os.environ["KERAS_BACKEND"] == "jax"
    prefer_keras_on("torch")  # as a run has it that is resumed; the environment is heard first
    assert registry.os.environ["KERAS_BACKEND"] == "jax"
    monkeypatch.delenv("KERAS_BACKEND")
    prefer_keras_on(["torch"])  # of a damaged file
    prefer_keras_on(None)  # of a run from before this was kept
    assert "KERAS_BACKEND" not in registry.os.environ
    prefer_keras_on("torch")
    assert registry.os.environ["KERAS_BACKEND"] == "torch"


def test_what_keras_runs_on_does_not_change(running):
    running("tensorflow")
    assert on_keras(None, "tensorflow") == "keras"
    with pytest.raises(UsageError, match="is jax, but Keras runs on tensorflow in this process"):
        on_keras("keras", "jax")
    prefer_keras_on("jax")
    assert "KERAS_BACKEND" not in registry.os.environ


def test_a_framework_of_keras_that_is_not_installed_is_one_line(running, monkeypatch):
    running(None)
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="run: pip install jax"):
        on_keras("keras", "jax")


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--keras-backend", "theano"], "is 'theano'; choose from tensorflow, jax, torch"),
        (["--keras-backend", "jax", "--backend", "torch"], "is for backend keras, and not for"),
    ],
)
def test_what_keras_cannot_run_on_is_one_line(command, options, line, tmp_path):
    given = ["--weights", "none.safetensors"] if command == "evaluate" else []
    done = CliRunner().invoke(app, [command, "--data", str(tmp_path), *given, *options])
    assert line in str(done.exception)
    assert done.exception.argument == "keras_backend"
