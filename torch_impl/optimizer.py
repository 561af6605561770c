"""The optimizers of the paper in PyTorch, and what belongs to a step of them.

The same program as `keras_impl/optimizer.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.canonical import Weights

from ._compat import (
    foreach_add,
    foreach_add_,
    foreach_addcdiv_,
    foreach_addcmul_,
    foreach_lerp_,
    foreach_mul_,
    foreach_sqrt_,
)

CACHED = 2**17  # values of parameters that a CPU keeps at hand with all that belongs to them


class _Optimizer(torch.optim.Optimizer):
    """What both have in common: a schedule, and L2 regularisation in the gradient.

    Each rule is written twice.  `update_step` is to be read: it changes one parameter.  What trains
    is `update_all`: it changes many by operations on whole lists, which spares a GPU thousands of
    launches a step, and a CPU a third of its passes over memory.  Both agree but for rounding;
    `foreach=False`, as PyTorch's own optimizers call it, chooses the first.
    """

    def __init__(
        self,
        parameters: list[dict[str, Any]],
        schedule: Schedule,
        momentum: float,
        foreach: bool = True,
    ):
        super().__init__(parameters, {"weight_decay": 0.0})
        self.schedule, self.steps = schedule, 0
        self.momentum, self.foreach = momentum, foreach

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
        if self.foreach:
            self.update_together(rate)
        else:
            self.update_each(rate)
        self.steps += 1
        return loss

    def update_each(self, rate: float) -> None:
        """Change one parameter after the other."""
        for group in self.param_groups:
            l2 = group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = self.regularised(parameter.grad, parameter, l2)
                    self.update_step(gradient, parameter, rate)

    def update_together(self, rate: float) -> None:
        """Change all parameters, many at once."""
        for group in self.param_groups:
            for parameters in _together(group):
                gradients = [p.grad for p in parameters if p.grad is not None]
                if l2 := group["weight_decay"]:
                    gradients = list(foreach_add(gradients, parameters, alpha=l2))
                self.update_all(gradients, parameters, rate)

    def regularised(self, gradient: Tensor, parameter: nn.Parameter, l2: float) -> Tensor:
        """The gradient of loss and L2 regularisation together."""
        # step: l2
        return gradient + l2 * parameter

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        raise NotImplementedError

    def update_all(self, gradients: list[Tensor], parameters: list[Tensor], rate: float) -> None:
        """Change every parameter by its gradient, by the same rule."""
        raise NotImplementedError

    def slots(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of a parameter, by what it is called."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        return state


def _together(group: dict[str, Any]) -> Iterator[list[Tensor]]:
    """What has a gradient, in lists to be changed at once: on a CPU as much as its cache holds."""
    together: list[Tensor] = []
    values = 0
    for parameter in group["params"]:
        if parameter.grad is None:
            continue
        together.append(parameter)
        values += parameter.numel()
        if parameter.device.type == "cpu" and values >= CACHED:
            yield together
            together, values = [], 0
    if together:
        yield together


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
        foreach: bool = True,
    ):
        super().__init__(parameters, schedule, momentum, foreach)
        self.decay, self.epsilon = decay, epsilon

    def slots(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of a parameter, by what it is called."""
        if not self.state[parameter]:
            self.state[parameter]["square"] = torch.ones_like(parameter)
            self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        return self.state[parameter]

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        # step: rmsprop
        slots = self.slots(parameter)
        square, momentum = slots["square"], slots["momentum"]
        square += (1 - self.decay) * (gradient * gradient - square)
        momentum *= self.momentum
        momentum += rate * gradient / (square + self.epsilon) ** 0.5
        parameter -= momentum

    def update_all(self, gradients: list[Tensor], parameters: list[Tensor], rate: float) -> None:
        """Change every parameter by its gradient, by the same rule."""
        slots = [self.slots(parameter) for parameter in parameters]
        squares, momenta = ([kept[name] for kept in slots] for name in ("square", "momentum"))
        foreach_mul_(squares, self.decay)
        foreach_addcmul_(squares, gradients, gradients, 1 - self.decay)
        roots = foreach_add(squares, self.epsilon)
        foreach_sqrt_(roots)
        foreach_mul_(momenta, self.momentum)
        foreach_addcdiv_(momenta, gradients, roots, rate)
        foreach_add_(parameters, momenta, alpha=-1)


class SGD(_Optimizer):
    """Gradient descent with momentum, the learning rate outside of the buffer."""

    def update_step(self, gradient: Tensor, parameter: Tensor, rate: float) -> None:
        """Change a parameter by its gradient."""
        # step: sgd
        momentum = self.slots(parameter)["momentum"]
        momentum *= self.momentum
        momentum += gradient
        parameter -= rate * momentum

    def update_all(self, gradients: list[Tensor], parameters: list[Tensor], rate: float) -> None:
        """Change every parameter by its gradient, by the same rule."""
        momenta = [self.slots(parameter)["momentum"] for parameter in parameters]
        foreach_mul_(momenta, self.momentum)
        foreach_add_(momenta, gradients)
        foreach_add_(parameters, momenta, alpha=-rate)


def make_optimizer(
    model: nn.Module, optimization: Optimization, foreach: bool = True
) -> RMSProp | SGD:
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
        return SGD(groups, rate, momentum, foreach)
    return RMSProp(groups, rate, optimization.decay, momentum, optimization.epsilon, foreach)


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


@torch.no_grad()
def load_slots(
    model: nn.Module, optimizer: RMSProp | SGD, slots: dict[str, Weights], steps: int
) -> None:
    """Have an optimizer go on after so many steps with what it remembered."""
    optimizer.steps = steps
    for name, parameter in trained(model).items():
        # Laid out in memory as the parameter is: operations on whole lists ask for that.
        optimizer.state[parameter] = {
            slot: torch.empty_like(parameter).copy_(torch.tensor(weights[name]))
            for slot, weights in slots.items()
            if slot != LOSS_SCALE
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
    """An exponential moving average of all tensors, batch-norm statistics included.

    It is made when the model is on its device, where the averages stay.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.follow(model)
        self.values = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    def follow(self, model: nn.Module) -> None:
        """Keep to the tensors that a model has now; one that was moved since may have others.

        Asking a model for all of its tensors takes as long as following them.
        """
        self.tensors: dict[str, Tensor] = model.state_dict(keep_vars=True)

    @torch.no_grad()
    def update(self) -> None:
        """Follow the model, after a step of its optimizer."""
        # step: average
        taken = 1 - average_decay(self.steps, self.decay)
        averages = list(self.values.values())
        tensors = list(self.tensors.values())
        # From each average a share of the way to its tensor.
        foreach_lerp_(averages, tensors, taken)
        self.steps += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's tensors and their averages, to use these for a while."""
        for name, tensor in self.tensors.items():
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
