"""Mistakes that show in training only: statistics, dropping, losses, optimizers, averages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from efficientnet_rosetta.common.training.schedules import Exponential
from efficientnet_rosetta.torch_impl import layers, optimizer
from efficientnet_rosetta.torch_impl.efficientnet import StochasticDepth
from efficientnet_rosetta.torch_impl.layers import BatchNorm
from efficientnet_rosetta.torch_impl.optimizer import MovingAverage, RMSProp

from .machine import FREQUENCY, Apply, Mutation
from .making import around, other_code

STEPS = import_module("efficientnet_rosetta.torch_impl.steps")  # that package's `steps` is a verb
OF_RMSPROP, OF_SGD = "10 steps of rmsprop", "10 steps of sgd"

# ------------------------------------------------------------------ batch norm


def _corrected_variance(right: Callable[..., Tensor], self: BatchNorm, x: Tensor) -> Tensor:
    if not self.training:
        return right(self, x)
    tensors = (self.mean, self.variance, self.scale, self.bias)
    return F.batch_norm(x, *tensors, True, 1 - self.momentum, self.epsilon)


def _always_running(self: BatchNorm, x: Tensor) -> Tensor:
    return F.batch_norm(x, self.mean, self.variance, self.scale, self.bias, eps=self.epsilon)


# ------------------------------------------------------------------ dropping


def _dropping(forward: Callable[[StochasticDepth, Tensor], Tensor]) -> Apply:
    return other_code(StochasticDepth, "forward", forward)


def _factors(x: Tensor, samples: int, rate: float) -> Tensor:
    return F.dropout(x.new_ones((samples, 1, 1, 1)), rate)


def _per_batch(self: StochasticDepth, x: Tensor) -> Tensor:
    return x * _factors(x, 1, self.p) if self.training else x


def _unscaled(self: StochasticDepth, x: Tensor) -> Tensor:
    return x * (torch.rand(len(x), 1, 1, 1).to(x) >= self.p) if self.training else x


def _in_inference(self: StochasticDepth, x: Tensor) -> Tensor:
    return x * _factors(x, len(x), self.p)


# ------------------------------------------------------------------ losses


def _loss(loss: Callable[[Tensor, Tensor, float], Tensor]) -> Apply:
    return other_code(STEPS, "cross_entropy", loss)


def _among_the_others(x: Tensor, y: Tensor, smoothing: float) -> Tensor:
    classes = x.shape[1]
    return F.cross_entropy(x, y, label_smoothing=smoothing * classes / (classes - 1))


# ------------------------------------------------------------------ optimizers


def _rmsprop(rule: Callable[..., None]) -> Apply:
    """RMSProp by another rule."""

    def update_all(
        self: RMSProp, gradients: list[Tensor], parameters: list[Tensor], rate: float
    ) -> None:
        for gradient, parameter in zip(gradients, parameters, strict=True):
            rule(self, gradient, parameter, rate, self.slots(parameter))

    return other_code(RMSProp, "update_all", update_all)


def _right_rule(
    self: RMSProp,
    gradient: Tensor,
    parameter: Tensor,
    rate: float,
    state: dict[str, Any],
    epsilon_inside: bool = True,
    rate_inside: bool = True,
) -> None:
    square, momentum = state["square"], state["momentum"]
    square += (1 - self.decay) * (gradient * gradient - square)
    root = (square + self.epsilon) ** 0.5 if epsilon_inside else square**0.5 + self.epsilon
    momentum *= self.momentum
    momentum += (rate if rate_inside else 1) * gradient / root
    parameter -= momentum if rate_inside else rate * momentum


def _from_zero(
    self: RMSProp, gradient: Tensor, parameter: Tensor, rate: float, state: dict[str, Any]
) -> None:
    if "begun" not in state:
        state["square"], state["begun"] = torch.zeros_like(parameter), True
    _right_rule(self, gradient, parameter, rate, state)


def _decoupled(
    self: RMSProp, gradient: Tensor, parameter: Tensor, rate: float, state: dict[str, Any]
) -> None:
    decay = next(
        group["weight_decay"]
        for group in self.param_groups
        if any(parameter is other for other in group["params"])
    )
    assert parameter.grad is not None  # or there would be no step
    _right_rule(self, parameter.grad, parameter, rate, state)
    parameter -= rate * decay * parameter


def _late_decay(right: Callable[..., Tensor | None], self: RMSProp) -> None:
    """A step at the rate that follows from the steps since the end of the warm-up."""
    schedule = self.schedule
    assert isinstance(schedule, Exponential)
    late = Exponential(schedule.base, schedule.factor, schedule.every)
    begins = schedule.warmup

    def delayed(step: int) -> float:
        return schedule(step) if step < begins else late(step - int(begins))

    self.schedule = delayed  # type: ignore[assignment]
    try:
        right(self)
    finally:
        self.schedule = schedule


def _statistics_kept(right: Callable[..., None], self: MovingAverage) -> None:
    kept = {
        name: values.clone()
        for name, values in self.values.items()
        if name.endswith((".mean", ".variance"))
    }
    right(self)
    self.values.update(kept)


MISTAKES = (
    Mutation(
        "running variance with n / (n - 1)",
        "batch_norm",
        around(BatchNorm, "forward", _corrected_variance),
        size=3e-3,
        by="batch norm, 5 batches",
    ),
    Mutation(
        "running statistics used in training",
        "gradients",
        other_code(layers.BatchNorm, "forward", _always_running),
        size=1,
    ),
    Mutation(
        "stochastic depth per batch",
        "stochastic_depth",
        _dropping(_per_batch),
        size=50,  # by chance 10 to 200
        by=FREQUENCY,
    ),
    # What is kept is not scaled at all, or drops parts of a sample: no frequency.
    Mutation(
        "stochastic depth without rescaling",
        "stochastic_depth",
        _dropping(_unscaled),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "element-wise dropout for stochastic depth",
        "stochastic_depth",
        _dropping(lambda self, x: F.dropout(x, self.p, self.training)),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "stochastic depth left on in inference",
        "forward",
        _dropping(_in_inference),
        size=9,
    ),
    Mutation(
        "label smoothing on one side",
        "gradients",
        _loss(lambda x, y, smoothing: F.cross_entropy(x, y)),
        size=0.1,
    ),
    Mutation(
        "smoothing shared among the other classes",
        "gradients",
        _loss(_among_the_others),
        size=1e-4,
    ),
    Mutation(
        "sum for mean of the losses",
        "gradients",
        _loss(
            lambda x, y, smoothing: F.cross_entropy(
                x, y, label_smoothing=smoothing, reduction="sum"
            )
        ),
        size=0.75,
    ),
    Mutation(
        "RMSProp's accumulator from zero",
        "optimizers",
        _rmsprop(_from_zero),
        size=2e-2,
        by=OF_RMSPROP,
    ),
    Mutation(
        "RMSProp's epsilon outside the root",
        "optimizers",
        _rmsprop(partial(_right_rule, epsilon_inside=False)),
        size=4e-6,
        by=OF_RMSPROP,
    ),
    Mutation(
        "learning rate outside RMSProp's buffer",
        "optimizers",
        _rmsprop(partial(_right_rule, rate_inside=False)),
        size=2e-2,
        by=OF_RMSPROP,
    ),
    Mutation(
        "decoupled weight decay",
        "optimizers",
        _rmsprop(_decoupled),
        size=4e-8,
        by=OF_RMSPROP,
    ),
    Mutation(
        "weight decay for kernels only",
        "optimizers",
        other_code(optimizer, "is_decayed", lambda name: name.endswith("weight")),
        size=6e-8,
        by=OF_SGD,
    ),
    Mutation(
        "weight decay for batch norm too",
        "optimizers",
        other_code(optimizer, "is_decayed", lambda name: True),
        size=1e-7,
        by=OF_SGD,
    ),
    Mutation(
        "moving average without warm-up",
        "optimizers",
        other_code(optimizer, "average_decay", lambda step, decay: decay),
        size=0.1,
        by=OF_SGD,
    ),
    Mutation(
        "moving average without batch-norm statistics",
        "optimizers",
        around(MovingAverage, "update", _statistics_kept),
        size=0.1,
        by=OF_SGD,
    ),
    Mutation(
        "decay counted from the end of the warm-up",
        "optimizers",
        around(RMSProp, "step", _late_decay),
        size=5e-4,
        by=OF_RMSPROP,
    ),
)
