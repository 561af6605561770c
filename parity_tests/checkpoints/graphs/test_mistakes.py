"""A graph that computes something else than a network of ours is never taken for one."""

import numpy as np
import onnx
import pytest
from onnx import helper

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.graphs.recover import recover
from efficientnet_rosetta.common.checkpoints.graphs.run import run_graph
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.errors import FileError, RosettaError, UnknownLayoutError
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.checkpoints.graphs.building import (
    array,
    attribute,
    changed,
    nodes,
    replace_node,
    set_attribute,
    store,
)
from parity_tests.checkpoints.graphs.exporting import error, logits, source
from parity_tests.support import images_for

UNFOLDED, FOLDED = "script-unfolded-torchvision", "script-torchvision"


def relu_for_swish(model):
    """The first swish, which is a sigmoid and a product, becomes a ReLU."""
    product = nodes(model, "Mul")[0]
    new = helper.make_node("Relu", [nodes(model, "Conv")[0].output[0]], product.output)
    replace_node(model, product, new)


def another_stride(model):
    strided = [node for node in nodes(model, "Conv") if attribute(node, "strides").ints[0] == 2]
    attribute(strided[2], "strides").ints[:] = [1, 1]


def another_group(model):
    depthwise = next(n for n in nodes(model, "Conv") if attribute(n, "group").i > 1)
    attribute(depthwise, "group").i = 1


def dilated(model):
    depthwise = next(n for n in nodes(model, "Conv") if attribute(n, "group").i > 1)
    attribute(depthwise, "dilations").ints[:] = [2, 2]


def half_padded(model):
    """Each stride of 2 is padded as SAME, but for one, which stays symmetric."""
    strided = [node for node in nodes(model, "Conv") if attribute(node, "strides").ints[0] == 2]
    for node in strided[1:]:
        before = attribute(node, "pads").ints[0]
        attribute(node, "pads").ints[:] = [before - 1, before - 1, before, before]


def unpadded(model):
    attribute(nodes(model, "Conv")[0], "pads").ints[:] = [0, 0, 0, 0]


def sum_without_shortcut(model):
    """A block adds its path to itself, and no longer to its input."""
    node = nodes(model, "Add")[0]
    node.input[1] = node.input[0]


def shortcut_from_before(model):
    """A block adds the input of the block before."""
    before, first, second = nodes(model, "Add")[1:4]
    assert first.output[0] in second.input
    place = list(second.input).index(first.output[0])
    second.input[place] = next(name for name in first.input if name not in before.output)
    # Both are of 112 channels: what the path of the block before is, and its own input.


def gate_of_another_map(model):
    """The means are of the map before the swish."""
    node = nodes(model, "GlobalAveragePool")[3]
    swish = next(n for n in nodes(model, "Mul") if node.input[0] in n.output)
    node.input[0] = swish.input[0]


def gate_added(model):
    """The sigmoid of a gate is added: it is the one that nothing else multiplies."""
    sigmoids = {node.output[0]: node.input[0] for node in nodes(model, "Sigmoid")}
    products = [node for node in nodes(model, "Mul") if set(node.input) & set(sigmoids)]
    gates = [
        node
        for node in products
        if not any(sigmoids.get(name) in node.input for name in node.input)
    ]
    gates[0].op_type = "Add"


def scaled_after_the_swish(model):
    """A product with a constant where no network has one."""
    product = nodes(model, "Mul")[0]
    store(model, "half", np.full((1, 32, 1, 1), 0.5, np.float32))
    before = f"{product.output[0]}.before"
    new = helper.make_node("Mul", [before, "half"], list(product.output))
    first = helper.make_node("Mul", list(product.input), [before])
    replace_node(model, product, first, new)


def scaled_after_the_border(model):
    """A product with a constant between a border and the convolution over it."""
    conv = nodes(model, "Conv")[0]
    store(model, "pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    store(model, "half", np.full((1, 3, 1, 1), 0.5, np.float32))
    border = helper.make_node("Pad", [conv.input[0], "pads"], ["bordered"])
    product = helper.make_node("Mul", ["bordered", "half"], ["halved"])
    last = helper.make_node("Conv", ["halved", *conv.input[1:]], list(conv.output))
    last.attribute.extend(conv.attribute)
    set_attribute(last, "pads", [0, 0, 0, 0])
    replace_node(model, conv, border, product, last)


def rounded(model):
    """What follows the first swish is cut to whole numbers."""
    product = nodes(model, "Mul")[0]
    first = helper.make_node("Mul", list(product.input), ["before"])
    whole = helper.make_node("Cast", ["before"], ["whole"], to=onnx.TensorProto.INT32)
    last = helper.make_node("Cast", ["whole"], list(product.output), to=onnx.TensorProto.FLOAT)
    replace_node(model, product, first, whole, last)


def bias_along_the_rows(model):
    """32 numbers along an axis of 32 places, which is not that of the channels."""
    conv = nodes(model, "Conv")[0]
    store(model, "rows", np.ones(32, np.float32))
    before = f"{conv.output[0]}.before"
    new = helper.make_node("Add", [before, "rows"], list(conv.output))
    first = helper.make_node("Conv", list(conv.input), [before])
    first.attribute.extend(conv.attribute)
    replace_node(model, conv, first, new)


def doubled_logits(model):
    dense = nodes(model, "Gemm")[0]
    set_attribute(dense, "alpha", 2.0)


def quick_gelu(model):
    """A swish of another factor, as onnxruntime's operation has by default."""
    product = nodes(model, "Mul")[0]
    conv = nodes(model, "Conv")[0].output[0]
    new = helper.make_node(
        "QuickGelu", [conv], list(product.output), domain="com.microsoft", alpha=1.702
    )
    replace_node(model, product, new)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def epsilon(model):
    attribute(nodes(model, "BatchNormalization")[7], "epsilon").f = 1e-3


CHANGES = {
    relu_for_swish: "stem should be a swish, and is a ReLU",
    another_stride: r"stages.4.blocks.0.depthwise_conv should have the stride 2, and has 1 x 1",
    another_group: r"should be a layer of \(32, 1, 3, 3\), and is a convolution",
    dilated: "should be a gate, and is Mul after another kind of Conv",
    half_padded: "is padded by another rule|has a border that no padding rule gives it",
    unpadded: "stem.conv has a border that no padding rule gives it",
    sum_without_shortcut: "stages.3.blocks.1 ",
    shortcut_from_before: "adds what is not its own input",
    gate_of_another_map: "is weighed by the means of another map",
    gate_added: "should be a gate, and is Add",
    scaled_after_the_swish: "stem should be a swish, and is a swish with arithmetic after it",
    scaled_after_the_border: "of no network that is known here",
    rounded: "stem should be a swish, and is Cast",
    bias_along_the_rows: "stem should be a swish|stem should be a layer",
    doubled_logits: "ends in Gemm",
    quick_gelu: "stem should be a swish, and is com.microsoft.QuickGelu",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_mistake_in_the_graph_is_named(exports, tmp_path, change):
    path = changed(exports[FOLDED], tmp_path / "x.onnx", change)
    with pytest.raises(FileError, match=CHANGES[change]) as caught:
        rosetta.inspect(path)
    assert "\n" not in str(caught.value)


def test_batch_norms_of_two_epsilons_are_of_no_dialect(exports, tmp_path):
    path = changed(exports[UNFOLDED], tmp_path / "x.onnx", epsilon)
    with pytest.raises(FileError, match=r"batch norms of different epsilons, 1e-05 and 0\.001"):
        rosetta.inspect(path)


def test_exchanged_kernels_show_in_what_is_computed(exports, tmp_path):
    """Two kernels of one shape are each as good as the other: only their values tell."""

    def exchange(model):
        one, two = (f"features.6.{place}.block.2.fc1.weight" for place in (1, 2))
        first, second = array(model, one).copy(), array(model, two).copy()
        store(model, one, second)
        store(model, two, first)

    path = changed(exports[UNFOLDED], tmp_path / "x.onnx", exchange)
    right, wrong = match(exports[UNFOLDED]), match(path)
    assert fingerprint(right.weights) != fingerprint(wrong.weights)
    network = source("torchvision")
    images = images_for(network)
    graph = run_graph(path, "onnx", recover(path, "onnx").steps, images)
    assert error(graph, logits(network, wrong.weights, images)) < 1e-4
    assert error(graph, logits(network, right.weights, images)) > 1e-2


def test_zeros_that_are_added_where_a_batch_norm_follows(exports, tmp_path):
    """PyTorch's exporter by torch.export, if told not to optimise, computes them at every size."""

    def biased(model):
        store(model, "nothing", np.zeros(1, np.float32))
        conv = nodes(model, "Conv")[4]
        norm = next(n for n in nodes(model, "BatchNormalization") if n.input[0] == conv.output[0])
        new = [
            helper.make_node("Shape", [norm.input[3]], ["count"]),
            helper.make_node("Expand", ["nothing", "count"], ["zeros"]),
            helper.make_node("CastLike", ["zeros", conv.input[0]], ["bias"]),
            helper.make_node("Conv", [*conv.input, "bias"], conv.output),
        ]
        new[-1].attribute.extend(conv.attribute)
        replace_node(model, conv, *new)

    path = changed(exports[UNFOLDED], tmp_path / "x.onnx", biased)
    assert match(path).weights.keys() == match(exports[UNFOLDED]).weights.keys()
    assert fingerprint(match(path).weights) == fingerprint(match(exports[UNFOLDED]).weights)
    assert rosetta.inspect(path).mark is None


def test_names_decide_nothing(exports, tmp_path):
    """The names of a graph of ours on other tensors are not believed."""

    def rotate(model):
        names = [t.name for t in model.graph.initializer if t.name.endswith("project_bn.scale")]
        same = [n for n in names if array(model, n).shape == (192,)]
        renamed = dict(zip(same, same[1:] + same[:1], strict=True))
        for stored in model.graph.initializer:
            stored.name = renamed.get(stored.name, stored.name)
        for node in model.graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]

    path = changed(exports["own-torch"], tmp_path / "x.onnx", rotate)
    right, renamed = match(exports["own-torch"]), match(path)
    assert fingerprint(renamed.weights) == fingerprint(right.weights)
    assert renamed.layouts[0].name.startswith("graph of efficientnet-rosetta")


def test_a_graph_of_ours_must_compute_what_it_says(exports, tmp_path):
    def swish_lost(model):
        product = nodes(model, "Mul")[0]
        new = helper.make_node("Identity", [product.input[0]], list(product.output))
        replace_node(model, product, new)

    path = changed(exports["own-torch"], tmp_path / "x.onnx", swish_lost)
    with pytest.raises(UnknownLayoutError, match="stem should be a swish"):
        rosetta.inspect(path)

    def other_dialect(model):
        for entry in model.metadata_props:
            if entry.key == "network":
                entry.value = entry.value.replace('"same"', '"symmetric"')

    path = changed(exports["own-torch"], tmp_path / "y.onnx", other_dialect)
    with pytest.raises(FileError, match=r"says that its dialect is .* computes by another"):
        rosetta.inspect(path)


def test_another_dialect_than_the_graph_computes_is_refused(exports):
    with pytest.raises(FileError, match="computes in the pytorch or torchvision-large dialect"):
        rosetta.inspect(exports[FOLDED], dialect="tensorflow")


def test_a_size_at_which_all_dialects_pad_alike_leaves_it_open(exports, tmp_path):
    """The graph of 64 pixels as one of 65, where SAME pads before as it does after."""

    def larger(model):
        shape = model.graph.input[0].type.tensor_type.shape
        shape.dim[2].dim_value = shape.dim[3].dim_value = 65

    path = changed(exports[FOLDED], tmp_path / "x.onnx", larger)
    found = match(path)
    assert found.dialect is None
    assert [dialect.name for dialect in found.possible] == [
        "tensorflow",
        "pytorch",
        "torchvision-large",
    ]
    with pytest.raises(RosettaError, match="for a size at which all dialects pad alike"):
        rosetta.load(path)
    assert rosetta.load(path, dialect="tensorflow").network.dialect.name == "tensorflow"


def test_sizes_that_are_open_leave_symmetric_padding_symmetric(exports, tmp_path):
    def opened(model):
        shape = model.graph.input[0].type.tensor_type.shape
        shape.dim[2].dim_param, shape.dim[3].dim_param = "height", "width"

    path = changed(exports[FOLDED], tmp_path / "x.onnx", opened)
    assert match(path).dialect.name == "pytorch"
    assert recover(path, "onnx").steps.size is None


def test_layers_beside_the_network_are_named(exports, tmp_path):
    def second_head(model):
        dense = nodes(model, "Gemm")[0]
        store(model, "other", np.ones((3, 1280), np.float32))
        new = helper.make_node("Gemm", [dense.input[0], "other"], ["more"], transB=1)
        model.graph.node.append(new)
        model.graph.output.append(helper.make_tensor_value_info("more", 1, [1, 3]))

    path = changed(exports[FOLDED], tmp_path / "x.onnx", second_head)
    with pytest.raises(FileError, match=r"layers beside it, such as a dense layer of"):
        rosetta.inspect(path)


@pytest.mark.parametrize("last", ["features", "logits"])
def test_features_may_be_an_output_beside_the_logits(exports, tmp_path, last):
    def both(model):
        dense = nodes(model, "Gemm")[0].input[0]
        model.graph.output.append(helper.make_tensor_value_info(dense, 1, [1, 1280]))
        if last == "logits":
            model.graph.output.reverse()

    found = match(changed(exports[FOLDED], tmp_path / "x.onnx", both))
    assert found.network.num_classes == 10


@pytest.mark.parametrize(
    ("classes", "channels"), [(1, 4), pytest.param(37, 1, marks=pytest.mark.slow)]
)
def test_any_number_of_classes_and_channels(tmp_path, classes, channels):
    weights = tmp_path / "w.safetensors"
    network = resolve("b0", resolution=64, num_classes=classes, in_channels=channels)
    save(weights, network, initial(network))
    rosetta.export(None, tmp_path / "x.onnx", "torch", weights=weights, resolution=64)
    model = onnx.load(tmp_path / "x.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "y.onnx")
    found = match(tmp_path / "y.onnx")
    assert (found.network.num_classes, found.network.in_channels) == (classes, channels)
    assert found.layouts[0].name.startswith("graph of")
