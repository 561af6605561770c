"""The ways in which mistakes are made: other code, another network, other weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast
from unittest.mock import patch

from torch import nn

from efficientnet_rosetta import torch_impl
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.common.weights.canonical import Weights

from .machine import Apply


def other_code(target: object, name: str, code: object) -> Apply:
    """A function or method is another one."""

    def apply(stack: ExitStack) -> None:
        stack.enter_context(patch.object(target, name, code))

    return apply


def around(target: object, name: str, code: Callable[..., Any]) -> Apply:
    """A function or method is another one, which is given the right one before its arguments."""

    def apply(stack: ExitStack) -> None:
        right = getattr(target, name)

        def wrong(*arguments: Any) -> Any:
            return code(right, *arguments)

        stack.enter_context(patch.object(target, name, wrong))

    return apply


def other_network(change: Callable[[Network], Network]) -> Apply:
    """PyTorch builds another network than the one it was given."""

    def model_maker(
        right: Callable[[str, Network], Callable[[Network], nn.Module]],
        package: str,
        network: Network,
    ) -> Callable[[Network], nn.Module]:
        make = right(package, network)
        return lambda given: _as(given, make(change(given)))

    return around(torch_impl, "model_maker", model_maker)


def _as(network: Network, model: Any) -> nn.Module:
    model.network = replace(model.network, resolution=network.resolution)
    return cast(nn.Module, model)


def blocks_of(network: Network) -> tuple[MBConvBlock, ...]:
    """The blocks of an EfficientNet."""
    return cast(tuple[MBConvBlock, ...], network.blocks)


def other_blocks(change: Callable[[MBConvBlock], dict[str, Any]]) -> Apply:
    """Fields of an EfficientNet's blocks are changed."""
    return other_network(
        lambda network: replace(
            network, blocks=tuple(replace(block, **change(block)) for block in blocks_of(network))
        )
    )


def other_weights(change: Callable[[Weights], Weights]) -> Apply:
    """Weights are loaded in another way."""

    def load_weights(
        right: Callable[[nn.Module, Weights], None], model: nn.Module, weights: Weights
    ) -> None:
        right(model, change(dict(weights)))

    return around(torch_impl, "load_weights", load_weights)
