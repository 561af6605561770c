"""What is private to Lightning, PyTorch and TensorBoard and is needed, each with the reason.

`CHECKED` are the versions with which all of it does what is said here.  A test compares them with
those of constraints.txt, so that whoever takes another version looks at this file, and runs the
tests of it (parity_tests/test_compat.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:  # to export takes no Lightning
    from lightning.pytorch import Trainer

CHECKED = {"lightning": "2.6.6", "tensorboard": "2.21.0", "torch": "2.13.0"}

# What PyTorch's own optimizers are made of with `foreach=True`: an operation on every tensor of a
# list, which on a GPU is a few launches for hundreds of tensors.  There are no other names for it.
foreach_add, foreach_add_ = torch._foreach_add, torch._foreach_add_
foreach_addcdiv_, foreach_addcmul_ = torch._foreach_addcdiv_, torch._foreach_addcmul_
foreach_lerp_, foreach_mul_ = torch._foreach_lerp_, torch._foreach_mul_
foreach_sqrt_ = torch._foreach_sqrt_


def begin_at(trainer: Trainer, epochs: int) -> None:
    """Have a trainer that has done nothing go on after so many epochs.

    Lightning's own way to begin later is a checkpoint of its own, which is a pickle and which Keras
    cannot read; the state of a run is in canonical names.  What the batches of an epoch are depends
    on its number, and the progress bar shows it.
    """
    counters = ("ready", "started", "processed", "completed")
    trainer.fit_loop.epoch_progress.current.load_state_dict(dict.fromkeys(counters, epochs))


def module_path(node: fx.Node) -> str:
    """The name of the innermost module that an operation of an exported program was made in.

    Exporting leaves the modules around each operation in its metadata, for whoever debugs it, and
    says nowhere in what form.  Names of ONNX nodes come from them, so that a person finds a node of
    the file in the model; the values of the file do not.
    """
    path, _ = list(node.meta["nn_module_stack"].values())[-1]
    return str(path)


@contextmanager
def no_tensorflow() -> Iterator[None]:
    """Import TensorBoard's writer without TensorFlow, which it imports wherever that is installed.

    That takes some seconds of every training, and the writer needs nothing of it.  TensorBoard asks
    for this module to know whether to do without, and remembers which way it went.  The callback of
    Keras, which may train later in this process, asks for version 2, and still gets it.
    """
    name = "tensorboard.compat.notf"
    if "tensorflow" in sys.modules or find_spec("tensorboard") is None:
        yield
        return
    compat: Any = import_module("tensorboard.compat")
    lazily = import_module("tensorboard.lazy").lazy_load("tensorboard.compat.tf2")
    # Before anything is imported that takes it from there.
    compat.tf2 = lazily(lambda: import_module("tensorflow"))
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


class DispatchMode(TorchDispatchMode):
    """A mode that is shown every operation.

    PyTorch would import its compiler, to keep that away from the mode, which takes a second of
    every process.  Where it is there already, what is compiled runs uncompiled in the mode.
    """

    def __enter__(self) -> Self:
        self.kept = ExitStack()
        if "torch._dynamo" in sys.modules:
            self.kept.enter_context(torch.compiler.set_stance("force_eager"))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.kept.close()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def synchronized_batch_norm(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    epsilon: float,
    momentum: float,
    processes: int,
) -> torch.Tensor:
    """Batch norm of maps (N, C, H, W) on GPUs, by statistics (C,) of the batches of all processes.

    `nn.SyncBatchNorm` is a module around this function, with names and a counter of its own among
    its tensors.  The running `mean` and `variance` are updated as `F.batch_norm` would.
    """
    from torch.nn.modules._functions import SyncBatchNorm

    group = torch.distributed.group.WORLD
    running = (mean, variance, epsilon, momentum)
    found: torch.Tensor = SyncBatchNorm.apply(x, scale, bias, *running, group, processes)
    return found
