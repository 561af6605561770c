"""Steps of PyTorch's loop: when losses are noted, what is added up, and in which arithmetic."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.training.rows import Step
from efficientnet_rosetta.common.training.run import EPOCHS, STATE, STEPS, Run, read_table
from efficientnet_rosetta.common.training.state import LOSS_SCALE, read_state
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.torch_impl import build, devices, fit
from efficientnet_rosetta.torch_impl.optimizer import dump_slots, load_slots, make_optimizer
from efficientnet_rosetta.torch_impl.scores import Losses
from parity_tests.loops.support import fitted, losses, network, training

# ------------------------------------------------------------------ losses, a step late


def test_a_loss_is_noted_when_the_step_after_it_was_launched():
    noted = []
    coming = Losses(noted.append)
    for number in range(3):
        coming.send(Step(number, 0, 0.1, np.nan), torch.tensor(10.0 + number))
        coming.settle(but=1)
        assert len(noted) == number
    coming.settle()
    assert noted == [Step(number, 0, 0.1, 10.0 + number) for number in range(3)]


def test_a_loss_that_changes_later_is_the_one_that_was_sent():
    noted, loss = [], torch.tensor(1.0)
    coming = Losses(noted.append)
    coming.send(Step(0, 0, 0.1, np.nan), loss)
    loss += 1
    coming.settle()
    assert noted[0].loss == 1.0


@pytest.mark.parametrize("bad", [5, 11])
def test_a_loss_that_is_no_number_is_named_by_its_own_step(bad, folder, tmp_path, monkeypatch):
    """Amid an epoch and in its last step, after which a state would be written."""
    loop = import_module("efficientnet_rosetta.torch_impl.loop")
    right, steps = loop.cross_entropy, iter(range(100))

    def wrong(*arguments):
        return right(*arguments) * (np.nan if next(steps) == bad else 1.0)

    monkeypatch.setattr(loop, "cross_entropy", wrong)
    with pytest.raises(RosettaError, match=rf"the loss of step {bad} \(epoch 1, rate .*\) is nan"):
        fitted("torch", training(folder), tmp_path)
    rows = read_table(tmp_path / STEPS)
    assert [row["step"] for row in rows] == list(range(bad + 1))
    assert np.isfinite([row["loss"] for row in rows[:-1]]).all()
    assert np.isnan(rows[-1]["loss"])
    assert not (tmp_path / STATE).exists()
    assert not (tmp_path / EPOCHS).exists()


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_batch_that_cannot_be_read_leaves_no_step_out(backend, folder, tmp_path, monkeypatch):
    plan = training(folder)
    right = type(plan.train).read

    def wrong(self, epoch, number, *others):
        if self.augmentation and number == 3:
            raise RosettaError("a disk is gone")
        return right(self, epoch, number, *others)

    monkeypatch.setattr(type(plan.train), "read", wrong)
    with pytest.raises(RosettaError, match="a disk is gone"):
        fitted(backend, plan, tmp_path)
    assert len(losses(tmp_path)) == 3


class Looks(TorchDispatchMode):
    """Counts how often a number is asked for, which on a GPU is to wait for it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


def test_a_step_asks_the_device_for_its_loss_and_nothing_else(folder, tmp_path):
    plan = training(folder, network(drop_path_rate=0.2, dropout=0.2))
    counts = []

    class Counting(Run):
        def step(self, step):
            super().step(step)
            counts.append(looks.count)

    with Looks() as looks:
        fit(plan, calibrated(plan.network), Counting(tmp_path))
    assert set(np.diff(counts)) == {1}


# ------------------------------------------------------------------ batches in pieces


def test_pieces_of_a_batch_add_up_to_its_step(folder, tmp_path):
    """Where batch norms run as in inference, so that no image's value depends on the others."""
    for pieces in (1, 4):
        plan = training(folder, freeze="backbone", epochs=2, changes={"accumulation": pieces})
        run = fitted("torch", plan, tmp_path / str(pieces))
        assert len(losses(tmp_path / str(pieces))) == 24
    whole, parts = (read_state(tmp_path / name / STATE) for name in ("1", "4"))
    np.testing.assert_allclose(losses(tmp_path / "4"), losses(tmp_path / "1"), rtol=1e-12)
    for slot, arrays in whole.slots.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(parts.slots[slot][name], array, rtol=1e-9, atol=1e-15)
    for name in ("classifier.weight", "classifier.bias"):
        assert (run.state.model[name] != 0).any()
        np.testing.assert_allclose(parts.model[name], whole.model[name], rtol=1e-10)
    rows = [read_table(tmp_path / name / EPOCHS)[-1] for name in ("1", "4")]
    assert rows[0]["top1"] == rows[1]["top1"]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-12)


def test_pieces_are_dropped_from_one_after_the_other(folder, tmp_path):
    """Were every piece to begin with the seed of its step, the same would be dropped of all."""
    net = network(dropout=0.5)
    found = []
    for pieces in (1, 2):
        plan = training(folder, net, freeze="backbone", changes={"accumulation": pieces})
        fitted("torch", plan, tmp_path / str(pieces))
        found.append(losses(tmp_path / str(pieces)))
    np.testing.assert_allclose(*found, rtol=1e-12)  # numbers are drawn image by image


def test_a_batch_that_does_not_come_out_even_is_one_line(folder, tmp_path):
    with pytest.raises(RosettaError, match="a batch of 8 images cannot be"):
        fitted("torch", training(folder, changes={"accumulation": 3}), tmp_path)


# ------------------------------------------------------------------ arithmetic and layout


def test_float16_goes_on_with_the_scale_of_its_loss(folder, tmp_path):
    plan = training(folder, epochs=2, precision="float16")
    whole = fitted("torch", plan, tmp_path / "whole").state
    for epochs in (1, 2):
        part = replace(plan, recipe=replace(plan.recipe, epochs=epochs))
        parts = fitted("torch", part, tmp_path / "parts").state
    np.testing.assert_array_equal(losses(tmp_path / "parts"), losses(tmp_path / "whole"))
    assert np.isfinite(losses(tmp_path / "whole")).all()
    for name in ("scale", "steps"):
        assert parts.slots[LOSS_SCALE][name] == whole.slots[LOSS_SCALE][name]
    full = training(folder, epochs=1, precision="float32")
    fitted("torch", full, tmp_path / "float32")
    apart = np.abs(losses(tmp_path / "whole")[:6] - losses(tmp_path / "float32")[:6])
    assert 0 < apart.max() < 0.05


def test_a_step_that_float16_leaves_out_is_one_of_the_schedule(folder, tmp_path):
    """With a scale so large that gradients overflow until it has been halved often enough."""
    plan = training(folder, epochs=2, precision="float16")
    one = replace(plan, recipe=replace(plan.recipe, epochs=1))
    before = fitted("torch", one, tmp_path).state
    run = Run(tmp_path)
    run.restore()
    run.state.slots[LOSS_SCALE]["scale"][:] = 2.0**100
    fit(plan, before.model, run)
    for name, array in before.model.items():
        same = (run.state.model[name] == array).all()
        assert same != name.endswith((".mean", ".variance")), name  # batch norms have seen more
    rate = plan.phases[0].optimization.rate
    assert [row["learning_rate"] for row in read_table(tmp_path / STEPS)] == [
        rate(number) for number in range(24)
    ]
    assert run.state.slots[LOSS_SCALE]["scale"].item() == 2.0 ** (100 - 12)


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("float32", "cpu", torch.channels_last),
        ("bfloat16", "cuda", torch.channels_last),
        ("float16", "mps", torch.contiguous_format),
        ("float64", "cuda", torch.contiguous_format),
    ],
)
def test_maps_lie_in_memory_as_the_device_reads_them(precision, device, expected):
    assert devices.layout(precision, torch.device(device)) is expected


def test_what_is_chosen_for_a_gpu_is_said_in_a_line(folder, monkeypatch, capsys):
    plan, gpu = training(folder, precision="float32"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    devices.tell(replace(plan, compile=True), gpu, 2)
    assert capsys.readouterr().err == (
        "on 2 x NVIDIA H100: float32, multiplied as TF32, channels last, compiled\n"
    )
    before = torch.get_float32_matmul_precision()
    with devices.arithmetic(plan, gpu):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    devices.tell(plan, torch.device("cpu"), 1)
    assert capsys.readouterr().err == ""


def test_images_that_come_as_levels_are_the_same(folder, tmp_path, monkeypatch):
    loop, asked = import_module("efficientnet_rosetta.torch_impl.loop"), []
    plan = training(folder, epochs=1)
    fitted("torch", plan, tmp_path / "normalised")

    def always(batches, device):
        asked.append(batches.has_levels)
        return True

    monkeypatch.setattr(loop, "sends_levels", always)
    fitted("torch", plan, tmp_path / "levels")
    assert asked == [True, True]  # to train on and to validate on
    np.testing.assert_array_equal(losses(tmp_path / "levels"), losses(tmp_path / "normalised"))
    rows = [read_table(tmp_path / name / EPOCHS)[0] for name in ("levels", "normalised")]
    assert rows[0]["val_loss"] == rows[1]["val_loss"]
    gpu = torch.device("cuda")
    assert devices.sends_levels(plan.train, gpu)
    assert not devices.sends_levels(plan.train, torch.device("cpu"))


def test_slots_lie_in_memory_as_their_parameters(folder):
    plan = training(folder)
    model = build(plan.network).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, plan.phases[0].optimization)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    slots = dump_slots(model, optimizer)
    load_slots(model, optimizer, {**slots, LOSS_SCALE: {}}, 1)
    for parameter in model.parameters():
        for kept in optimizer.state[parameter].values():
            assert kept.stride() == parameter.stride()


def test_a_seed_is_that_of_manual_seed():
    torch.manual_seed(3)
    expected = torch.rand(5)
    devices.set_seed(torch.device("cpu"), 3)
    assert torch.equal(torch.rand(5), expected)


# ------------------------------------------------------------------ compiled programs


@pytest.mark.slow
def test_a_compiled_network_has_the_same_losses(folder, tmp_path):
    for compiled in (False, True):
        plan = replace(training(folder, epochs=2), compile=compiled)
        fitted("torch", plan, tmp_path / str(compiled))
    np.testing.assert_allclose(losses(tmp_path / "True"), losses(tmp_path / "False"), atol=1e-8)


def test_without_a_compiler_there_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"there is no C\+\+ compiler"):
        fitted("torch", replace(training(folder), compile=True), tmp_path)
