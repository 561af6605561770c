"""From a published file to the right word for a photograph, in every framework and back."""

import numpy as np
import onnxruntime
import pytest
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.load import load
from efficientnet_rosetta.common.images.decode import decode
from efficientnet_rosetta.common.images.transforms import evaluation_image
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.peers.operators import declare
from parity_tests.real.published import PREDICTIONS, SHA256, photographs, weights, words

LAYOUT = "efficientnet-lite-pytorch"
# One is enough to show that frameworks agree; the sweep is of all.
ONE = ["lite0", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lite1", "lite2"))]


@pytest.fixture(scope="module", autouse=True)
def _timm():
    """It imports torchvision."""
    declare()


def state(path):
    """The tensors of a PyTorch file, with the library's own reader."""
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_same_state(one, other):
    """The same keys, shapes and bits."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.fixture(scope="module")
def images():
    """The photographs as the family of the weights prepares them, by the name of a preset."""
    found = {}

    def prepared(preset):
        if preset not in found:
            source = load(weights(preset))
            found[preset] = np.stack(
                [
                    evaluation_image(
                        decode(path.read_bytes(), str(path)),
                        source.network.resolution,
                        source.preprocessing,
                    )
                    for path in photographs().values()
                ]
            )
        return found[preset]

    return prepared


def assert_words(preset, logits):
    """The five words of every photograph, and their probabilities to four digits."""
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    known = words()
    for name, row in zip(photographs(), shares, strict=True):
        best = np.argsort(-row)[:5]
        expected = PREDICTIONS[preset][name]
        assert [known[number] for number in best] == [word for word, _ in expected], name
        assert row[best] == pytest.approx([share for _, share in expected], abs=6e-5), name


@pytest.mark.parametrize("preset", SHA256)
def test_the_file_says_what_it_is(preset):
    found = rosetta.inspect(weights(preset))
    assert (found.preset, found.layouts, found.dialect) == (preset, (LAYOUT,), "tensorflow")
    assert found.num_classes == 1000


@pytest.mark.parametrize("preset", SHA256)
def test_photographs_are_called_what_they_show(preset):
    found = rosetta.predict(weights(preset), list(photographs().values()), backend="torch")
    for prediction in found:
        expected = PREDICTIONS[preset][prediction.path.name]
        assert prediction.labels == tuple(word for word, _ in expected)
        assert prediction.assumed  # the file does not name its classes
        shares = [share for _, share in expected]
        assert prediction.probabilities == pytest.approx(shares, abs=6e-5)


@pytest.mark.parametrize("preset", ONE)
def test_keras_says_the_same_words(preset, images):
    source = load(weights(preset))
    backend = get_backend("keras")
    model = rosetta.build(preset, "keras", weights=weights(preset))
    assert_words(preset, backend.run(model, images(preset)).astype(np.float64))
    assert fingerprint(backend.dump_weights(model)) == fingerprint(source.weights)


@pytest.mark.parametrize("preset", ONE)
def test_onnx_says_the_same_words_and_leads_back(preset, images, tmp_path):
    path, back = tmp_path / "x.onnx", tmp_path / "back.pth"
    rosetta.export(None, path, "torch", weights=weights(preset))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {session.get_inputs()[0].name: images(preset)})
    assert_words(preset, logits.astype(np.float64))
    rosetta.port(path, back, LAYOUT, run=False)
    assert_weights_of(preset, back)


@pytest.mark.parametrize("preset", SHA256)
def test_through_timm_and_back_bit_for_bit(preset, tmp_path):
    there, back = tmp_path / "timm.pth", tmp_path / "back.pth"
    first = rosetta.port(weights(preset), there, "timm-tf", run=False)
    again = rosetta.port(there, back, LAYOUT, dialect="tensorflow", run=False)
    assert first.fingerprint == again.fingerprint
    assert_weights_of(preset, back)
    save(tmp_path / "x.safetensors", load(back).network, load(back).weights)
    assert rosetta.inspect(tmp_path / "x.safetensors").fingerprint == first.fingerprint


def assert_weights_of(preset, path):
    """All that the published file has, but for how many batches a batch norm has seen."""

    def counted(tensors):
        return {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}

    assert_same_state(counted(state(path)), counted(state(weights(preset))))


def test_timm_reads_what_is_written_and_computes_the_same(images, tmp_path):
    import timm

    rosetta.port(weights("lite0"), tmp_path / "timm.pth", "timm-tf", run=False)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(state(tmp_path / "timm.pth"))
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(images("lite0")))
    assert_words("lite0", logits.double().numpy())


def test_a_file_that_was_changed_is_not_what_was_published(monkeypatch):
    monkeypatch.setitem(SHA256, "lite0", "0" * 64)
    with pytest.raises(ValueError, match="is not the file that was published"):
        weights("lite0")
