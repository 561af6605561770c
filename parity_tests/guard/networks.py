"""Small networks of the usual kinds, as anybody writes them, with weights of order one."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.weights.calibration import structured_images


def settled(model: nn.Module, *inputs: np.ndarray, seed: int = 0) -> nn.Module:
    """A model with random weights of order one, whose batch norms know what goes into them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, math.sqrt(1.5 / fan_in))
            elif name.endswith("weight"):
                parameter.uniform_(0.7, 1.3)
            else:
                parameter.normal_(0, 0.2)
        norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the mean of all batches
            norm.reset_running_stats()
        if norms:
            model.train()
            for part in model.modules():
                if isinstance(part, nn.Dropout):
                    part.eval()
            model(*map(_tensor, inputs))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.float32 if array.dtype.kind == "f" else None)


def images(side: int = 32, batch: int = 2, seed: int = 1) -> np.ndarray:
    """Structured images (batch, 3, side, side)."""
    return structured_images(batch, 3, (side, side), seed)


class Mlp(nn.Module):
    """Pictures flattened, and three layers; the inputs are pixels up to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * 8 * 8, 32)
        self.second = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32, eps=1e-6)
        self.last = nn.Linear(32, 10)

    def scale(self, x: Tensor) -> Tensor:
        """Pixels to numbers of order one."""
        return x / 127.5 - 1

    def flat(self, x: Tensor) -> Tensor:
        """A row for each picture."""
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(self.flat(self.scale(x))))
        return self.last(self.norm(F.relu6(12 * self.second(x))))


class Attention(nn.Module):
    """Self-attention over tokens of which some are hidden."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def split(self, x: Tensor) -> Tensor:
        """Tokens (N, T, D) by heads, (N, heads, T, D / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How much every token attends to every other."""
        return query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])

    def hidden(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores that hidden tokens have no part in."""
        return scores.masked_fill(mask[:, None, None] == 0, -1e9)

    def shares(self, scores: Tensor) -> Tensor:
        """Scores that add up to one for every token."""
        return scores.softmax(-1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm(x)
        query, key, value = (self.split(part(y)) for part in (self.query, self.key, self.value))
        y = self.shares(self.hidden(self.scores(query, key), mask)) @ value
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class UNet(nn.Module):
    """Two levels, and a second input that is joined where the map is smallest."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner = _convolved(3, 16), _convolved(16, 32)
        self.pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.beside = nn.Conv2d(4, 32, 1)
        self.up = _convolved(48, 16)
        self.head = nn.Conv2d(16, 2, 1)

    def enlarged(self, x: Tensor) -> Tensor:
        """A map of twice the sides."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def joined(self, x: Tensor, skip: Tensor) -> Tensor:
        """The channels of both."""
        return torch.cat([x, skip], 1)

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        skip = self.down(x)
        x = self.inner(self.pool(skip)) + self.beside(more)
        return self.head(self.up(self.joined(self.enlarged(x), skip)))


def _convolved(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


class Recurrent(nn.Module):
    """An LSTM over a sequence, and what it ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])
