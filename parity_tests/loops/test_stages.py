"""Progressive learning and early stopping: the same in both frameworks, whole or in parts."""

import json
from collections import Counter
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.augment import INCEPTION_CROP
from efficientnet_rosetta.common.images.balance import balance
from efficientnet_rosetta.common.images.mixing import Mixing
from efficientnet_rosetta.common.training.recipe import RecipeStage
from efficientnet_rosetta.common.training.run import BEST, EPOCHS, STATE, VAL, Run, read_table
from efficientnet_rosetta.common.training.state import read_state
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import load
from parity_tests.loops.support import (
    BACKENDS,
    Interrupting,
    fitted,
    losses,
    network,
    training,
    with_minival,
)

# The cheaper framework stands for both by default: what they share is common/training/plan.py.
EITHER = ["torch", pytest.param("keras", marks=pytest.mark.slow)]
STAGES = (
    RecipeStage(32, replace(INCEPTION_CROP, flip=False), dropout=0.0),
    RecipeStage(48, INCEPTION_CROP, Mixing(mixup=0.5), dropout=0.1),
)


def staged(folder, dropout, few=None):
    """Two epochs at 32 pixels and two at 48, where images are mixed and something is dropped."""
    stages = (STAGES[0], replace(STAGES[1], dropout=dropout))
    changes = {"stages": stages, "resolution": 48, "warmup_epochs": 1}
    plan = training(folder, network(48), epochs=4, changes=changes)
    return replace(plan, train=replace(plan.train, samples=plan.train.samples[:few]))


# ------------------------------------------------------------------ stages


@pytest.mark.slow
def test_losses_agree_over_two_stages(folder, tmp_path):
    """Of 24 steps at each size, in float64, on batches that are mixed in the second stage."""
    plan = staged(folder, dropout=0.0)
    for backend in BACKENDS:
        fitted(backend, plan, tmp_path / backend)
    ours, theirs = (losses(tmp_path / name) for name in BACKENDS)
    assert len(ours) == 4 * plan.steps_per_epoch == 48
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-8)


@pytest.mark.parametrize("backend", EITHER)
def test_a_run_that_is_cut_in_its_second_stage_is_continued_exactly(backend, folder, tmp_path):
    plan = staged(folder, dropout=0.1, few=24)
    fitted(backend, plan, tmp_path / "whole")
    (tmp_path / "parts").mkdir()
    start = calibrated(plan.network)
    with pytest.raises(KeyboardInterrupt):
        get_backend(backend).fit(plan, start, Interrupting(tmp_path / "parts", 3))
    fitted(backend, plan, tmp_path / "parts")
    np.testing.assert_array_equal(losses(tmp_path / "parts"), losses(tmp_path / "whole"))


def test_an_average_follows_a_model_that_was_moved_between_stages(folder, tmp_path, monkeypatch):
    """As Lightning moves it from a GPU to the CPU and back, which makes new tensors of buffers."""
    trainer = import_module("efficientnet_rosetta.torch_impl.loop").Trainer
    right, moved = trainer.fit, []

    def moving(self, task):
        right(self, task)
        moved.append(task.model._apply(torch.clone))

    plan = staged(folder, dropout=0.0, few=8)
    for name in ("still", "moved"):
        fitted("torch", plan, tmp_path / name)
        monkeypatch.setattr(trainer, "fit", moving)
    assert len(moved) == 2
    still, averages = (read_state(tmp_path / name / STATE).average for name in ("still", "moved"))
    for name, array in still.items():
        np.testing.assert_array_equal(averages[name], array, err_msg=name)


def test_a_stage_has_its_own_images_and_goes_on_with_the_optimizer(folder):
    plan = staged(folder, dropout=0.1)
    first, second = plan.phases
    assert (first.epochs, second.epochs) == (range(2), range(2, 4))
    assert first.began == second.began == 0
    assert first.optimization == second.optimization
    assert (first.dropout, second.dropout) == (0.0, 0.1)
    read = [plan.batches(epoch).read(epoch, 0) for epoch in (0, 1, 2)]
    assert [batch.images.shape[2:] for batch in read] == [(32, 32), (32, 32), (48, 48)]
    assert (read[1].shares == 1).all()
    assert (read[2].shares < 1).all()
    assert plan.selection.size == (48, 48)  # whatever it is trained on


def test_sizes_are_in_proportion_to_the_network(folder):
    plan = staged(folder, dropout=0.0)
    wide = replace(plan, network=network((96, 192)))
    assert [wide.batches(epoch).size for epoch in (0, 2)] == [(64, 128), (96, 192)]
    small = replace(plan, network=network(32))
    assert [small.batches(epoch).size for epoch in (0, 2)] == [(32, 32), (32, 32)]


# ------------------------------------------------------------------ classes of unequal sizes


@pytest.mark.slow
def test_losses_agree_on_classes_of_unequal_sizes(folder, tmp_path):
    """Weights and order both change the losses, and do so alike."""
    plan = training(folder)
    samples = plan.train.samples[:45]
    counts = Counter(sample.label for sample in samples)
    assert max(counts.values()) > 2 * min(counts.values())
    plan = replace(plan, train=replace(plan.train, samples=samples))
    weighed = replace(plan, recipe=replace(plan.recipe, class_weights="balanced"))
    drawn = replace(plan.train, balance=balance(samples, "sampler"))
    plans = {"plain": plan, "weighed": weighed, "both": replace(weighed, train=drawn)}
    found = {}
    for name, one in plans.items():
        for backend in BACKENDS:
            fitted(backend, one, tmp_path / name / backend)
        ours, theirs = (losses(tmp_path / name / backend) for backend in BACKENDS)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-8)
        found[name] = ours
    assert (found["plain"] != found["weighed"]).all()
    assert (found["weighed"] != found["both"]).all()


# ------------------------------------------------------------------ early stopping


@pytest.mark.parametrize("backend", EITHER)
def test_the_best_epoch_by_minival_is_what_is_scored_on_val(backend, folder, tmp_path):
    """Once, at the end, by the weights that minival chose; a finished run scores it if need be."""
    plan = training(folder, epochs=2, changes={"rate": 0.1, "warmup_epochs": 0})
    plan = replace(plan, train=replace(plan.train, samples=plan.train.samples[:16]))
    plan = with_minival(plan)
    run = fitted(backend, plan, tmp_path)
    rows = read_table(tmp_path / EPOCHS)
    best = max(rows, key=lambda row: row["val_top1"])
    assert (run.state.best, run.state.best_epoch) == (best["val_top1"], best["epoch"])
    framework = get_backend(backend)
    model = framework.build(plan.network, "float64")
    framework.load_weights(model, load(tmp_path / BEST)[1])
    for batches, top1 in ((plan.minival, best["val_top1"]), (plan.val, run.val.top1)):
        assert framework.evaluate(model, batches, Run(tmp_path)).top1 == top1
    assert run.val.images == 14
    said = json.loads((tmp_path / VAL).read_text())
    assert said == run.val._asdict()
    (tmp_path / VAL).unlink()
    fitted(backend, plan, tmp_path)
    assert json.loads((tmp_path / VAL).read_text()) == said


@pytest.mark.parametrize("backend", EITHER)
def test_a_run_ends_after_so_many_epochs_without_a_better_one(backend, folder, tmp_path):
    """At a rate of nothing all epochs are alike: the first one is the best."""
    still = {"patience": 2, "rate": 0.0, "average": None}
    plan = training(folder, epochs=5, changes=still)
    plan = replace(plan, train=replace(plan.train, samples=plan.train.samples[:8]))
    frozen = replace(plan, freeze="backbone")
    start = calibrated(plan.network)
    with pytest.raises(KeyboardInterrupt):
        get_backend(backend).fit(frozen, start, Interrupting(tmp_path, 2))
    for _ in range(2):  # and a run that has ended stays as it is
        run = fitted(backend, frozen, tmp_path)
        assert (run.state.epochs, run.state.best_epoch) == (3, 1)
        assert len(read_table(tmp_path / EPOCHS)) == 3


def test_patience_counts_in_the_last_phase(folder):
    """A head that learns no more does not end a training that is to go on with everything."""
    plan = training(folder, recipe="finetune", epochs=10, changes={"patience": 3})
    assert not plan.is_over(epochs=5, best_epoch=1)
    assert not plan.is_over(epochs=7, best_epoch=1)
    assert plan.is_over(epochs=8, best_epoch=1)
    assert not plan.is_over(epochs=9, best_epoch=7)
    assert plan.is_over(epochs=10, best_epoch=10)
