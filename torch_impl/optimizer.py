"""The optimizers of the paper in PyTorch, and what belongs to a step of them.

The same program as `keras_impl/optimizer.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.training.schedules import (
    Optimization,
    Schedule,
    average_decay,
    is_decayed,
)
from efficientnet_rosetta.common.weights.canonical import Weights


class _Optimizer(torch.optim.Optimizer):
    """What both have in common: a schedule, and L2 regularisation in the gradient."""

    def __init__(self, parameters: list[dict[str, Any]], schedule: Schedule, momentum: float):
        super().__init__(parameters, {"weight_decay": 0.0})
        self.schedule, self.steps = schedule, 0
        self.momentum = momentum

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Change every parameter by its gradient, which `closure` computes where it is given.

        What it is given then is the loss, which is handed on.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rate = self.schedule(self.steps)
        for group in self.param_groups:
            l2 = group["weight_decay"]
            for parameter in group["params"]:
                gradient = self.regularised(
                    parameter.grad,
                    parameter,
                    l2,
                )
                self.update_step(gradient, parameter, rate)
        self.steps += 1
        return loss

    def regularised(self, gradient: Tensor, parameter: nn.Parameter, l2: float) -> Tensor:
        """The gradient of loss and L2 regularisation together."""
        # step: l2
        return gradient + l2 * parameter

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        raise NotImplementedError


class RMSProp(_Optimizer):
    """RMSProp as TensorFlow 1 has it, which is what the paper was trained with (rmsprop.py).

    Unlike PyTorch's own: the accumulator starts at one, epsilon is inside the root, and the
    learning rate inside the momentum buffer, so that a lower rate takes effect by and by.
    """

    def __init__(
        self,
        parameters: list[dict[str, Any]],
        schedule: Schedule,
        decay: float,
        momentum: float,
        epsilon: float,
    ):
        super().__init__(parameters, schedule, momentum)
        self.decay, self.epsilon = decay, epsilon

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        # step: rmsprop
        state = self.state[parameter]
        if not state:
            state["square"] = torch.ones_like(parameter)
            state["momentum"] = torch.zeros_like(parameter)
        square, momentum = state["square"], state["momentum"]
        square += (1 - self.decay) * (gradient * gradient - square)
        momentum *= self.momentum
        momentum += rate * gradient / (square + self.epsilon) ** 0.5
        parameter -= momentum


class SGD(_Optimizer):
    """Gradient descent with momentum, the learning rate outside of the buffer."""

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        # step: sgd
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum *= self.momentum
        momentum += gradient
        parameter -= rate * momentum


def make_optimizer(model: nn.Module, optimization: Optimization) -> RMSProp | SGD:
    """The optimizer of a model, with L2 regularisation for what it covers."""
    covered = {name: is_decayed(name) and optimization.decays(name) for name in trained(model)}
    groups = [
        {
            "params": [p for name, p in trained(model).items() if covered[name] is decayed],
            "weight_decay": optimization.weight_decay if decayed else 0.0,
        }
        for decayed in (True, False)
    ]
    rate, momentum = optimization.rate, optimization.momentum
    if optimization.rule == "sgd":
        return SGD(groups, rate, momentum)
    return RMSProp(groups, rate, optimization.decay, momentum, optimization.epsilon)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is not frozen, by its canonical name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def dump_slots(model: nn.Module, optimizer: RMSProp | SGD) -> dict[str, Weights]:
    """What an optimizer remembers of every parameter, "momentum" and "square", as canonical arrays.

    Empty before its first step.
    """
    slots: dict[str, Weights] = {}
    for name, parameter in trained(model).items():
        for slot, tensor in optimizer.state[parameter].items():
            slots.setdefault(slot, {})[name] = tensor.numpy(force=True).copy()
    return slots


def load_slots(
    model: nn.Module, optimizer: RMSProp | SGD, slots: dict[str, Weights], steps: int
) -> None:
    """Have an optimizer go on after so many steps with what it remembered."""
    optimizer.steps = steps
    for name, parameter in trained(model).items():
        optimizer.state[parameter] = {
            slot: torch.tensor(weights[name]).to(parameter) for slot, weights in slots.items()
        }


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    smoothing: float,
    mixed: tuple[Tensor, Tensor] | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of logits (N, classes) and labels (N,), which share `smoothing` evenly.

    Images that two were `mixed` into have another class as well, their partners' (N,), and shares
    (N,) of their own one.  Losses of a class are multiplied by its one of the `weights` (classes,).
    """
    if mixed is not None or weights is not None:
        return _weighed_cross_entropy(logits, labels, smoothing, mixed, weights)
    # step: loss
    return F.cross_entropy(
        logits,
        labels,
        label_smoothing=smoothing,
    )


def _weighed_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    smoothing: float,
    mixed: tuple[Tensor, Tensor] | None,
    weights: Tensor | None,
) -> Tensor:
    """The mean of the cross-entropies of an image's classes, by their shares and weights."""

    def each(classes: Tensor) -> Tensor:
        found = F.cross_entropy(logits, classes, label_smoothing=smoothing, reduction="none")
        return found if weights is None else found * weights[classes]

    if mixed is None:
        return each(labels).mean()
    partners, kept = mixed[0], mixed[1].to(logits.dtype)
    return (kept * each(labels) + (1 - kept) * each(partners)).mean()


class MovingAverage:
    """An exponential moving average of all tensors, batch-norm statistics included."""

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.steps = model, decay, 0
        self.values = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Follow the model, after a step of its optimizer."""
        # step: average
        taken = 1 - average_decay(self.steps, self.decay)
        for name, tensor in self.model.state_dict().items():
            average = self.values[name]
            average += taken * (tensor - average)
        self.steps += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's tensors and their averages, to use these for a while."""
        for name, tensor in self.model.state_dict().items():
            average = self.values[name].clone()
            self.values[name].copy_(tensor)
            tensor.copy_(average)

    def dump(self) -> Weights:
        """The averages as canonical arrays."""
        return {name: tensor.numpy(force=True).copy() for name, tensor in self.values.items()}

    def load(self, weights: Weights, steps: int) -> None:
        """Go on after so many steps with these averages."""
        self.steps = steps
        for name, tensor in self.values.items():
            tensor.copy_(torch.tensor(weights[name]))
