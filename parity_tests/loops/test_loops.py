"""Both training loops: the same losses, the same that is frozen, and all of it kept."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from efficientnet_rosetta import torch_impl
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.augment import Augmentation
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import read_folder
from efficientnet_rosetta.common.images.mixing import Mixing
from efficientnet_rosetta.common.training.plan import frozen_sections
from efficientnet_rosetta.common.training.run import (
    BEST,
    EPOCHS,
    LAST,
    STATE,
    STEPS,
    TENSORBOARD,
    Run,
    read_table,
)
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import load
from efficientnet_rosetta.torch_impl.optimizer import cross_entropy
from parity_tests.loops.support import (
    BACKENDS,
    BATCH,
    IMAGES,
    Interrupting,
    fitted,
    losses,
    network,
    scans,
    training,
)

STEPS_OF_THE_CLAIM = 50

# ------------------------------------------------------------------ the same in both


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Scans of which 400 are trained on: 50 steps."""
    root = tmp_path_factory.mktemp("many")
    scans(root, 480)
    return root


def test_losses_agree_over_50_steps_of_the_official_recipe(many, whole, tmp_path):
    """Same weights, same batches, nothing dropped, in float64: to 1e-8."""
    plan = training(many, network(64, depth=0.5))
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


@pytest.mark.slow
def test_losses_of_mixed_images_agree(folder, tmp_path):
    plan = training(folder)
    mixed = replace(plan, train=replace(plan.train, mixing=Mixing(mixup=0.5)))
    fitted("torch", plan, tmp_path / "plain")
    for backend in BACKENDS:
        fitted(backend, mixed, tmp_path / backend)
    plain, ours, theirs = (losses(tmp_path / name) for name in ("plain", *BACKENDS))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-8)
    assert (ours != plain).all()


@pytest.fixture(scope="module")
def official(folder, tmp_path_factory):
    """The losses of nearly as many steps as the claim has."""
    path = tmp_path_factory.mktemp("official")
    fitted("torch", training(folder, epochs=4), path)
    return losses(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label_smoothing": 0.0}, "no label smoothing"),
        ({"weight_decay": 0.0}, "no weight decay"),
        ({"epsilon": 1e-2}, "another epsilon"),
        ({"warmup_epochs": 4}, "another warm-up"),
    ],
)
def test_another_recipe_gives_other_losses(official, folder, tmp_path, changes, why):
    """By far more than the 1e-8 that are allowed."""
    fitted("torch", training(folder, epochs=4, changes=changes), tmp_path)
    apart = np.abs(losses(tmp_path) - official).max()
    assert apart > 1e-7, why


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
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
    # The second phase has fresh momentum, of everything but batch norms, which stay as they are.
    others = {name for name in net.tensors if not name.rpartition(".")[0].endswith("bn")}
    assert set(run.state.slots["momentum"]) == others
    for name in net.tensors:
        assert (run.state.model[name] != middle[name]).any() == (name in others), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_head_has_learned_is_not_lost_when_the_rest_is_trained(backend, folder, tmp_path):
    """The second phase begins with the loss that the first one came to, in inference."""
    plan = training(folder, recipe="finetune", epochs=2)
    interrupted = Interrupting(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        get_backend(backend).fit(plan, calibrated(plan.network), interrupted)
    reached = Run(tmp_path)
    reached.restore()
    model = torch_impl.build(plan.network, dtype="float64").eval()
    torch_impl.load_weights(model, reached.state.model)
    images, labels = map(torch.as_tensor, plan.batches(1).read(1, 0)[:2])
    expected = cross_entropy(model(images.double()), labels, plan.recipe.label_smoothing).item()
    fitted(backend, plan, tmp_path)
    found = losses(tmp_path)[plan.steps_per_epoch]
    assert found == pytest.approx(expected, rel=1e-9)


def test_phases_are_the_same_in_both_whole_or_in_parts(folder, tmp_path):
    """What is frozen in the first phase is trained in the second, but for batch norms."""
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


# ------------------------------------------------------------------ what is dropped


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_dropped_differs_by_step_and_comes_again_in_a_resumed_run(
    backend, folder, tmp_path
):
    """Only the classifier is trained, at a rate that changes nothing, on the same images."""
    net = network(dropout=0.5)
    plan = training(
        folder,
        net,
        freeze="backbone",
        epochs=2,
        changes={"rate": 1e-30, "augmentation": Augmentation()},
    )
    plan = replace(plan, train=replace(plan.train, samples=plan.train.samples[:1] * BATCH * 3))
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def copy(row):
        if row.epoch == 1:
            shutil.copytree(whole, parts)

    get_backend(backend).fit(plan, calibrated(net), Run(whole, copy))
    assert len(set(losses(whole))) == 6
    fitted(backend, plan, parts)
    np.testing.assert_array_equal(losses(parts), losses(whole))


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
    images, labels, *_ = Batches(
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
