"""Running an ONNX file with onnxruntime, endpoint by endpoint or operation by operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..backends.trace import Trace
from ..backends.values import check_endpoints, from_layout, to_layout
from ..errors import FileError, RosettaError, needs

with needs("running ONNX graphs"):
    import onnx
    import onnxruntime
    from onnx import helper
    from onnx.utils import Extractor

ERRORS_ONLY = 3  # onnxruntime's severity
# Operations that hand on what they are given, in another shape, order or type, or amid zeros.
MOVES = {
    *("Cast", "Dropout", "Flatten", "Identity", "Pad", "Reshape"),
    *("Squeeze", "Transpose", "Unsqueeze"),
}
TO_CHANNELS_LAST = [0, 2, 3, 1]
AT_ONCE = 64  # values that a run returns, so that they fit into memory


class OnnxGraph:
    """An ONNX file written by `rosetta export`, from a path or from its bytes."""

    def __init__(self, model: str | Path | bytes):
        self.source = model if isinstance(model, bytes) else str(model)
        self.session = start(self.source)
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        self.channels_last = self.metadata.get("layout") == "NHWC"

    @property
    def names(self) -> list[str]:
        """The endpoints that the file was exported with, in forward order."""
        return [output.name for output in self.session.get_outputs()]

    def run(self, images: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Images (N, C, H, W) -> the named endpoints (all by default) as (N, C, H, W) or (N, C).

        Raises:
            ValueError: a name that the file has no output of.
        """
        names = check_endpoints(self.names, names)
        images = np.ascontiguousarray(to_layout(images, self.channels_last), np.float32)
        (image,) = self.session.get_inputs()
        values = self.session.run(names, {image.name: images})
        return {
            name: from_layout(value, self.channels_last)
            for name, value in zip(names, values, strict=True)
        }

    def trace(self, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before, whose value is given.

        `value` is (N, C, H, W), or the images for the first endpoint.
        """
        model = load(self.source)
        names = self.names
        check_endpoints(names, [endpoint])
        position = names.index(endpoint)
        channels_last = self.channels_last
        if position:
            begin, channels_last = _origin(model, names[position - 1], channels_last)
            model = part(model, begin, endpoint)
        value = to_layout(value, channels_last and value.ndim == 4)

        def within(name: str) -> str:
            return name.removeprefix(f"{endpoint}.").removeprefix(f"{endpoint}/")

        found = Trace()
        fed = np.ascontiguousarray(value, np.float32)
        for name, array, inputs in steps(model, fed, [endpoint]):
            found.keep(within(name), array, tuple(map(within, inputs)))
        return found


def start(model: str | bytes) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Raises:
        RosettaError: onnxruntime does not take the model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base but this
        name = "the model" if isinstance(model, bytes) else model
        raise FileError(name, f"onnxruntime cannot load it ({_line(error)})") from error


def _line(error: Exception) -> str:
    """A message that may have several lines, as one."""
    return " ".join(str(error).split())


def load(source: str | bytes) -> onnx.ModelProto:
    """The model itself, from a path or from its bytes."""
    return onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)


def part(model: onnx.ModelProto, begin: str, end: str) -> onnx.ModelProto:
    """The operations that lead from one value to another, as a model."""
    return Extractor(onnx.shape_inference.infer_shapes(model)).extract_model([begin], [end])


def cuts(model: onnx.ModelProto) -> set[str]:
    """The values that everything on the way from the input to the last output passes through.

    Those are on as many ways as there are: ways to a value, times ways on from it.
    """
    given = {initializer.name for initializer in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - given
    end = model.graph.output[-1].name
    ways_to, ways_on = Counter(inputs), Counter([end])
    for node in model.graph.node:  # each after those whose outputs it reads
        ways = sum(ways_to[name] for name in node.input)
        ways_to.update(dict.fromkeys(filter(None, node.output), ways))
    for node in reversed(model.graph.node):
        ways = sum(ways_on[name] for name in filter(None, node.output))
        for name in node.input:
            ways_on[name] += ways
    return {
        name
        for name, ways in ways_to.items()
        if name not in inputs and ways and ways * ways_on[name] == ways_to[end]
    }


def _origin(model: onnx.ModelProto, name: str, channels_last: bool) -> tuple[str, bool]:
    """The value that an endpoint is a copy of, and whether that one has channels last."""
    producers = {output: node for node in model.graph.node for output in node.output}
    while name in producers and producers[name].op_type in ("Identity", "Transpose"):
        node = producers[name]
        if node.op_type == "Transpose":
            (axes,) = (helper.get_attribute_value(attribute) for attribute in node.attribute)
            channels_last = channels_last and axes != TO_CHANNELS_LAST
        (name,) = node.input
    return name, channels_last


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What a graph is to be given: its inputs that have no value of their own."""
    given = {initializer.name for initializer in model.graph.initializer}
    return [node for node in model.graph.input if node.name not in given]


def steps(
    model: onnx.ModelProto,
    values: np.ndarray | Mapping[str, np.ndarray],
    ends: Sequence[str] | None = None,
) -> Iterator[tuple[str, np.ndarray, tuple[str, ...]]]:
    """Every operation that depends on the inputs: its name, value, and inputs among these.

    `values` are those of the inputs by name, or of the one that there is.  `ends` are the
    last operations of interest; the model's last output by default.

    Raises:
        RosettaError: onnxruntime does not take the model, or the values.
    """
    if not isinstance(values, Mapping):
        values = {inputs_of(model)[0].name: values}
    fed = dict(values)
    nodes = _dependent(model, list(fed), ends or [model.graph.output[-1].name])
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    known = {output.name for output in traced.graph.output}
    traced.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name, _ in nodes if name not in known
    )
    session = start(traced.SerializeToString())
    names = [name for name, _ in nodes]
    read = dict(nodes)
    for first in range(0, len(names), AT_ONCE):
        asked = names[first : first + AT_ONCE]
        try:
            values = session.run(asked, fed)
        except Exception as error:  # see above
            raise RosettaError(f"onnxruntime cannot run the model ({_line(error)})") from error
        for name, found in zip(asked, values, strict=True):
            if isinstance(found, np.ndarray) and found.dtype.kind == "f":
                yield name, found, read[name]


OWN = "own value of "  # what a value is called that another one stands in for


def with_values(
    model: onnx.ModelProto, values: Mapping[str, np.ndarray]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model in which values of its nodes are inputs, and these in the types that they have."""
    known = onnx.shape_inference.infer_shapes(model).graph
    types = {one.name: one.type.tensor_type.elem_type for one in (*known.value_info, *known.output)}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        for place, name in enumerate(node.output):
            if name in values:
                node.output[place] = OWN + name
    typed = {}
    for name, value in values.items():
        kind = types.get(name) or onnx.TensorProto.FLOAT
        typed[name] = np.ascontiguousarray(value, helper.tensor_dtype_to_np_dtype(kind))
        changed.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
    return changed, typed


def source(model: onnx.ModelProto, name: str) -> str:
    """The value that one is a copy of, in whatever shape and order."""
    copied = {
        output: node.input[0]
        for node in model.graph.node
        if node.op_type in MOVES
        for output in node.output
    }
    while name in copied:
        name = copied[name]
    return name


def _dependent(
    model: onnx.ModelProto, begin: Sequence[str], ends: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Outputs of the operations between values in forward order, and those that each reads."""
    # Of a copy: what it copies; None is the input.
    origin: dict[str, str | None] = dict.fromkeys(begin)
    found: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        read = [origin[name] for name in node.input if name in origin]
        if not read:
            continue
        if node.op_type in MOVES:
            origin[node.output[0]] = read[0]
            continue
        for output in filter(None, node.output):
            origin[output] = output
            found[output] = tuple(name for name in read if name is not None)
    wanted, queue = set(), [origin.get(end) for end in ends]
    while queue:
        name = queue.pop()
        if name is not None and name not in wanted:
            wanted.add(name)
            queue.extend(found[name])
    return [(name, read) for name, read in found.items() if name in wanted]
