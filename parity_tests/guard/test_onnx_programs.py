"""ONNX files and graphs, as programs of the guard."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, NHWC, Given, run_widest
from efficientnet_rosetta.common.guard.recognise import program_of

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(2, 3, 8, 9)).astype(np.float32)
KERNEL = RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32)
GIVEN = Given.of(IMAGES)


def model_of(nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def net(last=False, kind=TensorProto.FLOAT, kernel=KERNEL):
    """A convolution, a ReLU with a skip around it, and the means of that; channels may be last."""
    given, shape = ("first", ["n", 8, 9, 3]) if last else ("images", ["n", 3, "h", "w"])
    nodes = [
        helper.make_node("Conv", [given, "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Add", ["relu", "conv"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["means"]),
        helper.make_node("ArgMax", ["means"], ["best"], axis=1),
    ]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["images"], [given], perm=[0, 3, 1, 2]))
    outputs = [("means", kind), ("best", TensorProto.INT64), ("sum", kind)]
    return model_of(nodes, [("images", kind, shape)], outputs, [("kernel", kernel)])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("make", ["graph", "bytes", "file"])
def test_images_reach_a_graph_in_its_own_order_of_axes(tmp_path, make, last):
    what = net(last)
    if make == "bytes":
        what = what.SerializeToString()
    if make == "file":
        onnx.save(what, tmp_path / "net.onnx")
        what = tmp_path / "net.onnx"
    program = program_of(what)
    expected = program_of(net()).run(GIVEN)
    for given in (GIVEN, Given.of(IMAGES.transpose(0, 2, 3, 1), NHWC), Given.of({"x": IMAGES})):
        precision, found = run_widest(program, given)
        assert precision == FLOAT32
        assert list(found) == ["means", "best", "sum"]
        assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_it_goes_on_from_values_that_stand_in_for_its_own():
    program = program_of(net())
    whole = program.trace(GIVEN)
    assert [step.name for step in whole] == ["conv", "relu", "sum", "pool", "means", "sum 2"]
    assert [step.inputs for step in whole[-2:]] == [("pool",), ("sum",)]
    values = {step.name: step.value for step in whole}
    again = program.trace(GIVEN, instead={"relu": values["relu"]})
    assert [step.name for step in again] == ["sum", "pool", "means", "sum 2"]
    assert all(np.array_equal(step.value, values[step.name]) for step in again)
    other = {
        step.name: step.value for step in program.trace(GIVEN, instead={"relu": values["relu"] + 1})
    }
    assert np.allclose(other["means"], values["means"] + 1, atol=1e-5)
    # A value that is an output too.
    at_end = program.trace(GIVEN, instead={"sum": values["sum"] * 2})
    assert np.allclose(at_end[0].value, values["pool"] * 2, atol=1e-5)
    assert program.goes_on_from("relu")
    assert not program.goes_on_from("nowhere")
    with pytest.raises(UsageError, match="the ONNX graph has no value 'nowhere'"):
        program.trace(GIVEN, instead={"nowhere": np.zeros(3)})


def gated(kind):
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=kind),
        helper.make_node("Mul", ["numbers", "gate"], ["product"]),
    ]
    inputs = [("ids", TensorProto.INT32, ["n", 4]), ("gate", kind, ["n", 4])]
    return model_of(nodes, inputs, [("product", kind)])


IDS = np.arange(8).reshape(2, 4)
GATE = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)


@pytest.mark.parametrize("given", [Given.of([IDS, GATE]), Given.of({"gate": GATE, "ids": IDS})])
@pytest.mark.parametrize(
    ("kind", "precision", "dtype"),
    [
        (TensorProto.FLOAT, FLOAT32, np.float32),
        (TensorProto.FLOAT16, FLOAT32, np.float32),
        (TensorProto.DOUBLE, FLOAT64, np.float64),
    ],
)
def test_inputs_are_in_the_types_that_are_declared(given, kind, precision, dtype):
    program = program_of(gated(kind))
    found = run_widest(program, given)
    assert found[0] == precision
    assert found[1]["product"].dtype == dtype
    assert np.allclose(found[1]["product"], IDS * GATE, atol=1e-2)
    middle = program.trace(given)[0]
    assert middle.name == "product"
    assert np.allclose(
        program.trace(given, instead={"product": middle.value})[-1].value, middle.value
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given.of(IDS), "the ONNX graph takes ids, gate; it was given 1 inputs by position and no"),
        (Given.of({"ids": IDS, "mask": GATE}), "takes ids, gate; .* and ids, mask by name"),
        (Given.of([GATE, GATE]), "takes int32 as ids; it was given numbers that are not whole"),
        (Given.of([IDS, IDS[:, :3]]), r"takes the shape \(\?, 4\) as gate; it was given \(2, 3\)"),
    ],
)
def test_what_it_does_not_take_is_one_line(given, message):
    with pytest.raises(UsageError, match=message):
        program_of(gated(TensorProto.FLOAT)).run(given)


def test_a_file_that_is_not_there_or_no_graph_is_one_line(tmp_path):
    with pytest.raises(RosettaError, match=r"none.onnx: no such file"):
        program_of(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(RosettaError, match=r"text.onnx: onnxruntime cannot load it"):
        program_of(tmp_path / "text.onnx")
