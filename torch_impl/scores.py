"""What a loop counts without waiting for the device: scores, and the losses of its steps.

The same program as `keras_impl/scores.py`, name for name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.training.rows import Step
from efficientnet_rosetta.common.training.run import TOP, Scores


class Metrics:
    """Means over images, those of all processes.

    All that is counted stays on the device until it is asked for: to look at a number there is to
    wait until the device has nothing left to do.
    """

    def __init__(self, network: Network):
        if network.num_classes is None:
            raise UsageError("the network has no classifier to score; give it classes")
        self.top = min(TOP, network.num_classes)
        # Of losses, of labels found first and among five, and of images.
        self.sums: Tensor | None = None

    def count(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch by the sum of its losses; a label below 0 is that of no image."""
        logits = logits.detach()
        first = logits.argmax(1) == labels
        among = (logits.topk(self.top).indices == labels[:, None]).any(1)
        found = (loss.detach(), first.sum(), among.sum(), (labels >= 0).sum())
        # Apple's GPUs have no float64.
        dtype = torch.float32 if logits.device.type == "mps" else torch.float64
        sums = torch.stack([number.to(dtype) for number in found])
        self.sums = sums if self.sums is None else self.sums + sums

    def found_scores(self) -> Scores:
        """The means so far, after which counting starts anew.

        Raises:
            RosettaError: no image could be read.
        """
        sums = torch.zeros(4) if self.sums is None else self.sums
        self.sums = None
        if _processes() > 1:
            torch.distributed.all_reduce(sums)
        loss, first, among, images = sums.tolist()
        if not images:
            raise RosettaError("no image could be read to validate on")
        return Scores(loss / images, first / images, among / images)


class Losses:
    """The losses of steps on their way from the device, which are noted when they are there.

    Whoever asks for a loss waits for all that the device has yet to do, and launches nothing
    meanwhile.  A loss is therefore asked for when the step after it has been launched.
    """

    def __init__(self, note: Callable[[Step], None]):
        self.note = note
        self.coming: deque[tuple[Step, Tensor, torch.cuda.Event | None]] = deque()

    def send(self, step: Step, loss: Tensor) -> None:
        """Have the loss of a step, its mean over processes, come from the device to the step."""
        event = None
        loss = _mean_over_processes(loss).detach().clone()
        if loss.is_cuda:
            # Into memory that the device writes to by itself; the event says when it has done so.
            loss = loss.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self.coming.append((step, loss, event))

    def settle(self, but: int = 0) -> None:
        """Note the losses that were sent, but for the newest few, and wait for them if need be.

        Raises:
            RosettaError: one is no number.
            KeyboardInterrupt: the run is to stop.
        """
        while len(self.coming) > but:
            step, loss, event = self.coming.popleft()
            if event is not None:
                event.synchronize()
            self.note(replace(step, loss=loss.item()))


def _mean_over_processes(value: Tensor) -> Tensor:
    """A number of every process, as their mean; the device is not waited for."""
    if _processes() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / _processes()


def _processes() -> int:
    """That take part in this training."""
    distributed = torch.distributed
    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if there else 1
