"""The kind of a mistake is named, whoever's network it is in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.operations import sort_of
from efficientnet_rosetta.common.backends.trace import Step, Trace
from efficientnet_rosetta.common.guard.kinds import kind_of
from efficientnet_rosetta.common.guard.parting import parted
from parity_tests.guard import ours, planted
from parity_tests.guard.playing import play, table
from parity_tests.mutations import MUTATIONS

RESULT = Path(__file__).parents[2] / "docs" / "results" / "kinds.json"
OWN = ("MLP", "attention", "U-Net", "LSTM")  # written here, and small
SHARE = 0.9  # of the mistakes, of which the kind is named


def named(one):
    return f"{one.network}: {one.name}"


def holds(mistake):
    found = play(mistake)
    assert found.right, table([found])


@pytest.mark.parametrize(
    "mistake", [one for one in planted.plays() if one.network.startswith(OWN)], ids=named
)
def test_a_mistake_in_a_small_network_is_named(mistake):
    holds(mistake)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        *(one for one in planted.plays() if not one.network.startswith(OWN)),
        *planted.plays("ONNX"),
        *ours.plays(),
    ],
    ids=named,
)
def test_a_mistake_is_named(mistake):
    holds(mistake)


def test_every_mistake_that_inference_shows_is_played():
    played = {one.name for one in MUTATIONS if ours.is_played(one)}
    assert played == set(ours.KINDS)
    assert len(played) > 40


def test_the_table_says_what_was_played():
    sources = json.loads(RESULT.read_text())["sources"]
    plays = {
        "others in PyTorch": planted.plays(),
        "others in ONNX": planted.plays("ONNX"),
        "ours": ours.plays(),
    }
    assert "ours" in sources
    for source, found in sources.items():
        rows = found["mistakes"]
        assert [(row["network"], row["mistake"]) for row in rows] == [
            (one.network, one.name) for one in plays[source]
        ]
        assert [tuple(row["kind"]) for row in rows] == [one.kinds for one in plays[source]]
        assert found["played"] == len(rows)
        assert found["right"] == sum(row["guessed"] in row["kind"] for row in rows)
        assert found["right"] >= SHARE * found["played"]


# ------------------------------------------------------------------ pictures, where nothing is said


def maps(seed=0):
    return np.random.default_rng(seed).normal(size=(2, 8, 12, 12))


def steps(value, source, operation):
    return Trace([Step("before", source), Step(f"the {operation}", value, ("before",), operation)])


def guessed(right, wrong, source, operation):
    first, second = (steps(value, source, operation) for value in (right, wrong))
    end = f"the {operation}"
    return parted(first, second, (end, end), "float64", ()).kind.name


def at_the_edge(x):
    y = x.copy()
    y[:, :, 0] += 1
    return y


CHANNELS = np.random.default_rng(3).uniform(1.0001, 1.01, (1, 8, 1, 1))
PICTURES = {
    "an edge": ("conv", at_the_edge, "padding"),
    "channels": ("conv", lambda x: x[:, ::-1], "order of channels"),
    "rows and columns": ("conv", lambda x: x.swapaxes(2, 3), "layout"),
    "a factor": ("multiply", lambda x: 2 * x, "scale"),
    "factors on one side of 1": ("batch_norm", lambda x: CHANNELS * x, "epsilon"),
    "factors and constants": (
        "batch_norm",
        lambda x: (CHANNELS * 100 - 99.5) * x - 1,
        "statistics",
    ),
    "a function": ("relu", lambda x: x**3, "activation"),
    "noise": ("conv", lambda x: x + maps(9), "weights"),
    "no number": ("conv", np.sqrt, "not a number"),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("operation", "change", "kind"), PICTURES.values(), ids=PICTURES)
def test_a_picture_tells_where_no_weights_are_known(operation, change, kind):
    right = maps()
    assert (
        guessed(right, change(right), right if operation == "relu" else maps(1), operation) == kind
    )


def row(seed=0):
    return np.random.default_rng(seed).normal(size=(2, 8, 40))


KERNEL = np.random.default_rng(4).normal(size=(8, 8, 3))


def first_place(x):
    y = x.copy()
    y[:, :, 0] += 1
    return y


ROWS = {
    "an edge": (first_place, "padding"),
    "two places on": (lambda x: np.roll(x, 2, 2) + row(7) * (np.arange(40) < 2), "padding"),
    "channels": (lambda x: x[:, ::-1], "order of channels"),
    "time": (lambda x: x[:, :, ::-1], "layout"),
}


@pytest.mark.parametrize(("change", "kind"), ROWS.values(), ids=ROWS)
def test_a_row_is_a_map_of_one_side(change, kind):
    source = Step("before", row(1))
    first, second = (
        Trace([source, Step("the conv", value, ("before",), "conv", (KERNEL,))])
        for value in (row(), change(row()))
    )
    found = parted(first, second, ("the conv", "the conv"), "float64", ())
    assert kind_of(found.divergence, first, second).name == kind


def test_what_is_nearly_the_same_is_no_function_of_it():
    right = np.random.default_rng(6).normal(size=(2, 16))
    noise = 1e-3 * np.random.default_rng(7).normal(size=right.shape)
    assert guessed(right, right + noise, maps(1), "whatever") == "unknown"


def test_an_epsilon_in_front_of_a_root_is_seen_without_weights():
    source = np.random.default_rng(8).uniform(0.5, 2, (2, 9, 1))
    roots = [1 / np.sqrt(source + epsilon) for epsilon in (1e-6, 1e-2)]
    assert guessed(*roots, source, "rsqrt") == "epsilon"


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_an_epsilon_of_groups_of_channels_is_seen_without_weights(groups):
    source = 0.1 * maps(1)
    rows = source.reshape(2, groups, -1)
    centred = rows - rows.mean(-1, keepdims=True)
    right, wrong = (
        (centred / np.sqrt(rows.var(-1, keepdims=True) + epsilon)).reshape(source.shape)
        for epsilon in (1e-5, 1e-2)
    )
    assert guessed(right, wrong, source, "group_norm") == "epsilon"


@pytest.mark.parametrize(("shape", "kind"), [((2, 8, 6, 6), "stride"), ((2, 8, 11, 11), "padding")])
def test_maps_of_other_sizes_tell_a_stride_from_a_padding(shape, kind):
    other = np.random.default_rng(5).normal(size=shape)
    assert guessed(maps(), other, maps(1), "conv") == kind


@pytest.mark.parametrize(
    ("operation", "sort"),
    [
        ("native_layer_norm", "normalization"),
        ("BatchNormalization", "normalization"),
        ("Normalization", "multiply"),
        ("LogSoftmax", "softmax"),
        ("MaxPooling2D", "pool"),
        ("max_pool2d_with_indices", "pool"),
        ("_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("upsample_bilinear2d", "resize"),
        ("EinsumDense", "linear"),
        ("hardswish", "activation"),
        ("ReflectionPad2d", "pad"),
        ("masked_fill", "mask"),
        ("Concat", "cat"),
        ("whatever", "other"),
    ],
)
def test_operations_are_sorted_by_what_frameworks_call_them(operation, sort):
    assert sort_of(Step("name", maps(), (), operation)) == sort


def test_the_first_of_the_arguments_is_not_needed():
    right = maps()
    first, second = (steps(value, maps(1), "conv") for value in (right, right[:, ::-1]))
    found = parted(first, second, ("the conv", "the conv"), "float64", ())
    assert kind_of(found.divergence, first, second).name == "order of channels"
