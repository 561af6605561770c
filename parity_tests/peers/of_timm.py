"""Models of timm with calibrated weights, from which the files of other libraries are ported."""

import numpy as np
import torch

from efficientnet_rosetta.common.architectures import PRESETS
from parity_tests.peers import operators

operators.declare()

import timm  # noqa: E402

SIDE = 65  # an odd side, of which the paddings differ


def noise(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((8, 3, side, side))


def timm_name(preset: str) -> str:
    """What timm calls a preset."""
    size = preset.partition("-")[2].replace("-", "_")
    if size == "test":
        return "test_efficientnet"
    family = {"v2": f"v2_{size}", "v2_rw": f"v2_{size}", "edgetpu": f"_e{size}"}
    return "efficientnet" + family.get(PRESETS[preset].name, f"_{preset}")


def of_timm(
    preset: str, prefix: str, epsilon: float | None = None, scale: float = 1.0
) -> torch.nn.Module:
    """A model whose batch norms have the statistics of noise, so that no value is lost.

    `scale` is of the values that they return: 3.0 makes some of them pass 6, which ReLU6 cuts off.
    """
    torch.manual_seed(0)
    model = timm.create_model(prefix + timm_name(preset))
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.eps = norm.eps if epsilon is None else epsilon
            norm.weight.mul_(scale)
        model.train()(torch.tensor(noise(), dtype=torch.float32))
    return model.eval()


def run_torch(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.double().eval()(torch.tensor(images)).numpy()
