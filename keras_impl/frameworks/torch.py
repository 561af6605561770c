"""Keras on PyTorch: its autograd, one operation at a time, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any

import keras
import torch
from keras import KerasTensor

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.processes import process

from .._compat import float64_kept
from . import Devices
from .reading import Ahead, Reader


class Stepping(keras.Model):
    """A model whose steps are `train_on` and `score`."""

    @torch.no_grad()
    def train_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A step of the optimizer."""
        return self.train_on(*batch)

    @torch.no_grad()
    def test_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A batch to be scored on."""
        return self.score(*batch)


def gradients(
    function: Callable[..., tuple[KerasTensor, Any]],
    model: keras.Model,
    inputs: Sequence[KerasTensor] = (),
) -> tuple[Any, list[KerasTensor], list[KerasTensor]]:
    """What a function of a model returns beside its loss, and the loss's gradients.

    Those at the inputs come first, then those at all trainable variables.
    """
    inputs = [value.detach().requires_grad_() for value in inputs]
    with torch.enable_grad():
        loss, further = function(*inputs)
    values = [variable.value for variable in model.trainable_variables]
    found = torch.autograd.grad(loss, [*inputs, *values])
    further = keras.tree.map_structure(torch.Tensor.detach, further)
    return further, list(found[: len(inputs)]), list(found[len(inputs) :])


@torch.no_grad()
def apply(
    optimizer: keras.optimizers.Optimizer,
    found: list[KerasTensor],
    variables: list[keras.Variable],
) -> None:
    """A step of an optimizer."""
    optimizer.apply(found, variables)


@torch.no_grad()
def everywhere(change: Callable[[], None]) -> None:
    """There is one device."""
    change()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Operations run as they come."""
    return function


def arithmetic(dtype: str) -> AbstractContextManager[None]:
    """Have float64 where it is asked for; Keras makes it float32 otherwise."""
    return float64_kept() if dtype == "float64" else nullcontext()


def compiling(devices: Devices) -> bool:
    """`torch.compile` takes longer than many trainings."""
    return False


def devices(training: Training) -> Devices:
    """One.

    Raises:
        UsageError: there are to be several, or several processes.
    """
    if training.devices > 1 or process()[1] > 1:
        raise UsageError(
            "Keras on PyTorch trains on one device in one process; for several, use --backend "
            "torch, or Keras on JAX or TensorFlow",
            argument="devices",
        )
    return Devices(1, nullcontext)


@contextmanager
def stream(reader: Reader, batches: Batches, places: range, again: bool = False) -> Iterator[Ahead]:
    """The batches of one epoch after the other."""
    with closing(Ahead(reader, batches, places, again)) as ahead:
        yield ahead


def reporting(reader: Reader) -> AbstractContextManager[None]:
    """What is raised in a thread that reads is what arrives."""
    return nullcontext()
