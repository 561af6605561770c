"""Xception in the libraries that have it: they load what is ported, and compute the same."""

from functools import cache

import keras
import pytest
import torch
from typer.testing import CliRunner

from common.architectures import resolve
from common.cli import app
from common.compare import compare
from common.porting import inspect, port, verify
from common.preprocess import INCEPTION
from common.weights import changed, fingerprint, save
from parity_tests.peers.libraries import XCEPTION_PEERS
from parity_tests.support import images_for, reference, weights_of

SIZE = 160  # all libraries' SAME paddings and symmetric ones part there
DIALECTS = {"timm": "pytorch"}  # all others are TensorFlow's


def network_of(peer, **options):
    return resolve("xception", dialect=DIALECTS.get(peer.layout, "tensorflow"), **options)


@cache
def built(peer):
    return peer.build("xception")


def ids(peer):
    return peer.name


def agrees(peer, network):
    network = changed(network, resolution=299 if "keras-app" in peer.layout else SIZE)
    logits = peer.run(built(peer), images_for(network, 1))
    found = compare(peer.name, {"logits": reference(network, 1)["logits"]}, {"logits": logits})
    assert found.agrees, found.output


def loaded(peer, source, folder, **options):
    path = folder / f"to-{peer.name}"
    port(source, path, peer.layout, run=False, **options)
    peer.load(built(peer), path)
    return path


def canonical(network, folder):
    path = folder / "canonical.safetensors"
    save(path, network, weights_of(network))
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


@pytest.mark.parametrize("source", XCEPTION_PEERS[1:], ids=ids)
def test_from_every_library_to_every_other_bit_for_bit(source, tmp_path):
    network = network_of(source)
    loaded(source, canonical(network, tmp_path), tmp_path)
    saved = tmp_path / f"saved{source.suffix}"
    source.save(built(source), saved)
    for other in XCEPTION_PEERS[1:]:
        loaded(other, saved, tmp_path, force=True)
        agrees(other, network)
        back = tmp_path / f"back-{other.name}"
        other.save(built(other), back)
        assert inspect(back).fingerprint == fingerprint(weights_of(network))


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
    assert "times their spread" in said
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
