"""Both training loops: the same losses, the same when interrupted, and on several processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import read_folder
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.interrupt import interruptible
from efficientnet_rosetta.common.training.plan import Training, frozen_sections
from efficientnet_rosetta.common.training.processes import check_shares, process
from efficientnet_rosetta.common.training.recipes import get_recipe
from efficientnet_rosetta.common.training.run import (
    BEST,
    EPOCHS,
    LAST,
    STATE,
    STEPS,
    TENSORBOARD,
    Run,
    Step,
    read_table,
)
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import load, save
from parity_tests.peers.operators import declare

BACKENDS = ("torch", "keras")
BATCH, CLASSES = 8, 3
STEPS_OF_THE_CLAIM = 50
IMAGES = 120  # of which every sixth is held out
# One thread each: many small processes on few cores wait for each other's otherwise.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
COMMAND = [sys.executable, "-m", "parity_tests.peers.operators"]
ROOT = Path(__file__).parent.parent
DEADLINE = 1200  # seconds that end a hang: ten times what the slowest needs on a quiet machine
ROSETTA = str(Path(sys.executable).with_name("rosetta"))


@pytest.fixture(scope="module", autouse=True)
def _lightning():
    """Lightning's metrics import torchvision."""
    declare()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real scans of three digits: 100 to train on and 20 to validate on."""
    root = tmp_path_factory.mktemp("digits")
    scans(root, IMAGES)
    return root


def scans(root, count):
    """Images of 8 x 8, as many of each of three classes."""
    digits = load_digits(n_class=CLASSES)
    for number in range(count):
        path = root / ("zero", "one", "two")[digits.target[number]] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).save(path)


def network(size=32, depth=0.5, **options):
    """Small, and with nothing dropped unless it is asked for."""
    options = {"dropout": 0.0, "drop_path_rate": 0.0, "num_classes": CLASSES, **options}
    return resolve("b0", width=0.25, depth=depth, resolution=size, **options)


def training(folder, net=None, recipe="official", epochs=1, changes=None, **options):
    """A training in float64, of 12 steps an epoch if the folder is the usual one."""
    found, net = read_folder(folder, 1 / 6), net or network()
    chosen = replace(get_recipe(recipe), batch=BATCH, epochs=epochs, **(changes or {}))
    seed = options.get("seed", 0)
    return Training(
        net,
        chosen,
        Batches(found.train, net.resolution, BATCH, chosen.augmentation, seed, classes=CLASSES),
        Batches(found.val, net.resolution, BATCH, classes=CLASSES),
        **{"precision": "float64", **options},
    )


def fitted(backend, plan, path, weights=None):
    """A run in a folder, new or continued."""
    run = Run(path)
    path.mkdir(exist_ok=True)
    run.restore()
    get_backend(backend).fit(plan, weights or calibrated(plan.network), run)
    return run


def losses(path):
    return np.array([row["loss"] for row in read_table(path / STEPS)])


# ------------------------------------------------------------------ the same in both


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Scans of which 400 are trained on: 50 steps."""
    root = tmp_path_factory.mktemp("many")
    scans(root, 480)
    return root


def test_losses_agree_over_50_steps_of_the_official_recipe(many, tmp_path):
    """Same weights, same batches, nothing dropped, in float64: to 1e-8."""
    plan = training(many, network(64))
    for backend in BACKENDS:
        fitted(backend, plan, tmp_path / backend)
    ours, theirs = (losses(tmp_path / name) for name in BACKENDS)
    assert len(ours) == len(theirs) == STEPS_OF_THE_CLAIM
    assert np.ptp(ours) > 0.1  # it is no constant that they agree on
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-8)
    rows = [read_table(tmp_path / name / EPOCHS)[0] for name in BACKENDS]
    for column in ("step", "top1", "top5", "val_top1", "val_top5", "learning_rate"):
        assert rows[0][column] == pytest.approx(rows[1][column], abs=1e-6), column
    for column in ("loss", "val_loss"):  # summed up in float32 by Keras's metrics
        assert rows[0][column] == pytest.approx(rows[1][column], rel=1e-5), column
    weights = [load(tmp_path / name / LAST)[1] for name in BACKENDS]
    for name, array in weights[0].items():
        np.testing.assert_allclose(weights[1][name], array, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label_smoothing": 0.0}, "no label smoothing"),
        ({"weight_decay": 0.0}, "no weight decay"),
        ({"epsilon": 1e-2}, "another epsilon"),
        ({"warmup_epochs": 4}, "another warm-up"),
    ],
)
def test_another_recipe_gives_other_losses(folder, tmp_path, changes, why):
    """By far more than the 1e-8 that are allowed, within an epoch of twelve steps."""
    fitted("torch", training(folder), tmp_path / "one")
    fitted("torch", training(folder, changes=changes), tmp_path / "other")
    apart = np.abs(losses(tmp_path / "one") - losses(tmp_path / "other")).max()
    assert apart > 1e-7, why


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_number_of_workers_changes_nothing(backend, folder, tmp_path):
    for workers in (0, 2):
        plan = training(folder, epochs=2, workers=workers)
        fitted(backend, plan, tmp_path / str(workers))
    np.testing.assert_array_equal(losses(tmp_path / "0"), losses(tmp_path / "2"))


def test_a_run_is_continued_by_the_other_framework(folder, tmp_path):
    """Its state is in canonical names: three epochs here are two here and one there."""
    plan = training(folder, epochs=3)
    fitted("torch", plan, tmp_path / "whole")
    two = replace(plan, recipe=replace(plan.recipe, epochs=2))
    fitted("torch", two, tmp_path / "parts")
    fitted("keras", plan, tmp_path / "parts")
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "whole"), atol=1e-8)
    first, second = (load(tmp_path / name / LAST)[1] for name in ("whole", "parts"))
    assert all(np.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in first)


# ------------------------------------------------------------------ what is frozen


@pytest.mark.parametrize("backend", BACKENDS)
def test_finetuning_trains_the_head_and_then_everything(backend, folder, tmp_path):
    net = network(drop_path_rate=0.2, dropout=0.2)
    plan = training(folder, net, "finetune", epochs=2, precision="float32")
    start = calibrated(net)
    first, second = plan.phases
    assert (first.epochs, second.epochs) == (range(1), range(1, 2))
    alone = (replace(plan.recipe.phases[0], share=1.0),)
    half = replace(plan, recipe=replace(plan.recipe, epochs=1, phases=alone))
    run = fitted(backend, half, tmp_path, start)
    for name, array in run.state.model.items():
        changed = (array != start[name].astype(array.dtype)).any()
        assert changed == name.startswith("classifier."), name
    middle = run.state.model
    run = fitted(backend, plan, tmp_path, start)
    # The second phase has fresh momentum, of everything.
    assert set(run.state.slots["momentum"]) == {
        name for name in net.tensors if not name.endswith((".mean", ".variance"))
    }
    for name in set(net.tensors) - without_gradient(net):
        assert (run.state.model[name] != middle[name]).any(), name


def test_phases_are_the_same_in_both_whole_or_in_parts(folder, tmp_path):
    """All that is frozen in the first phase is trained, and in training mode, in the second."""
    # At the recipe's own rate so small a network amplifies rounding to 1e-3 within these steps.
    plan = training(folder, recipe="finetune", epochs=4, changes={"rate": 0.001})
    assert [phase.epochs for phase in plan.phases] == [range(2), range(2, 4)]
    for backend in BACKENDS:
        fitted(backend, plan, tmp_path / backend)
    np.testing.assert_allclose(losses(tmp_path / "keras"), losses(tmp_path / "torch"), atol=1e-8)
    for done in (2, 3):  # between the phases, and amid the second
        parts = tmp_path / f"after-{done}"
        shutil.copytree(tmp_path / "torch", parts)
        (parts / STATE).unlink()
        interrupted = Interrupting(parts, done)
        with pytest.raises(KeyboardInterrupt):
            get_backend("torch").fit(plan, calibrated(plan.network), interrupted)
        fitted("torch", plan, parts)
        np.testing.assert_array_equal(losses(parts), losses(tmp_path / "torch"))


class Interrupting(Run):
    """A run that is interrupted after some epochs."""

    def __init__(self, folder, epochs):
        super().__init__(folder, self.interrupt)
        self.epochs = epochs
        self.restore()

    def interrupt(self, row):
        if row.epoch == self.epochs:
            raise KeyboardInterrupt


def without_gradient(net):
    """A constant that a batch norm takes away again, where no skip leads past that."""
    return {f"{block.role}.project_bn.bias" for block in net.blocks}


def test_both_freeze_the_same_and_alike(folder, tmp_path):
    """Frozen sections run as in inference: no batch statistics, and nothing dropped."""
    net = network(drop_path_rate=0.5)
    plan = training(folder, net, freeze="7")
    frozen = frozen_sections(net, 7)
    blocks = {block.role for block in net.blocks if block.stage <= 7}
    assert frozen == {"stem", *blocks}
    # The one block that is left has a shortcut by no chance: nothing random is left either.
    assert not any(block.has_skip for block in net.blocks if block.role not in frozen)
    start = calibrated(net)
    states = [fitted(name, plan, tmp_path / name, start).state.model for name in BACKENDS]
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=1e-7, atol=1e-9, err_msg=name)
        is_frozen = name.startswith(tuple(f"{role}." for role in frozen))
        if name not in without_gradient(net):
            assert (array == start[name]).all() == is_frozen, name


def test_what_can_be_frozen():
    net = network()
    assert frozen_sections(net, 0) == frozenset()
    assert frozen_sections(net, "1") == {"stem"}
    assert frozen_sections(net, "backbone") == {part.role for part in net.sections[:-1]}
    for wrong in ("9", "-1", "head", "1.5"):
        with pytest.raises(RosettaError, match=f"freeze is {wrong}; it must be backbone or 0 to"):
            frozen_sections(net, wrong)


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(backend, folder, tmp_path):
    wild = {"rate": 1e30, "warmup_epochs": 0}
    plan = training(folder, changes=wild, precision="float32")
    with pytest.raises(
        RosettaError, match=r"the loss of step \d+ \(epoch 1, rate .*\) is (nan|inf)"
    ):
        fitted(backend, plan, tmp_path)
    assert len(losses(tmp_path)) < 12


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_that_cannot_be_read_are_counted(backend, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    scans(root, IMAGES)
    found = read_folder(root, 1 / 6)
    for sample in (*found.train[:3], found.val[0]):
        sample.path.write_bytes(b"no image")
    run = fitted(backend, training(root, workers=2, precision="bfloat16"), tmp_path / "run")
    assert read_table(tmp_path / "run" / EPOCHS)[0]["skipped"] == len(run.skipped) == 4
    assert np.isfinite(losses(tmp_path / "run")).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_label_of_no_class_is_one_line_even_from_a_worker(backend, workers, folder, tmp_path):
    plan = training(folder, workers=workers)
    plan = replace(plan, train=replace(plan.train, classes=2))
    with pytest.raises(RosettaError, match="is of class 2, counted from 0, but there are 2"):
        fitted(backend, plan, tmp_path)


# ------------------------------------------------------------------ what is left in the folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_is_logged_and_kept(backend, folder, tmp_path):
    plan = training(folder, network(drop_path_rate=0.2, dropout=0.2), epochs=2, precision="float32")
    run = fitted(backend, plan, tmp_path)
    rows = read_table(tmp_path / EPOCHS)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 12), (2, 24)]
    assert all(row["images_per_second"] > 0 for row in rows)
    steps = read_table(tmp_path / STEPS)
    rate = plan.phases[0].optimization.rate
    assert [row["learning_rate"] for row in steps] == [rate(number) for number in range(24)]
    assert rows[0]["loss"] == pytest.approx(np.mean([row["loss"] for row in steps[:12]]), rel=1e-5)
    best = max(row["val_top1"] for row in rows)
    assert run.state.best == best
    for name in (BEST, LAST):
        net, weights = load(tmp_path / name)
        assert net == plan.network
        model = get_backend(backend).build(net)
        get_backend(backend).load_weights(model, weights)
        found = get_backend(backend).evaluate(model, plan.val, Run(tmp_path))
        row = rows[-1] if name == LAST else next(row for row in rows if row["val_top1"] == best)
        assert (found.top1, found.top5) == (row["val_top1"], row["val_top5"])
        assert found.loss == pytest.approx(row["val_loss"], rel=1e-5)
    # The average is what is validated and kept; what is trained is in the state.
    assert any((run.state.model[name] != weights[name]).any() for name in weights)
    assert tensorboard_tags(tmp_path / TENSORBOARD) >= {
        *("loss", "top1", "top5", "learning_rate", "images_per_second")
    }


def tensorboard_tags(folder):
    """Names of the curves of all event files below a folder, as TensorBoard groups them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return {
        value.tag.removeprefix("epoch_")
        for path in folder.rglob("events.out.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_are_those_of_the_logits(backend, folder, tmp_path):
    """Of an incomplete last batch, and with an image that is none: checked with NumPy."""
    root = tmp_path / "images"
    root.mkdir()
    scans(root, 21)
    broken = next(root.rglob("*.png"))
    broken.write_bytes(b"")
    net = network()
    framework = get_backend(backend)
    model = framework.build(net)
    framework.load_weights(model, calibrated(net))
    samples = read_folder(root, 0.0).train
    run = Run(tmp_path)
    found = framework.evaluate(model, Batches(samples, net.resolution, BATCH), run)
    assert list(run.skipped) == [str(broken)]
    images, labels, _ = Batches(
        [sample for sample in samples if sample.path != broken], net.resolution, 20
    ).read(0, 0)
    logits = framework.run(model, images).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.loss == pytest.approx(-np.log(shares[np.arange(20), labels]).mean(), rel=1e-5)
    assert found.top1 == pytest.approx((logits.argmax(1) == labels).mean())
    assert found.top5 == 1.0
    lost = [sample for sample in samples if sample.path == broken]
    with pytest.raises(RosettaError, match="no image could be read to validate on"):
        framework.evaluate(model, Batches(lost, net.resolution, 2), run)


# ------------------------------------------------------------------ processes


def arguments(folder, backend, out, *further, epochs, workers=0):
    """A training with everything random in it."""
    return [
        *("train", "--backend", backend, "--width", "0.25", "--depth", "0.5", "--batch", "8"),
        *("--image-size", "32", "--data", str(folder), "--held-out", str(1 / 6)),
        *("--epochs", str(epochs)),
        *("--workers", str(workers), "--out", str(out), *further),
    ]


def rosetta(*arguments, prefix=(), group=False, program=None, **environment):
    """The command, in a process of its own, or in a group of its own with those that it starts."""
    return subprocess.Popen(
        [*COMMAND[:1], *prefix, *COMMAND[1:], str(program or ROSETTA), *arguments],
        env={**ENVIRONMENT, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=group,
        # As at a terminal: what is started in the background of a script ignores Ctrl-C.
        preexec_fn=heed_interruptions,
    )


def heed_interruptions():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(process):
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, out + err
    return out


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_is_killed_twice_goes_on_as_if_nothing_had_happened(backend, folder, tmp_path):
    """Once in a step, and once more, when it was resumed, between the files of an epoch."""
    epochs, whole, killed = 3, tmp_path / "whole", tmp_path / "killed"
    finished(rosetta(*arguments(folder, backend, whole, epochs=epochs)))
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


def two_processes(launcher, folder, out, site):
    """Two processes of a training in which nothing is random but the images."""
    backend = "keras" if launcher == "TF_CONFIG" else "torch"
    start = folder.parent / "start.safetensors"
    options = arguments(folder, backend, out, "--weights", str(start), epochs=2)
    options = [o for o in options if o not in ("--width", "--depth", "0.25", "0.5")]
    options += ["--precision", "float64"]
    if launcher == "torchrun":
        torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
        return [rosetta(*options, prefix=torchrun)]
    if launcher == "Lightning":
        # It starts the command once more, which has to find torchvision's operators as well.
        site.mkdir()
        declares = "from parity_tests.peers.operators import declare\ndeclare()\n"
        (site / "sitecustomize.py").write_text(declares)
        found = f"{site}{os.pathsep}{ROOT}"
        return [rosetta(*options, "--devices", "2", PYTHONPATH=found)]
    workers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return [
        rosetta(
            *options,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("launcher", ["torchrun", "Lightning", "TF_CONFIG"])
def test_two_processes_give_the_losses_of_one(launcher, folder, tmp_path):
    """For the same global batch: batch norms see all of it, gradients are the mean of both."""
    net = network(depth=0.1)  # a block for each stage
    save(folder.parent / "start.safetensors", net, calibrated(net))
    plan = training(folder, net, epochs=2)
    fitted("keras" if launcher == "TF_CONFIG" else "torch", plan, tmp_path / "one")
    processes = two_processes(launcher, folder, tmp_path / "two", tmp_path / "site")
    printed = [finished(process) for process in processes]
    assert sum(text.count("best: ") for text in printed) == 1  # the first process speaks
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-8)
    one, two = (read_table(tmp_path / name / EPOCHS)[-1] for name in ("one", "two"))
    for column in ("loss", "top1", "val_loss", "val_top1"):
        assert one[column] == pytest.approx(two[column], rel=1e-5), column


MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from efficientnet_rosetta.keras_impl import loop
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
loop._strategy = lambda training: strategy
from parity_tests.test_loops import fitted, training
fitted("keras", training(Path(sys.argv[1]), epochs=2), Path(sys.argv[2]))
"""


def test_two_devices_of_one_process_give_the_losses_of_one(folder, tmp_path):
    """Keras's way with several GPUs, here with two halves of a CPU."""
    fitted("keras", training(folder, epochs=2), tmp_path / "one")
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(folder), str(tmp_path / "two")],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-8)


def test_processes_are_counted(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert process() == (0, 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert process() == (1, 2)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert process() == (3, 4)
    cluster = {"worker": ["a:1", "b:1"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert process() == (1, 2)
    cluster["chief"] = ["c:1"]
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(RosettaError, match="TF_CONFIG has other tasks than workers"):
        process()
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(RosettaError, match="TF_CONFIG is not as TensorFlow wants it"):
        process()


def test_a_batch_must_come_out_even(folder):
    with pytest.raises(RosettaError, match="8 images cannot be shared evenly by 3 devices"):
        check_shares(training(folder).train, 3)
