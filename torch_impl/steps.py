"""Steps of training in PyTorch, one at a time: what the claims beyond the forward pass compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efficientnet_rosetta.common.backends.protocol import Gradients, Stepped
from efficientnet_rosetta.common.backends.values import DROPOUT, drop_factors_of
from efficientnet_rosetta.common.training.schedules import Optimization

from .optimizer import MovingAverage, cross_entropy, make_optimizer, trained
from .weights import network_of

Masks = Mapping[str, np.ndarray]
Hook = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]


def gradients(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    smoothing: float = 0.0,
    masks: Masks | None = None,
) -> Gradients:
    """Loss and gradients of a batch (N, C, H, W) in training, what is dropped being given.

    `masks` has 1 for what is kept: (N,) of a block's role, (N, features) of "dropout"; nothing is
    dropped where it has none.
    """
    x, y = _batch(model, images, labels)
    x.requires_grad_()
    parameters = trained(model)
    with _training(model, masks or {}):
        loss = cross_entropy(model(x), y, smoothing)
        image, *found = torch.autograd.grad(loss, [x, *parameters.values()])
    weights = {
        name: gradient.numpy(force=True) for name, gradient in zip(parameters, found, strict=True)
    }
    return Gradients(loss.item(), image.numpy(force=True), weights)


def steps(
    model: nn.Module,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    optimization: Optimization,
) -> Stepped:
    """One step on each batch of images (N, C, H, W) and labels (N,); nothing is dropped."""
    optimizer = make_optimizer(model, optimization)
    average = MovingAverage(model, optimization.average) if optimization.average else None
    found = []
    for images, labels in batches:
        x, y = _batch(model, images, labels)
        model.zero_grad()
        with _training(model, {}):
            loss = cross_entropy(model(x), y, optimization.label_smoothing)
            loss.backward()
        optimizer.step()
        if average:
            average.update()
        found.append(loss.item())
    return Stepped(tuple(found), average.dump() if average else None)


def drop_factors(model: nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """What is multiplied by what in training: (N,) of each block's branch, by its role.

    0 for a sample that is dropped, and not a number where its values differ in that.  Of "dropout"
    it is one factor for each feature of each sample that is not 0.
    """
    found: dict[str, np.ndarray] = {}
    hooks = []
    for name, role in _droppers(model).items():

        def note(
            module: nn.Module, args: tuple[Any, ...], output: Tensor, role: str = role
        ) -> None:
            found[role] = drop_factors_of(role, *(x.numpy(force=True) for x in (args[0], output)))

        hooks.append(model.get_submodule(name).register_forward_hook(note))
    x, _ = _batch(model, images, np.zeros(len(images)))
    try:
        with in_phase(model, training=True), torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _batch(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    like = next(model.parameters())
    x = torch.tensor(np.ascontiguousarray(images), dtype=like.dtype, device=like.device)
    return x, torch.tensor(labels, dtype=torch.long, device=like.device)


def _droppers(model: nn.Module) -> dict[str, str]:
    """The modules that drop something, and what the masks call that."""
    network = network_of(model)
    droppers = {f"{role}.drop_path": role for role in network.drop_path_rates}
    if network.classifier is not None:
        droppers[DROPOUT] = DROPOUT
    return droppers


@contextmanager
def _training(model: nn.Module, masks: Masks) -> Iterator[None]:
    """Training mode, with the given masks in place of random ones."""
    hooks = [
        model.get_submodule(name).register_forward_hook(_masked(masks.get(role)))
        for name, role in _droppers(model).items()
    ]
    try:
        with in_phase(model, training=True):
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def in_phase(model: nn.Module, training: bool) -> Iterator[None]:
    """Training or inference, after which every module is in the phase that it was in before."""
    phases = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        for module, before in phases.items():
            module.training = before


def _masked(mask: np.ndarray | None) -> Hook:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x: Tensor = args[0]
        if mask is None:
            return x
        rate: Any = module.p  # of stochastic depth and of dropout
        kept = torch.tensor(mask, dtype=x.dtype, device=x.device)
        return x * kept.reshape(*kept.shape, *[1] * (x.dim() - kept.dim())) / (1 - rate)

    return hook
