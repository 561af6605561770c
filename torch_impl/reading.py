"""Batches for Lightning's loop, read ahead in worker processes.

The same program as `keras_impl/reading.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.batches import Batches

# Images, labels, what could not be read, and the other classes of images and the shares of labels.
Batch = tuple[Tensor, Tensor, dict[str, str], Tensor, Tensor]


class Reader(Dataset[Any]):
    """Batches by epoch and number, read in worker processes."""

    def __init__(self, batches: Batches, part: int, parts: int, raw: bool):
        self.batches, self.part, self.parts, self.raw = batches, part, parts, raw

    def __getitem__(self, place: tuple[int, int]) -> Batch | RosettaError:
        try:
            found = self.batches.read(*place, self.part, self.parts, self.raw)
        except RosettaError as error:
            return error  # what is raised in a worker arrives as its whole traceback
        images, labels, partners, shares = map(
            torch.from_numpy, (found.images, found.labels, found.partners, found.shares)
        )
        return images, labels, found.skipped, partners, shares


class _Places(Sampler[tuple[int, int]]):
    """The batches of an epoch, which Lightning sets as it does for any sampler that has one."""

    def __init__(self, batches: Batches):
        self.number, self.epoch = len(batches), 0

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self.epoch, number) for number in range(self.number)])


class Pieces:
    """Batches in equal pieces, one after the other, whose gradients are added up to one step's."""

    def __init__(self, whole: DataLoader[Any], pieces: int):
        self.whole, self.pieces = whole, pieces
        self.sampler = whole.sampler  # where Lightning looks for what it tells the epoch

    def __len__(self) -> int:
        return len(self.whole) * self.pieces

    def __iter__(self) -> Iterator[Batch | RosettaError]:
        for batch in self.whole:
            if isinstance(batch, RosettaError):
                yield batch
                continue
            images, labels, skipped, partners, shares = batch
            tensors = (images, labels, partners, shares)
            for piece in zip(*(tensor.chunk(self.pieces) for tensor in tensors), strict=True):
                yield piece[0], piece[1], skipped, piece[2], piece[3]


def stream(
    batches: Batches, workers: int, part: int = 0, parts: int = 1, raw: bool = False
) -> DataLoader[Any]:
    """Batches, or one of equal parts of each for one of several processes; as levels if `raw`."""
    return DataLoader(
        Reader(batches, part, parts, raw),
        batch_size=None,
        sampler=_Places(batches),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def looked_up(levels: Tensor, table: Tensor) -> Tensor:
    """Levels (N, C, H, W) of uint8 in a table (C, 256) on the same device: (N, C, H, W).

    Levels are a quarter of the bytes that images are, on their way to a device.

    With `Batches.read(raw=True)` and `Batches.table` these are the images that are read otherwise,
    bit for bit, whatever the device: nothing is computed.
    """
    channels, size = table.shape
    first = size * torch.arange(channels, device=table.device)[:, None, None]
    return table.flatten()[levels.int() + first]
