"""Images per second of Keras's `fit`: our training step beside that of keras.applications.

    python benchmarks/keras_step.py [--size 224] [--batch 8] [--rounds 8] [--steps 3]
                                    [--threads 1] [--precision float32] [--json FILE]

Both train B0 on the same batch in `fit`, each with what its users take: ours by the recipe's
RMSProp, with L2 regularisation and the moving average of all tensors; keras.applications by Keras's
RMSprop with its own average (`use_ema`), with the loss and both accuracies that Keras counts.  They
take turns in one process, and `ratio` is the median time of theirs over that of ours: above 1 where
ours is faster.  The backend is that of KERAS_BACKEND.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import taking_turns

CLASSES = 1000
DROP = 0.2  # of features, and of the last block's branch; keras.applications takes no other
GOAL = 1.1
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

Fit = Callable[[int], None]  # so many steps


def main() -> None:
    """Measure both and print their ratio; the exit status is 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="of each in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--json", type=Path, help="write the ratio there")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
        tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    random = np.random.default_rng(0)
    images = random.standard_normal((arguments.batch, *[arguments.size] * 2, 3), np.float32)
    labels = random.integers(0, CLASSES, arguments.batch)
    batch = _stream(images, labels)
    fits = {
        "ours": ours(batch, arguments),
        "keras.applications": theirs(batch, arguments),
    }
    turns = {name: partial(fit, arguments.steps) for name, fit in fits.items()}
    taken = taking_turns(turns, arguments.rounds)
    seconds = {name: found / 1000 / arguments.steps for name, found in taken.items()}
    ratio = seconds["keras.applications"] / seconds["ours"]
    print(f"b0, {arguments.size} pixels, Keras on {keras.config.backend()}, {arguments.precision}")
    for name, found in seconds.items():
        print(f"{name:<20}{arguments.batch / found:>9.1f} images/s")
    print(f"ratio {ratio:.2f}; the goal is {GOAL}")
    if arguments.json:
        row = {"size": arguments.size, "batch": arguments.batch, "ratio": round(ratio, 3)}
        row |= {"backend": keras.config.backend(), "precision": arguments.precision}
        arguments.json.write_text(json.dumps({"schema": 1, "rows": [row]}, indent=1) + "\n")
    raise SystemExit(ratio < GOAL)


def _stream(images: np.ndarray, labels: np.ndarray) -> Any:
    """One batch again and again, as cheap to get as the framework can have it."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors((images, labels)).repeat()

    def again() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield images, labels

    return again()


def ours(batch: Any, arguments: argparse.Namespace) -> Fit:
    """Our loop's task, whose callbacks are told of a loss when the next step is on its way."""
    import keras

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.training.recipes import get_recipe
    from efficientnet_rosetta.keras_impl import build
    from efficientnet_rosetta.keras_impl.layers import functional
    from efficientnet_rosetta.keras_impl.loop import ClassificationTask
    from efficientnet_rosetta.keras_impl.optimizer import MovingAverage
    from efficientnet_rosetta.keras_impl.scores import Losses

    losses = []

    class Noting(keras.callbacks.Callback):
        """What a run notes of every step."""

        def on_train_batch_end(self, number: int, logs: dict[str, Any]) -> None:
            """Note the loss."""
            losses.append(logs["loss"])

    recipe = get_recipe("official")
    model = build(resolve("b0", drop_path_rate=DROP), PRECISIONS[arguments.precision])
    task = functional(model.input, model.output, model.name, ClassificationTask)
    average = MovingAverage(model, recipe.average, arguments.steps)
    optimization = recipe.optimization(recipe.batch, 1000, 0)
    scaling = arguments.precision == "float16"
    task.prepare(optimization, average, arguments.steps, scaling=scaling)
    task.rule.begin_steps()
    average.begin_steps()

    def fit(steps: int) -> None:
        told = Losses([Noting()], model=task, steps=steps, epochs=1)
        task.fit(batch, steps_per_epoch=steps, callbacks=told, verbose=0, shuffle=False)
        told.settle()

    return fit


def theirs(batch: Any, arguments: argparse.Namespace) -> Fit:
    """The same network of keras.applications, and Keras's own optimizer, average and metrics."""
    import keras

    keras.config.set_dtype_policy(PRECISIONS[arguments.precision])
    model = keras.applications.EfficientNetB0(
        weights=None,
        input_shape=(arguments.size, arguments.size, 3),
        classifier_activation=None,
        classes=CLASSES,
    )
    model.compile(
        keras.optimizers.RMSprop(0.016, rho=0.9, momentum=0.9, epsilon=1e-3, use_ema=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(),
            keras.metrics.SparseTopKCategoricalAccuracy(5),
        ],
    )
    keras.config.set_dtype_policy("float32")

    def fit(steps: int) -> None:
        model.fit(batch, steps_per_epoch=steps, verbose=0, shuffle=False)

    return fit


if __name__ == "__main__":
    main()
