"""What the tests of ONNX files share: models of tensors alone, and files that are forged."""

from onnx import helper

from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire


def model_of(*tensors, **metadata):
    """A model of these initializers and no nodes."""
    graph = helper.make_graph([], "graph", [], [], list(tensors))
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    return model


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def field(number, kind, content):
    """A field whose value is already encoded."""
    return wire.encoded_varint(number << 3 | kind) + content


def initializer(*fields, name=b"a"):
    return wire.message_field(5, b"".join(fields) + wire.message_field(8, name))


def forged(path, *tensors):
    """A file of these initializers, which may say what they like."""
    path.write_bytes(wire.number_field(1, 8) + wire.message_field(7, b"".join(tensors)))
    return path
