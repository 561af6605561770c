"""Ported files, loaded by the libraries they are meant for, give the same logits."""

from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.load import load as read_weights
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.peers import legacy, manifest
from parity_tests.peers.libraries import PEERS, segmentation_model
from parity_tests.support import FAMILIES, alone, images_for, reference, weights_of

DIALECTS = dict.fromkeys(
    ("torchvision", "timm", "keras-hub"), "pytorch"
)  # at B0; all others are TensorFlow's
carry = partial(port, run=False)  # here the library itself runs the result


def network_of(peer, preset="b0"):
    return resolve(preset, dialect=DIALECTS.get(peer.layout, "tensorflow"))


@cache
def built(peer):
    """A library's B0, for whatever weights; Keras takes seconds to build and to trace it."""
    return peer.build("b0")


def agrees(peer, model, network):
    logits = peer.run(model, images_for(network))
    expected = {"logits": reference(network)["logits"]}
    comparison = compare_endpoints(peer.name, expected, {"logits": logits})
    assert comparison.agrees, comparison.output


def loaded(peer, network, tmp_path):
    """The library's own model with calibrated weights, which it read from a ported file."""
    source = tmp_path / "canonical.safetensors"
    save(source, network, weights_of(network))
    path = tmp_path / f"{peer.layout}{peer.suffix}"
    carry(source, path, peer.layout)
    model = built(peer) if network.name == "b0" else peer.build(network.name)
    peer.load(model, path)
    return model


def pairs():
    """Every two of a dialect: by default a circle, but for what is within a library."""
    for source in PEERS:
        alike = [p for p in PEERS if network_of(p).dialect == network_of(source).dialect]
        assert len(alike) > 1
        following = alike[(alike.index(source) + 1) % len(alike)]
        for other in alike:
            if other is not source:
                is_next = other is following and other.layout != source.layout
                marks = () if is_next else pytest.mark.slow
                yield pytest.param(source, other, marks=marks, id=f"{source.name}-{other.name}")


@pytest.mark.parametrize(("source", "other"), pairs())
def test_from_one_library_to_another_of_its_dialect(source, other, tmp_path):
    network = network_of(source)
    model = loaded(source, network, tmp_path)
    agrees(source, model, network)
    saved = tmp_path / f"saved{source.suffix}"
    source.save(model, saved)
    expected = fingerprint(weights_of(network))
    found = inspect(saved)
    assert source.layout in found.layouts
    assert found.fingerprint == expected
    if network.dialect == resolve("b0").dialect:  # the file that qubvel's package loads below
        carry(saved, tmp_path / "qubvel.h5", "qubvel", dialect=network.dialect.name)
        found = inspect(tmp_path / "qubvel.h5")
        assert (found.layouts, found.fingerprint) == (("qubvel",), expected)
    path = tmp_path / f"ported-{other.layout}{other.suffix}"
    carry(saved, path, other.layout, dialect=network.dialect.name)
    other.load(built(other), path)
    agrees(other, built(other), network)


@pytest.mark.parametrize("classes", [1000, 7, None])
def test_a_saved_keras_model_is_read_whole(classes, tmp_path):
    network = resolve("b0", num_classes=classes)
    options = {"include_top": False, "input_shape": (224, 224, 3)} if classes is None else {}
    model = keras.applications.EfficientNetB0(weights=None, classes=classes or 1000, **options)
    source, weights = tmp_path / "canonical.safetensors", tmp_path / "ported.weights.h5"
    save(source, network, weights_of(network))
    carry(source, weights, "keras-applications")
    model.load_weights(weights)
    model.save(tmp_path / "model.keras")
    found = inspect(tmp_path / "model.keras")
    assert (found.layouts, found.format) == (("keras-applications",), "keras")
    assert found.num_classes == classes
    assert found.fingerprint == fingerprint(weights_of(network))


def test_torchvision_b5_is_a_dialect_of_its_own(tmp_path):
    """Symmetric padding with TensorFlow's epsilon: neither family's weights run there."""
    (peer,) = [peer for peer in PEERS if peer.layout == "torchvision"]
    network = resolve("b5", dialect="torchvision-large", resolution=96)
    agrees(peer, loaded(peer, network, tmp_path), network)


def has(peer, preset):
    """Whether a library has a size, in a dialect that is no exception."""
    dialect = network_of(peer, preset).dialect
    layout = layout_of(peer.layout)
    return preset in layout.presets and layout.runs(preset, dialect)


def run_chain(preset, dialect, tmp_path):
    """Each library loads what the one before it saved; the last still computes the same."""
    network = resolve(preset, dialect=dialect)
    path = tmp_path / "canonical.safetensors"
    save(path, network, weights_of(network))
    chain = [p for p in PEERS if has(p, preset) and network_of(p).dialect == network.dialect]
    assert len(chain) > 1 or (preset, dialect) > ("b5", "pytorch")
    for number, peer in enumerate(chain):
        ported, saved = (tmp_path / f"{number}-{how}{peer.suffix}" for how in ("ported", "saved"))
        carry(path, ported, peer.layout, dialect=None if number == 0 else dialect)
        model = peer.build(preset)
        peer.load(model, ported)
        agrees(peer, model, network)
        peer.save(model, saved)
        path = saved
    assert inspect(path).fingerprint == fingerprint(weights_of(network))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("preset", ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"])
def test_a_chain_through_every_library(preset, dialect, tmp_path):
    alone(run_chain, preset, dialect, tmp_path)


# ------------------------------------------------------------------ manifests


@pytest.mark.parametrize("name", manifest.SOURCES)
def test_layouts_have_the_keys_and_shapes_of_the_manifests(name):
    """Every key that a library keeps weights under, of every size, and no other."""
    layout, kind, _ = manifest.SOURCES[name]
    sections = manifest.read(name)
    assert tuple(sections) == manifest.presets(name)
    for preset, theirs in sections.items():
        network = resolve(preset)
        explained = []
        for form in layout_of(layout, preset).forms_of(kind):
            ours = {
                key.path: tuple(network.tensors[tensor][axis] for axis in key.axes)
                for tensor, key in form.keys(network).items()
            }
            explained.append(
                ours == {k: shape for k, shape in theirs.items() if not form.is_ignored(k)}
            )
        assert any(explained), preset


# Keras takes some seconds to build a model, and each of its libraries is here once.
ANOTHER_FORM = ("keras-applications.weights.h5", "keras-applications.keras")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ANOTHER_FORM else ())
        for name in manifest.SOURCES
        if name != "qubvel.h5"
    ],
)
def test_libraries_still_have_the_keys_of_their_manifests(name):
    """Of the smallest size of each architecture; qubvel's is compared where it is run, below."""
    sections = manifest.read(name)
    for preset in [p for p in manifest.presets(name) if p in ("b0", "xception")]:
        assert manifest.SOURCES[name][2](preset) == sections[preset], preset


@pytest.mark.slow
@pytest.mark.parametrize("name", manifest.SOURCES)
def test_libraries_still_have_the_keys_of_their_manifests_of_every_size(name):
    sections = manifest.read(name)
    for preset in manifest.presets(name)[1:]:
        assert manifest.SOURCES[name][2](preset) == sections[preset], preset


# ------------------------------------------------------------------ libraries on Keras 2


@pytest.mark.parametrize(
    ("library", "others"),
    [
        ("qubvel", 1),  # each other reads what is read here, as is tested above
        pytest.param("qubvel", None, marks=pytest.mark.slow),
        pytest.param("keras-applications", None, marks=pytest.mark.slow),
    ],
)
def test_libraries_on_keras_2(library, others, tmp_path):
    """They load what was ported to them, compute the same, and every way they save it is read."""
    network = resolve("b0")
    source, weights = tmp_path / "canonical.safetensors", tmp_path / "ported.h5"
    save(source, network, weights_of(network))
    carry(source, weights, library)
    images = images_for(network).transpose(0, 2, 3, 1)
    if library == "keras-applications":
        images = (images * IMAGENET_STD + IMAGENET_MEAN) * 255
    logits = legacy.run(library, "b0", weights, images, tmp_path / "saved")
    assert compare_endpoints(
        library, {"logits": reference(network)["logits"]}, {"logits": logits}
    ).agrees
    if library == "qubvel":
        weights_only = tmp_path / "saved" / legacy.SAVED["weights"]
        assert manifest.in_file(weights_only) == manifest.read("qubvel.h5")["b0"]
    headless = {n: a for n, a in weights_of(network).items() if not n.startswith("classifier")}
    for how, name in legacy.SAVED.items():
        if library == "qubvel" and how in ("folder", "objects"):
            continue
        found = read_weights(tmp_path / "saved" / name, dialect=network.dialect.name)
        assert library in found.layouts, how
        if how == "nested":  # below a classifier of its own
            assert found.network.num_classes == 5
            kept = {n: a for n, a in found.weights.items() if n in headless}
            assert fingerprint(kept) == fingerprint(headless)
        else:
            assert fingerprint(found.weights) == fingerprint(weights_of(network)), how
    for other in [p for p in PEERS if network_of(p).dialect == network.dialect][:others]:
        path = tmp_path / f"ported-{other.layout}{other.suffix}"
        carry(tmp_path / "saved" / legacy.SAVED["weights"], path, other.layout, force=True)
        other.load(built(other), path)
        agrees(other, built(other), network)


# ------------------------------------------------------------------ inside other models


def test_the_encoder_of_a_segmentation_model(tmp_path):
    network = resolve("b0", num_classes=None)
    for name, dialect in (("efficientnet-b0", "tensorflow"), ("timm-efficientnet-b0", "pytorch")):
        model = segmentation_model(name)
        source, encoder = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.pth"
        whole = resolve("b0", num_classes=None, dialect=dialect)
        save(source, whole, weights_of(whole))
        carry(source, encoder, "smp")
        state = torch.load(encoder, weights_only=True)
        model.encoder.load_state_dict(state, strict=True)
        torch.save(model.state_dict(), tmp_path / "unet.pth")
        found = inspect(tmp_path / "unet.pth")
        assert (found.layouts, found.dialect) == (("smp",), dialect)
        assert found.num_classes is None
        assert found.fingerprint == fingerprint(weights_of(whole))
        assert any(key.startswith("decoder.") for key in found.head)
    assert network.classifier is None


class Own(keras.Model):
    """Somebody's model around somebody's backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.classifier = keras.layers.Dense(5)

    def call(self, images):
        return self.classifier(self.pool(self.backbone(images)))


@cache
def ported_backbone():
    """Keras's own B0 without a classifier, with calibrated weights."""
    network = resolve("b0", num_classes=None)
    backbone = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )
    with TemporaryDirectory() as folder:
        source, weights = Path(folder, "canonical.safetensors"), Path(folder, "b0.weights.h5")
        save(source, network, weights_of(network))
        carry(source, weights, "keras-applications")
        backbone.load_weights(weights)
    return backbone


@pytest.mark.parametrize(
    ("around", "suffix"),
    [
        *(("Sequential", suffix) for suffix in (".weights.h5", ".keras", ".h5")),
        pytest.param("Sequential", "", marks=pytest.mark.slow),
        ("attribute", ".weights.h5"),  # Keras saves no more of a model of one's own
    ],
)
def test_a_backbone_inside_a_keras_model(around, suffix, tmp_path):
    headless, backbone = resolve("b0", num_classes=None), ported_backbone()
    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)
    model = keras.Sequential([backbone, pool, dense]) if around == "Sequential" else Own(backbone)
    model(np.zeros((1, 224, 224, 3), np.float32))
    path = tmp_path / f"model{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
    elif suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    found = inspect(path)
    assert found.layouts == ("keras-applications",)
    if suffix:
        assert found.wrappers[-1] in ("layers/functional", "efficientnetb0", "backbone")
    assert (found.num_classes, found.head) == (5, {})
    carry(path, tmp_path / "headless.pth", "timm-tf", drop_head=True)
    assert inspect(tmp_path / "headless.pth").fingerprint == fingerprint(weights_of(headless))
