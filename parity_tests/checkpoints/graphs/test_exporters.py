"""Graphs of every exporter give their weights back: bit for bit, or as the same function."""

from dataclasses import asdict

import numpy as np
import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.checkpoints.graphs.recover import FOLDED_MARK, recover
from efficientnet_rosetta.common.checkpoints.graphs.run import centred, run_graph
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.graphs.exporters import (
    FOLDED,
    HALF,
    INTACT,
    SLOW,
    library_of,
)
from parity_tests.checkpoints.graphs.exporting import error, logits, source, weights_of
from parity_tests.support import images_for

# What the exporters' folding in float32 costs: up to 1.2e-5 of these networks.
FOLDING = 4e-5
# What a runtime in float32 is off from float64: up to 3e-5 of these networks.
RUNNING = 1e-4


def named(*names):
    """The exporters of a test, of which some take long."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def network_of(name):
    return source(library_of(name), None if "headless" in name else 10)


def found_in(path, name):
    """What a file's graph holds, and its network for images of the size of the source."""
    found = match(path)
    arguments = {"dialect": asdict(found.dialect), "resolution": network_of(name).resolution}
    return found, changed(found.network, **arguments)


@pytest.mark.parametrize("name", named(*INTACT))
def test_batch_norms_that_were_kept_come_back_bit_for_bit(exports, name):
    found, network = found_in(exports[name], name)
    assert fingerprint(found.weights) == fingerprint(weights_of(network_of(name)))
    assert (network.name, network.dialect) == (network_of(name).name, network_of(name).dialect)
    assert rosetta.inspect(exports[name]).mark is None


@pytest.mark.parametrize("name", named(*FOLDED))
def test_folded_batch_norms_leave_the_same_function(exports, name):
    found, network = found_in(exports[name], name)
    wanted = network_of(name)
    assert (network.name, network.num_classes) == (wanted.name, wanted.num_classes)
    assert network.dialect.padding == wanted.dialect.padding
    images = images_for(wanted)
    expected = logits(wanted, weights_of(wanted), images)
    assert error(logits(network, found.weights, images), expected) < FOLDING
    assert rosetta.inspect(exports[name]).mark == FOLDED_MARK
    # A mistake of one part in a thousand in one kernel is not among what is allowed.
    wrong = {key: np.asarray(stored) for key, stored in found.weights.items()}
    kernel = next(key for key in reversed(wrong) if key.endswith("depthwise_conv.weight"))
    wrong[kernel] = wrong[kernel] * np.float32(1.001)
    assert error(logits(network, wrong, images), expected) > FOLDING


@pytest.mark.parametrize("name", named(*FOLDED, *HALF, "own-keras", "own-endpoints"))
def test_the_network_computes_what_the_graph_computes(exports, name):
    path = exports[name]
    found, network = found_in(path, name)
    steps = recover(path, found.checkpoint.format).steps
    images = images_for(network)
    graph = run_graph(path, found.checkpoint.format, steps, images)
    ours = logits(network, found.weights, images)
    if steps.ending == "softmax":
        graph, ours = centred(graph), centred(ours)
    # A graph that computes in float16 is off by that.
    assert error(graph, ours) < (0.05 if name == "script-half-torchvision" else RUNNING)
    assert error(ours[::-1], ours) > 0.05  # so that two images are not alike by chance


@pytest.mark.parametrize("name", named(*HALF))
def test_half_precision_is_read_as_it_is(exports, name):
    found, network = found_in(exports[name], name)
    images = images_for(network)
    expected = logits(network_of(name), weights_of(network_of(name)), images)
    assert FOLDING < error(logits(network, found.weights, images), expected) < 0.1


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("script-softmax-torchvision", "softmax"),
        ("script-sigmoid-torchvision", "sigmoid"),
        ("script-torchvision", None),
    ],
)
def test_what_follows_the_logits_is_known(exports, name, ending):
    steps = recover(exports[name], "onnx").steps
    assert (steps.ending, steps.size, steps.batch) == (ending, (64, 64), 1)


@pytest.mark.parametrize("name", named("tf2onnx-keras", "tflite-function-keras"))
def test_normalization_inside_the_graph_is_of_the_weights(exports, name):
    found = match(exports[name])
    np.testing.assert_allclose(found.normalization.mean, (0.485, 0.456, 0.406), rtol=1e-6)
    np.testing.assert_allclose(found.normalization.std, (0.229, 0.224, 0.225), rtol=1e-6)
    assert recover(exports[name], found.checkpoint.format).steps.turn == (0, 2, 3, 1)


def test_a_graph_of_ours_is_canonical_until_it_is_folded(exports):
    assert rosetta.inspect(exports["own-torch"]).layouts == ("canonical",)
    (layout,) = rosetta.inspect(exports["onnxruntime-BASIC-own"]).layouts
    assert layout.startswith("graph of efficientnet-rosetta")


def test_a_folded_graph_is_ported_with_its_mark(exports, tmp_path):
    first, second = tmp_path / "tv.pth", tmp_path / "canonical.safetensors"
    done = rosetta.port(exports["script-torchvision"], first, "torchvision", run=False)
    assert FOLDED_MARK in done.notes
    assert done.verified
    assert done.source.layouts[0].startswith("graph of pytorch 2")
    again = rosetta.port(first, second, "canonical", run=False)
    assert again.fingerprint == done.fingerprint
    assert rosetta.inspect(second).mark == FOLDED_MARK


def test_folded_weights_take_the_epsilon_of_their_target(exports, tmp_path):
    """Symmetric padding is of two dialects, and any epsilon is right where norms are folded."""
    found = match(exports["script-torchvision"])
    assert [dialect.name for dialect in found.possible] == ["pytorch", "torchvision-large"]
    large = match(exports["script-torchvision"], "torchvision-large")
    images = images_for(source("torchvision"))
    values = [
        logits(changed(f.network, dialect=asdict(f.dialect), resolution=64), f.weights, images)
        for f in (found, large)
    ]
    assert error(*values) < 1e-7
    assert fingerprint(found.weights) != fingerprint(large.weights)
