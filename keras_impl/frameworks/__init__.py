"""What Keras leaves to the framework that it runs on: gradients, steps, batches and devices.

Each module of this package has the same names:

- `Stepping`: a model whose `fit` and `evaluate` go through `train_on` and `score`
- `gradients`: of a function that calls a model, at its trainable variables and at inputs
- `apply`: a step of an optimizer
- `everywhere`: run what changes variables where it changes those of all devices
- `traced`: a function as a graph, where that is worth it
- `arithmetic`: a context in which float64 is float64
- `devices`: the devices that a training is to use, or one clear line why not
- `stream`: batches as `fit` takes them
- `reporting`: a context that raises what made reading fail, where the framework hides it
- `compiling`: what Keras's `compile` is told of XLA

`current()` is the one of this process, whose backend Keras chose when it was imported.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple

import keras

from efficientnet_rosetta.common.errors import needs

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


class Devices(NamedTuple):
    """How many share a batch, and the context in which variables for all of them are made."""

    parts: int
    scope: Callable[[], AbstractContextManager[Any]]


def current() -> Any:
    """The module of the framework that Keras runs on here.

    Raises:
        MissingDependencyError: the framework is not installed.
    """
    with needs("training in Keras"):
        return import_module(f"{__name__}.{keras.config.backend()}")
