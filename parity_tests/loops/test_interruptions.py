"""A training that is killed or interrupted, and goes on as if nothing had happened."""

import os
import signal
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.interrupt import interruptible
from efficientnet_rosetta.common.training.run import EPOCHS, STATE, STEPS, Run, Step, read_table
from efficientnet_rosetta.common.weights.calibration import calibrated
from parity_tests.loops.support import (
    BACKENDS,
    DEADLINE,
    arguments,
    finished,
    losses,
    rosetta,
    training,
)

# A program that is killed by itself, at a place where nothing can be tidied up: after a step in the
# middle of the second epoch, or where the weights of an epoch are written and its state is not.
KILLED = """
import os, signal, sys
from efficientnet_rosetta.common.cli import main
from efficientnet_rosetta.common.training import run

def dying(right, when):
    def wrong(*arguments, **named):
        found = right(*arguments, **named)
        if when(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return wrong

if {place!r} == "step":
    run.append = dying(run.append, lambda path, row: getattr(row, "learning_rate", 0) is not None
        and path.name == run.STEPS and row.step == 17)
else:
    run.save = dying(run.save, lambda path, *others: path.name == run.LAST and
        len((path.parent / run.EPOCHS).read_text().splitlines()) == 3)
main()
"""


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_run_that_is_killed_twice_goes_on_as_if_nothing_had_happened(backend, folder, tmp_path):
    """Once in a step, and once more, when it was resumed, between the files of an epoch."""
    epochs, whole, killed = 3, tmp_path / "whole", tmp_path / "killed"
    done = CliRunner().invoke(app, arguments(folder, backend, whole, epochs=epochs))
    assert done.exit_code == 0, done.output
    program = tmp_path / "killed.py"
    resume = ("train", "--resume", str(killed), "--workers", "0")
    beginnings = {"step": arguments(folder, backend, killed, epochs=epochs), "state": resume}
    noted = {"step": 1, "state": 2}  # epochs
    for place, options in beginnings.items():
        program.write_text(KILLED.format(place=place))
        process = rosetta(*options, program=program)
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == -signal.SIGKILL, out + err
        assert (killed / STATE).exists()
        assert len((killed / EPOCHS).read_text().splitlines()) == 1 + noted[place]
    assert "continuing after epoch 1" in finished(rosetta(*resume))
    np.testing.assert_allclose(losses(killed), losses(whole), rtol=1e-5, atol=0)
    assert len(losses(whole)) == 12 * epochs
    one, other = (read_table(folder / EPOCHS) for folder in (whole, killed))
    assert [row["epoch"] for row in other] == list(range(1, 1 + epochs))
    assert one[-1]["val_loss"] == pytest.approx(other[-1]["val_loss"], rel=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupted_run_says_how_to_go_on(backend, folder, tmp_path):
    """Interrupted as by a terminal: so are the processes that read images for it."""
    out = tmp_path / "run"
    options = arguments(folder, backend, out, epochs=1000, workers=1)
    process = rosetta(*options, group=True)
    end = time.monotonic() + DEADLINE
    while not (out / STEPS).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, err
    assert err.splitlines() == [
        "stopping after this step; Ctrl-C again stops at once",
        f"stopped; continue with: rosetta train --resume {out}",
    ]


@pytest.fixture
def heeding():
    """Ctrl-C is listened to, also where the tests were started in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interruption_waits_for_the_end_of_the_step(heeding, tmp_path, capfd):
    run = Run(tmp_path)

    def interrupted_step():
        interrupt()
        assert run.stopping
        run.step(Step(0, 0, 0.1, 1.0))

    with pytest.raises(KeyboardInterrupt), interruptible(run):
        interrupted_step()
    assert [row["loss"] for row in read_table(tmp_path / STEPS)] == [1.0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capfd.readouterr().err == "stopping after this step; Ctrl-C again stops at once\n"


def test_a_second_interruption_does_not_wait(heeding, tmp_path):
    reached = []

    def interrupted_twice():
        interrupt()
        reached.append("the first")
        interrupt()
        reached.append("the second")

    with pytest.raises(KeyboardInterrupt), interruptible(Run(tmp_path)):
        interrupted_twice()
    assert reached == ["the first"]


def test_what_a_script_runs_in_the_background_is_not_interrupted(tmp_path):
    run = Run(tmp_path)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(run):
            interrupt()
        assert not run.stopping
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("asked", "raised", "seen"),
    [
        (True, AssertionError("in the middle of a graph"), KeyboardInterrupt),
        (True, RosettaError("the loss is no number"), RosettaError),
        (False, AssertionError("in the middle of a graph"), AssertionError),
    ],
)
def test_what_an_interruption_makes_fail_is_the_interruption(asked, raised, seen, tmp_path):
    run = Run(tmp_path)
    run.stopping = asked
    with pytest.raises((Exception, KeyboardInterrupt)) as found, interruptible(run):
        raise raised
    assert found.type is seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interruption_does_not_wait_for_the_end_of_validation(backend, folder, tmp_path):
    plan = training(folder)

    class Asked(Run):
        def step(self, step):
            super().step(step)
            self.stopping = step.step == plan.steps_per_epoch - 1

    run = Asked(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        get_backend(backend).fit(plan, calibrated(plan.network), run)
    assert len(losses(tmp_path)) == plan.steps_per_epoch
    assert not (tmp_path / EPOCHS).exists()


def test_lightning_does_not_end_the_process_that_evaluates(folder, tmp_path):
    class Interrupted(Run):
        def note(self, skipped):
            raise KeyboardInterrupt

    plan = training(folder)
    model = get_backend("torch").build(plan.network)
    with pytest.raises(KeyboardInterrupt):
        get_backend("torch").evaluate(model, plan.val, Interrupted(tmp_path))
