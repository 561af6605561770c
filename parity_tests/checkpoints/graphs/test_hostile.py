"""Graphs that are damaged or made to do harm end in weights or in one line, and take no room."""

import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficientnet_rosetta.common.checkpoints.formats import flatbuffer
from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.errors import FileError, RosettaError
from parity_tests.checkpoints import refusing
from parity_tests.checkpoints.graphs.building import changed, nodes, replace_node, set_attribute

ROOM = 64 * 2**20  # bytes beside those of the file


def refused(path):
    """The line that a file ends in, which takes no more room than a small graph may."""
    return str(refusing.refused(match, path, ROOM))


def graph_of(path, *operations, output="x", **tensors):
    """A file of a few operations on an image and on stored tensors."""
    graph = helper.make_graph(
        list(operations),
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def node(operation, inputs, output, **attributes):
    return helper.make_node(operation, inputs.split(), [output], **attributes)


def doubled(operation, times=70):
    """A tensor that is combined with itself, again and again."""
    return [node(operation, f"x{n} x{n}", f"x{n + 1}") for n in range(times)]


CASES = {
    "shares itself": (doubled("Mul"), {"x0": np.ones(4, np.float32)}, "in too many steps"),
    "grows by concatenation": (
        [node("Concat", f"x{n} x{n}", f"x{n + 1}", axis=0) for n in range(40)],
        {"x0": np.ones(4, np.float32)},
        "larger than those of any network",
    ),
    "is expanded": (
        [node("Expand", "x0 shape", "x1")],
        {"x0": np.ones(1, np.float32), "shape": [1 << 20, 1 << 20]},
        "larger than those of any network",
    ),
    "is filled": (
        [node("ConstantOfShape", "shape", "x1")],
        {"shape": [1 << 40]},
        "larger than those of any network",
    ),
    "is filled by negative sizes": (
        [node("ConstantOfShape", "shape", "x1")],
        {"shape": [-2, -2]},
        "do not fit it",
    ),
    "is an outer product": (
        [node("Mul", "a b", "x1")],
        {"a": np.ones((60_000, 1), np.float32), "b": np.ones((1, 60_000), np.float32)},
        "larger than each of them",
    ),
    "is taken many times": (
        [node("Gather", "a b", "x1", axis=0)],
        {"a": np.ones(60_000, np.float32), "b": np.zeros(60_000, np.int64)},
        "larger than those of any network",
    ),
    "has a shape of many axes": (
        [node("Expand", "a b", "x1")],
        {"a": np.ones(1, np.float32), "b": np.ones(60_000, np.int64)},
        "uses 60000 numbers where sizes or axes should be",
    ),
    "gets many axes": (
        [node("Unsqueeze", "image b", "x1")],
        {"b": np.arange(60_000)},
        "uses 60000 numbers where sizes or axes should be",
    ),
    "has no such shape": (
        [node("Reshape", "a b", "x1")],
        {"a": np.ones(6, np.float32), "b": [4, -1]},
        "the shape",
    ),
    "has no such axes": (
        [node("Transpose", "a", "x1", perm=[0, 5])],
        {"a": np.ones((2, 3), np.float32)},
        "axes that it does not have",
    ),
    "is cut out badly": (
        [node("Slice", "a b b b b", "x1")],
        {"a": np.ones(6, np.float32), "b": [0]},
        "do not fit it",
    ),
    "is cast to nothing": ([node("Cast", "a", "x1", to=99)], {"a": np.ones(2)}, "no network"),
    "is a text": ([node("Constant", "", "x1", value_string="a")], {}, "that is no tensor"),
}


@pytest.mark.parametrize("name", CASES)
def test_constants_that_would_take_room_or_time(name, tmp_path):
    operations, tensors, message = CASES[name]
    # Something is computed from an image, so that the graph is one.
    last = node("Identity", "image", "x")
    path = graph_of(tmp_path / "x.onnx", *operations, last, **tensors)
    assert message in refused(path)


def test_steps_after_an_operation_come_to_an_end(tmp_path):
    steps = [node("Add", f"v{n} one", f"v{n + 1}") for n in range(2_000)]
    first, last = node("Identity", "image", "v0"), node("Identity", "v2000", "x")
    path = graph_of(tmp_path / "x.onnx", first, *steps, last, one=np.ones(1, np.float32))
    assert "too much arithmetic" in refused(path)


def test_deep_and_wide_graphs_come_to_an_end(tmp_path):
    """A value of a value 5,000 times, and sums that have 2^5,000 ways to the image."""
    deep = [node("Sigmoid", f"v{n}", f"v{n + 1}") for n in range(5_000)]
    sums = [node("Add", f"v{n} v{n}", f"v{n + 1}") for n in range(5_000, 10_000)]
    first, last = node("Identity", "image", "v0"), node("Identity", "v10000", "x")
    path = graph_of(tmp_path / "x.onnx", first, *deep, *sums, last)
    assert "no network that is known here" in refused(path)


def test_an_attribute_in_many_pieces_is_no_longer_than_in_one(tmp_path):
    """Small numbers take a byte in the file, and eight in memory."""
    path = graph_of(tmp_path / "x.onnx", node("Relu", "image", "x"))
    pieces = wire.message_field(8, b"\1" * 2**16) * 400
    attribute = wire.message_field(1, b"axes") + pieces
    operation = wire.message_field(4, b"Relu") + wire.message_field(5, attribute)
    graph = wire.message_field(7, wire.message_field(1, operation))
    path.write_bytes(path.read_bytes() + graph)
    assert "an attribute has too many numbers" in refused(path)


def test_values_that_come_from_nowhere(tmp_path):
    path = graph_of(tmp_path / "x.onnx", node("Relu", "later", "x"), node("Relu", "x", "later"))
    assert "no network that is known here" in refused(path)


def test_graphs_inside_of_operations_and_functions_are_refused(tmp_path):
    inner = helper.make_graph([node("Identity", "image", "y")], "inner", [], [])
    path = graph_of(tmp_path / "x.onnx", node("If", "image", "x", then_branch=inner))
    assert "has a graph inside of an operation" in refused(path)
    model = onnx.load(graph_of(tmp_path / "y.onnx", node("Relu", "image", "x")))
    function = helper.make_function("own", "f", ["a"], ["b"], [node("Relu", "a", "b")], [])
    model.functions.append(function)
    onnx.save(model, tmp_path / "y.onnx")
    assert "has functions of its own" in refused(tmp_path / "y.onnx")


@pytest.mark.parametrize("name", ["strides", "pads", "group", "dilations", "kernel_shape"])
def test_attributes_that_make_no_sense(name, tmp_path):
    for value in (1.5, "two", [0.5, 0.5], [1 << 62, 2], [1, 2, 3], 1 << 62):
        conv = node("Conv", "image kernel", "x")
        set_attribute(conv, name, value)
        kernel = np.ones((4, 3, 3, 3), np.float32)
        message = refused(graph_of(tmp_path / "x.onnx", conv, kernel=kernel))
        wrong = (int if name == "group" else list) is not type(value) or value == [0.5, 0.5]
        assert (f"has a Conv whose {name} makes no sense" in message) is wrong


def test_kernels_that_are_no_floats(exports, tmp_path):
    def change(model):
        conv = nodes(model, "Conv")[3]
        cast = helper.make_node("Cast", [conv.input[1]], ["whole"], to=TensorProto.INT32)
        again = helper.make_node("Conv", [conv.input[0], "whole", conv.input[2]], conv.output)
        again.attribute.extend(conv.attribute)
        replace_node(model, conv, cast, again)

    refused(changed(exports["script-torchvision"], tmp_path / "x.onnx", change))


# ------------------ damage by chance


def damaged(content, random, first, last):
    """Some bytes changed, some left out, or everything after one of them."""
    found = bytearray(content)
    place = int(random.integers(first, last))
    how = random.integers(4)
    if how == 0:
        return bytes(found[:place])
    if how == 1:
        found[place : place + int(random.integers(1, 40))] = b""
        return bytes(found)
    for _ in range(random.integers(1, 9)):
        found[int(random.integers(first, last))] = int(random.choice([0, 1, 127, 128, 255]))
    return bytes(found)


def outcome(path):
    """The line that a file ends in; none if its weights can be read."""
    try:
        found = match(path)
        with np.errstate(all="ignore"):
            arrays = {stored.shape: np.asarray(stored) for stored in found.weights.values()}
    except RosettaError as error:
        return str(error)
    assert all(shape == array.shape for shape, array in arrays.items())
    return None


def refusals(path, cases, seed):
    """How many of some damaged files are refused; all others give weights."""
    content, random = path.read_bytes(), np.random.default_rng(seed)
    broken = path.with_name(f"damaged-{path.name}")
    lines = []
    for _ in range(cases):
        broken.write_bytes(damaged(content, random, max(0, len(content) - 150_000), len(content)))
        lines.append(outcome(broken))
    assert all(line is None or line.isprintable() for line in lines)
    return sum(line is not None for line in lines)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of floats that are none
def test_damaged_graphs_end_in_weights_or_one_line(exports, tmp_path):
    model = onnx.load(exports["script-unfolded-timm-tf"])
    path = tmp_path / "x.onnx"
    onnx.save(model, path, save_as_external_data=True, location="x.data", size_threshold=1024)
    assert 5 < refusals(path, 30, 0) < 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_damaged_tflite_ends_in_weights_or_one_line(exports, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(exports["tflite-function-keras"].read_bytes())
    assert 10 < refusals(path, 60, 0) < 60


def tflite(path, *words):
    """A file that begins as TensorFlow Lite's do, and goes on with numbers."""
    path.write_bytes(
        struct.pack("<I", words[0]) + b"TFL3" + struct.pack(f"<{len(words) - 1}I", *words[1:])
    )
    return path


@pytest.mark.parametrize(
    "words",
    [
        (0,),  # the table is its own beginning
        (8,),
        (0xFFFFFFFF, 1, 2),
        (8, 8, 0x00080008, 0x00040000, 4, 0xFFFFFFFF, *(0,) * 20),
        # A vtable after its table, and a list of 2^32 tables.
        (8, 0xFFFFFFF0, 0, 0, 0, 0x000E000E, 0x00040004, 0x00040004, 0x00040004, *(1,) * 20),
    ],
)
def test_tflite_that_points_anywhere(words, tmp_path):
    refused(tflite(tmp_path / "x.tflite", *words))


def test_tflite_that_points_at_itself_comes_to_an_end(exports, tmp_path, monkeypatch):
    """Each table may be named many times: there is an end to the numbers that are read."""
    monkeypatch.setattr(flatbuffer, "READS_LIMIT", 1000)
    path = tmp_path / "x.tflite"
    path.write_bytes(exports["tflite-function-keras"].read_bytes())
    assert "points at its own parts too often" in refused(path)


def test_a_cut_after_the_graph_was_read_is_one_line(exports, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(exports["tflite-function-keras"].read_bytes())
    found = match(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError):
        [np.asarray(stored) for stored in found.weights.values()]
