"""Claim 3: batch norm remembers the same of the batches that it has seen."""

from importlib import import_module

import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.torch_impl.layers import BatchNorm
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


def test_the_kernels_of_gpus_leave_the_same_statistics_of_all_processes(monkeypatch):
    """Theirs add the unbiased variance of everybody's batches: here of two processes, by hand."""
    synchronized = import_module("efficientnet_rosetta.torch_impl.devices")
    network = resolve(width=0.25, depth=0.25, resolution=32)
    x = torch.randn(8, 3, 5, 5, dtype=torch.float64)

    def kernels(half, scale, bias, mean, variance, epsilon, momentum, processes):
        assert (len(half), processes) == (4, 2)
        tensors = (mean, variance, scale, bias, True, momentum, epsilon)
        return torch.nn.functional.batch_norm(x, *tensors)[:4]

    monkeypatch.setattr(synchronized, "synchronized_batch_norm", kernels)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    norm = synchronized.SynchronizedBatchNorm(3, network.dialect).double().train()
    alone = BatchNorm(3, network.dialect).double().train()
    for _ in range(3):
        y = norm.on_cuda(x[:4].requires_grad_())
        torch.testing.assert_close(y, alone(x)[:4])
    torch.testing.assert_close(norm.mean, alone.mean, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(norm.variance, alone.variance, rtol=1e-13, atol=1e-15)
    y.sum().backward()  # what was changed since is in nobody's way


def test_running_statistics_are_those_of_a_loop_by_hand():
    """Many batches of few values, where a share too much of the variance would add up."""
    network = resolve(width=0.25, depth=0.25, resolution=32)
    norm = BatchNorm(2, network.dialect).double().train()
    mean, variance = torch.zeros(2).double(), torch.ones(2).double()
    kept = network.dialect.momentum
    for seed in range(20):
        x = torch.randn(2, 2, 1, 2, generator=torch.Generator().manual_seed(seed)).double()
        norm(3 + 2 * x)
        values = (3 + 2 * x).transpose(0, 1).reshape(2, -1)
        mean = kept * mean + (1 - kept) * values.mean(1)
        variance = kept * variance + (1 - kept) * values.var(1, correction=0)
    torch.testing.assert_close(norm.mean, mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(norm.variance, variance, rtol=1e-13, atol=0)
