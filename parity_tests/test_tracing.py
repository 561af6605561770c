"""The first operation that differs is found, whatever the two programs call it."""

from unittest.mock import patch

import numpy as np
import pytest
from torch.nn import functional as F

from efficientnet_rosetta.common.backends.align import align, first_divergence
from efficientnet_rosetta.common.backends.heat import HEAT_SIDE, edges_of
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.backends.trace import Step, Trace
from efficientnet_rosetta.torch_impl import efficientnet
from parity_tests.support import images_for, reference, small, weights_of

LIMIT = 1e-11
NETWORK = small(size=(96, 97))
ROLE = "stages.3.blocks.1"  # expands, squeezes, and has a skip


def value_before(endpoint):
    names = list(NETWORK.endpoints)
    position = names.index(endpoint)
    return reference(NETWORK)[names[position - 1]] if position else images_for(NETWORK)


def traced(name, endpoint=ROLE, change=lambda model: None):
    backend = get_backend(name)
    model = backend.build(NETWORK, "float64")
    backend.load_weights(model, weights_of(NETWORK))
    change(model)
    return backend.trace(model, endpoint, value_before(endpoint))


@pytest.mark.parametrize("endpoint", ["stem", "stages.2.blocks.0", ROLE, "head", "features"])
def test_both_frameworks_agree_on_every_operation(endpoint):
    first, second = traced("torch", endpoint), traced("keras", endpoint)
    pairs = align(first, second, LIMIT)
    assert all(pair.other is not None for pair in pairs)
    assert first_divergence(first, second, LIMIT) is None
    assert np.array_equal(first[-1].value, reference(NETWORK)[endpoint])


def test_a_trace_names_the_steps_of_the_paper():
    names = [step.name for step in traced("torch")]
    assert names == [
        *("expand_conv", "expand_bn", "silu", "depthwise_conv", "depthwise_bn", "silu 2", "mean"),
        *("se_reduce", "silu 3", "se_expand", "sigmoid", "mul", "project_conv", "project_bn"),
        "add",
    ]


def test_a_trace_leaves_the_model_as_it_was():
    backend = get_backend("torch")
    model = backend.build(NETWORK).train()
    backend.trace(model, ROLE, value_before(ROLE))
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# ------------------------------------------------------------------ mistakes, and where they are


def epsilon(model):
    model.get_submodule(ROLE).depthwise_bn.epsilon = 1e-5


def no_skip(model):
    block = model.get_submodule(ROLE)
    block.block = type(block.block)(**{**vars(block.block), "has_skip": False})


def test_an_epsilon_is_found_in_its_batch_norm():
    found = first_divergence(traced("keras"), traced("torch", change=epsilon), LIMIT)
    assert (found.operation, found.counterpart) == ("depthwise_bn", "depthwise_bn")
    assert found.after == ("depthwise_conv", "depthwise_conv")
    assert found.error > 1e-4
    assert found.place == "everywhere"


def test_an_activation_is_found_where_it_is_used():
    with patch.object(efficientnet, "swish", F.hardswish):
        wrong = traced("torch")
    found = first_divergence(traced("keras"), wrong, LIMIT)
    assert (found.operation, found.counterpart) == ("silu", "hardswish")
    assert found.after == ("expand_bn", "expand_bn")


def test_a_gate_is_found_behind_squeeze_and_excitation():
    def hard(x, reduce, expand):
        gate = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(expand(efficientnet.swish(reduce(gate))))

    with patch.object(efficientnet, "squeeze_and_excitation", hard):
        wrong = traced("torch")
    found = first_divergence(traced("keras"), wrong, LIMIT)
    assert (found.operation, found.counterpart) == ("sigmoid", "hardsigmoid")
    assert found.after == ("se_expand", "se_expand")


def test_a_missing_operation_is_found_from_either_side():
    whole, part = traced("keras"), traced("torch", change=no_skip)
    found = first_divergence(whole, part, LIMIT)
    assert (found.operation, found.counterpart) == ("add", None)
    found = first_divergence(part, whole, LIMIT)
    assert (found.operation, found.counterpart) == (None, "add")
    assert found.after == ("project_bn", "project_bn")


def test_padding_is_found_at_the_edges_of_the_map():
    def replicating(self, x):
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        window = kernel, stride, self.kind
        rows, columns = (self.dialect.pad(side, *window) for side in x.shape[2:])
        x = F.pad(x, (*columns, *rows), mode="replicate")
        return F.conv2d(x, self.weight, None, stride, groups=self.groups)

    with patch.object(efficientnet.DepthwiseConv, "forward", replicating):
        wrong = traced("torch")
    found = first_divergence(traced("keras"), wrong, LIMIT)
    assert found.operation == "depthwise_conv"
    assert found.place == "on the top and bottom and left and right edge, the mark of padding"
    heat = np.array(found.heat)
    assert heat.shape == (HEAT_SIDE, HEAT_SIDE)
    assert heat[1:-1, 1:-1].max() < 1e-12 < heat[0].min()


@pytest.mark.parametrize(
    ("rows", "columns", "edges"),
    [
        (slice(-1, None), slice(None), ["bottom"]),
        (slice(None), slice(0, 1), ["left"]),
        (slice(3, 6), slice(3, 6), []),
        (slice(None), slice(None), []),
    ],
)
def test_an_edge_is_told_from_the_inside(rows, columns, edges):
    error = np.full((10, 12), 1e-9)
    error[rows, columns] = 1.0
    assert edges_of(error) == edges


# ------------------------------------------------------------------ any graph


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def trace(**values):
    found = Trace()
    for name, value in values.items():
        found.keep(name, value)
    return found


def test_channels_last_is_the_same_map():
    x = noise(2, 5, 6, 7)
    (pair,) = align(trace(a=x), trace(b=x.transpose(0, 2, 3, 1)), LIMIT)
    assert pair.other.name == "b"
    assert pair.error == 0


def test_an_operation_that_one_program_fuses_is_no_divergence():
    x, y, z = (noise(2, 5, seed=seed) for seed in range(3))
    assert first_divergence(trace(a=x, b=y, c=z), trace(b=y, c=z), LIMIT) is None
    found = first_divergence(trace(a=x, b=y, c=z), trace(b=y, c=z + 1), LIMIT)
    assert (found.operation, found.after) == ("c", ("b", "b"))


def test_the_branch_that_is_wrong_is_told_from_the_one_that_comes_after_it():
    x, left, right = (noise(2, 4, seed=seed) for seed in range(3))

    def branches(left):
        return [
            Step("x", x),
            Step("left", left, ("x",)),
            Step("right", right, ("x",)),
            Step("both", np.concatenate([left, right], 1), ("left", "right")),
        ]

    found = first_divergence(branches(left), branches(left * 1.1), LIMIT)
    assert (found.operation, found.after) == ("left", ("x", "x"))


def test_no_number_and_no_counterpart_are_said():
    x, y = noise(2, 5), noise(2, 5, seed=1)
    found = first_divergence(trace(a=x, b=y), trace(a=x, b=np.full((2, 5), np.nan)), LIMIT)
    assert (found.operation, found.place) == ("b", "not a number")
    found = first_divergence(trace(a=x, b=y), trace(a=x, b=noise(2, 6)), LIMIT)
    assert found.counterpart is None
    assert found.place == "there is nothing of its shape (2, 5)"


def test_an_error_in_a_few_channels_is_said():
    x = noise(2, 32, 3, 3)
    y = x.copy()
    y[:, 4] += 1
    assert first_divergence(trace(a=x), trace(a=y), LIMIT).place == "in 1 of 32 channels"
