"""The optimizers of the paper in Keras, and what belongs to a step of them.

The same program as `torch_impl/optimizer.py`, name for name.  Numbers meet tensors in the
tensors' own arithmetic: Keras's operations would round 0.9 to float32 first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import keras
import numpy as np
from keras import KerasTensor, losses, ops

from efficientnet_rosetta.common.training.schedules import (
    Optimization,
    Schedule,
    average_decay,
    is_decayed,
)
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.canonical import Weights

from ._compat import variable_index
from .weights import Axes, variables


class _Optimizer(keras.optimizers.Optimizer):
    """What both have in common: a schedule, and L2 regularisation in the gradient.

    Rates are computed in Python, in float64.  `begin_steps` hands over those of the next `ahead`
    steps, so that a compiled step, `begin_step` and then Keras's `apply`, needs nothing from there.
    """

    def __init__(
        self,
        decayed: Collection[str],
        weight_decay: float,
        schedule: Schedule,
        momentum: float,
        ahead: int = 1,
    ):
        super().__init__(learning_rate=schedule(0), name=type(self).__name__.lower())
        self.decayed, self.l2 = frozenset(decayed), weight_decay
        self.schedule, self.ahead = schedule, ahead
        self.momentum = momentum

    def build(self, variables: list[keras.Variable]) -> None:
        """Make room for what is remembered of every variable."""
        if self.built:
            return
        super().build(variables)
        self.covered = {i for i, v in enumerate(variables) if v.path in self.decayed}
        shared = {"dtype": variables[0].dtype, "aggregation": "only_first_replica"}
        self.rates = self.add_variable((self.ahead,), name="rates", **shared)
        self.rate = self.add_variable((), name="rate", **shared)
        self.count = self.add_variable((), name="count", **{**shared, "dtype": "int32"})
        self.momenta = self.add_optimizer_variables(variables, "momentum")

    @property
    def learning_rate(self) -> keras.Variable:
        """The rate of the last step, which callbacks of Keras ask for by this name."""
        return self.rate

    @property
    def steps(self) -> int:
        """How many were made."""
        return int(ops.convert_to_numpy(self.count))

    def slots(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """What is remembered of a variable, by what it is called."""
        return {"momentum": self.momenta[variable_index(self, variable)]}

    def begin_steps(self) -> None:
        """Hand over the rates of the steps that come next."""
        _plan(self.rates, self.schedule, self.steps)

    def begin_step(self) -> None:
        """Set the rate of the step that comes next; one that float16 leaves out counts as well."""
        self.rate.assign(_planned(self.rates, self.count))
        self.count.assign_add(1)

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
        ahead: int = 1,
    ):
        super().__init__(decayed, weight_decay, schedule, momentum, ahead)
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


def make_optimizer(model: keras.Model, optimization: Optimization, ahead: int = 1) -> RMSProp | SGD:
    """The optimizer of a model, with L2 regularisation for what it covers.

    It is told the rates of so many steps at once.
    """
    decayed = [
        variable.path
        for name, variable, _ in variables(model)
        if is_decayed(name) and optimization.decays(name)
    ]
    rate, momentum = optimization.rate, optimization.momentum
    if optimization.rule == "sgd":
        return SGD(decayed, optimization.weight_decay, rate, momentum, ahead)
    return RMSProp(
        decayed,
        optimization.weight_decay,
        rate,
        optimization.decay,
        momentum,
        optimization.epsilon,
        ahead,
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
            slots.setdefault(slot, {})[name] = np.array(array, order="C")
    return slots


def load_slots(
    model: keras.Model, optimizer: RMSProp | SGD, slots: dict[str, Weights], steps: int
) -> None:
    """Have an optimizer go on after so many steps with what it remembered."""
    optimizer.count.assign(steps)
    for name, (variable, axes) in trained(model).items():
        for slot in slots.keys() - {LOSS_SCALE}:
            kept = slots[slot][name].transpose(np.argsort(axes))
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

    def __init__(self, model: keras.Model, decay: float, ahead: int = 1):
        self.model, self.decay = model, decay
        self.values = {
            # A copy: TensorFlow's variable would be taken over as it is.
            name: _kept(np.array(ops.convert_to_numpy(variable)), variable.dtype)
            for name, variable, _ in variables(model)
        }
        dtype = next(iter(self.values.values())).dtype
        self.shares, self.count = _kept(np.zeros(ahead), dtype), _kept(0, "int32")

    @property
    def variables(self) -> list[keras.Variable]:
        """All that changes in a step."""
        return [*self.values.values(), self.shares, self.count]

    def begin_steps(self) -> None:
        """Hand over how far the averages move in the steps that come next."""
        done = int(ops.convert_to_numpy(self.count))
        _plan(self.shares, lambda step: 1 - average_decay(step, self.decay), done)

    def update(self) -> None:
        """Follow the model, after a step of its optimizer."""
        # step: average
        taken = _planned(self.shares, self.count)
        for name, variable, _ in variables(self.model):
            value = self.values[name]
            way = variable.value - value.value
            value.assign_add(way * taken)
        self.count.assign_add(1)

    def swap(self) -> None:
        """Exchange the model's variables and their averages, to use these for a while."""
        for name, variable, _ in variables(self.model):
            average = np.array(ops.convert_to_numpy(self.values[name]))
            self.values[name].assign(np.array(ops.convert_to_numpy(variable)))
            variable.assign(average)

    def dump(self) -> Weights:
        """The averages as canonical arrays."""
        return {
            name: np.array(ops.convert_to_numpy(self.values[name]).transpose(axes), order="C")
            for name, _, axes in variables(self.model)
        }

    def load(self, weights: Weights, steps: int) -> None:
        """Go on after so many steps with these averages."""
        self.count.assign(steps)
        for name, _, axes in variables(self.model):
            self.values[name].assign(weights[name].transpose(np.argsort(axes)))


def _kept(value: np.ndarray | int, dtype: str) -> keras.Variable:
    return keras.Variable(value, dtype=dtype, trainable=False, aggregation="only_first_replica")


def _plan(numbers: keras.Variable, rule: Callable[[int], float], done: int) -> None:
    """Set the numbers of as many steps after those that are done as there are places for."""
    ahead = numbers.shape[0]
    values = np.array([rule(step) for step in range(done, done + ahead)], numbers.dtype)
    numbers.assign(np.roll(values, done % ahead))


def _planned(numbers: keras.Variable, step: keras.Variable) -> KerasTensor:
    """The number of a step, in an operation of a compiled program."""
    return ops.take(numbers.value, step.value % numbers.shape[0])
