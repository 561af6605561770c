"""Learning rates by step, what is decayed, how averages warm up: pure functions.

The sources are the released code (tensorflow/tpu, models/official/efficientnet) and section 5 of
the paper; see each class.  Steps count from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

BATCH_PER_RATE = 256  # images that a base rate is stated for (main.py, scaled_lr)


@dataclass(frozen=True)
class Constant:
    """One learning rate for all steps."""

    warmup: ClassVar[float] = 0
    rate: float

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class Exponential:
    """`base`, times `factor` every `every` steps, after a linear warm-up from 0 (utils.py).

    The decay counts from step 0, not from the end of the warm-up: where that ends, the rate falls
    from `base` to what the decay has come to by then.
    """

    base: float
    factor: float
    every: float  # steps; 2.4 epochs are no whole number of them
    warmup: float = 0
    staircase: bool = True

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.base * step / self.warmup
        periods = step / self.every
        return self.base * self.factor ** (math.floor(periods) if self.staircase else periods)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `base` to 0 at step `steps`, after a linear warm-up from 0."""

    base: float
    steps: int
    warmup: int = 0

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.base * step / self.warmup
        progress = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return self.base * (1 + math.cos(math.pi * progress)) / 2


Schedule = Constant | Exponential | Cosine


def scaled_rate(base: float, batch: int, images: int = BATCH_PER_RATE) -> float:
    """The learning rate of a batch, given that of a number of images (main.py: 0.016 for 256)."""
    return base * batch / images


def average_decay(step: int, decay: float = 0.9999) -> float:
    """The share of a moving average that is kept at a step: small at first, so that it moves.

    min(decay, (1 + t) / (10 + t)), TensorFlow's `num_updates` (moving_averages.py).
    """
    return min(decay, (1 + step) / (10 + step))


def is_decayed(tensor: str) -> bool:
    """Whether L2 regularisation covers a tensor, given its canonical name.

    All that is trained but batch norm's: the biases of squeeze-and-excitation and of the classifier
    are covered too (main.py: every variable whose name lacks "batch_normalization").
    """
    return not tensor.rpartition(".")[0].endswith("bn")


@dataclass(frozen=True)
class Optimization:
    """An optimizer and its loss, in all their numbers; the defaults are the released code's.

    `decay` and `epsilon` are of RMSProp only.  `weight_decay` is the factor of the weights in the
    gradient, that is of half their squared sum in the loss; without `decays_biases` it covers
    kernels only.  `average` is None for no moving average.
    """

    rate: Schedule
    rule: Literal["rmsprop", "sgd"] = "rmsprop"
    momentum: float = 0.9
    decay: float = 0.9
    epsilon: float = 1e-3
    weight_decay: float = 1e-5
    label_smoothing: float = 0.1
    average: float | None = 0.9999
    decays_biases: bool = True

    def decays(self, tensor: str) -> bool:
        """Whether a tensor that L2 regularisation can cover is not one that it leaves out here."""
        return self.decays_biases or not tensor.endswith(".bias")
