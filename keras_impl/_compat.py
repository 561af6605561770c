"""What is private to Keras and cannot be done without, each with the reason.

`CHECKED` are the versions with which all of it does what is said here.  A test compares them with
those of constraints.txt, so that whoever takes another version looks at this file, and runs the
tests of it (parity_tests/test_compat.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras import layers

CHECKED = {"keras": "3.15.1", "tensorflow": "2.21.0"}


def follow_graph(model: keras.Model, inputs: Sequence[Any], call: Callable[..., Any]) -> Any:
    """What comes of a functional model when another function stands in for its operations.

    `call` is given each operation with its arguments, in the order in which the model itself would
    call it, and what it returns goes on to the next ones.  `keras.models.clone_model` hands the
    operations out as well, but with symbols for arguments, and it leaves one more node in every
    layer, which may be those of somebody else's model.
    """
    return model._run_through_graph(list(inputs), call_fn=call)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Which of the variables it is that an optimizer was built for.

    Keras itself uses this in its example of how to write an optimizer.  What a step is given is
    TensorFlow's variable, or one device's share in it, which knows nothing of Keras's.
    """
    return optimizer._get_variable_index(variable)


def set_rate(layer: layers.Dropout, rate: float) -> None:
    """Change how often a layer drops, from the next program on that is traced.

    It is an argument of the constructor, but what one phase of training freezes the next one
    trains, and the layers of a functional model cannot be exchanged.
    """
    layer.rate = rate


def set_synchronized(layer: layers.BatchNormalization) -> None:
    """Have a batch norm see the batches of all devices, from the next program on that is traced.

    It is an argument of the constructor, but one that Keras takes on TensorFlow only, while models
    are made alike on all that it runs on.
    """
    layer.synchronized = True


def set_seed(layer: layers.Dropout, seed: int, step: int) -> None:
    """Have what a layer drops depend on a seed and the step that comes next.

    Its only variable is the state of its generator, and what that means is nowhere said: Keras's
    draws depend on both of its numbers, and count up the second.
    """
    (state,) = layer.variables
    state.assign(np.array([seed, step], state.dtype))


@contextmanager
def float64_kept() -> Iterator[None]:
    """Let means and batch norms of float64 be float64 on JAX and PyTorch.

    What type an operation has is looked up in a table, in which float64 becomes float32 on all but
    TensorFlow, since JAX does without it by default; nothing public says otherwise.
    """
    table = import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE
    before = table["float64"]
    table["float64"] = "float64"
    try:
        yield
    finally:
        table["float64"] = before
