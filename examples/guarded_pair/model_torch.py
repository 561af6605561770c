"""The model as it is trained: in PyTorch."""

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """Images (N, 3, H, W) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 32, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(32)
        self.classifier = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.stem_bn(self.stem(images)))
        x = F.silu(self.depthwise_bn(self.depthwise(x)))
        x = self.pointwise_bn(self.pointwise(x))
        return self.classifier(x.mean((2, 3)))


def load(path: str) -> Classifier:
    """The trained model, for inference."""
    model = Classifier()
    model.load_state_dict(load_file(path))
    return model.eval()
