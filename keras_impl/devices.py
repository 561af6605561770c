"""What devices need: arithmetic, seeds, and one batch norm for all, on whatever Keras runs on.

The same program as `torch_impl/devices.py`, name for name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from efficientnet_rosetta.common.errors import UsageError, needs
from efficientnet_rosetta.common.training.plan import Training, step_seed
from efficientnet_rosetta.common.training.processes import process
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.canonical import Weights

from . import _compat
from ._compat import BACKEND

with needs("training in Keras"):
    if BACKEND == "tensorflow":
        import tensorflow as tf


COMPILING: dict[str, str | bool] = {"tensorflow": "auto", "jax": True, "torch": False}


class Devices(NamedTuple):
    """How many share a batch, and the context in which variables for all of them are made.

    `compiling` is what Keras's `compile` is told of XLA: TensorFlow asks for no more than it
    chooses itself, JAX would take many times as long without, and what PyTorch has for it takes
    longer than many trainings.  A step is given a batch that so many are `sharing`: TensorFlow
    gives each device its own, JAX all of them the whole.
    """

    parts: int = 1
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    compiling: str | bool = COMPILING[BACKEND]
    sharing: int = 1


def devices(training: Training) -> Devices:
    """Those that a training is to use.

    Raises:
        UsageError: there are fewer, or Keras uses one here.
    """
    by = {"tensorflow": _of_tensorflow, "jax": _of_jax, "torch": _of_torch}
    return by[BACKEND](training)


def _of_tensorflow(training: Training) -> Devices:
    """The processes that TF_CONFIG names, or the GPUs of this machine."""
    strategy = _strategy(training)
    parts = strategy.num_replicas_in_sync
    # Keras would see to XLA itself in a model made under a strategy.
    return Devices(parts, strategy.scope, "auto" if parts == 1 else False)


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


def _of_jax(training: Training) -> Devices:
    """The first devices of this process, of which each has its share of every batch."""
    if process()[1] > 1:
        raise UsageError("Keras on JAX trains in one process here; use --devices for several GPUs")
    if training.devices == 1:
        return Devices()
    found = keras.distribution.list_devices()
    if len(found) < training.devices:
        raise UsageError(
            f"devices is {training.devices}, but JAX sees {len(found)}", argument="devices"
        )
    parallel = keras.distribution.DataParallel(
        devices=found[: training.devices], auto_shard_dataset=False
    )
    return Devices(training.devices, parallel.scope, sharing=training.devices)


def _of_torch(training: Training) -> Devices:
    if training.devices > 1 or process()[1] > 1:
        raise UsageError(
            "Keras on PyTorch trains on one device in one process; for several, use --backend "
            "torch, or Keras on JAX or TensorFlow",
            argument="devices",
        )
    return Devices()


@contextmanager
def arithmetic(dtype: str) -> Iterator[None]:
    """Have float64 where it is asked for; JAX does without it otherwise, as Keras does on both."""
    if dtype != "float64" or BACKEND == "tensorflow":
        yield
        return
    wide: AbstractContextManager[Any] = nullcontext()
    if BACKEND == "jax":
        import jax

        wide = jax.enable_x64(True)
    with wide, _compat.float64_kept():
        yield


# ------------------------------------------------------------------ what a step depends on


def set_seed(model: keras.Model, seed: int, step: int) -> None:
    """What is random in a step depends on the step, and so comes again when it is repeated.

    It differs between processes, but not between the GPUs of one.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Dropout) and layer.rate:
            own = step_seed(seed, zlib.crc32(layer.name.encode()), process()[0])
            _compat.set_seed(layer, own, step)


def dump_scale(optimizer: Any) -> dict[str, Weights]:
    """What float16 scales the loss by, and for how many steps, as one more slot of a state."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return {}
    kept = {"scale": optimizer.dynamic_scale, "steps": optimizer.step_counter}
    found = {name: float(ops.convert_to_numpy(value)) for name, value in kept.items()}
    return {LOSS_SCALE: {name: np.array([value]) for name, value in found.items()}}


def load_scale(optimizer: Any, slots: dict[str, Weights]) -> None:
    """Go on with the scale of a state, where it has one."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or LOSS_SCALE not in slots:
        return
    found = slots[LOSS_SCALE]
    optimizer.dynamic_scale.assign(found["scale"].item())
    optimizer.step_counter.assign(int(found["steps"].item()))


# ------------------------------------------------------------------ batch norm


def synchronize(model: keras.Model) -> None:
    """Have every batch norm see the batches of all processes; JAX's do by themselves."""
    for layer in model.layers if BACKEND == "tensorflow" else ():
        if isinstance(layer, layers.BatchNormalization):
            _compat.set_synchronized(layer)
