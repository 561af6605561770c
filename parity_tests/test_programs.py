"""`rosetta compare`: ONNX files, checkpoints and callables, in any pair."""

import json
import re
import shlex

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.parity.onnx_program import cuts
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.metadata import SCHEMA
from parity_tests.support import exported, small, weights_of

NETWORK = small(size=96)
MODULE = """
import numpy as np

def one(images):
    return {"half": images / 2, "means": images.mean((2, 3))}

def other(images):
    return {"half": images / 2, "means": images.mean((2, 3)) * 1.01}

def plain(images):
    return images.mean((2, 3))

def raising(images):
    raise KeyError("weights")

def text(images):
    return "cat"
"""


def rosetta(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same network from both exporters, one in another dialect, and two checkpoints."""
    folder = tmp_path_factory.mktemp("programs")
    for backend in ("torch", "keras"):
        (folder / f"{backend}.onnx").write_bytes(exported(backend, NETWORK, False).source)
    wrong = small(size=96, dialect="pytorch")
    (folder / "pytorch.onnx").write_bytes(exported("keras", wrong, False).source)
    weights = dict(weights_of(NETWORK))
    save(folder / "a.safetensors", NETWORK, weights)
    name = "stages.5.blocks.1.se_expand.bias"
    weights[name] = weights[name] + np.float32(0.5)
    save(folder / "b.safetensors", NETWORK, weights)
    (folder / "mine.py").write_text(MODULE)
    return folder


def test_the_exports_of_both_frameworks_agree(files):
    done = rosetta(files / "torch.onnx", files / "keras.onnx")
    assert done.exit_code == 0, done.output
    agrees = r"\([12]x1000\) agrees: largest error \S+e-0[56] .* allowed 1e-04; 2\d\d op"
    assert re.search(agrees, done.stdout)


def test_two_graphs_are_diagnosed_and_run_from_the_middle(files):
    other = files / "epsilon.onnx"
    model = onnx.load(files / "keras.onnx")
    (norm,) = [n for n in model.graph.node if n.name == "stages.5.blocks.1.depthwise_bn"]
    norm.attribute[0].f = 1e-5
    onnx.save(model, other)
    done = rosetta(files / "torch.onnx", other, "--json", files / "out.json")
    assert done.exit_code == 1
    assert "the error appears at once" in done.stdout
    differs = "(stages.5.blocks.1.depthwise_bn in the second) is the first operation that"
    assert differs in done.stdout
    found = json.loads((files / "out.json").read_text())
    assert (found["schema"], found["agree"], found["jump"]) == (SCHEMA, False, True)
    after = [value.split("/")[0] for value in found["divergence"]["after"]]
    assert after == ["stages.5.blocks.1.depthwise_conv"] * 2
    (command,) = re.findall("again: rosetta compare (.*)", done.stdout)
    again = rosetta(*shlex.split(command))
    assert again.exit_code == 1
    assert re.search(r"; \d operations agree", again.stdout)  # of one block, not of 287
    differs = "(stages.5.blocks.1.depthwise_bn in the second) is the first operation that"
    assert differs in again.stdout


def test_padding_shows_in_the_first_convolution(files):
    done = rosetta(files / "torch.onnx", files / "pytorch.onnx")
    assert done.exit_code == 1
    first = "stem.conv/conv2d (stem.conv in the second) is the first operation that differs"
    assert first in done.stdout


def test_two_checkpoints_are_diagnosed_and_their_tensors_named(files):
    done = rosetta(files / "a.safetensors", files / "b.safetensors")
    assert done.exit_code == 1
    role = "stages.5.blocks.1.se_expand"
    assert f"{role} ({role} in the second) is the first operation that differs" in done.stdout
    assert f"1 tensors of the two files differ; the first of them is {role}.bias" in done.stdout
    assert "likely: weights" in done.stdout
    (command,) = re.findall("again: rosetta compare (.*)", done.stdout)
    after = r"--after (stages\.5\.blocks\.0\.\S+) \1$"
    assert re.search(after, command)
    again = rosetta(*shlex.split(command))
    assert again.exit_code == 1
    assert f"{role} ({role} in the second) is the first operation that differs" in again.stdout


def test_a_graph_and_a_checkpoint_agree(files):
    done = rosetta(files / "keras.onnx", files / "a.safetensors")
    assert done.exit_code == 0, done.output
    done = rosetta(files / "keras.onnx", files / "b.safetensors")
    assert done.exit_code == 1
    assert "(stages.5.blocks.1.se_expand in the second) is the first" in done.stdout


def leads_around(model, name):
    """Whether the last output can be followed back to the input without passing a value."""
    given = {initializer.name for initializer in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - given
    producers = {output: node for node in model.graph.node for output in node.output}
    seen, queue = {name}, [model.graph.output[-1].name]
    while queue:
        value = queue.pop()
        if value in inputs:
            return True
        if value not in seen and value in producers:
            queue.extend(producers[value].input)
        seen.add(value)
    return False


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_the_values_that_no_skip_leads_around(files, backend):
    model = onnx.load(files / f"{backend}.onnx")
    values = {output for node in model.graph.node for output in node.output}
    found = cuts(model)
    assert found == {name for name in values if not leads_around(model, name)}
    assert 20 < len(found) < len(values) / 2


def test_callables_are_compared_by_what_they_return(files, monkeypatch):
    monkeypatch.chdir(files)
    done = rosetta("mine:one", "mine:other")
    assert done.exit_code == 1
    said = done.stdout.replace(" (means in the second)", "")
    assert "means is the first operation that differs" in said
    assert "half before it agrees" in done.stdout
    assert rosetta("mine:one", "mine:plain").exit_code == 0


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_any_input(files, tmp_path, suffix, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(files)
    path, image = tmp_path / f"input{suffix}", np.random.default_rng(0).random((2, 3, 8, 9))
    if suffix == ".npy":
        np.save(path, image)
    elif suffix == ".npz":
        np.savez(path, image)
    else:
        Image.fromarray((image[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(path)
    done = rosetta("mine:one", "mine:plain", "--input", path)
    assert done.exit_code == 0, done.output
    assert f"means ({1 if suffix == '.png' else 2}x3) agrees" in done.stdout


def two_inputs():
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xyz"]
    node = helper.make_node("Add", ["x", "y"], ["z"])
    return helper.make_model(
        helper.make_graph([node], "two", values[:2], values[2:]),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 18)],
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx", "torch.onnx"], "none.onnx: no such file"),
        (["two.onnx", "torch.onnx"], "two.onnx takes x and y, torch.onnx takes image; give inputs"),
        (["text.onnx", "torch.onnx"], "text.onnx: onnxruntime cannot load it"),
        (["mine:raising", "mine:one"], "mine:raising: KeyError: 'weights'"),
        (
            ["mine:text", "mine:one"],
            "mine:text returned builtins.str, which is no array of numbers",
        ),
        (["mine:nothing", "mine:one"], "mine:nothing: cannot be imported"),
        (["nowhere:one", "mine:one"], "nowhere:one: cannot be imported (No module named"),
        (["mine:one", "torch.onnx"], "outputs of the shapes (2, 3) and (2, 1000), which cannot"),
        (["a.safetensors", "b1.safetensors"], "a.safetensors is b0, b1.safetensors is b1"),
        (["mine:one", "mine:one", "--after", "a", "b"], "mine:one cannot be run from the middle"),
        (["torch.onnx", "keras.onnx", "--after", "a", "b"], "torch.onnx: has no value 'a'"),
        (["mine:one", "mine:one", "--input", "text.npy"], "text.npy: cannot be read as an array"),
        (["mine:one", "mine:one", "--tolerance", "0"], "tolerance is 0.0; it must be above 0"),
        (["mine:one", "mine:one", "--json", "no/out.json"], "no/out.json"),
    ],
)
def test_bad_input_is_one_line(files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    if not (files / "two.onnx").exists():
        onnx.save(two_inputs(), files / "two.onnx")
        (files / "text.onnx").write_text("no graph")
        (files / "text.npy").write_text("no array")
        network = small("b1", size=96)
        save(files / "b1.safetensors", network, weights_of(network))
    done = rosetta(*arguments)
    assert isinstance(done.exception, RosettaError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
