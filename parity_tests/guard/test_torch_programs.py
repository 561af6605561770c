"""Modules of PyTorch and what is exported of them, as programs of the guard."""

import numpy as np
import pytest
import torch
from torch import nn

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NHWC,
    Given,
    UnfitError,
    run_widest,
)
from efficientnet_rosetta.common.guard.recognise import program_of

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
GIVEN = Given.of(IMAGES)


class Net(nn.Module):
    """A convolution, a batch norm, and a branch, with float32 written down inside."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x, scale=None):
        x = torch.relu_(self.norm(self.conv(x)))
        pooled = x.mean((2, 3)).float() + torch.zeros(1, dtype=torch.float32)
        logits = self.head(pooled)
        return {"maps": x, "logits": logits if scale is None else logits * scale}


def logits_in_float64():
    """What `Net` computes without the types that are written down in it."""
    net = Net().eval().double()
    with torch.no_grad():
        maps = torch.relu(net.norm(net.conv(torch.tensor(IMAGES, dtype=torch.float64))))
        return net.head(maps.mean((2, 3))).numpy()


def test_float64_is_float64_whatever_is_written_down_inside():
    precision, outputs = run_widest(program_of(Net()), GIVEN)
    assert precision == FLOAT64
    assert list(outputs) == ["maps", "logits"]
    assert np.allclose(outputs["logits"], logits_in_float64(), rtol=0, atol=1e-14)


def everything(module):
    """What of a module and of PyTorch a comparison is to leave alone."""
    state = {name: (value.clone(), value.dtype) for name, value in module.state_dict().items()}
    phases = [part.training for part in module.modules()]
    hooks = [len(part._forward_hooks) for part in module.modules()]
    return state, phases, hooks, torch.get_rng_state(), torch.get_default_dtype()


@pytest.mark.parametrize("grad", [True, False])
def test_nothing_of_the_users_is_changed(grad):
    module = Net().train()
    module.norm.eval()
    before = everything(module)
    with torch.set_grad_enabled(grad):
        program = program_of(module)
        for precision in (FLOAT32, FLOAT64):
            program.run(GIVEN, precision)
            program.trace(GIVEN, precision)
        assert torch.is_grad_enabled() == grad
    after = everything(module)
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert before[4] == after[4]
    for name, (value, dtype) in before[0].items():
        assert torch.equal(value, after[0][name][0])
        assert dtype == after[0][name][1]


@pytest.mark.parametrize("precision", [FLOAT32, FLOAT64])
def test_it_goes_on_from_values_that_stand_in_for_its_own(precision):
    program = program_of(Net())
    whole = program.trace(GIVEN, precision)
    names = [step.name for step in whole]
    place = names.index("norm.native_batch_norm" if "norm.native_batch_norm" in names else names[1])
    middle = whole[place]
    again = program.trace(GIVEN, precision, {middle.name: middle.value})
    assert [step.name for step in again] == names[place + 1 :]
    assert all(
        np.array_equal(one.value, other.value)
        for one, other in zip(again, whole[place + 1 :], strict=True)
    )
    other = program.trace(GIVEN, precision, {middle.name: middle.value + 1})
    assert not np.allclose(other[-1].value, whole[-1].value)
    known = {step.name for step in again}
    assert all(set(step.inputs) <= known for step in again)


def test_a_value_that_is_not_there_or_of_another_shape_is_refused():
    program = program_of(Net(), "mine")
    with pytest.raises(UsageError, match="mine has no value 'nowhere'"):
        program.trace(GIVEN, instead={"nowhere": np.zeros(3)})
    name = program.trace(GIVEN)[0].name
    with pytest.raises(UsageError, match=r"of mine has the shape .* it was given one of"):
        program.trace(GIVEN, instead={name: np.zeros(3)})


def test_outputs_come_last_each_with_the_step_that_it_is():
    trace = program_of(Net()).trace(GIVEN)
    maps, logits = trace[-2:]
    assert (maps.name, logits.name) == ("maps", "logits")
    by_name = {step.name: step for step in trace}
    assert "relu" in maps.inputs[0]
    assert np.array_equal(by_name[maps.inputs[0]].value, maps.value)
    assert logits.inputs[0].startswith("head.")


def test_images_are_given_in_the_order_of_axes_that_is_taken():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x):
            assert x.shape[3] == 3, "channels are last"
            return self.net(x.permute(0, 3, 1, 2))

    expected = program_of(Net()).run(GIVEN)["logits"]
    for given in (GIVEN, Given.of(IMAGES.transpose(0, 2, 3, 1), NHWC)):
        assert np.array_equal(program_of(Last()).run(given)["logits"], expected)
        assert np.array_equal(program_of(Last(), layout=NHWC).run(given)["logits"], expected)
        assert np.array_equal(program_of(Net()).run(given)["logits"], expected)
    with pytest.raises(RosettaError, match="Last: AssertionError: channels are last"):
        program_of(Last(), layout="NCHW").run(GIVEN)
    with pytest.raises(UsageError, match="layout is 'HWC'; choose from NCHW, NHWC"):
        program_of(Last(), layout="HWC")


class Tokens(nn.Module):
    """Whole numbers and a mask; a half, a pair of numbers, and no tensor at all among outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 6)

    def forward(self, ids, mask):
        x = self.embedding(ids) * mask[..., None]
        return (
            x.sum(1),
            None,
            {"half": x.to(torch.bfloat16), "best": x.argmax(-1), "rest": object()},
        )


IDS = np.arange(8).reshape(2, 4)
MASK = np.tile([1.0, 1, 1, 0], (2, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "given",
    [Given.of([IDS, MASK]), Given.of({"mask": MASK, "ids": IDS}), Given((IDS,), {"mask": MASK})],
)
def test_inputs_by_place_and_name_and_outputs_of_any_structure(given):
    program = program_of(Tokens())
    found = program.run(given)
    assert list(found) == ["output 0", "output 2.half", "output 2.best"]
    assert found["output 2.half"].dtype == np.float32
    assert found["output 2.best"].dtype.kind == "i"
    assert program.trace(given)[-1].name == "output 2.half"
    assert program.run(given, FLOAT64)["output 2.half"].dtype == np.float64
    with pytest.raises(UsageError, match="Tokens takes ids, mask; it was given an input named idx"):
        program.run(Given.of({"idx": IDS, "mask": MASK}))


def exported(module, inputs, kwargs=None, shapes=None):
    return torch.export.export(module.eval(), inputs, kwargs, dynamic_shapes=shapes)


def test_an_exported_program_says_its_inputs_and_runs_in_float64(tmp_path):
    shapes = {"x": {0: torch.export.Dim("n", min=1, max=8)}, "scale": None}
    program = exported(Net(), (torch.tensor(IMAGES),), {"scale": torch.tensor([2.0])}, shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    given = Given.of([IMAGES, np.float32([2])])
    expected = program_of(Net()).run(Given((IMAGES,), {"scale": np.float32([2])}), FLOAT64)
    for what in (program, tmp_path / "net.pt2"):
        guarded = program_of(what)
        assert guarded.kind == "torch.export program"
        assert [(one.name, one.shape) for one in guarded.inputs] == [
            ("x", (None, 3, 8, 9)),
            ("scale", (1,)),
        ]
        precision, found = run_widest(guarded, given)
        assert precision == FLOAT64
        assert np.allclose(found["logits"], expected["logits"], rtol=0, atol=1e-12)
        whole = guarded.trace(given, FLOAT64)
        assert [step.name for step in whole[:2]] == ["conv.convolution", "norm.native_batch_norm"]
        again = guarded.trace(given, FLOAT64, {whole[2].name: whole[2].value})
        assert np.array_equal(again[-1].value, whole[-1].value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("make", ["script", "trace", "file", "function"])
def test_torchscript(tmp_path, make):
    module = nn.Sequential(Net().conv, nn.BatchNorm2d(4), nn.ReLU()).eval()
    expected = program_of(module).run(GIVEN, FLOAT64)["output"]
    graph = torch.jit.trace(module, torch.tensor(IMAGES))
    if make == "script":
        graph = torch.jit.script(module)
    if make == "file":
        torch.jit.save(graph, tmp_path / "net.pt")
        graph = tmp_path / "net.pt"
    if make == "function":
        graph = torch.jit.trace(lambda x: torch.relu(x) * 2, torch.tensor(IMAGES))
        expected = np.maximum(IMAGES, 0).astype(np.float64) * 2
    program = program_of(graph)
    assert program.kind == "TorchScript"
    precision, found = run_widest(program, GIVEN)
    assert precision == FLOAT64
    assert np.allclose(found["output"], expected, rtol=0, atol=1e-12)
    whole = program.trace(GIVEN)
    again = program.trace(GIVEN, instead={whole[0].name: whole[0].value})
    assert np.array_equal(again[-1].value, whole[-1].value)


def test_a_program_that_writes_into_its_inputs_or_draws_numbers_is_seen():
    class Writes(nn.Module):
        def forward(self, x):
            return x.mul_(2).sum(1)

    with pytest.raises(UnfitError, match="Writes writes into its inputs; have it copy them first"):
        run_widest(program_of(Writes()), GIVEN)

    class Draws(nn.Module):
        def forward(self, x):
            return x + torch.rand(())

    program = program_of(Draws())
    assert not np.array_equal(program.run(GIVEN)["output"], program.run(GIVEN)["output"])


def test_a_module_that_cannot_be_copied_runs_in_float32_as_it_is():
    module = Net().eval()
    module.of_the_graph = module.conv.weight * 2  # which `copy.deepcopy` refuses
    before = everything(module)
    precision, _ = run_widest(program_of(module), GIVEN)
    assert precision == FLOAT32
    assert before[1] == everything(module)[1]


def test_a_compiled_module_is_run_uncompiled_where_its_operations_are_shown(capfd):
    module = nn.Sequential(Net().conv, nn.ReLU()).eval()
    compiled = program_of(torch.compile(module, backend="eager"))
    for precision in (FLOAT32, FLOAT64):
        expected = program_of(module).run(GIVEN, precision)["output"]
        assert np.allclose(compiled.run(GIVEN, precision)["output"], expected, rtol=0, atol=1e-6)
        names = [step.name for step in compiled.trace(GIVEN, precision)]
        assert names == ["_orig_mod.0.convolution", "_orig_mod.1.relu", "output"]
    assert capfd.readouterr().err == ""
