"""Training in Keras: `fit` with callbacks, on the recipe's optimizer and batches.

The same program as `torch_impl/loop.py`, name for name.  It runs on whatever Keras runs on.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, callbacks, layers, losses, metrics, ops, optimizers, tree

from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.protocol import Judge
from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.plan import Phase, Training
from efficientnet_rosetta.common.training.processes import check_shares, process
from efficientnet_rosetta.common.training.rows import Epoch, Step
from efficientnet_rosetta.common.training.run import Run, Scores
from efficientnet_rosetta.common.training.schedules import Optimization
from efficientnet_rosetta.common.training.state import State
from efficientnet_rosetta.common.weights.canonical import Weights

from . import build
from ._compat import Stepping, apply, everywhere, gradients, set_rate
from .devices import Devices, arithmetic, devices, dump_scale, load_scale, set_seed, synchronize
from .layers import functional
from .loggers import loggers
from .optimizer import MovingAverage, cross_entropy, dump_slots, load_slots, make_optimizer
from .reading import Reader, piece, stream
from .scores import Logs, Losses, Metrics
from .weights import dump_weights, load_weights, network_of, role_of

# Keras's names for the arithmetic that a model is built with.
PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
}
# Of the loss in float16, to begin with: that of PyTorch's GradScaler.  It is halved where a
# gradient is infinite, in which case the step is left out, and doubled after 2,000 steps.
SCALE = 2.0**16


def fit(training: Training, weights: Weights, run: Run) -> None:
    """Train from the given weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
        MissingDependencyError: what a logger needs is not installed.
        KeyboardInterrupt: the run is to stop.
    """
    found = devices(training)
    if found.parts > 1:
        check_shares(training.train, found.parts, training.recipe.accumulation)
        check_shares(training.val, found.parts)
    with arithmetic(training.dtype), loggers(run) as reported:
        _fit(training, weights, run, found, reported)


def _fit(
    training: Training,
    weights: Weights,
    run: Run,
    devices: Devices,
    reported: list[callbacks.Callback],
) -> None:
    # A dropout that is made to drop nothing has no generator for a stage in which it does.
    network = changed(training.network, dropout=max(part.dropout for part in training.phases))
    with devices.scope():
        model = build(network, PRECISIONS[training.precision])
        load_weights(model, run.state.model if run.state else weights)
        kept, steps = training.recipe.average, training.steps_per_epoch
        average = MovingAverage(model, kept, steps) if kept else None
        if devices.parts > 1:
            synchronize(model)
        if average and run.state:
            average.load(run.state.average, run.state.epochs * steps)
    for phase in training.phases:
        done, best = (run.state.epochs, run.state.best_epoch) if run.state else (0, 0)
        if done < phase.epochs.stop and not training.is_over(done, best):
            _fit_phase(model, training, phase, run, average, devices, reported)
    if training.minival is not None:
        with devices.scope():
            load_weights(model, run.best_weights())
            scores = evaluate(model, training.val, run, training.workers)
        run.end(scores, len(training.val.samples))


def _fit_phase(
    model: keras.Model,
    training: Training,
    phase: Phase,
    run: Run,
    average: MovingAverage | None,
    devices: Devices,
    reported: list[callbacks.Callback],
) -> None:
    # Made outside of a strategy's scope: Keras would draw a batch in vain otherwise.
    task = functional(model.input, model.output, model.name, ClassificationTask)
    done = run.state.epochs if run.state else 0
    steps, reader = training.steps_per_epoch, Reader(model, run, training.workers)
    batches, selection = training.batches(done), training.selection
    places, numbers = range(done * steps, phase.epochs.stop * steps), range(len(selection))
    with (
        devices.scope(),
        stream(reader, batches, places) as train,
        stream(reader, selection, numbers, again=True) as val,
    ):
        freeze(model, phase)
        set_dropout(model, phase.dropout)
        task.class_weights = training.class_weights
        task.accumulation, task.sharing = training.recipe.accumulation, devices.sharing
        scaling = training.precision == "float16"
        task.prepare(phase.optimization, average, steps, devices.compiling, scaling)
        told = [_Keeping(model, training, phase, run, average), *reported]
        late = Losses(told, model=task, steps=steps, epochs=phase.epochs.stop)
        with late.settled():
            task.fit(
                train,
                initial_epoch=done,
                steps_per_epoch=steps,
                validation_data=val,
                validation_steps=len(numbers),
                callbacks=late,
                shuffle=False,
                epochs=phase.epochs.stop,
                verbose=0,
            )


def evaluate(
    model: keras.Model,
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
    if network_of(model).num_classes is None:
        raise UsageError("the network has no classifier to score; give it classes")
    task = functional(model.input, model.output, model.name, ClassificationTask)
    reader = Reader(model, run, workers)
    numbers = range(len(batches))
    with (
        arithmetic(model.inputs[0].dtype),
        stream(reader, batches, numbers) as images,
    ):
        task.prepare(None)
        task.judging = judge is not None
        told = [_Judging(judge)] if judge else []
        task.evaluate(images, steps=len(numbers), callbacks=told, verbose=0)
        return task.counted.found_scores()


class ClassificationTask(Stepping):
    """What Keras trains: a model in a phase of its training, and what it is scored by."""

    class_weights: tuple[float, ...] | None = None
    accumulation = 1  # parts that a batch is gone through in
    sharing = 1  # devices that have a share each of the batch that a step is given
    judging = False  # whether a step of evaluation hands on its logits

    def prepare(
        self,
        optimization: Optimization | None,
        average: MovingAverage | None = None,
        steps: int = 1,
        compiling: str | bool = "auto",
        scaling: bool = False,
    ) -> None:
        """Get ready to be trained, so many steps an epoch, or to be evaluated only.

        With `scaling`, the gradients are those of the loss times a scale.
        """
        self.smoothing = optimization.label_smoothing if optimization else 0.0
        self.average = average
        self.averages = average.variables if average else []  # on JAX, a part of the state
        self.counted = Metrics()
        self.rule: Any = make_optimizer(self, optimization, steps) if optimization else None
        optimizer = optimizers.LossScaleOptimizer(self.rule, SCALE) if scaling else self.rule
        self.compile(optimizer=optimizer, jit_compile=compiling, auto_scale_loss=False)
        if optimization:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[metrics.Metric]:
        """Means over images, which Keras resets for every epoch."""
        return self.counted.all

    def train_on(self, images: KerasTensor, targets: Any) -> dict[str, KerasTensor]:
        """A step of the optimizer, and of the average after it.

        The labels (N,) of mixed images come with those of their partners and with their shares;
        what counts as found of such an image is the class of `labels`.
        """
        loss, found = self.accumulated(images, targets)
        self.rule.begin_step()
        apply(self.optimizer, found, self.trainable_variables)
        if self.average:
            everywhere(self.average.update)
        return self.found(loss)

    def accumulated(
        self, images: KerasTensor, targets: Any
    ) -> tuple[KerasTensor, list[KerasTensor]]:
        """The loss of a batch and its gradients, which are means over the parts of it."""
        if self.accumulation == 1:
            return self.differentiated(images, targets)
        found = []
        for number in range(self.accumulation):
            part = partial(piece, number=number, pieces=self.accumulation, devices=self.sharing)
            found.append(self.differentiated(part(images), tree.map_structure(part, targets)))
        losses, gradients = zip(*found, strict=True)
        return sum(losses) / len(found), [
            sum(each) / len(found) for each in zip(*gradients, strict=True)
        ]

    def differentiated(
        self, images: KerasTensor, targets: Any
    ) -> tuple[KerasTensor, list[KerasTensor]]:
        """The loss of images that batch norm sees together, and its gradients."""
        labels, mixed = (targets[0], targets[1:]) if isinstance(targets, tuple) else (targets, None)

        def forward() -> tuple[KerasTensor, tuple[KerasTensor, KerasTensor]]:
            logits = self.logits(images, training=True)
            weights = self.class_weights
            if weights is not None:
                weights = ops.convert_to_tensor(weights, dtype=logits.dtype)
            loss = cross_entropy(logits, labels, self.smoothing, mixed, weights)
            return self.optimizer.scale_loss(loss), (loss, logits)

        (loss, logits), _, found = gradients(forward, self)
        self.counted.count(ops.broadcast_to(loss, ops.shape(labels)), logits, labels)
        return loss, found

    def score(self, images: KerasTensor, labels: KerasTensor) -> dict[str, KerasTensor]:
        """Score a batch, but for the places without an image."""
        logits = self.logits(images, training=False)
        kept = ops.maximum(labels, 0)
        each = losses.sparse_categorical_crossentropy(kept, logits, from_logits=True)
        self.counted.count(each, logits, labels)
        found = self.found(self.counted.scores[0].result())
        return {**found, "logits": logits, "labels": labels} if self.judging else found

    def logits(self, images: KerasTensor, training: bool) -> KerasTensor:
        """Of images (N, H, W, C) in the weights' own type, whatever the arithmetic."""
        return ops.cast(self(images, training=training), self.inputs[0].dtype)

    def found(self, loss: KerasTensor) -> dict[str, KerasTensor]:
        """What a step returns: the scores so far, but its own loss."""
        values = {metric.name: metric.result() for metric in self.metrics} | {"loss": loss}
        if process()[1] == 1:
            return values
        # Keras takes the mean over processes along the first axis, which a number has not.
        return {name: ops.reshape(value, (1,)) for name, value in values.items()}


class _Judging(callbacks.Callback):
    """Hands on the logits of every batch."""

    def __init__(self, judge: Judge):
        super().__init__()
        self.judge = judge

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Tell the number of a batch, the logits of what could be read, and all labels."""
        logits, labels = (ops.convert_to_numpy(logs[name]) for name in ("logits", "labels"))
        self.judge(batch, logits[labels >= 0], labels)


class _Keeping(callbacks.Callback):
    """What happens between the steps, and after an epoch."""

    def __init__(
        self,
        model: keras.Model,
        training: Training,
        phase: Phase,
        run: Run,
        average: MovingAverage | None,
    ):
        super().__init__()
        self.trained, self.plan, self.phase, self.run = model, training, phase, run
        self.average = average
        self.images, self.began, self.reached = 0, 0.0, 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the state of the run: its optimizer's only if it ended amid this phase."""
        state, steps = self.run.state, self.plan.steps_per_epoch
        self.done = (state.epochs if state else 0) * steps
        first = self.phase.began
        if state and state.epochs > first:
            load_slots(self.trained, self.model.rule, state.slots, self.done - first * steps)
        if state:
            load_scale(self.model.optimizer, state.slots)
        set_seed(self.trained, self.plan.seed, self.done * self.plan.recipe.accumulation)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Hand over what the steps of the epoch need, and start counting."""
        self.model.rule.begin_steps()
        if self.average:
            self.average.begin_steps()
        self.images, self.began = 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Note the step."""
        rate = self.rate
        self.run.step(Step(self.done, self.done // self.plan.steps_per_epoch, rate, logs["loss"]))
        self.done += 1
        self.images += self.plan.train.batch
        logs.update(learning_rate=rate, images_per_second=self.speed)

    @property
    def rate(self) -> float:
        """That of the step that is noted next."""
        first = self.phase.began * self.plan.steps_per_epoch
        return self.phase.optimization.rate(self.done - first)

    @property
    def speed(self) -> float:
        """Images a second in this epoch."""
        return self.images / (time.perf_counter() - self.began)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """The average is what is validated."""
        self.reached = self.speed
        if self.average:
            self.average.swap()

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Stop amid validation as well; Keras would wait for the scores at a batch's end."""
        self.run.stop_if_asked()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Back to what is trained."""
        if self.average:
            self.average.swap()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Log the epoch, and keep it."""
        trained = Scores(logs["loss"], logs["top1"], logs["top5"])
        validated: Scores = self.model.counted.found_scores()
        row = Epoch(
            epoch + 1,
            self.done,
            *trained,
            *validated,
            self.phase.optimization.rate(self.model.rule.steps - 1),
            self.reached,
            len(self.run.skipped),
        )
        # For Keras's own callbacks, which come after this one.
        logs.update({name: value for name, value in vars(row).items() if name != "epoch"})
        use = self.average.dump() if self.average else dump_weights(self.trained)
        self.run.end_epoch(row, self.plan.network, use, self.state)
        if self.run.state and self.plan.is_over(epoch + 1, self.run.state.best_epoch):
            self.model.stop_training = True

    def state(self, best: float) -> State:
        """What it takes to go on from here."""
        return State(
            self.done // self.plan.steps_per_epoch,
            best,
            dump_weights(self.trained),
            self.average.dump() if self.average else {},
            {**dump_slots(self.trained, self.model.rule), **dump_scale(self.model.optimizer)},
        )


def freeze(model: keras.Model, phase: Phase) -> None:
    """Train what a phase trains; all else runs as in inference."""
    network = network_of(model)
    owners = {layer.role: part.role for part in network.sections for layer in part.layers}
    for layer in model.layers:
        if (role := role_of(layer)) in owners:
            is_norm = isinstance(layer, layers.BatchNormalization)
            layer.trainable = owners[role] not in phase.frozen and (
                not (is_norm and phase.keeps_batch_norms)
            )
        role = role.removesuffix(".drop_path")
        if role in network.drop_path_rates and isinstance(layer, layers.Dropout):
            set_rate(layer, 0.0 if role in phase.frozen else network.drop_path_rates[role])


def set_dropout(model: keras.Model, rate: float) -> None:
    """Have so large a share of the features before the classifier dropped in training."""
    set_rate(model.get_layer("dropout"), rate)
