"""What a family of weights is: those that see images alike, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import EFFICIENTNET
from .fitting import (
    PILLOW_BICUBIC,
    Centre,
    CropFirst,
    CropSmall,
    Interpolation,
    ResizeFirst,
    Squash,
)
from .normalization import IMAGENET, RAW, Normalization


@dataclass(frozen=True)
class Family:
    """Weights that see images alike, and how; `source` says where the numbers are from."""

    name: str
    layout: str  # of common.layouts
    fit: Centre | CropFirst | CropSmall | ResizeFirst | Squash
    source: str
    interpolation: Interpolation = PILLOW_BICUBIC
    normalization: Normalization = IMAGENET
    graph_normalises: bool = False  # the library's own graph begins with the normalization
    architecture: str = EFFICIENTNET.name
    presets: tuple[str, ...] = ()  # of the architecture, where it is not all of them

    @property
    def fed(self) -> Normalization:
        """What the library's own graph is given: RGB from 0 to 255 if it normalises by itself."""
        return RAW if self.graph_normalises else self.normalization
