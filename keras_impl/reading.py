"""Batches by epoch and number, read ahead in threads, on whatever Keras runs on.

The same program as `torch_impl/reading.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from efficientnet_rosetta.common.backends.values import to_layout
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.run import Run

from ._compat import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf

# Images (N, H, W, C), and labels (N,); where images are mixed, with their partners' and shares.
Read = tuple[np.ndarray, np.ndarray | tuple[np.ndarray, ...]]


class Reader:
    """Reads batches in a model's dtype, and notes in the run what could not be read."""

    def __init__(self, model: keras.Model, run: Run, workers: int):
        self.dtype = model.inputs[0].dtype
        self.run, self.workers = run, workers
        self.error: RosettaError | None = None

    def read(self, batches: Batches, place: int, part: int = 0, parts: int = 1) -> Read:
        """One part of a batch, which is counted from the first one of the first epoch."""
        try:
            found = batches.read(*divmod(place, len(batches)), part, parts)
        except RosettaError as error:
            self.error = error  # for where the framework hands on no more than its text
            raise
        self.run.note(found.skipped)
        images = to_layout(found.images, channels_last=True)
        images = np.ascontiguousarray(images, self.dtype)
        mixed = (found.labels, found.partners, found.shares)
        return images, mixed if batches.mixing else found.labels


def piece(values: KerasTensor, number: int, pieces: int, devices: int) -> KerasTensor:
    """One of equal pieces of a batch (N, ...), which has as much of the share of each device.

    Its shares follow one another in the batch.  A piece that was one stretch of it would be on some
    of the devices only, and have to be sent to the others.
    """
    count, *shape = values.shape
    size = count // (pieces * devices)
    shared = ops.reshape(values, (devices, pieces, size, *shape))
    return ops.reshape(shared[:, number], (devices * size, *shape))


class _Ahead(keras.utils.PyDataset):
    """Whole batches in their order, those that come next being read meanwhile.

    Keras's own readers stop at the end of an epoch, these go on.  Where batches come `again`, the
    first one follows on the last one.
    """

    def __init__(self, reader: Reader, batches: Batches, places: range, again: bool):
        super().__init__()
        self.reader, self.batches, self.places, self.again = reader, batches, places, again
        self.pool = ThreadPoolExecutor(max(1, reader.workers))
        self.begun: dict[int, Future[Read]] = {}

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Read:
        """A batch by its number, whoever asks for it first."""
        for place in range(number, number + 2 + self.reader.workers):
            index = place % len(self) if self.again else place
            if index < len(self) and index not in self.begun:
                read = self.pool.submit(self.reader.read, self.batches, self.places[index])
                self.begun[index] = read
        return self.begun.pop(number).result()

    def close(self) -> None:
        """Read no more of what was begun."""
        self.pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def stream(reader: Reader, batches: Batches, places: range, again: bool = False) -> Iterator[Any]:
    """The batches of one epoch after the other, as `fit` takes them.

    What made reading fail is what is raised while they are read.
    """
    if BACKEND == "tensorflow":
        with _reporting(reader):
            yield _pipeline(reader, batches, places, again)
        return
    with closing(_Ahead(reader, batches, places, again)) as ahead:
        yield ahead


def _pipeline(reader: Reader, batches: Batches, places: range, again: bool) -> tf.data.Dataset:
    """In TensorFlow's own way: each batch in as many parts as there are devices."""

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

    return tf.distribute.get_strategy().distribute_datasets_from_function(pipeline)


@contextmanager
def _reporting(reader: Reader) -> Iterator[None]:
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
