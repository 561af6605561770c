"""The programs that are measured against each other: ours, timm's and torchvision's in PyTorch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turns import Program

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

CLASSES, SIDE = 1000, 224
SMOOTHING, DECAY = 0.1, 0.9999
DROP = 0.2


@dataclass(frozen=True)
class Setting:
    """Where it is measured, and how long."""

    device: str
    quick: bool

    @property
    def on_gpu(self) -> bool:
        """Whether the goals are those of a GPU."""
        return self.device == "cuda"

    @property
    def rounds(self) -> int:
        """In which every program has its turn."""
        return 3 if self.quick else 30 if self.on_gpu else 8


# ------------------------------------------------------------------ the models, ours and others'


def models(setting: Setting, training: bool) -> dict[str, Any]:
    """B0 of the PyTorch dialect as ours, timm's and torchvision's, on the device."""
    import torch

    from parity_tests.peers import operators

    operators.declare()
    import timm
    from torchvision.models import efficientnet_b0

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.torch_impl import build

    torch.manual_seed(0)
    found = {
        "ours": build(resolve("b0", dialect="pytorch", drop_path_rate=DROP)),
        "timm": timm.create_model("efficientnet_b0", drop_rate=DROP, drop_path_rate=DROP),
        "torchvision": efficientnet_b0(dropout=DROP, stochastic_depth_prob=DROP),
    }
    return {name: model.to(setting.device).train(training) for name, model in found.items()}


def waiting(setting: Setting) -> Program:
    """What returns when the device has done its work."""
    import torch

    return torch.cuda.synchronize if setting.on_gpu else lambda: None


def our_bookkeeping(model: Any, recipe: str = "official") -> Program:
    """Our optimizer and moving average, after a backward pass."""
    from efficientnet_rosetta.common.training.recipes import get_recipe
    from efficientnet_rosetta.torch_impl.optimizer import MovingAverage, make_optimizer

    optimizer = make_optimizer(model, get_recipe(recipe).optimization(256, 100.0))
    average = MovingAverage(model, DECAY)

    def run() -> None:
        optimizer.step()
        average.update()

    return run


def timms_bookkeeping(model: Any) -> Program:
    """The optimizer and the average that timm's documentation trains EfficientNet with."""
    from timm.optim import RMSpropTF
    from timm.utils import ModelEmaV3

    optimizer = RMSpropTF(model.parameters(), 0.016, 0.9, 1e-3, 1e-5, 0.9)
    average = ModelEmaV3(model, decay=DECAY)

    def run() -> None:
        optimizer.step()
        average.update(model)

    return run


def pytorchs_bookkeeping(model: Any) -> Program:
    """PyTorch's own RMSprop, of another rule, and its averaged model, all tensors at once."""
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    optimizer = torch.optim.RMSprop(model.parameters(), 0.016, 0.9, 1e-3, 1e-5, 0.9, foreach=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)

    def run() -> None:
        optimizer.step()
        average.update_parameters(model)

    return run


# ------------------------------------------------------------------ a step


def step_program(
    model: Any, bookkeeping: Program, images: Any, labels: Any, setting: Setting
) -> Program:
    """Forward, loss, backward, optimizer and average on one batch, in the device's precision."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    parameters = list(model.parameters())

    def run() -> None:
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.on_gpu):
            logits = model(images)
        F.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING).backward()
        bookkeeping()

    return run


def batch_of(setting: Setting, count: int, side: int) -> tuple[Any, Any]:
    """Random images, channels last, and labels, on the device."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, side, side, generator=generator).to(setting.device)
    labels = torch.randint(CLASSES, (count,), generator=generator).to(setting.device)
    return images.contiguous(memory_format=torch.channels_last), labels
