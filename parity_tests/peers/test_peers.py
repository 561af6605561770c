"""Ported files, loaded by the libraries they are meant for, give the same logits."""

import keras
import pytest
import torch

from common.compare import compare
from common.layouts import LAYOUTS
from common.porting import fingerprint, inspect, port
from common.spec import resolve
from common.weights import save
from parity_tests.peers.libraries import PEERS
from parity_tests.support import images_for, reference, weights_of

DIALECTS = {"torchvision": "pytorch", "timm": "pytorch"}  # at B0; all others are TensorFlow's
TORCH_PEERS = [peer for peer in PEERS if peer.suffix == ".pth"]


def network_of(peer, preset="b0"):
    return resolve(preset, dialect=DIALECTS.get(peer.layout, "tensorflow"))


def agrees(peer, model, network):
    logits = peer.run(model, images_for(network))
    expected = {"logits": reference(network)["logits"]}
    comparison = compare(peer.name, expected, {"logits": logits})
    assert comparison.agrees, comparison.output


def loaded(peer, network, tmp_path):
    """The library's own model with calibrated weights, which it read from a ported file."""
    source = tmp_path / "canonical.safetensors"
    save(source, network, weights_of(network))
    path = tmp_path / f"{peer.layout}{peer.suffix}"
    port(source, path, peer.layout)
    model = peer.build(network.name)
    peer.load(model, path)
    return model


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_library_computes_the_same_from_a_ported_file(peer, tmp_path):
    network = network_of(peer)
    agrees(peer, loaded(peer, network, tmp_path), network)


@pytest.mark.parametrize("source", PEERS, ids=lambda peer: peer.name)
def test_from_every_library_to_every_other_of_its_dialect(source, tmp_path):
    network = network_of(source)
    saved = tmp_path / f"saved{source.suffix}"
    source.save(loaded(source, network, tmp_path), saved)
    expected = fingerprint(weights_of(network))
    found = inspect(saved)
    assert source.layout in found.layouts
    assert found.fingerprint == expected
    others = [p for p in PEERS if p is not source and network_of(p).dialect == network.dialect]
    assert others
    for other in others:
        path = tmp_path / f"ported-{other.layout}{other.suffix}"
        port(saved, path, other.layout, dialect=network.dialect.name)
        model = other.build("b0")
        other.load(model, path)
        agrees(other, model, network)


@pytest.mark.parametrize("classes", [1000, 7, None])
def test_a_saved_keras_model_is_read_whole(classes, tmp_path):
    network = resolve("b0", num_classes=classes)
    options = {"include_top": False, "input_shape": (224, 224, 3)} if classes is None else {}
    model = keras.applications.EfficientNetB0(weights=None, classes=classes or 1000, **options)
    source, weights = tmp_path / "canonical.safetensors", tmp_path / "ported.weights.h5"
    save(source, network, weights_of(network))
    port(source, weights, "keras-applications")
    model.load_weights(weights)
    model.save(tmp_path / "model.keras")
    found = inspect(tmp_path / "model.keras")
    assert (found.layouts, found.format) == (("keras-applications",), "keras")
    assert found.num_classes == classes
    assert found.fingerprint == fingerprint(weights_of(network))


@pytest.mark.parametrize("peer", TORCH_PEERS, ids=lambda peer: peer.name)
def test_keys_and_shapes_of_every_size_are_the_librarys_own(peer):
    layout = LAYOUTS[peer.layout]
    form = layout.forms["torch"]
    for preset in layout.presets:
        network = resolve(preset)
        with torch.device("meta"):
            state = peer.build(preset).state_dict()
        theirs = {k: tuple(t.shape) for k, t in state.items() if not form.is_ignored(k)}
        ours = {
            key.path: tuple(network.tensors[name][axis] for axis in key.axes)
            for name, key in form.keys(network).items()
        }
        assert ours == theirs, preset


def test_torchvision_b5_is_a_dialect_of_its_own(tmp_path):
    """Symmetric padding with TensorFlow's epsilon: neither family's weights run there."""
    (peer,) = [peer for peer in PEERS if peer.layout == "torchvision"]
    network = resolve("b5", dialect="torchvision-large", resolution=96)
    agrees(peer, loaded(peer, network, tmp_path), network)
