"""Claim 3: batch norm remembers the same of the batches that it has seen."""

import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import resolve
from parity_tests.claiming import caught, holds, mistakes


def test_the_claim_holds():
    holds(claims.batch_norm)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", mistakes(claims.batch_norm), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)


def test_running_variance_of_pytorchs_own_batch_norm_is_n_over_n_minus_one_of_kerass():
    network = resolve(width=0.25, depth=0.25, resolution=32)
    backend = get_backend("torch")
    model = backend.build(network, "float64")
    x = torch.randn(4, network.stem.out_channels, 3, 3, dtype=torch.float64)
    theirs = torch.nn.BatchNorm2d(network.stem.out_channels, momentum=0.01).double()
    ours = model.stem.bn.train()
    theirs(x), ours(x)
    count = 4 * 3 * 3
    gained = [norm - 0.99 for norm in (theirs.running_var, ours.variance)]
    torch.testing.assert_close(gained[0], gained[1] * count / (count - 1))
