"""Weights of two models, under other names and in other orders: which tensors differ."""

import numpy as np
import pytest

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.guard.fixture import ParityError
from efficientnet_rosetta.common.guard.weights import weights

from .fixtures import fixture_of


def state():
    """Tensors as PyTorch keeps them."""
    random = np.random.default_rng(0)
    shapes = {
        "stem.conv.weight": (8, 3, 3, 3),
        "stem.bn.weight": (8,),
        "stem.bn.bias": (8,),
        "block.depthwise.weight": (8, 1, 3, 3),
        "block.project.weight": (8, 8, 1, 1),
        "attention.weight": (12, 8),
        "attention.square.weight": (8, 8),
        "head.weight": (10, 8),
        "head.bias": (10,),
        "unused.bias": (10,),
    }
    found = {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    found["unused.bias"][:] = 0
    found["stem.bn.bias"][:] = 0
    return found


def as_keras(tensors):
    """The same as Keras keeps them: other names, and other orders of axes."""
    orders = {
        "stem.conv.weight": (2, 3, 1, 0),
        "block.depthwise.weight": (2, 3, 0, 1),
        "block.project.weight": (2, 3, 1, 0),
        "attention.weight": (1, 0),
        "attention.square.weight": (1, 0),
        "head.weight": (1, 0),
    }
    found = {}
    for number, (name, value) in enumerate(tensors.items()):
        turned = value.transpose(orders[name]) if name in orders else value
        found[f"layer_{number}/kernel"] = turned.copy()
    found["layer_5/kernel"] = found["layer_5/kernel"].reshape(8, 3, 4)  # heads
    return found


def test_the_same_names():
    found = weights(state(), state())
    assert found.agree
    assert (found.equal, found.renamed) == (10, 0)
    assert str(found) == "the first and the second have the same 10 tensors"


def test_other_names_and_orders():
    found = weights(state(), as_keras(state()))
    assert found.agree, str(found)
    assert (found.equal, found.renamed) == (10, 10)


def test_another_sequence():
    found = weights(state(), dict(reversed(as_keras(state()).items())))
    assert found.agree, str(found)


def changed(name, change):
    tensors = state()
    tensors[name] = change(tensors[name]).astype(np.float32)
    return as_keras(tensors)


MISTAKES = {
    "a little": ("head.weight", lambda x: x + 1e-4 * (x == x.max()), "differs by"),
    "a vector": ("stem.bn.weight", lambda x: x * 1.1, "differs by"),
    "a constant": ("unused.bias", lambda x: x + 1, "differs by"),
    "reversed channels": ("stem.conv.weight", lambda x: x[:, ::-1], "in another order"),
    "rows and columns": ("block.depthwise.weight", lambda x: x.swapaxes(2, 3), "another order"),
    "square, not transposed": ("attention.square.weight", lambda x: x.T, "another order"),
    "reshaped, not transposed": ("head.weight", lambda x: x.T.reshape(x.shape), "another order"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_differs_is_found_under_another_name(mistake):
    name, change, said = MISTAKES[mistake]
    found = weights(state(), changed(name, change))
    assert not found.agree
    (pair,) = found.differing
    assert pair.first == name
    assert pair.second == f"layer_{list(state()).index(name)}/kernel"
    assert said in pair.why
    assert f"  {pair.first} ({pair.second} in the second): {pair.why}" in str(found)


def test_under_the_same_names_a_square_kernel_is_not_to_be_transposed():
    other = state()
    other["attention.square.weight"] = other["attention.square.weight"].T
    (pair,) = weights(state(), other).differing
    assert pair.first == "attention.square.weight"
    assert "another order" in pair.why


def test_two_that_are_exchanged_are_both_told():
    one, other = state(), state()
    one["stem.bn.bias"] += np.arange(8, dtype=np.float32)
    other["stem.bn.weight"], other["stem.bn.bias"] = one["stem.bn.bias"], one["stem.bn.weight"]
    assert {pair.first for pair in weights(one, other).differing} == {
        "stem.bn.weight",
        "stem.bn.bias",
    }


def test_what_one_alone_has():
    other = as_keras(state())
    del other["layer_0/kernel"]
    other["extra"] = np.ones(5)
    found = weights(state(), other)
    assert (found.only_first, found.only_second) == (("stem.conv.weight",), ("extra",))
    assert "the first alone has stem.conv.weight" in str(found)


def test_fewer_digits_are_the_same_weights():
    found = weights(state(), {name: x.astype(np.float16) for name, x in state().items()})
    assert found.agree
    other = {name: x.astype(np.float16) for name, x in as_keras(state()).items()}
    assert weights(state(), other).agree


def test_counters_are_left_out():
    assert weights(state(), {**state(), "num_batches_tracked": np.array(3)}).agree


def test_a_long_list_is_cut():
    other = {name: x + 1 for name, x in state().items()}
    lines = str(weights(state(), other)).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "  and 2 more"


def test_dictionaries_in_dictionaries():
    nested = {"params": {}, "version": 3}
    for name, value in state().items():
        layer, _, tensor = name.rpartition(".")
        nested["params"].setdefault(layer, {})[tensor] = value
    found = weights(state(), nested)
    assert found.agree
    nested["params"]["head"]["bias"] = nested["params"]["head"]["bias"] + 1
    assert [pair.second for pair in weights(state(), nested).differing] == ["params/head/bias"]


def test_an_onnx_graph(tmp_path):
    from onnx import helper, numpy_helper, save

    initializers = [numpy_helper.from_array(x, name) for name, x in state().items()]
    model = helper.make_model(helper.make_graph([], "mine", [], [], initializers))
    save(model, tmp_path / "x.onnx")
    assert weights(state(), model).equal == 10
    assert weights(state(), tmp_path / "x.onnx").equal == 10


def test_variables_that_share_a_name():
    class Module:
        def __init__(self, values):
            self.variables = values

    class Variable(np.ndarray):
        name = "kernel:0"

    variables = [x.view(Variable) for x in state().values()]
    assert weights(state(), Module(variables)).equal == 10


def test_nothing_to_compare():
    for nothing in ({}, {"step": np.array(3)}, lambda x: x):
        with pytest.raises(UsageError, match="has no weights"):
            weights(state(), nothing)


# ------------------------------------------------------------------ where weights are


def network():
    """A small model of PyTorch's, and Keras's with the same weights."""
    import keras
    import torch

    torch.manual_seed(0)
    first = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4),
        torch.nn.Conv2d(4, 4, 3, groups=4),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 64),
    )
    second = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(64),
        ]
    )
    with torch.no_grad():
        for tensor in first.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    values = [x.numpy() for x in first.state_dict().values() if x.is_floating_point()]
    turned = {0: (2, 3, 1, 0), 5: (2, 3, 0, 1), 7: (1, 0)}
    second.set_weights([x.transpose(turned[n]) if n in turned else x for n, x in enumerate(values)])
    return first, second


def test_models_and_files(tmp_path):
    import torch
    from safetensors.numpy import save_file

    first, second = network()
    parity = fixture_of(tmp_path)
    assert parity.weights(first, second).equal == 9
    torch.save(first.state_dict(), tmp_path / "x.pth")
    second.save(tmp_path / "x.keras")
    second.save_weights(tmp_path / "x.weights.h5")
    values = {name: x.numpy() for name, x in first.state_dict().items()}
    save_file(values, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **values)
    for file in ("x.pth", "x.keras", "x.weights.h5", "x.safetensors", "x.npz"):
        assert parity.weights(first, tmp_path / file).equal == 9
        assert parity.weights(str(tmp_path / file), second).equal == 9
    with torch.no_grad():
        first[1].running_var[2] += 0.5
    with pytest.raises(ParityError, match=r"1\.running_var \(sequential\S*/batch_normalization"):
        parity.weights(first, second)


def test_what_cannot_be_read_is_one_line(tmp_path):
    for file in ("nowhere.pth", tmp_path):
        with pytest.raises(ParityError) as raised:
            fixture_of(tmp_path).weights(file, state())
        assert len(str(raised.value).splitlines()) == 1
