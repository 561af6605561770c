"""Training in PyTorch: Lightning's loop, on the recipe's optimizer and batches.

The same program as `keras_impl/loop.py`, name for name.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from efficientnet_rosetta.common._util.quiet import quiet_stderr
from efficientnet_rosetta.common.backends.protocol import Judge
from efficientnet_rosetta.common.errors import RosettaError, UsageError, needs
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.training.plan import Phase, Training, step_seed
from efficientnet_rosetta.common.training.processes import check_shares, process
from efficientnet_rosetta.common.training.run import (
    TENSORBOARD,
    TOP,
    Epoch,
    Run,
    Scores,
    Step,
)
from efficientnet_rosetta.common.training.state import State
from efficientnet_rosetta.common.weights.canonical import Weights

from . import build
from ._compat import begin_at, no_tensorflow
from .layers import BatchNorm
from .optimizer import MovingAverage, cross_entropy, dump_slots, load_slots, make_optimizer
from .weights import dump_weights, load_weights, network_of

try:
    with needs("training in PyTorch"), no_tensorflow(), quiet_stderr():
        from lightning.pytorch import LightningModule, Trainer
        from lightning.pytorch.loggers import TensorBoardLogger
        from lightning.pytorch.strategies import DDPStrategy
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401 - or the logger would, later
        from torchmetrics import MeanMetric, SumMetric
        from torchmetrics.classification import MulticlassAccuracy
except RuntimeError as error:
    if "torchvision" not in str(error):
        raise
    # torchmetrics imports torchvision wherever it is installed.
    raise RosettaError(
        f"torchvision was not made for PyTorch {torch.__version__} ({error}); install the one that "
        "was, or uninstall it"
    ) from error

# Lightning's names for the arithmetic; "32-true" leaves the weights what they are.
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: dict[str, Precision] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float64": "32-true",
}
# Images, labels, what could not be read, and the other classes of images and the shares of labels.
Batch = tuple[Tensor, Tensor, dict[str, str], Tensor, Tensor]


def fit(training: Training, weights: Weights, run: Run, progress: bool = False) -> None:
    """Train from the given weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
        KeyboardInterrupt: the run is to stop.
    """
    with _quiet(), _interruptible():
        _fit(training, weights, run, progress)


def _fit(training: Training, weights: Weights, run: Run, progress: bool) -> None:
    trainer = _trainer(training, run, progress)
    if (parts := trainer.world_size) > 1:
        check_shares(training.train, parts)
        check_shares(training.val, parts)
    model = build(training.network, training.dtype)
    if parts > 1:
        synchronize(model)
    # On its device from the beginning: so is then what the average and the optimizer keep.
    model.to(trainer.strategy.root_device)
    load_weights(model, run.state.model if run.state else weights)
    kept = training.recipe.average
    average = MovingAverage(model, kept) if kept else None
    if run.state:
        begin_at(trainer, run.state.epochs)
        if average:
            average.load(run.state.average, run.state.epochs * training.steps_per_epoch)
    for phase in training.phases:
        done, best = (run.state.epochs, run.state.best_epoch) if run.state else (0, 0)
        if done < phase.epochs.stop and not training.is_over(done, best):
            trainer.fit(ClassificationTask(model, training, phase, run, average))
    if training.minival is not None:
        load_weights(model, run.best_weights())
        evaluation = _Evaluation(model, run)
        share = trainer.global_rank, parts
        trainer.validate(evaluation, _loader(training.val, training.workers, *share), verbose=False)
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
        trainer.validate(evaluation, _loader(batches, workers), verbose=False)
    return evaluation.scores


class _Evaluation(LightningModule):
    """A model that is scored on what can be read."""

    scores: Scores

    def __init__(self, model: nn.Module, run: Run, judge: Judge | None = None):
        super().__init__()
        self.model, self.run, self.network = model, run, network_of(model)
        self.judge = judge
        self.val_metrics = _Metrics(self.network)

    def validation_step(self, batch: Batch | RosettaError, number: int) -> None:
        """Score a batch, but for the places without an image."""
        images, labels, *_ = self.readable(batch)
        read = labels >= 0
        if read.any():
            logits = self.logits(images[read])
            if self.judge:
                self.judge(number, logits.cpu().numpy(), labels.cpu().numpy())
            labels = labels[read]
            self.val_metrics.count(cross_entropy(logits, labels, 0.0), logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Reduce the scores over all batches and processes."""
        self.scores = self.val_metrics.found_scores()

    def readable(self, batch: Batch | RosettaError) -> Batch:
        """A batch, unless it could not be read; what was left out of it is noted."""
        if isinstance(batch, RosettaError):
            raise batch
        self.run.note(batch[2])
        return batch

    def logits(self, images: Tensor) -> Tensor:
        """Of images (N, C, H, W) in the weights' own type, under autocast as well."""
        dtype = next(self.model.parameters()).dtype
        return self.model(images.to(dtype)).to(dtype)


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
        freeze(model, phase.frozen)
        set_dropout(model, phase.dropout)
        weights = training.class_weights
        dtype = next(model.parameters()).dtype
        table = None if weights is None else torch.tensor(weights, dtype=dtype)
        self.register_buffer("class_weights", table)
        self.optimizer = make_optimizer(model, phase.optimization)
        self.train_metrics = _Metrics(self.network)
        self.images, self.began, self.seconds = 0, 0.0, 0.0
        self.done = (run.state.epochs if run.state else 0) * training.steps_per_epoch
        self.batches = training.batches(phase.epochs.start)
        if run.state and run.state.epochs > phase.began:
            first = phase.began * training.steps_per_epoch
            load_slots(model, self.optimizer, run.state.slots, self.done - first)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's."""
        return self.optimizer

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches to train on, other ones in every epoch."""
        return _loader(self.batches, self.plan.workers, *self.share)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches to validate on, the same ones after every epoch."""
        return _loader(self.plan.selection, self.plan.workers, *self.share)

    @property
    def share(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return self.trainer.global_rank, self.trainer.world_size

    def on_train_epoch_start(self) -> None:
        """Start counting; frozen sections run as in inference, all others do not."""
        self.model.train()
        for role in self.phase.frozen:
            self.model.get_submodule(role).eval()
        self.images, self.seconds = 0, 0.0

    def on_train_batch_start(self, batch: Batch | RosettaError, number: int) -> None:
        """What is random in a step depends on the step, and so comes again when it is repeated."""
        if self.images == 0:
            self.began = time.perf_counter()
        torch.manual_seed(step_seed(self.plan.seed, self.done, self.trainer.global_rank))

    def training_step(self, batch: Batch | RosettaError, number: int) -> Tensor:
        """The loss of a batch; what counts as found of a mixed image is the class of `labels`."""
        images, labels, _, *both = self.readable(batch)
        mixed = (both[0], both[1]) if self.batches.mixing else None
        logits = self.logits(images)
        smoothing, weights = self.phase.optimization.label_smoothing, self.class_weights
        loss = cross_entropy(logits, labels, smoothing, mixed, weights)
        self.loss = loss.detach()
        self.accuracies = self.train_metrics.count(loss, logits, labels)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch | RosettaError, number: int) -> None:
        """Follow with the average, and note the step."""
        if self.average:
            self.average.update()
        loss = self.trainer.strategy.reduce(self.loss, reduce_op="mean").item()
        first = self.phase.began * self.plan.steps_per_epoch
        rate = self.phase.optimization.rate(self.done - first)
        self.run.step(Step(self.done, self.current_epoch, rate, loss))
        self.done += 1
        self.images += self.plan.train.batch
        self.seconds = time.perf_counter() - self.began
        values = {"loss": loss, "learning_rate": rate, "images_per_second": self.speed}
        self.log_dict(
            {**values, **self.accuracies}, prog_bar=True, logger=False, rank_zero_only=True
        )

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
        rate = self.phase.optimization.rate(self.optimizer.steps - 1)
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
            dump_slots(self.model, self.optimizer),
        )


def freeze(model: nn.Module, sections: frozenset[str]) -> None:
    """Train all sections but these, which `ClassificationTask` has run as in inference."""
    for section in network_of(model).sections:
        model.get_submodule(section.role).requires_grad_(section.role not in sections)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Have so large a share of the features before the classifier dropped in training."""
    dropout: Any = model.dropout
    dropout.p = rate


class SynchronizedBatchNorm(BatchNorm):
    """Batch normalization over the batches of all processes, as if they were one."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training:
            return super().forward(x)
        values = x.to(self.mean.dtype)
        mean = _mean(values)
        centred = values - mean[:, None, None]
        variance = _mean(centred.square())
        with torch.no_grad():
            self.mean.lerp_(mean, 1 - self.momentum)
            self.variance.lerp_(variance, 1 - self.momentum)
        scale = self.scale * (variance + self.epsilon).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())


def _mean(x: Tensor) -> Tensor:
    """Of every channel, over all processes, whose batches are of the same size."""
    return _Sum.apply(x.mean((0, 2, 3))) / torch.distributed.get_world_size()


def synchronize(model: nn.Module) -> None:
    """Have every batch norm see the batches of all processes."""
    dialect = network_of(model).dialect
    for name, module in list(model.named_modules()):
        if isinstance(module, BatchNorm):
            synchronized = SynchronizedBatchNorm(len(module.scale), dialect).to(module.scale)
            synchronized.load_state_dict(module.state_dict())
            model.set_submodule(name, synchronized)


# ------------------------------------------------------------------ batches


class _Read(Dataset[Any]):
    """Batches by epoch and number, read in worker processes."""

    def __init__(self, batches: Batches, part: int, parts: int):
        self.batches, self.part, self.parts = batches, part, parts

    def __getitem__(self, place: tuple[int, int]) -> Batch | RosettaError:
        try:
            found = self.batches.read(*place, self.part, self.parts)
        except RosettaError as error:
            return error  # what is raised in a worker arrives as its whole traceback
        images, labels, partners, shares = map(
            torch.from_numpy, (found.images, found.labels, found.partners, found.shares)
        )
        return images, labels, found.skipped, partners, shares


class _Places(Sampler[tuple[int, int]]):
    """The batches of an epoch, which Lightning sets as it does for any sampler that has one."""

    def __init__(self, batches: Batches):
        self.number, self.epoch = len(batches), 0

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self.epoch, number) for number in range(self.number)])


def _loader(batches: Batches, workers: int, part: int = 0, parts: int = 1) -> DataLoader[Any]:
    return DataLoader(
        _Read(batches, part, parts),
        batch_size=None,
        sampler=_Places(batches),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


# ------------------------------------------------------------------ scores and settings


class _Metrics(nn.Module):
    """Means over images, those of all processes."""

    def __init__(self, network: Network):
        super().__init__()
        if network.num_classes is None:
            raise UsageError("the network has no classifier to score; give it classes")
        self.loss, self.images = MeanMetric(), SumMetric()
        self.top1, self.top5 = (
            MulticlassAccuracy(
                network.num_classes, top_k=min(k, network.num_classes), average="micro"
            )
            for k in (1, TOP)
        )

    def count(self, loss: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Count a batch, whose mean loss is given; its own accuracies, those of this process."""
        self.loss.update(loss.detach(), len(labels))
        self.images.update(len(labels))
        found = logits.detach()
        return {"top1": self.top1(found, labels), "top5": self.top5(found, labels)}

    def found_scores(self) -> Scores:
        """The means so far, after which counting starts anew.

        Raises:
            RosettaError: no image could be read.
        """
        metrics = self.loss, self.top1, self.top5, self.images
        loss, top1, top5, images = (metric.compute().item() for metric in metrics)
        for metric in metrics:
            metric.reset()
        if not images:
            raise RosettaError("no image could be read to validate on")
        return Scores(loss, top1, top5)


def _trainer(training: Training, run: Run, progress: bool) -> Trainer:
    """Lightning's loop; torchrun says how many processes there are, or Lightning starts them."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", training.devices))
    nodes = max(1, process()[1] // local) if "LOCAL_WORLD_SIZE" in os.environ else 1
    # The statistics of synchronized batch norms are the same everywhere.
    strategy = DDPStrategy(broadcast_buffers=False) if local * nodes > 1 else "auto"
    return Trainer(
        max_epochs=training.recipe.epochs,
        devices=local,
        num_nodes=nodes,
        strategy=strategy,
        precision=PRECISIONS[training.precision],
        logger=TensorBoardLogger(run.folder, name=None, version=TENSORBOARD),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
        use_distributed_sampler=False,
    )


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
