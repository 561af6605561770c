"""Keras on JAX: pure functions of all variables, and `keras.distribution` for several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import chain
from typing import Any

import jax
import keras
from keras import KerasTensor

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.processes import process

from .._compat import float64_kept
from . import Devices
from .reading import Ahead, Reader

Values = list[KerasTensor]


class Stepping(keras.Model):
    """A model whose steps are `train_on` and `score`, as pure functions of the variables."""

    def train_step(self, state: tuple[Values, ...], batch: Any) -> tuple[Any, Any]:
        """A step of the optimizer."""
        return self._pure(self.train_on, state, batch, self.optimizer.variables)

    def test_step(self, state: tuple[Values, ...], batch: Any) -> tuple[Any, Any]:
        """A batch to be scored on."""
        return self._pure(self.score, state, batch)

    def _pure(
        self,
        step: Callable[..., Any],
        state: tuple[Values, ...],
        batch: Any,
        *further: list[keras.Variable],
    ) -> tuple[Any, Any]:
        # In Keras's order.
        groups = [self.trainable_variables, self.non_trainable_variables]
        groups += [*further, self.metrics_variables]
        variables, values = chain(*groups), chain(*state)
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            logs = step(*batch)
        return logs, tuple([scope.get_current_value(v) for v in group] for group in groups)


def gradients(
    function: Callable[..., tuple[KerasTensor, Any]],
    model: keras.Model,
    inputs: Sequence[KerasTensor] = (),
) -> tuple[Any, Values, Values]:
    """What a function of a model returns beside its loss, and the loss's gradients.

    Those at the inputs come first, then those at all trainable variables.
    """
    trained, others = model.trainable_variables, model.non_trainable_variables
    variables, before = [*trained, *others], [variable.value for variable in others]

    def pure(values: Values, inputs: Sequence[KerasTensor]) -> tuple[KerasTensor, Any]:
        with keras.StatelessScope(list(zip(variables, [*values, *before], strict=True))) as scope:
            loss, further = function(*inputs)
        return loss, (further, [scope.get_current_value(variable) for variable in others])

    differentiated = jax.grad(pure, (0, 1), has_aux=True)
    values = [variable.value for variable in trained]
    (found, at), (further, after) = differentiated(values, list(inputs))
    for variable, value in zip(others, after, strict=True):  # statistics of batch norms
        variable.assign(value)
    return further, at, found


def apply(
    optimizer: keras.optimizers.Optimizer, found: Values, variables: list[keras.Variable]
) -> None:
    """A step of an optimizer."""
    kept = optimizer.variables
    values = optimizer.stateless_apply([v.value for v in kept], found, [v.value for v in variables])
    for group, after in zip((variables, kept), values, strict=True):
        for variable, value in zip(group, after, strict=True):
            variable.assign(value)


def everywhere(change: Callable[[], None]) -> None:
    """A variable of JAX is one, on however many devices it is."""
    change()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that changes variables, and so cannot be compiled as it is."""
    return function


@contextmanager
def arithmetic(dtype: str) -> Iterator[None]:
    """Have float64 where it is asked for; JAX and Keras make it float32 otherwise."""
    if dtype != "float64":
        yield
        return
    with jax.enable_x64(True), float64_kept():
        yield


def compiling(devices: Devices) -> bool:
    """One operation at a time would be many times as slow."""
    return True


def devices(training: Training) -> Devices:
    """The first devices of this process, of which each has its share of every batch.

    Raises:
        UsageError: there are fewer, or there are several processes.
    """
    if process()[1] > 1:
        raise UsageError("Keras on JAX trains in one process here; use --devices for several GPUs")
    if training.devices == 1:
        return Devices(1, nullcontext)
    found = keras.distribution.list_devices()
    if len(found) < training.devices:
        raise UsageError(
            f"devices is {training.devices}, but JAX sees {len(found)}", argument="devices"
        )
    parallel = keras.distribution.DataParallel(
        devices=found[: training.devices], auto_shard_dataset=False
    )
    return Devices(training.devices, parallel.scope)


@contextmanager
def stream(reader: Reader, batches: Batches, places: range, again: bool = False) -> Iterator[Ahead]:
    """The batches of one epoch after the other."""
    with closing(Ahead(reader, batches, places, again)) as ahead:
        yield ahead


def reporting(reader: Reader) -> AbstractContextManager[None]:
    """What is raised in a thread that reads is what arrives."""
    return nullcontext()
