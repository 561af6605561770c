"""Xception in the libraries that have it: they load what is ported, and compute the same."""

from functools import cache

import keras
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
from parity_tests.peers.libraries import XCEPTION_PEERS, segmentation_model
from parity_tests.support import images_for, run, weights_of

SIZE = 160  # all libraries' SAME paddings and symmetric ones part there
DIALECTS = {"timm": "pytorch"}  # all others are TensorFlow's


def network_of(peer, **options):
    return resolve("xception", dialect=DIALECTS.get(peer.layout, "tensorflow"), **options)


@cache
def built(peer):
    return peer.build("xception")


def ids(peer):
    return peer.name


def agrees(peer, network, seed=0):
    network = changed(network, resolution=299 if "keras-app" in peer.layout else SIZE)
    images = images_for(network, 1)
    logits = peer.run(built(peer), images)
    right = run("torch", network, images, "float64", weights_of(network, seed))
    found = compare_endpoints(peer.name, {"logits": right["logits"]}, {"logits": logits})
    assert found.agrees, found.output


def loaded(peer, source, folder, **options):
    path = folder / f"to-{peer.name}"
    port(source, path, peer.layout, run=False, **options)
    peer.load(built(peer), path)
    return path


def canonical(network, folder, seed=0):
    path = folder / "canonical.safetensors"
    save(path, network, weights_of(network, seed))
    return path


@pytest.mark.parametrize("peer", XCEPTION_PEERS, ids=ids)
def test_a_library_computes_the_same_from_a_ported_file(peer, tmp_path):
    network = network_of(peer)
    source = canonical(network, tmp_path)
    loaded(peer, source, tmp_path)
    agrees(peer, network)
    saved = tmp_path / f"saved-{peer.name}"
    peer.save(built(peer), saved)
    found = inspect(saved)
    assert peer.layout in found.layouts
    assert (found.preset, found.num_classes) == ("xception", 1000)
    assert found.expects == (str(INCEPTION),)
    assert found.fingerprint == fingerprint(weights_of(network))
    assert verify(source, saved, run=False).same


@pytest.mark.parametrize("source", XCEPTION_PEERS, ids=ids)
def test_from_every_library_to_every_other_bit_for_bit(source, tmp_path):
    """The bits too of weights that the other library computes something else with."""
    seed = 1 + XCEPTION_PEERS.index(source)  # weights that no model has from a test before
    network = network_of(source)
    loaded(source, canonical(network, tmp_path, seed), tmp_path)
    saved = tmp_path / f"saved{source.suffix}"
    source.save(built(source), saved)
    for other in XCEPTION_PEERS:
        loaded(other, saved, tmp_path, force=True)
        if network_of(other).dialect == network.dialect:
            agrees(other, network, seed)
        back = tmp_path / f"back-{other.name}"
        other.save(built(other), back)
        assert inspect(back).fingerprint == fingerprint(weights_of(network, seed))


def test_an_adapter_before_the_base_has_layers_of_the_same_classes(tmp_path):
    """And numbers before those of the base's shortcuts, which are not this session's first."""
    network = resolve("xception", num_classes=None)
    keras.applications.Xception(weights=None, include_top=False)
    base = keras.applications.Xception(weights=None, include_top=False)
    weights = tmp_path / "base.weights.h5"
    port(canonical(network, tmp_path), weights, "keras-applications", run=False)
    base.load_weights(weights)
    grey = keras.Input((64, 64, 1))
    adapted = keras.layers.Conv2D(3, 1, name="conv2d")(grey)
    adapted = keras.layers.BatchNormalization(name="batch_normalization")(adapted)
    model = keras.Model(grey, keras.layers.Dense(2)(keras.layers.Flatten()(base(adapted))))
    for name in ("whole.h5", "whole.keras"):
        model.save(tmp_path / name)
        found = inspect(tmp_path / name)
        assert found.num_classes is None
        assert found.fingerprint == fingerprint(weights_of(network)), name


def test_the_encoder_of_a_segmentation_model_is_another_network(tmp_path):
    """It has every key of timm's, and pads its stem."""
    model = segmentation_model("xception")
    torch.save(model.state_dict(), tmp_path / "unet.pth")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "unet.pth")])
    assert isinstance(done.exception, RosettaError)
    assert "encoder of segmentation_models_pytorch, which pads its stem" in str(done.exception)


def test_keras_and_timm_part_in_the_dialect_and_port_says_so(tmp_path):
    """timm runs Keras's weights with other poolings and another epsilon."""
    source = canonical(resolve("xception", resolution=SIZE), tmp_path)
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
    network = resolve("xception", num_classes=None)
    source, weights = canonical(network, tmp_path), tmp_path / "ported.weights.h5"
    port(source, weights, "keras-applications", run=False)
    keras.applications.Xception(weights=None, include_top=False)
    model = keras.applications.Xception(weights=None, include_top=False)
    model.load_weights(weights)
    names = [layer.name for layer in model.layers if layer.name.startswith("conv2d")]
    assert "conv2d" not in names
    legacy = tmp_path / "ported.h5"
    port(source, legacy, "keras-applications", run=False)
    model.load_weights(legacy)
    for suffix in (".h5", ".keras", ".weights.h5"):
        path = tmp_path / f"saved{suffix}"
        model.save_weights(path) if "weights" in suffix else model.save(path)
        found = inspect(path)
        assert found.num_classes is None
        assert found.fingerprint == fingerprint(weights_of(network)), suffix


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
