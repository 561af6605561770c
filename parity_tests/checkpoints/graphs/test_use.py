"""A graph is a file like any other: it is verified, run, exported and ported with its proof."""

from dataclasses import asdict

import numpy as np
import onnx
import pytest
from onnx import helper

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.agreement import Model
from efficientnet_rosetta.common.backends.judgement import DIFFERS, NOT_RUN, PROVED
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints import graph_runs
from efficientnet_rosetta.common.checkpoints.graphs import folding, run
from efficientnet_rosetta.common.checkpoints.graphs.recover import FOLDED_MARK, recover
from efficientnet_rosetta.common.checkpoints.graphs.run import run_graph
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.checkpoints.run_files import FileRun, run_here, verdict_on
from efficientnet_rosetta.common.errors import FileError, MissingDependencyError
from efficientnet_rosetta.common.weights import canonical
from parity_tests.checkpoints.graphs.building import array, nodes, replace_node, store
from parity_tests.checkpoints.graphs.building import changed as edited
from parity_tests.checkpoints.graphs.exporting import error, files, logits, source, weights_of
from parity_tests.support import images_for, rosetta_process

FOLDED, UNFOLDED = "script-torchvision", "script-unfolded-torchvision"


def test_an_unfolded_graph_is_the_same_network_as_its_checkpoint(exports, tmp_path):
    weights = files(tmp_path, source("torchvision"), "torchvision", ".pth")
    assert rosetta.verify(exports[UNFOLDED], weights, run=False).same
    found = rosetta.verify(exports[FOLDED], weights, run=False)
    assert not found.same_weights


def test_the_command_shows_both_proofs(exports, tmp_path):
    done = rosetta_process(
        "port", str(exports[FOLDED]), str(tmp_path / "x.pth"), "--to", "torchvision"
    )
    assert done.returncode == 0, done.stderr
    assert f"note: {FOLDED_MARK}" in done.stdout
    assert "graph: logits of the graph (onnxruntime) and of the network found in it" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("proved: ")
    assert last.endswith("as onnxruntime does with the graph itself")


@pytest.fixture
def runs(exports, tmp_path):
    """The result of a port, run as the source and as the target have it."""

    def both(name):
        path = tmp_path / "x.safetensors"
        rosetta.port(exports[name], path, "canonical", run=False, force=True)
        found = FileRun(path, "torch", match(path).dialect)
        return found, found

    return both


def test_a_graph_that_was_read_wrongly_is_noticed(exports, runs, monkeypatch):
    """One kernel a thousandth too large, as a mistake in reading would have it."""
    right = folding.tensors

    def wrong(found, epsilon):
        made = right(found, epsilon)
        name = f"{found.layer.role}.weight"
        if name == "stages.3.blocks.1.project_conv.weight":
            made[name] = folding.scaled(made[name], np.full(made[name].shape[0], 1.001))
        return made

    outputs = run_here(*runs(FOLDED), graph=exports[FOLDED])
    assert verdict_on(outputs, "0" * 64).ending == PROVED
    assert outputs.graph.error < outputs.graph.tolerance
    monkeypatch.setattr(folding, "tensors", wrong)
    outputs = run_here(*runs(FOLDED), graph=exports[FOLDED])
    verdict = verdict_on(outputs, "0" * 64)
    assert verdict.ending == DIFFERS
    assert "logits of onnxruntime, which runs the graph" in verdict.why


def test_a_graph_that_cannot_be_run_is_not_proved(exports, runs, monkeypatch):
    def missing(path, steps):
        raise MissingDependencyError("it needs onnxruntime", package="onnxruntime")

    monkeypatch.setitem(run.RUNNERS, "onnx", missing)
    verdict = verdict_on(run_here(*runs(FOLDED), graph=exports[FOLDED]), "0" * 64)
    assert verdict.ending == NOT_RUN
    assert "the graph itself was not compared: it needs onnxruntime" in verdict.why


def compared(path):
    """A graph beside the network that is found in it."""
    found = match(path)
    arrays = {name: np.asarray(stored) for name, stored in found.weights.items()}
    model = Model("torch", get_backend("torch"), found.network, arrays, "float64")
    return graph_runs.compared_with_graph(path, found.dialect, [model])


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_float32_cannot_tell_is_not_proved(exports, tmp_path):
    """Logits that overflow float32 in both programs say nothing of a mistake."""

    def change(model):
        for layer in (nodes(model, "Conv")[-1], *nodes(model, "Gemm")):
            store(model, layer.input[1], array(model, layer.input[1]) * np.float32(1e30))

    outputs = compared(edited(exports[FOLDED], tmp_path / "x.onnx", change))
    assert outputs.reason == "with these weights float32 rounds too much to tell"


@pytest.mark.parametrize("operation", ["Softmax", "LogSoftmax"])
def test_softmax_is_compared_up_to_a_constant(operation, exports, tmp_path):
    def change(model):
        nodes(model, "Softmax")[0].op_type = operation

    path = edited(exports["script-softmax-torchvision"], tmp_path / "x.onnx", change)
    outputs = compared(path)
    assert not outputs.difference
    assert (outputs.runtime, outputs.images, outputs.pixels) == ("onnxruntime", 2, "64 x 64")
    assert match(path).activation == "softmax"


def test_an_image_of_whole_numbers_is_given_them(exports, tmp_path):
    """As a camera does: pixels of 0 to 255, which the graph divides itself."""

    def change(model):
        image = model.graph.input[0]
        image.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        store(model, "white", np.full((1, 3, 1, 1), 255, np.float32))
        first = nodes(model, "Conv")[0]
        cast = helper.make_node("Cast", [image.name], ["floats"], to=onnx.TensorProto.FLOAT)
        divided = helper.make_node("Div", ["floats", "white"], ["divided"])
        again = helper.make_node("Conv", ["divided", *first.input[1:]], list(first.output))
        again.attribute.extend(first.attribute)
        replace_node(model, first, cast, divided, again)

    outputs = compared(edited(exports[FOLDED], tmp_path / "x.onnx", change))
    assert not outputs.difference
    assert outputs.tolerance < 1e-2


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (onnx.TensorProto.STRING, [1], "takes other beside the image, which is no array"),
        (onnx.TensorProto.FLOAT, [1 << 40], "takes other beside the image, which is too large"),
        (onnx.TensorProto.FLOAT, [3, None], None),
    ],
)
def test_inputs_that_nothing_uses_are_given_zeros(kind, shape, message, exports, tmp_path):
    def change(model):
        model.graph.input.append(helper.make_tensor_value_info("other", kind, shape))

    path = edited(exports[FOLDED], tmp_path / "x.onnx", change)
    if message is None:
        assert not compared(path).difference
    else:
        with pytest.raises(FileError, match=message):
            compared(path)


def test_batches_that_no_memory_holds_are_not_made(exports, tmp_path):
    def change(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40

    with pytest.raises(FileError, match="images at once, which are too many"):
        compared(edited(exports[FOLDED], tmp_path / "x.onnx", change))


def test_graphs_are_run_at_any_size_and_in_any_batch(exports):
    """Ours take both; PyTorch's exporter fixes them, so that images go one by one."""
    path = exports["own-keras"]
    found = match(path)
    steps = recover(path, "onnx", None, found.network).steps
    network = changed(found.network, dialect=asdict(found.dialect), resolution=64)
    images = images_for(network, batch=3)
    expected = logits(network, found.weights, images)
    assert error(run_graph(path, "onnx", steps, images), expected) < 1e-4
    fixed = recover(exports[FOLDED], "onnx").steps
    assert fixed.batch == 1
    assert run_graph(exports[FOLDED], "onnx", fixed, images).shape == (3, 10)
    with pytest.raises(FileError, match="exported for images of 64 x 64 pixels"):
        run_graph(exports[FOLDED], "onnx", fixed, images[:, :, :32])


def test_a_graph_is_loaded_exported_and_seen_as_other_weights_are(exports, tmp_path):
    loaded = rosetta.load(exports[FOLDED])
    assert loaded.preprocessing.name == "official"
    again = tmp_path / "again.onnx"
    done = rosetta.export(None, again, "torch", weights=exports[FOLDED], resolution=64)
    assert done.network.num_classes == 10
    assert rosetta.inspect(again).fingerprint == rosetta.inspect(exports[FOLDED]).fingerprint


def test_a_graph_loses_its_classifier_or_gets_a_new_one(exports, tmp_path):
    headless, other = tmp_path / "headless.pth", tmp_path / "other.pth"
    rosetta.port(exports[FOLDED], headless, "torchvision", drop_head=True, run=False)
    assert rosetta.inspect(headless).num_classes is None
    rosetta.port(exports[FOLDED], other, "torchvision", classes=3, run=False)
    assert rosetta.inspect(other).num_classes == 3


def test_keys_are_those_of_the_graph(exports):
    keys = rosetta.inspect(exports[UNFOLDED]).keys
    assert keys["features.0.0.weight"] == "stem.conv.weight"
    assert set(keys.values()) == set(source("torchvision").tensors)


def test_batch_norms_that_do_nothing_are_exact(tmp_path):
    """Their factor is 1 in float32, and within 1e-9 of it in float64."""
    for epsilon in (1e-3, 1e-5):
        scale, variance = folding.identity(epsilon)
        factor = float(scale) / np.sqrt(float(variance) + epsilon)
        assert abs(factor - 1) < 1e-9
        assert scale / np.sqrt(variance + np.float32(epsilon)) == np.float32(1)
        assert {scale.dtype, variance.dtype} == {np.dtype(np.float32)}


def test_a_mark_stays_with_weights_that_are_written_again(tmp_path, exports):
    network = source("torchvision")
    plain, marked = tmp_path / "plain.safetensors", tmp_path / "marked.weights.h5"
    canonical.save(plain, network, weights_of(network))
    assert rosetta.inspect(plain).mark is None
    rosetta.port(exports[FOLDED], marked, "keras-hub", run=False)
    assert rosetta.inspect(marked).mark == FOLDED_MARK
