"""Images per second of a training step of our models and of other libraries', as ratios.

    python benchmarks/train.py [--sizes 64 224] [--batches 16 8] [--threads 1] [--rounds 20]
                               [--json FILE]

Every step is forward, cross-entropy, backward and SGD with momentum on the same batch, written once
for each framework, so that only the model differs.  The models of a framework share a process and
take turns; the time of each is its median over the rounds, and `ratio` is theirs over ours, above 1
where ours is faster.  Absolute times mean nothing beyond the machine they were measured on.

More threads than there are idle cores make PyTorch wait, for whichever model has the turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

Step = Callable[[], None]

CLASSES = 1000
RATE, MOMENTUM = 0.01, 0.9
DROP = 0.2  # of features, and of the last block's branch; keras.applications takes no other
WARM_UP = 3  # steps, which trace, allocate and choose kernels
# Large maps are used again and not returned to the kernel, which clears every page that it gives:
# up to a sixth of a step, by chance.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}

# Each model of ours with those that compute the same.
OURS = {
    "torch": {"ours, pytorch": ("torchvision", "timm"), "ours, tensorflow": ("timm tf",)},
    "keras": {"ours": ("keras.applications",)},
}


def main() -> None:
    """Measure the models of each framework at each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 224], help="pixels")
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 8], help="one a size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2, help="of each model in a round")
    parser.add_argument("--json", type=Path, help="write the ratios there")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        framework, size, batch = arguments.one
        json.dump(measure(framework, int(size), int(batch), arguments), sys.stdout)
        return
    print(f"b0, {arguments.rounds} rounds of {arguments.steps} steps, threads: {arguments.threads}")
    print(f"{'framework':<11}{'pixels':>6}{'batch':>7}  {'model':<20}{'images/s':>9}{'ratio':>7}")
    rows = []
    for size, batch in zip(arguments.sizes, arguments.batches, strict=True):
        for framework, groups in OURS.items():
            seconds = in_a_process(framework, size, batch)
            for ours, others in groups.items():
                for name in (ours, *others):
                    print(
                        f"{framework:<11}{size:>6}{batch:>7}  {name:<20}"
                        f"{batch / seconds[name]:>9.1f}{seconds[name] / seconds[ours]:>7.2f}",
                        flush=True,
                    )
                for name in others:
                    ratio = round(seconds[name] / seconds[ours], 3)
                    rows.append(
                        {"framework": framework, "pixels": size, "batch": batch}
                        | {"beside": name, "ratio": ratio}
                    )
    if arguments.json:
        command = f"python benchmarks/train.py --json {arguments.json}"
        content = {"schema": 1, "command": command, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def in_a_process(framework: str, size: int, batch: int) -> dict[str, float]:
    """Measure the models of one framework where the other does not hold memory or threads."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", framework, str(size), str(batch)]
    environment = {**os.environ, **KEEP_MEMORY, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(
    framework: str, size: int, batch: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Median seconds of a step of each model; the models take turns."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((batch, size, size, 3), np.float32)
    labels = generator.integers(0, CLASSES, batch)
    steps = STEPS[framework](images, labels, arguments.threads)
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    seconds = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(arguments.steps):
                step()
            seconds[name].append((time.perf_counter() - start) / arguments.steps)
    return {name: statistics.median(found) for name, found in seconds.items()}


def torch_steps(images: np.ndarray, labels: np.ndarray, threads: int) -> dict[str, Step]:
    """A step of each PyTorch model."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    from parity_tests.peers import operators

    operators.declare()
    import timm
    from torchvision.models import efficientnet_b0

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.torch_impl.efficientnet import EfficientNet

    torch.set_num_threads(threads)
    x, y = torch.tensor(images.transpose(0, 3, 1, 2).copy()), torch.tensor(labels)
    drop = {"drop_rate": DROP, "drop_path_rate": DROP}
    models = {
        "ours, pytorch": EfficientNet(resolve("b0", drop_path_rate=DROP, dialect="pytorch")),
        "torchvision": efficientnet_b0(dropout=DROP, stochastic_depth_prob=DROP),
        "timm": timm.create_model("efficientnet_b0", **drop),
        "ours, tensorflow": EfficientNet(resolve("b0", drop_path_rate=DROP)),
        "timm tf": timm.create_model("tf_efficientnet_b0", **drop),
    }

    def step_of(model: torch.nn.Module) -> Step:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, foreach=True)

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    return {name: step_of(model) for name, model in models.items()}


def keras_steps(images: np.ndarray, labels: np.ndarray, threads: int) -> dict[str, Step]:
    """A step of each Keras model, on TensorFlow and compiled by it."""
    import keras
    import tensorflow as tf

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.keras_impl.efficientnet import EfficientNet

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    x, y = tf.constant(images), tf.constant(labels)
    models = {
        "ours": EfficientNet(resolve("b0", drop_path_rate=DROP)),
        "keras.applications": keras.applications.EfficientNetB0(
            weights=None, input_shape=images.shape[1:], classifier_activation=None
        ),
    }

    def step_of(model: keras.Model) -> Step:
        model.compile(
            keras.optimizers.SGD(RATE, MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,  # by XLA, which takes ten times as long on a CPU
        )
        return lambda: model.train_on_batch(x, y)

    return {name: step_of(model) for name, model in models.items()}


STEPS = {"torch": torch_steps, "keras": keras_steps}


if __name__ == "__main__":
    main()
