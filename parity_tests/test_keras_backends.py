"""Claim 7: the Keras program gives the same numbers on JAX and on PyTorch."""

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends import process
from efficientnet_rosetta.common.backends.process import ProcessBackend
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.parity import claims
from parity_tests.claiming import HALF, holds
from parity_tests.support import images_for, reference, small, weights_of


def test_the_claim_holds():
    holds(claims.variants)


class Perturbed(ProcessBackend):
    """Keras elsewhere, with one batch norm of another epsilon."""

    def load_weights(self, model, weights):
        variance = weights["stages.5.blocks.0.depthwise_bn.variance"] + np.float32(1e-3)
        changed = {**weights, "stages.5.blocks.0.depthwise_bn.variance": variance}
        super().load_weights(model, changed)


class Failing(ProcessBackend):
    """Keras elsewhere, where it stops."""

    def endpoints(self, model, images, names=None):
        return super().endpoints(model, images, ["nowhere"])


@pytest.mark.parametrize("elsewhere", [Perturbed, Failing])
def test_the_claim_can_be_broken(monkeypatch, elsewhere):
    monkeypatch.setattr(claims, "ProcessBackend", elsewhere)
    monkeypatch.setattr(claims, "other_variants", lambda: [("keras", "torch")])
    (found,) = claims.variants(HALF, 0)
    assert not found.holds
    assert ("unknown endpoint 'nowhere'" in found.what) == (elsewhere is Failing)


@pytest.mark.slow
def test_keras_on_pytorch_gives_the_same_numbers():
    network = small()
    elsewhere = ProcessBackend("keras", "torch")
    model = elsewhere.build(network)
    elsewhere.load_weights(model, weights_of(network))
    values = elsewhere.endpoints(model, images_for(network), ["stem", "logits"])
    assert list(values) == ["stem", "logits"]
    expected = reference(network)
    for name, value in values.items():
        assert np.abs(value - expected[name]).max() < 1e-4 * expected[name].std()
    steps = elsewhere.trace(model, "stem", images_for(network))
    assert [step.name for step in steps] == ["conv", "bn", "silu"]


def test_an_unknown_backend_of_keras_is_one_line():
    done = CliRunner().invoke(app, ["parity", "b0", "--keras-backend", "theano"])
    assert str(done.exception) == (
        "unknown variant 'theano' of keras; choose from tensorflow, jax, torch"
    )


def test_a_backend_without_variants_is_one_line(monkeypatch):
    with pytest.raises(RosettaError, match="unknown variant 'jax' of torch; there are none"):
        ProcessBackend("torch", "jax")
    monkeypatch.setattr(process, "get_backend", lambda name: object())
    with pytest.raises(RosettaError, match="backend 'mine' cannot do this: it has no variants"):
        ProcessBackend("mine", "jax")
