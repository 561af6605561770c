"""The optimizers of the paper in Keras, and what belongs to a step of them.

The same program as `torch_impl/optimizer.py`, name for name.  Numbers meet tensors in the
tensors' own arithmetic: Keras's operations would round 0.9 to float32 first.
"""

from __future__ import annotations

from collections.abc import Collection

import keras
import numpy as np
from keras import KerasTensor, losses, ops

from efficientnet_rosetta.common.training.schedules import (
    Optimization,
    Schedule,
    average_decay,
    is_decayed,
)
from efficientnet_rosetta.common.weights.canonical import Weights

from ._compat import variable_index
from .weights import Axes, variables


class _Optimizer(keras.optimizers.Optimizer):
    """What both have in common: a schedule, and L2 regularisation in the gradient.

    A step is `begin_step()` and then Keras's `apply`; the first is Python, and so may run between
    the steps of a compiled program.
    """

    def __init__(
        self, decayed: Collection[str], weight_decay: float, schedule: Schedule, momentum: float
    ):
        super().__init__(learning_rate=schedule(0), name=type(self).__name__.lower())
        self.decayed, self.l2 = frozenset(decayed), weight_decay
        self.schedule, self.steps = schedule, 0
        self.momentum = momentum

    def build(self, variables: list[keras.Variable]) -> None:
        """Make room for what is remembered of every variable."""
        if self.built:
            return
        super().build(variables)
        self.covered = {i for i, v in enumerate(variables) if v.path in self.decayed}
        self.rate = keras.Variable(0.0, dtype=variables[0].dtype, trainable=False, name="rate")
        self.momenta = self.add_optimizer_variables(variables, "momentum")

    @property
    def learning_rate(self) -> keras.Variable:
        """The rate of the step that comes next, which callbacks of Keras ask for by this name."""
        return self.rate

    def slots(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """What is remembered of a variable, by what it is called."""
        return {"momentum": self.momenta[variable_index(self, variable)]}

    def begin_step(self) -> None:
        """Set the rate of the step that comes next."""
        rate = self.schedule(self.steps)
        self.rate.assign(np.asarray(rate, self.rate.dtype))
        self.steps += 1

    def regularised(self, gradient: KerasTensor, variable: keras.Variable) -> KerasTensor:
        """The gradient of loss and L2 regularisation together."""
        # step: l2
        if variable_index(self, variable) not in self.covered:
            return gradient
        return gradient + ops.convert_to_tensor(variable) * self.l2


class RMSProp(_Optimizer):
    """RMSProp as TensorFlow 1 has it, which is what the paper was trained with (rmsprop.py).

    Unlike Keras's own: the accumulator starts at one.  Epsilon is inside the root, and the
    learning rate inside the momentum buffer, so that a lower rate takes effect by and by.
    """

    def __init__(
        self,
        decayed: Collection[str],
        weight_decay: float,
        schedule: Schedule,
        decay: float,
        momentum: float,
        epsilon: float,
    ):
        super().__init__(decayed, weight_decay, schedule, momentum)
        self.decay, self.epsilon = decay, epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Make room for what is remembered of every variable."""
        if self.built:
            return
        super().build(variables)
        self.squares = self.add_optimizer_variables(variables, "square", "ones")

    def slots(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """What is remembered of a variable, by what it is called."""
        square = self.squares[variable_index(self, variable)]
        return {**super().slots(variable), "square": square}

    def update_step(self, gradient: KerasTensor, variable: keras.Variable, _: float) -> None:
        """Change a variable by its gradient."""
        # step: rmsprop
        gradient = self.regularised(gradient, variable)
        index = variable_index(self, variable)
        square, momentum = self.squares[index], self.momenta[index]
        taken, squared = 1 - self.decay, gradient * gradient
        square.assign_add((squared - square.value) * taken)
        root = (square.value + self.epsilon) ** 0.5
        change = gradient / root * self.rate.value
        momentum.assign(momentum.value * self.momentum + change)
        self.assign_sub(variable, momentum.value)


class SGD(_Optimizer):
    """Gradient descent with momentum, the learning rate outside of the buffer."""

    def update_step(self, gradient: KerasTensor, variable: keras.Variable, _: float) -> None:
        """Change a variable by its gradient."""
        # step: sgd
        gradient = self.regularised(gradient, variable)
        momentum = self.momenta[variable_index(self, variable)]
        momentum.assign(momentum.value * self.momentum + gradient)
        self.assign_sub(variable, momentum.value * self.rate.value)


def make_optimizer(model: keras.Model, optimization: Optimization) -> RMSProp | SGD:
    """The optimizer of a model, with L2 regularisation for what it covers."""
    decayed = [
        variable.path
        for name, variable, _ in variables(model)
        if is_decayed(name) and optimization.decays(name)
    ]
    rate, momentum = optimization.rate, optimization.momentum
    if optimization.rule == "sgd":
        return SGD(decayed, optimization.weight_decay, rate, momentum)
    return RMSProp(
        decayed,
        optimization.weight_decay,
        rate,
        optimization.decay,
        momentum,
        optimization.epsilon,
    )


def trained(model: keras.Model) -> dict[str, tuple[keras.Variable, Axes]]:
    """What is not frozen, by its canonical name, and the axes that put it in canonical order."""
    return {name: (v, axes) for name, v, axes in variables(model) if v.trainable}


def dump_slots(model: keras.Model, optimizer: RMSProp | SGD) -> dict[str, Weights]:
    """What an optimizer remembers of every variable, "momentum" and "square", as canonical arrays.

    Empty before its first step.
    """
    slots: dict[str, Weights] = {}
    for name, (variable, axes) in trained(model).items() if optimizer.steps else ():
        for slot, kept in optimizer.slots(variable).items():
            array = ops.convert_to_numpy(kept).transpose(axes)
            slots.setdefault(slot, {})[name] = np.ascontiguousarray(array)
    return slots


def load_slots(
    model: keras.Model, optimizer: RMSProp | SGD, slots: dict[str, Weights], steps: int
) -> None:
    """Have an optimizer go on after so many steps with what it remembered."""
    optimizer.steps = steps
    for name, (variable, axes) in trained(model).items():
        for slot, weights in slots.items():
            kept = weights[name].transpose(np.argsort(axes))
            optimizer.slots(variable)[slot].assign(kept)


def cross_entropy(
    logits: KerasTensor,
    labels: KerasTensor,
    smoothing: float,
    mixed: tuple[KerasTensor, KerasTensor] | None = None,
    weights: KerasTensor | None = None,
) -> KerasTensor:
    """Mean cross-entropy of logits (N, classes) and labels (N,), which share `smoothing` evenly.

    Images that two were `mixed` into have another class as well, their partners' (N,), and shares
    (N,) of their own one.  Losses of a class are multiplied by its one of the `weights` (classes,).
    """
    if mixed is not None or weights is not None:
        return _weighed_cross_entropy(logits, labels, smoothing, mixed, weights)
    # step: loss
    classes, dtype = logits.shape[-1], logits.dtype
    given = ops.one_hot(labels, classes, dtype=dtype)
    shares = given * (1 - smoothing) + smoothing / classes
    each = losses.categorical_crossentropy(
        shares,
        logits,
        from_logits=True,
    )
    # Not ops.mean, which turns float64 into float32
    # on JAX and PyTorch.
    return ops.sum(each) / ops.cast(ops.shape(each)[0], dtype)


def _weighed_cross_entropy(
    logits: KerasTensor,
    labels: KerasTensor,
    smoothing: float,
    mixed: tuple[KerasTensor, KerasTensor] | None,
    weights: KerasTensor | None,
) -> KerasTensor:
    """The mean of the cross-entropies of an image's classes, by their shares and weights."""
    classes, dtype = logits.shape[-1], logits.dtype

    def each(labels: KerasTensor) -> KerasTensor:
        given = ops.one_hot(labels, classes, dtype=dtype)
        shares = given * (1 - smoothing) + smoothing / classes
        found = losses.categorical_crossentropy(shares, logits, from_logits=True)
        return found if weights is None else found * ops.take(weights, labels)

    found = each(labels)
    if mixed is not None:
        partners, kept = mixed[0], ops.cast(mixed[1], dtype)
        found = kept * found + (1 - kept) * each(partners)
    return ops.sum(found) / ops.cast(ops.shape(found)[0], dtype)


class MovingAverage:
    """An exponential moving average of all tensors, batch-norm statistics included."""

    def __init__(self, model: keras.Model, decay: float):
        self.model, self.decay, self.steps = model, decay, 0
        self.values: dict[str, keras.Variable] = {
            # A copy: TensorFlow's variable would be taken over as it is.
            name: keras.Variable(
                ops.convert_to_numpy(variable), dtype=variable.dtype, trainable=False
            )
            for name, variable, _ in variables(model)
        }

    def update(self) -> None:
        """Follow the model, after a step of its optimizer."""
        # step: average
        taken = 1 - average_decay(self.steps, self.decay)
        self.follow(ops.convert_to_tensor(taken, "float64"))
        self.steps += 1

    def follow(self, taken: KerasTensor) -> None:
        """Move every average towards its variable by a share of the way."""
        for name, variable, _ in variables(self.model):
            value = self.values[name]
            share = ops.cast(taken, value.dtype)
            way = variable.value - value.value
            value.assign_add(way * share)

    def swap(self) -> None:
        """Exchange the model's variables and their averages, to use these for a while."""
        for name, variable, _ in variables(self.model):
            average = ops.convert_to_numpy(self.values[name])
            self.values[name].assign(ops.convert_to_numpy(variable))
            variable.assign(average)

    def dump(self) -> Weights:
        """The averages as canonical arrays."""
        return {
            name: np.ascontiguousarray(ops.convert_to_numpy(self.values[name]).transpose(axes))
            for name, _, axes in variables(self.model)
        }

    def load(self, weights: Weights, steps: int) -> None:
        """Go on after so many steps with these averages."""
        self.steps = steps
        for name, _, axes in variables(self.model):
            self.values[name].assign(weights[name].transpose(np.argsort(axes)))
