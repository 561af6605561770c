"""Training in PyTorch: Lightning's loop, on the recipe's optimizer and batches.

The same program as `keras_impl/loop.py`, name for name.
"""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from efficientnet_rosetta.common._util.quiet import quiet_stderr
from efficientnet_rosetta.common.backends.protocol import Judge
from efficientnet_rosetta.common.errors import RosettaError, needs
from efficientnet_rosetta.common.images.batches import NO_IMAGE, Batches
from efficientnet_rosetta.common.training.plan import Phase, Training, step_seed
from efficientnet_rosetta.common.training.processes import check_shares, process
from efficientnet_rosetta.common.training.rows import Epoch, Step
from efficientnet_rosetta.common.training.run import Run, Scores
from efficientnet_rosetta.common.training.state import State
from efficientnet_rosetta.common.weights.canonical import Weights

from . import build
from ._compat import begin_at, no_tensorflow
from .devices import (
    arithmetic,
    compile_model,
    dump_scale,
    layout,
    load_scale,
    sends_levels,
    set_seed,
    synchronize,
    tell,
)
from .layers import BatchNorm
from .optimizer import MovingAverage, cross_entropy, dump_slots, load_slots, make_optimizer
from .reading import Batch, Pieces, looked_up, stream
from .scores import Losses, Metrics
from .weights import dump_weights, load_weights, network_of

try:
    with needs("training in PyTorch"), no_tensorflow(), quiet_stderr():
        from lightning.pytorch import LightningModule, Trainer
        from lightning.pytorch.loggers import Logger
        from lightning.pytorch.plugins.precision import MixedPrecision
        from lightning.pytorch.strategies import DDPStrategy
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401 - or the logger would, later

        from .loggers import loggers
except RuntimeError as error:
    if "torchvision" not in str(error):
        raise
    # Lightning's metrics import torchvision wherever it is installed.
    raise RosettaError(
        f"torchvision was not made for PyTorch {torch.__version__} ({error}); install the one that "
        "was, or uninstall it"
    ) from error

# Lightning's names for the arithmetic; "32-true" leaves the weights what they are.
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
PRECISIONS: dict[str, Precision] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float16": "16-mixed",
    "float64": "32-true",
}


def fit(training: Training, weights: Weights, run: Run) -> None:
    """Train from the given weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
        KeyboardInterrupt: the run is to stop.
    """
    with _quiet(), _interruptible(), loggers(run) as reported:
        _fit(training, weights, run, reported)


def _fit(training: Training, weights: Weights, run: Run, reported: list[Logger]) -> None:
    trainer = _trainer(training, reported)
    device, parts = trainer.strategy.root_device, trainer.world_size
    check_shares(training.train, parts, training.recipe.accumulation)
    check_shares(training.val, parts)
    model = build(training.network, training.dtype)
    if parts > 1:
        synchronize(model)
    # On its device from the beginning: so is then what the average and the optimizer keep.
    place: dict[str, Any] = {"device": device, "memory_format": layout(training.precision, device)}
    model.to(**place)
    if training.compile:
        compile_model(model, device, parts)
    load_weights(model, run.state.model if run.state else weights)
    kept = training.recipe.average
    average = MovingAverage(model, kept) if kept else None
    if run.state:
        begin_at(trainer, run.state.epochs)
        if average:
            average.load(run.state.average, run.state.epochs * training.steps_per_epoch)
        load_scale(_scaler(trainer), run.state.slots)
    if run.first:
        tell(training, device, parts)
    with arithmetic(training, device):
        for phase in training.phases:
            done, best = (run.state.epochs, run.state.best_epoch) if run.state else (0, 0)
            if done < phase.epochs.stop and not training.is_over(done, best):
                trainer.fit(ClassificationTask(model, training, phase, run, average))
        if training.minival is not None:
            load_weights(model, run.best_weights())
            evaluation = _Evaluation(model, run)
            val = stream(training.val, training.workers, trainer.global_rank, parts)
            trainer.validate(evaluation, val, verbose=False)
            run.end(evaluation.scores, len(training.val.samples))


def evaluate(
    model: nn.Module,
    batches: Batches,
    run: Run,
    workers: int = 0,
    judge: Judge | None = None,
) -> Scores:
    """Scores of the model on all images that can be read; `judge` is told of every batch.

    Raises:
        UsageError: the network has no classifier.
        RosettaError: none can.
    """
    evaluation = _Evaluation(model, run, judge)
    with _quiet(), _interruptible():
        trainer = Trainer(
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            devices=1,
        )
        # As in training, or the last digits of the scores would be others than those of the run.
        precision = str(next(model.parameters()).dtype).removeprefix("torch.")
        evaluation.layout = layout(precision, trainer.strategy.root_device)
        place: dict[str, Any] = {"memory_format": evaluation.layout}
        model.to(**place)
        trainer.validate(evaluation, stream(batches, workers), verbose=False)
    return evaluation.scores


class _Evaluation(LightningModule):
    """A model that is scored on what can be read."""

    scores: Scores
    table: Tensor  # of what the levels of images are, where they come as such
    layout = torch.preserve_format  # of images in memory

    def __init__(self, model: nn.Module, run: Run, judge: Judge | None = None):
        super().__init__()
        self.model, self.run, self.network = model, run, network_of(model)
        self.judge = judge
        self.val_metrics, self.losses = Metrics(self.network), Losses(run.step)

    def validation_step(self, batch: Batch | RosettaError, number: int) -> None:
        """Score a batch, but for the places without an image."""
        images, labels, *_ = self.readable(batch)
        logits = self.logits(images)
        if self.judge:
            given = labels.cpu().numpy()
            self.judge(number, logits.cpu().numpy()[given != NO_IMAGE], given)
        # To leave those places out of the batch, the device would have to say first which they are.
        loss = F.cross_entropy(logits, labels, ignore_index=NO_IMAGE, reduction="sum")
        self.val_metrics.count(loss, logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Reduce the scores over all batches and processes."""
        self.scores = self.val_metrics.found_scores()

    def readable(self, batch: Batch | RosettaError) -> Batch:
        """A batch, unless it could not be read; what was left out of it is noted."""
        if isinstance(batch, RosettaError):
            self.losses.settle()
            raise batch
        self.run.note(batch[2])
        return batch

    def logits(self, images: Tensor) -> Tensor:
        """Of images (N, C, H, W) in the weights' own type, under autocast as well."""
        dtype = next(self.model.parameters()).dtype
        if images.dtype == torch.uint8:
            images = looked_up(images, self.table)
        return self.model(images.to(dtype, memory_format=self.layout)).to(dtype)


class ClassificationTask(_Evaluation):
    """What Lightning trains: a model in a phase of its training, and what it is scored by."""

    class_weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        phase: Phase,
        run: Run,
        average: MovingAverage | None,
    ):
        super().__init__(model, run)
        self.plan, self.phase, self.average = training, phase, average
        freeze(model, phase)
        set_dropout(model, phase.dropout)
        weights = training.class_weights
        dtype = next(model.parameters()).dtype
        table = None if weights is None else torch.tensor(weights, dtype=dtype)
        self.register_buffer("class_weights", table)
        self.register_buffer("table", torch.tensor(training.train.table))
        self.optimizer = make_optimizer(model, phase.optimization)
        self.train_metrics = Metrics(self.network)
        self.images, self.began, self.seconds = 0, 0.0, 0.0
        self.done = (run.state.epochs if run.state else 0) * training.steps_per_epoch
        self.batches = training.batches(phase.epochs.start)
        self.first = phase.began * training.steps_per_epoch
        if run.state and run.state.epochs > phase.began:
            load_slots(model, self.optimizer, run.state.slots, self.done - self.first)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's."""
        return self.optimizer

    def train_dataloader(self) -> Iterable[Any]:
        """Batches to train on, other ones in every epoch."""
        raw = sends_levels(self.batches, self.device)
        whole = stream(self.batches, self.plan.workers, *self.share, raw)
        return whole if self.pieces == 1 else Pieces(whole, self.pieces)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches to validate on, the same ones after every epoch."""
        raw = sends_levels(self.plan.selection, self.device)
        return stream(self.plan.selection, self.plan.workers, *self.share, raw)

    @property
    def pieces(self) -> int:
        """Of a batch, whose gradients are added up to those of a step."""
        return self.plan.recipe.accumulation

    @property
    def rate(self) -> float:
        """The learning rate of the step that is next."""
        return self.phase.optimization.rate(self.done - self.first)

    @property
    def share(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return self.trainer.global_rank, self.trainer.world_size

    def on_train_start(self) -> None:
        """Follow the model to its device: Lightning moved it to the CPU after the phase before."""
        self.layout = layout(self.plan.precision, self.device)
        if self.average:
            self.average.follow(self.model)

    def on_train_epoch_start(self) -> None:
        """Start counting; what is frozen runs as in inference, and all else does not."""
        self.model.train()
        for role in self.phase.frozen:
            self.model.get_submodule(role).eval()
        if self.phase.keeps_batch_norms:
            for norm in _batch_norms(self.model):
                norm.eval()
        self.images, self.seconds = 0, 0.0
        self.loss = torch.zeros((), device=self.device)

    def on_train_batch_start(self, batch: Batch | RosettaError, number: int) -> None:
        """What is random in a step depends on the step, and so comes again when it is repeated."""
        if number == 0:
            self.began = time.perf_counter()
        if number % self.pieces == 0:
            if self.plan.compile:
                # Not before every piece: gradients that are added up are what graphs have left.
                torch.compiler.cudagraph_mark_step_begin()
            set_seed(self.device, step_seed(self.plan.seed, self.done, self.trainer.global_rank))
            # One that float16 leaves out, as its gradients are no numbers, is a step all the same.
            self.optimizer.steps = self.done - self.first

    def training_step(self, batch: Batch | RosettaError, number: int) -> Tensor:
        """The loss of a batch; what counts as found of a mixed image is the class of `labels`."""
        images, labels, _, *both = self.readable(batch)
        mixed = (both[0], both[1]) if self.batches.mixing else None
        logits = self.logits(images)
        smoothing, weights = self.phase.optimization.label_smoothing, self.class_weights
        loss = cross_entropy(logits, labels, smoothing, mixed, weights)
        self.loss = self.loss + loss.detach() / self.pieces
        self.train_metrics.count(loss * len(labels), logits, labels)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch | RosettaError, number: int) -> None:
        """Follow with the average, and note the step, at the last piece of a batch."""
        if (number + 1) % self.pieces:
            return
        if self.average:
            self.average.update()
        step = Step(self.done, self.current_epoch, self.rate, math.nan)
        self.losses.send(step, self.loss)
        self.loss = torch.zeros_like(self.loss)
        self.done += 1
        # What is written at the end of an epoch must not come before a loss that was no number.
        is_last = self.done % self.plan.steps_per_epoch == 0
        self.losses.settle(but=0 if is_last else 1)
        self.images += self.plan.train.batch
        self.seconds = time.perf_counter() - self.began

    @property
    def speed(self) -> float:
        """Images a second in this epoch, those of all processes together."""
        return self.images / self.seconds

    def on_validation_start(self) -> None:
        """The average is what is validated."""
        if self.average:
            self.average.swap()

    def on_validation_batch_start(
        self, batch: Batch | RosettaError, number: int, loader: int = 0
    ) -> None:
        """Stop amid validation as well."""
        self.run.stop_if_asked()

    def on_validation_end(self) -> None:
        """Back to what is trained."""
        if self.average:
            self.average.swap()

    def on_train_epoch_end(self) -> None:
        """Log the epoch, and keep it; the last one of a phase ends that."""
        self.trainer.should_stop = self.current_epoch + 1 == self.phase.epochs.stop
        rate = self.phase.optimization.rate(self.done - 1 - self.first)
        row = Epoch(
            self.current_epoch + 1,
            self.done,
            *self.train_metrics.found_scores(),
            *self.scores,
            rate,
            self.speed,
            len(self.run.skipped),
        )
        logged = {name: float(value) for name, value in vars(row).items() if name != "epoch"}
        self.log_dict(logged, rank_zero_only=True)
        use = self.average.dump() if self.average else dump_weights(self.model)
        self.run.end_epoch(row, self.network, use, self.state)
        if self.run.state and self.plan.is_over(self.current_epoch + 1, self.run.state.best_epoch):
            self.trainer.should_stop = True

    def state(self, best: float) -> State:
        """What it takes to go on from here."""
        return State(
            self.current_epoch + 1,
            best,
            dump_weights(self.model),
            self.average.dump() if self.average else {},
            {**dump_slots(self.model, self.optimizer), **dump_scale(_scaler(self.trainer))},
        )


def freeze(model: nn.Module, phase: Phase) -> None:
    """Train what a phase trains; `ClassificationTask` has all else run as in inference."""
    for section in network_of(model).sections:
        model.get_submodule(section.role).requires_grad_(section.role not in phase.frozen)
    if phase.keeps_batch_norms:
        for norm in _batch_norms(model):
            norm.requires_grad_(False)


def _batch_norms(model: nn.Module) -> list[BatchNorm]:
    """Those of all sections."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


def set_dropout(model: nn.Module, rate: float) -> None:
    """Have so large a share of the features before the classifier dropped in training."""
    dropout: Any = model.dropout
    dropout.p = rate


# ------------------------------------------------------------------ settings


def _trainer(training: Training, reported: list[Logger]) -> Trainer:
    """Lightning's loop; torchrun says how many processes there are, or Lightning starts them."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", training.devices))
    nodes = max(1, process()[1] // local) if "LOCAL_WORLD_SIZE" in os.environ else 1
    # The statistics of synchronized batch norms are the same everywhere.
    strategy = DDPStrategy(broadcast_buffers=False) if local * nodes > 1 else "auto"
    precision = PRECISIONS[training.precision]
    # Lightning would take bfloat16 where there is no GPU, and say so in a log.
    on_cpu = precision == "16-mixed" and not torch.accelerator.is_available()
    plugins: list[Any] = [MixedPrecision("16-mixed", "cpu")] if on_cpu else []
    return Trainer(
        max_epochs=training.recipe.epochs,
        devices=local,
        num_nodes=nodes,
        strategy=strategy,
        precision=None if plugins else precision,
        plugins=plugins,
        accumulate_grad_batches=training.recipe.accumulation,
        # Images of one size are worth trying the kernels that there are for them; NVIDIA's only.
        benchmark=True,
        logger=reported or False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )


def _scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """What scales the loss, which float16 needs."""
    return getattr(trainer.precision_plugin, "scaler", None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice and its list of the hardware."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning|torchmetrics")
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """An interruption is none but what it is; Lightning would end the process."""
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
