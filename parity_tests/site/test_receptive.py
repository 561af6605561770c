"""Receptive fields against the pixels that a gradient reaches in the networks themselves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from efficientnet_rosetta import torch_impl
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.network import Network
from receptive import receptive_fields

# As tall as fields are large, and so narrow that it costs little.
HEIGHT, BREADTH = 331, 32
SMALL = {
    "b0": {"width": 0.1, "depth": 0.5},
    "lite0": {"width": 0.1, "depth": 0.5},
    "v2-b0": {"width": 0.1, "depth": 0.5},
    "v2-test": {"width": 0.1},
    "edgetpu-s": {"width": 0.1, "depth": 0.5},
    "xception": {"width": 0.01, "middle_blocks": 1},
}


def open_everywhere(network: Network) -> torch.nn.Module:
    """The network in PyTorch, each of whose values grows with every value that it depends on.

    Windows take means, so that no value leaves the range in which activations grow, and gates are
    the same whatever they see.
    """
    model = torch_impl.build(network).double().eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim == 4:
                is_gate = ".se_" in name
                tensor.fill_(0.0 if is_gate else 1 / tensor[0].numel())
    return model


def mean_pool(x, kernel, stride, padding):
    """For the largest of a window, which hides what all others do; the border is -inf, or zeros."""
    return functional.avg_pool2d(functional.relu(x), kernel, stride, padding)


@pytest.mark.parametrize("dialect", ["tensorflow", "pytorch"])
@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_cell_sees_the_pixels_that_its_gradient_reaches(preset, dialect, axis, monkeypatch):
    monkeypatch.setattr(functional, "max_pool2d", mean_pool)
    size = (HEIGHT, BREADTH) if axis == 0 else (BREADTH, HEIGHT)
    network = architectures.resolve(
        preset, resolution=size, dialect=dialect, num_classes=None, in_channels=1, **SMALL[preset]
    )
    model = open_everywhere(network)
    image = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    endpoints = {}
    model(image, endpoints=endpoints)
    for role, field in receptive_fields(network, axis).items():
        values = endpoints[role][0].sum((0, 2 - axis))
        for cell in (0, len(values) // 2, len(values) - 1):
            (slope,) = torch.autograd.grad(values[cell], image, retain_graph=True)
            reached = slope[0, 0].sum(1 - axis).nonzero().flatten().tolist()
            assert reached == list(field.pixels(cell, HEIGHT)), (role, cell)
