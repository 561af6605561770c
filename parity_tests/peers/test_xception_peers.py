"""Xception in the libraries that have it: they load what is ported, and compute the same."""

from functools import cache

import keras
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import changed, resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.checkpoints.verify import verify
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.normalization import INCEPTION
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.peers.libraries import XCEPTION_PEERS, XCEPTION_SIZE, segmentation_model
from parity_tests.support import images_for, run, weights_of

DIALECTS = {"timm": "pytorch"}  # all others are TensorFlow's
NEXT = dict(zip(XCEPTION_PEERS, [*XCEPTION_PEERS[1:], XCEPTION_PEERS[0]], strict=True))
PAIRS = [(source, other) for source in XCEPTION_PEERS for other in XCEPTION_PEERS]


def network_of(peer):
    return resolve("xception", dialect=DIALECTS.get(peer.layout, "tensorflow"))


@cache
def built(peer):
    return peer.build("xception")


def marked(network, seed=0):
    """Weights with other bits in every tensor for every seed; to calibrate takes seconds."""
    factor = np.float32(1 + seed / 1024)
    return {name: array * factor for name, array in weights_of(network).items()}


def headless(network):
    kept = {n: a for n, a in weights_of(network).items() if not n.startswith("classifier")}
    return changed(network, num_classes=None), kept


def agrees(peer, network, weights):
    network = changed(network, resolution=XCEPTION_SIZE)
    images = images_for(network, 1)
    logits = peer.run(built(peer), images)
    right = run("torch", network, images, "float64", weights)
    found = compare_endpoints(peer.name, {"logits": right["logits"]}, {"logits": logits})
    assert found.agrees, found.output


def loaded(peer, source, folder, **options):
    path = folder / f"to-{peer.name}"
    port(source, path, peer.layout, run=False, **options)
    peer.load(built(peer), path)
    return path


def canonical(network, folder, weights=None):
    path = folder / "canonical.safetensors"
    save(path, network, weights_of(network) if weights is None else weights)
    return path


@pytest.mark.parametrize(
    ("source", "other"),
    [
        # By default in a circle, and within a library in the slow tests only.
        pytest.param(
            *pair,
            marks=()
            if NEXT[pair[0]] is pair[1] and pair[0].layout != pair[1].layout
            else pytest.mark.slow,
            id="-".join(peer.name for peer in pair),
        )
        for pair in PAIRS
    ],
)
def test_from_one_library_to_another_bit_for_bit(source, other, tmp_path):
    """The bits too of weights that the other library computes something else with."""
    network = network_of(source)
    # Weights that no model has from a test before.
    weights = marked(network, 1 + PAIRS.index((source, other)))
    mark = fingerprint(weights)
    original = canonical(network, tmp_path, weights)
    loaded(source, original, tmp_path)
    agrees(source, network, weights)
    saved = tmp_path / f"saved{source.suffix}"
    source.save(built(source), saved)
    found = inspect(saved)
    assert source.layout in found.layouts
    assert (found.preset, found.num_classes) == ("xception", 1000)
    assert found.expects == (str(INCEPTION),)
    assert found.fingerprint == mark
    assert verify(original, saved, run=False).same
    loaded(other, saved, tmp_path, force=True)
    if network_of(other).dialect == network.dialect:
        agrees(other, network, weights)
    back = tmp_path / f"back-{other.name}"
    other.save(built(other), back)
    assert inspect(back).fingerprint == mark


def test_an_adapter_before_the_base_has_layers_of_the_same_classes(tmp_path):
    """And numbers before those of the base's shortcuts, which are not this session's first."""
    network, kept = headless(resolve("xception"))
    keras.applications.Xception(weights=None, include_top=False)
    base = keras.applications.Xception(weights=None, include_top=False)
    weights = tmp_path / "base.weights.h5"
    port(canonical(network, tmp_path, kept), weights, "keras-applications", run=False)
    base.load_weights(weights)
    grey = keras.Input((64, 64, 1))
    adapted = keras.layers.Conv2D(3, 1, name="conv2d")(grey)
    adapted = keras.layers.BatchNormalization(name="batch_normalization")(adapted)
    model = keras.Model(grey, keras.layers.Dense(2)(keras.layers.Flatten()(base(adapted))))
    mark = fingerprint(kept)
    for name in ("whole.h5", "whole.keras"):
        model.save(tmp_path / name)
        found = inspect(tmp_path / name)
        assert found.num_classes is None
        assert found.fingerprint == mark, name


def test_the_encoder_of_a_segmentation_model_is_another_network(tmp_path):
    """It has every key of timm's, and pads its stem."""
    model = segmentation_model("xception")
    torch.save(model.state_dict(), tmp_path / "unet.pth")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "unet.pth")])
    assert isinstance(done.exception, RosettaError)
    assert "encoder of segmentation_models_pytorch, which pads its stem" in str(done.exception)


def test_keras_and_timm_part_in_the_dialect_and_port_says_so(tmp_path):
    """timm runs Keras's weights with other poolings and another epsilon."""
    source = canonical(resolve("xception", resolution=XCEPTION_SIZE), tmp_path)
    keras_file, timm_file = tmp_path / "x.weights.h5", tmp_path / "x.pth"
    port(source, keras_file, "keras-applications", run=False)
    done = CliRunner().invoke(app, ["port", str(keras_file), str(timm_file), "--to", "timm"])
    said = str(done.exception)
    assert "these weights need same padding and epsilon 0.001, but timm (legacy_xception) runs" in (
        said
    )
    assert "times their size" in said
    assert not timm_file.exists()
    done = port(keras_file, timm_file, "timm", run=False, force=True)
    assert not done.faithful
    found = inspect(timm_file)
    assert found.layouts == ("timm",)
    assert found.mark == "weights of the tensorflow dialect"


def test_a_second_model_of_a_session_has_other_names(tmp_path):
    """Keras numbers the shortcuts of Xception through a session: files are read by topology."""
    network, kept = headless(resolve("xception"))
    source, weights = canonical(network, tmp_path, kept), tmp_path / "ported.weights.h5"
    port(source, weights, "keras-applications", run=False)
    keras.applications.Xception(weights=None, include_top=False)
    model = keras.applications.Xception(weights=None, include_top=False)
    model.load_weights(weights)
    names = [layer.name for layer in model.layers if layer.name.startswith("conv2d")]
    assert "conv2d" not in names
    legacy = tmp_path / "ported.h5"
    port(source, legacy, "keras-applications", run=False)
    model.load_weights(legacy)
    mark = fingerprint(kept)
    for suffix in (".h5", ".keras", ".weights.h5"):
        path = tmp_path / f"saved{suffix}"
        model.save_weights(path) if "weights" in suffix else model.save(path)
        found = inspect(path)
        assert found.num_classes is None
        assert found.fingerprint == mark, suffix


def test_the_classifier_that_was_renamed(tmp_path):
    """pretrainedmodels calls it `last_linear`."""
    network = resolve("xception", dialect="pytorch")
    path = tmp_path / "x.pth"
    port(canonical(network, tmp_path), path, "timm", run=False)
    state = torch.load(path, weights_only=True)
    for name in ("weight", "bias"):
        state[f"last_linear.{name}"] = state.pop(f"fc.{name}")
    torch.save(state, path)
    assert inspect(path).fingerprint == fingerprint(weights_of(network))


def test_a_model_of_another_depth_is_no_xception(tmp_path):
    """The aligned variants share no more than the name."""
    import timm

    state = timm.create_model("xception41").state_dict()
    torch.save(state, tmp_path / "x.pth")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "x.pth")])
    assert "no layout" in str(done.exception)
