"""Every operation of one section in PyTorch, to find the one that another program differs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from efficientnet_rosetta.common.backends.trace import Trace

from .layers import global_average_pool
from .steps import in_phase


def trace(model: nn.Module, endpoint: str, value: np.ndarray) -> Trace:
    """The operations that lead to an endpoint from the one before, whose value is given.

    Inference; `value` is (N, C, H, W), or the images for the first endpoint.
    """
    like = next(model.parameters())
    x = torch.tensor(np.ascontiguousarray(value), dtype=like.dtype, device=like.device)
    found = Trace()
    phase = in_phase(model, training=False)
    with phase, torch.inference_mode(), _Recorder(found) as recorder:
        if endpoint == "features":
            global_average_pool(x)
        elif endpoint == "logits":
            classifier = model.get_submodule("classifier")
            recorder.watch("classifier", classifier)
            classifier(x)
        else:
            section = model.get_submodule(endpoint)
            for name, module in section.named_modules():
                if name and not list(module.children()):
                    recorder.watch(name, module)
            section(x)
    return found


class _Recorder(TorchFunctionMode):
    """Keeps what modules return under their names, and functions called outside of these."""

    def __init__(self, found: Trace):
        super().__init__()
        self.found, self.depth = found, 0
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []

    def watch(self, name: str, module: nn.Module) -> None:
        """Record a module as one operation."""

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.depth += 1

        def leave(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            self.depth -= 1
            if output is not args[0]:  # stochastic depth hands on what it is given
                self.keep(name, output)

        self.hooks += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave),
        ]

    def keep(self, name: str, value: Tensor) -> None:
        # A copy, for what comes next may overwrite it.
        self.found.keep(name, value.numpy(force=True).copy())

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        copied = func is Tensor.clone  # which a module does for its hooks, and no network
        if self.depth == 0 and isinstance(output, Tensor) and not copied:
            self.keep(func.__name__.strip("_"), output)
        return output

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for hook in self.hooks:
            hook.remove()
