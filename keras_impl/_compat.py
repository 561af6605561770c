"""What is private to Keras and cannot be done without, and what it leaves to what it runs on.

`CHECKED` are the versions with which all of it does what is said here.  A test compares them with
those of constraints.txt, so that whoever takes another version looks at this file, and runs the
tests of it (parity_tests/test_compat.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

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
    draws depend on both of its numbers, and count up the second.  On PyTorch they do so only where
    the generator was given a seed when it was made, and are PyTorch's own elsewhere.
    """
    layer.seed_generator._initial_seed = seed
    (state,) = layer.variables
    numbers = np.array([seed, step], np.uint32)
    state.assign(numbers.astype(state.dtype))  # which is signed on PyTorch, and goes below zero


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


@contextmanager
def exact_constants() -> Iterator[None]:
    """Have TensorFlow cast a number of Python's to float64 as it is.

    It makes float32 of it first, so that a gelu or a Rescaling in float64 is off by 1e-8.
    """
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from tensorflow.python.ops import math_ops

    cast = math_ops.cast

    def exactly(x: Any, dtype: Any, name: str | None = None) -> Any:
        if isinstance(x, float) and tf.as_dtype(dtype).base_dtype == tf.float64:
            return tf.constant(x, tf.float64)
        return cast(x, dtype, name)

    places = tf, math_ops  # where Keras finds it, and where TensorFlow itself does
    try:
        for place in places:
            place.cast = exactly
        yield
    finally:
        for place in places:
            place.cast = cast


def all_layers(model: Any) -> list[Any]:
    """A layer and all layers in its attributes, which only a model shows, and those in theirs."""
    return list(model._flatten_layers())


@contextmanager
def unnoticed() -> Iterator[None]:
    """Build the layers of somebody's own model again, in this process, without leaving a mark.

    Lambda layers are taken, which a file might bring and a model that is here already cannot; and
    the layers that are made are named as in a new process, and count for nothing in later names.
    Keras imports TensorFlow, wherever that is installed, to see whether a configuration has shapes
    of it, which none has in a process that has done without.
    """
    tensorflow = import_module("keras.src.utils.module_utils").tensorflow
    asked = tensorflow._available
    if "tensorflow" not in sys.modules:
        tensorflow._available = False
    state = import_module("keras.src.backend.common.global_state")
    names, safe = "object_name_uids", "safe_mode_saving"
    before = {name: state.get_global_attribute(name) for name in (names, safe)}
    state.set_global_attribute(safe, False)
    state.set_global_attribute(names, None)
    try:
        yield
    finally:
        tensorflow._available = asked
        for name, value in before.items():
            state.set_global_attribute(name, value)


# ------------------------------------------------------------------ what Keras runs on

# Keras leaves gradients, and how a step is made of them, to the framework that it runs on.
BACKEND = keras.config.backend()

Function = Callable[..., tuple[KerasTensor, Any]]  # a loss, and what else there is to hand on
Values = list[KerasTensor]
Found = tuple[Any, Values, Values]


def without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose operations are not followed; only PyTorch follows all of them by itself.

    Keras has a decorator for it, which it uses in its own optimizers and does not export.
    """
    if BACKEND != "torch":
        return function
    wrapped: Callable[..., Any] = import_module("keras.src.utils.torch_utils").no_grad(function)
    return wrapped


class _Steps(keras.Model):
    """A model whose steps are `train_on` and `score`."""

    def train_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A step of the optimizer."""
        return self.train_on(*batch)

    def test_step(self, batch: Any) -> dict[str, KerasTensor]:
        """A batch to be scored on."""
        return self.score(*batch)


class _PureSteps(keras.Model):
    """The same on JAX: pure functions of all variables."""

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


if TYPE_CHECKING:
    Stepping = _Steps
else:
    Stepping = _PureSteps if BACKEND == "jax" else _Steps


def gradients(function: Function, model: keras.Model, inputs: Sequence[KerasTensor] = ()) -> Found:
    """What a function of a model returns beside its loss, and the loss's gradients.

    Those at the inputs come first, then those at all trainable variables.  On several devices of
    TensorFlow they are a share of the gradient of the mean, since the optimizer adds up all.
    """
    by = {"tensorflow": _by_tape, "jax": _by_function, "torch": _by_autograd}
    return by[BACKEND](function, model, inputs)


def _by_tape(function: Function, model: keras.Model, inputs: Sequence[KerasTensor]) -> Found:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss, further = function(*inputs)
        loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
    values = [variable.value for variable in model.trainable_variables]
    at, found = tape.gradient(loss, [list(inputs), values])
    return further, at, found


def _by_function(function: Function, model: keras.Model, inputs: Sequence[KerasTensor]) -> Found:
    import jax

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


def _by_autograd(function: Function, model: keras.Model, inputs: Sequence[KerasTensor]) -> Found:
    inputs = [value.detach().requires_grad_() for value in inputs]
    loss, further = function(*inputs)
    values = [*inputs, *(variable.value for variable in model.trainable_variables)]
    for value in values:
        value.grad = None  # or those of another batch would be added
    loss.backward()
    found = [value.grad for value in values]
    further = keras.tree.map_structure(ops.stop_gradient, further)
    return further, found[: len(inputs)], found[len(inputs) :]


def apply(
    optimizer: keras.optimizers.Optimizer, found: Values, variables: list[keras.Variable]
) -> None:
    """A step of an optimizer."""
    if BACKEND != "jax":
        without_gradients(optimizer.apply)(found, variables)
        return
    kept = optimizer.variables
    values = optimizer.stateless_apply([v.value for v in kept], found, [v.value for v in variables])
    for group, after in zip((variables, kept), values, strict=True):
        for variable, value in zip(group, after, strict=True):
            variable.assign(value)


def everywhere(change: Callable[[], None]) -> None:
    """Change variables on all devices at once, from within a step of one of them."""
    replica = None
    if BACKEND == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
    if replica:
        replica.merge_call(lambda strategy: change())
    else:
        without_gradients(change)()
