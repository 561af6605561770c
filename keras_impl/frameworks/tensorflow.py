"""Keras on TensorFlow: tapes, `tf.data`, and `tf.distribute` for several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.processes import process

from . import Devices
from .reading import Reader


class Stepping(keras.Model):
    """A model whose steps are `train_on` and `score`."""

    def train_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A step of the optimizer."""
        return self.train_on(*batch)

    def test_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A batch to be scored on."""
        return self.score(*batch)


def gradients(
    function: Callable[..., tuple[KerasTensor, Any]],
    model: keras.Model,
    inputs: Sequence[KerasTensor] = (),
) -> tuple[Any, list[KerasTensor], list[KerasTensor]]:
    """What a function of a model returns beside its loss, and the loss's gradients.

    Those at the inputs come first, then those at all trainable variables.  On several devices they
    are a share of the gradient of the mean, since the optimizer adds up those of all devices.
    """
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss, further = function(*inputs)
        loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
    values = [variable.value for variable in model.trainable_variables]
    at, found = tape.gradient(loss, [list(inputs), values])
    return further, at, found


def apply(
    optimizer: keras.optimizers.Optimizer,
    found: list[KerasTensor],
    variables: list[keras.Variable],
) -> None:
    """A step of an optimizer."""
    optimizer.apply(found, variables)


def everywhere(change: Callable[[], None]) -> None:
    """Change variables on all devices at once, from within a step of one of them."""
    if replica := tf.distribute.get_replica_context():
        replica.merge_call(lambda strategy: change())
    else:
        change()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is worth making a graph of."""
    return tf.function(function)


def arithmetic(dtype: str) -> AbstractContextManager[None]:
    """TensorFlow has all types at all times."""
    return nullcontext()


def compiling(devices: Devices) -> str | bool:
    """Keras would see to this itself in a model made under a strategy."""
    return "auto" if devices.parts == 1 else False


def devices(training: Training) -> Devices:
    """The processes that TF_CONFIG names, or the GPUs of this machine.

    Raises:
        UsageError: there are fewer.
    """
    strategy = _strategy(training)
    return Devices(strategy.num_replicas_in_sync, strategy.scope)


def _strategy(training: Training) -> tf.distribute.Strategy:
    if process()[1] > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if training.devices == 1:
        return tf.distribute.get_strategy()
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus < training.devices:
        raise UsageError(
            f"devices is {training.devices}, but TensorFlow sees {gpus} GPUs; "
            "several machines, or processes without GPUs, are named in TF_CONFIG",
            argument="devices",
        )
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(training.devices)])


@contextmanager
def stream(
    reader: Reader, batches: Batches, places: range, again: bool = False
) -> Iterator[tf.data.Dataset]:
    """The batches of one epoch after the other, each in as many parts as there are devices."""

    def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        parts = context.num_replicas_in_sync
        mine = parts // context.num_input_pipelines
        shape = (batches.batch // parts, *batches.size, 3)

        kinds = [reader.dtype, tf.int64, *((tf.int64, tf.float32) if batches.mixing else ())]

        def read(number: tf.Tensor) -> list[np.ndarray]:
            place, part = divmod(int(number), mine)
            part += context.input_pipeline_id * mine
            return keras.tree.flatten(reader.read(batches, places[place], part, parts))

        def shaped(number: tf.Tensor) -> tuple[tf.Tensor, Any]:
            images, *targets = tf.numpy_function(read, [number], kinds)
            targets = [tf.ensure_shape(target, shape[:1]) for target in targets]
            images = tf.ensure_shape(images, shape)
            return images, tuple(targets) if batches.mixing else targets[0]

        numbers = tf.data.Dataset.range(len(places) * mine)
        numbers = numbers.repeat() if again else numbers
        return numbers.map(shaped, max(1, reader.workers)).prefetch(1 + reader.workers)

    yield tf.distribute.get_strategy().distribute_datasets_from_function(pipeline)


@contextmanager
def reporting(reader: Reader) -> Iterator[None]:
    """Raise what made the pipeline fail, of which TensorFlow hands on the text; be quiet else."""
    logger = tf.get_logger()
    level = logger.level
    try:
        logger.setLevel("ERROR")  # without advice on tracing
        yield
    except tf.errors.OpError as error:
        if reader.error is None:
            raise
        raise reader.error from error
    finally:
        logger.setLevel(level)
