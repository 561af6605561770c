"""What is private to the frameworks is in one file of each package, and is still as it says."""

import ast
import inspect
import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers

from efficientnet_rosetta.keras_impl import _compat as keras_compat
from efficientnet_rosetta.torch_impl import _compat as torch_compat
from parity_tests.peers.operators import declare

ROOT = Path(__file__).parent.parent
COMPATS = pytest.mark.parametrize("compat", [torch_compat, keras_compat])
SOURCES = sorted(
    path for package in ("torch_impl", "keras_impl") for path in (ROOT / package).glob("*.py")
)


# ------------------------------------------------------------------ where it is


@COMPATS
def test_the_versions_of_constraints_are_those_that_were_checked(compat):
    """Read `_compat.py` again for another one, run this file, and then say so in `CHECKED`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert {name: pinned[name] for name in compat.CHECKED} == compat.CHECKED


def private_attributes(path):
    """Attributes with an underscore in front of them, of anything but the object itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "super()") and not node.attr.endswith("__"):
                yield f"{owner}.{node.attr}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_private_is_used_elsewhere(path):
    found = sorted(private_attributes(path))
    allowed = {
        "keras_impl": [
            "layer.seed_generator._initial_seed",
            "model._flatten_layers",
            "model._run_through_graph",
            "optimizer._get_variable_index",
            "tensorflow._available",
            "tensorflow._available",
            "tensorflow._available",
        ],
        "torch_impl": [
            f"torch._foreach_{operation}"
            for operation in ("add", "add_", "addcdiv_", "addcmul_", "lerp_", "mul_", "sqrt_")
        ],
    }
    assert found == (allowed[path.parent.name] if path.name == "_compat.py" else [])


# ------------------------------------------------------------------ Lightning and PyTorch


@pytest.fixture
def quiet_lightning():
    """Without its list of the hardware."""
    declare()
    import_module("lightning.pytorch")  # which sets the level itself
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.mark.filterwarnings("ignore::Warning:lightning")
@pytest.mark.usefixtures("quiet_lightning")
def test_a_trainer_begins_at_an_epoch_and_tells_the_sampler():
    from lightning.pytorch import LightningModule, Trainer

    seen = []

    class Sampler(torch.utils.data.Sampler):
        epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            return iter([self.epoch])

        def __len__(self):
            return 1

    class Task(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def train_dataloader(self):
            return torch.utils.data.DataLoader(range(9), batch_size=None, sampler=Sampler())

        def training_step(self, batch, number):
            seen.append((self.current_epoch, int(batch)))
            return self.weight.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=5, enable_model_summary=False, devices=1, **quiet
    )
    torch_compat.begin_at(trainer, 3)
    assert trainer.current_epoch == 3
    trainer.fit(Task())
    assert seen == [(3, 3), (4, 4)]


def test_an_exported_operation_says_which_module_it_is_of():
    class Inner(torch.nn.Module):
        def forward(self, x):
            return torch.sigmoid(x)

    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = torch.nn.ModuleList([torch.nn.ReLU(), Inner()])

        def forward(self, x):
            for row in self.rows:
                x = row(x)
            return x + 1

    program = torch.export.export(Outer(), (torch.zeros(2, 3),))
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    found = {str(node.target): torch_compat.module_path(node) for node in calls}
    assert found == {
        "aten.relu.default": "rows.0",
        "aten.sigmoid.default": "rows.1",
        "aten.add.Tensor": "",
    }


# ------------------------------------------------------------------ Keras


def test_a_graph_is_followed_as_its_model_would():
    image = keras.Input((4, 4, 2), name="image")
    shared = layers.Conv2D(2, 1, name="shared")
    first = shared(image)
    padded = keras.ops.pad(first, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=3.0)
    sums = keras.ops.mean(padded, (1, 2)) + keras.ops.mean(shared(first), (1, 2))
    model = keras.Model(image, {"sums": sums, "first": first})
    x = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(3, 4, 4, 2)), "float32")
    called = []

    def call(operation, *args, **kwargs):
        called.append(operation.name.rstrip("_0123456789"))
        return operation(*args, **kwargs)

    expected, found = model(x), keras_compat.follow_graph(model, [x], call)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert sorted(called) == ["add", "mean", "mean", "pad", "shared", "shared"]
    assert called[-1] == "add"
    nothing = keras_compat.follow_graph(model, [x], lambda operation, *args, **kwargs: args[0])
    np.testing.assert_array_equal(nothing["first"], x)


def test_training_in_pytorch_imports_no_tensorflow():
    """Until it is asked for: Keras may train in the same process afterwards."""
    program = """
import sys
from parity_tests.peers.operators import declare
declare()
import efficientnet_rosetta.torch_impl.loop
assert "tensorflow" not in sys.modules
from tensorboard.plugins.scalar import summary_v2
assert summary_v2.tf.__version__.startswith("2.")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_optimizer_knows_its_variables_in_every_form_that_a_step_is_given():
    variables = [keras.Variable(np.zeros(2), name=name) for name in ("a", "b", "c")]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    for number, variable in enumerate(variables):
        assert keras_compat.variable_index(optimizer, variable) == number
        assert keras_compat.variable_index(optimizer, variable.value) == number


def test_the_rate_of_a_layer_can_be_changed():
    layer = layers.Dropout(0.5)
    image = keras.Input((1000,))
    model = keras.Model(image, layer(image))
    ones = np.ones((1, 1000), np.float32)

    def dropped():
        program = tf.function(lambda x: model(x, training=True))
        return float((np.asarray(program(ones)) == 0).mean())

    assert 0.4 < dropped() < 0.6
    keras_compat.set_rate(layer, 0.0)
    assert dropped() == 0
    keras_compat.set_rate(layer, 0.9)
    assert 0.8 < dropped() < 1


def test_a_batch_norm_can_be_synchronized_later(monkeypatch):
    layer = layers.BatchNormalization()
    layer.build((None, 3))
    found = []
    moments = keras.ops.moments

    def recorded(*args, synchronized=False, **kwargs):
        found.append(synchronized)
        return moments(*args, **kwargs)

    monkeypatch.setattr("keras.src.ops.moments", recorded)
    x = np.ones((2, 3), np.float32)
    layer(x, training=True)
    keras_compat.set_synchronized(layer)
    layer(x, training=True)
    assert found == [False, True]


def test_what_a_layer_drops_depends_on_the_seed_and_the_step():
    layer = layers.Dropout(0.5)
    ones = np.ones((1, 100), np.float32)

    def drawn(seed, step, steps=1):
        keras_compat.set_seed(layer, seed, step)
        return [np.asarray(layer(ones, training=True)).tobytes() for _ in range(steps)]

    three = drawn(4_000_000_000, 5, steps=3)
    assert len(set(three)) == 3
    # Keras counts up the step.
    for further in range(3):
        assert drawn(4_000_000_000, 5 + further) == three[further : further + 1]
    assert drawn(3_999_999_999, 5) != three[:1]


def test_synchronized_batch_norm_takes_what_it_is_given():
    """There are kernels for GPUs only; the arguments can be looked at anywhere."""
    from torch.nn.modules._functions import SyncBatchNorm

    assert list(inspect.signature(SyncBatchNorm.forward).parameters)[1:] == [
        *("input", "weight", "bias", "running_mean", "running_var", "eps", "momentum"),
        *("process_group", "world_size"),
    ]
