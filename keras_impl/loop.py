"""Training in Keras: `fit` with callbacks, on the recipe's optimizer and batches.

The same program as `torch_impl/loop.py`, name for name; it runs on TensorFlow.
"""

from __future__ import annotations

import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, callbacks, layers, losses, metrics, ops

from efficientnet_rosetta.common.backends.protocol import Judge
from efficientnet_rosetta.common.backends.values import to_layout
from efficientnet_rosetta.common.errors import RosettaError, UsageError, needs
from efficientnet_rosetta.common.images.batches import Batches
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
from efficientnet_rosetta.common.training.schedules import Optimization
from efficientnet_rosetta.common.training.state import State
from efficientnet_rosetta.common.weights.canonical import Weights

from . import build
from ._compat import set_rate, set_seed, set_synchronized
from .layers import functional
from .optimizer import MovingAverage, cross_entropy, dump_slots, load_slots, make_optimizer
from .weights import dump_weights, load_weights, network_of, role_of

with needs("training in Keras"):
    import tensorflow as tf

if (_backend := keras.config.backend()) != "tensorflow":
    raise UsageError(f"Keras trains on TensorFlow here, not on {_backend}; unset KERAS_BACKEND")

# Keras's names for the arithmetic that a model is built with.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float64": "float64"}
Logs = dict[str, Any]  # what Keras hands to its callbacks


def fit(training: Training, weights: Weights, run: Run, progress: bool = False) -> None:
    """Train from the given weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
        MissingDependencyError: TensorBoard is not installed.
        KeyboardInterrupt: the run is to stop.
    """
    with needs("training in Keras"):
        import tensorboard  # noqa: F401 - or Keras's callback would say so after an epoch
    strategy = _strategy(training)
    if (parts := strategy.num_replicas_in_sync) > 1:
        check_shares(training.train, parts)
        check_shares(training.val, parts)
    with strategy.scope(), _quiet():
        model = build(training.network, PRECISIONS[training.precision])
        load_weights(model, run.state.model if run.state else weights)
        kept = training.recipe.average
        average = _TracedAverage(model, kept) if kept else None
        if parts > 1:
            synchronize(model)
        if average and run.state:
            average.load(run.state.average, run.state.epochs * training.steps_per_epoch)
    for phase in training.phases:
        done, best = (run.state.epochs, run.state.best_epoch) if run.state else (0, 0)
        if done < phase.epochs.stop and not training.is_over(done, best):
            _fit_phase(model, training, phase, run, average, progress, strategy)
    if training.minival is not None:
        with strategy.scope():
            load_weights(model, run.best_weights())
            scores = evaluate(model, training.val, run, training.workers)
        run.end(scores, len(training.val.samples))


def _fit_phase(
    model: keras.Model,
    training: Training,
    phase: Phase,
    run: Run,
    average: MovingAverage | None,
    progress: bool,
    strategy: tf.distribute.Strategy,
) -> None:
    # Made outside of the strategy's scope: Keras would draw a batch in vain otherwise.
    task = functional(model.input, model.output, model.name, ClassificationTask)
    with strategy.scope(), _quiet():
        freeze(model, phase.frozen)
        set_dropout(model, phase.dropout)
        task.class_weights = training.class_weights
        task.prepare(phase.optimization, strategy.num_replicas_in_sync)
        done = run.state.epochs if run.state else 0
        selection = training.selection
        steps, reader = training.steps_per_epoch, _Reader(model, run, training.workers)
        logs = [callbacks.TensorBoard(run.folder / TENSORBOARD)] if run.first else []
        with reader.reporting():
            task.fit(
                reader.dataset(
                    training.batches(done), range(done * steps, phase.epochs.stop * steps)
                ),
                epochs=phase.epochs.stop,
                initial_epoch=done,
                steps_per_epoch=steps,
                validation_data=reader.dataset(selection, range(len(selection)), again=True),
                validation_steps=len(selection),
                callbacks=[_Keeping(model, training, phase, run, average), *logs],
                verbose=1 if progress else 0,
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
    task.prepare(None)
    task.judging = judge is not None
    told = [_Judging(judge)] if judge else []
    reader = _Reader(model, run, workers)
    with _quiet(), reader.reporting():
        task.evaluate(reader.dataset(batches, range(len(batches))), callbacks=told, verbose=0)
    return task.found_scores()


class _TracedAverage(MovingAverage):
    """One operation at a time would take as long as a step of a small network."""

    def __init__(self, model: keras.Model, decay: float):
        super().__init__(model, decay)
        self.traced = tf.function(super().follow)

    def follow(self, taken: KerasTensor) -> None:
        """Move every average towards its variable by a share of the way."""
        self.traced(taken)


class ClassificationTask(keras.Model):
    """What Keras trains: a model in a phase of its training, and what it is scored by."""

    class_weights: tuple[float, ...] | None = None
    judging = False  # whether a step of evaluation hands on its logits

    def prepare(self, optimization: Optimization | None, replicas: int = 1) -> None:
        """Get ready to be trained, on so many devices, or to be evaluated only."""
        self.smoothing = optimization.label_smoothing if optimization else 0.0
        self.replicas = replicas
        self.scores = [metrics.Mean("loss"), metrics.Mean("top1"), metrics.Mean(f"top{TOP}")]
        self.images = metrics.Sum("images")
        self.compile(
            optimizer=make_optimizer(self, optimization) if optimization else None,
            # Keras would see to this itself in a model made under a strategy.
            jit_compile="auto" if replicas == 1 else False,
        )
        if optimization:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[metrics.Metric]:
        """Means over images, which Keras resets for every epoch."""
        return [*self.scores, self.images]

    def found_scores(self) -> Scores:
        """The scores of what was counted last.

        Raises:
            RosettaError: no image could be read.
        """
        if not float(self.images.result()):
            raise RosettaError("no image could be read to validate on")
        return Scores(*(float(score.result()) for score in self.scores))

    def train_step(self, batch: tuple[KerasTensor, Any]) -> dict[str, KerasTensor]:
        """A step of the optimizer; what counts as found of a mixed image is the class of `labels`.

        The labels (N,) of mixed images come with those of their partners and with their shares.
        """
        images, targets = batch
        labels, mixed = (targets[0], targets[1:]) if isinstance(targets, tuple) else (targets, None)
        with tf.GradientTape() as tape:
            logits = self.logits(images, training=True)
            weights = self.class_weights
            if weights is not None:
                weights = ops.convert_to_tensor(weights, dtype=logits.dtype)
            loss = cross_entropy(logits, labels, self.smoothing, mixed, weights)
            # The optimizer adds up the gradients of all devices.
            shared = loss / self.replicas
        trained = self.trainable_variables
        self.optimizer.apply(tape.gradient(shared, trained), trained)
        self.update(ops.broadcast_to(loss, ops.shape(labels)), logits, labels)
        return self.found(loss)

    def test_step(self, batch: tuple[KerasTensor, KerasTensor]) -> dict[str, KerasTensor]:
        """Score a batch, but for the places without an image."""
        images, labels = batch
        logits = self.logits(images, training=False)
        kept = ops.maximum(labels, 0)
        each = losses.sparse_categorical_crossentropy(kept, logits, from_logits=True)
        self.update(each, logits, labels)
        found = self.found(self.scores[0].result())
        return {**found, "logits": logits, "labels": labels} if self.judging else found

    def logits(self, images: KerasTensor, training: bool) -> KerasTensor:
        """Of images (N, H, W, C) in the weights' own type, whatever the arithmetic."""
        return ops.cast(self(images, training=training), self.weights[0].dtype)

    def update(self, loss: KerasTensor, logits: KerasTensor, labels: KerasTensor) -> None:
        """Count a batch, whose losses are given, but for the places without an image."""
        weight = ops.cast(labels >= 0, "float32")
        kept = ops.maximum(labels, 0)
        classes = logits.shape[-1]
        hits = [ops.in_top_k(kept, ops.cast(logits, "float32"), min(k, classes)) for k in (1, TOP)]
        for score, values in zip(self.scores, (loss, *hits), strict=True):
            score.update_state(values, weight)
        self.images.update_state(weight)

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
        self.images, self.began, self.seconds = 0, 0.0, 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the state of the run, if it ended amid this phase."""
        state, steps = self.run.state, self.plan.steps_per_epoch
        self.done = (state.epochs if state else 0) * steps
        first = self.phase.began
        if state and state.epochs > first:
            load_slots(self.trained, self.model.optimizer, state.slots, self.done - first * steps)
        _seed(self.trained, self.plan.seed, self.done)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start counting."""
        self.images = 0

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Set the rate."""
        if self.images == 0:
            self.began = time.perf_counter()
        self.model.optimizer.begin_step()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Follow with the average, and note the step."""
        if self.average:
            self.average.update()
        rate = self.phase.optimization.rate(self.model.optimizer.steps - 1)
        epoch = self.done // self.plan.steps_per_epoch
        self.run.step(Step(self.done, epoch, rate, logs["loss"]))
        self.done += 1
        self.images += self.plan.train.batch
        self.seconds = time.perf_counter() - self.began
        logs.update(learning_rate=rate, images_per_second=self.images / self.seconds)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """The average is what is validated."""
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
        validated: Scores = self.model.found_scores()
        row = Epoch(
            epoch + 1,
            self.done,
            *trained,
            *validated,
            self.phase.optimization.rate(self.model.optimizer.steps - 1),
            self.images / self.seconds,
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
            dump_slots(self.trained, self.model.optimizer),
        )


def freeze(model: keras.Model, sections: frozenset[str]) -> None:
    """Train all sections but these, which run as in inference."""
    network = network_of(model)
    owners = {layer.role: part.role for part in network.sections for layer in part.layers}
    for layer in model.layers:
        if (role := role_of(layer)) in owners:
            layer.trainable = owners[role] not in sections
        role = role.removesuffix(".drop_path")
        if role in network.drop_path_rates and isinstance(layer, layers.Dropout):
            set_rate(layer, 0.0 if role in sections else network.drop_path_rates[role])


def set_dropout(model: keras.Model, rate: float) -> None:
    """Have so large a share of the features before the classifier dropped in training."""
    set_rate(model.get_layer("dropout"), rate)


def synchronize(model: keras.Model) -> None:
    """Have every batch norm see the batches of all processes."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            set_synchronized(layer)


def _seed(model: keras.Model, seed: int, step: int) -> None:
    """What is random in a step depends on the step, and so comes again when it is repeated.

    It differs between processes, but not between the GPUs of one.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Dropout) and layer.rate:
            set_seed(layer, step_seed(seed, zlib.crc32(layer.name.encode()), process()[0]), step)


# ------------------------------------------------------------------ batches


class _Reader:
    """Batches by epoch and number, read in threads of TensorFlow's pipeline."""

    def __init__(self, model: keras.Model, run: Run, workers: int):
        self.dtype = model.inputs[0].dtype
        self.run, self.workers = run, workers
        self.error: RosettaError | None = None

    def dataset(self, batches: Batches, places: range, again: bool = False) -> tf.data.Dataset:
        """The batches of one epoch after the other, each in as many parts as there are devices."""

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            parts = context.num_replicas_in_sync
            mine = parts // context.num_input_pipelines
            shape = (batches.batch // parts, *batches.size, 3)
            kinds = [self.dtype, tf.int64, *((tf.int64, tf.float32) if batches.mixing else ())]

            def read(number: tf.Tensor) -> tuple[np.ndarray, ...]:
                place, part = divmod(int(number), mine)
                part += context.input_pipeline_id * mine
                return self.read(batches, places[place], part, parts)[: len(kinds)]

            def shaped(number: tf.Tensor) -> tuple[tf.Tensor, Any]:
                images, *targets = tf.numpy_function(read, [number], kinds)
                targets = [tf.ensure_shape(target, shape[:1]) for target in targets]
                images = tf.ensure_shape(images, shape)
                return images, tuple(targets) if batches.mixing else targets[0]

            numbers = tf.data.Dataset.range(len(places) * mine)
            numbers = numbers.repeat() if again else numbers
            return numbers.map(shaped, max(1, self.workers)).prefetch(1 + self.workers)

        return tf.distribute.get_strategy().distribute_datasets_from_function(pipeline)

    def read(
        self, batches: Batches, place: int, part: int, parts: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One part of a batch: images (N, H, W, C), labels, those of partners, and shares."""
        try:
            found = batches.read(*divmod(place, len(batches)), part, parts)
        except RosettaError as error:
            self.error = error  # TensorFlow hands on no more than its text
            raise
        self.run.note(found.skipped)
        images = to_layout(found.images, channels_last=True)
        images = np.ascontiguousarray(images, self.dtype)
        return images, found.labels, found.partners, found.shares

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Raise what made the pipeline fail."""
        try:
            yield
        except tf.errors.OpError as error:
            if self.error is None:
                raise
            raise self.error from error


# ------------------------------------------------------------------ settings


def _strategy(training: Training) -> tf.distribute.Strategy:
    """The processes that TF_CONFIG names, or the GPUs of this machine."""
    if process()[1] > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if training.devices == 1:
        return tf.distribute.get_strategy()
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus < training.devices:
        raise UsageError(
            f"devices is {training.devices}, but TensorFlow sees {gpus} GPUs; "
            "several machines, or processes without GPUs, are named in TF_CONFIG",
            argument="devices",
        )
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(training.devices)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow's advice on tracing, and Keras's on shuffling."""
    logger = tf.get_logger()
    level = logger.level
    try:
        logger.setLevel("ERROR")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`shuffle=True` was passed")
            yield
    finally:
        logger.setLevel(level)
