"""What the fixture `parity` of pytest costs, beside running both programs once.

    python benchmarks/guard.py [--size 224] [--batch 2] [--threads 1] [--rounds 7] [--json FILE]

Both programs run in float64, in the way a test without the fixture would hold them against one
another: each is run once, by its own framework's call.  The fixture takes turns with that in one
process, and the ratio is that of every round, of which the table has the median; on one thread it
is CPU time, on more the time on the clock.  The programs agree, as in nearly every run of a test:
where they differ the values on the way are looked at too, which costs more, and is measured too.

The goal is that of GOAL; the exit status is 1 where it is missed.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import seconds_of

GOAL = 2.0  # times the time of both programs, at most
BOTH, FIXTURE, DIFFERING = "both programs", "the fixture", "where they differ"


def main() -> None:
    """Measure each pair of programs, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the ratios there")
    arguments = parser.parse_args()
    print(
        f"b0, {arguments.size} px, batch {arguments.batch}, rounds: {arguments.rounds}, "
        f"threads: {arguments.threads}"
    )
    print(f"{'pair':<20}{'what':<20}{'ms':>10}{'ratio':>8}{'at most':>9}")
    rows = []
    for pair, make in PAIRS.items():
        rows += measured(pair, make, arguments)
    if arguments.json:
        given = [word for word in sys.argv[1:] if word not in ("--json", str(arguments.json))]
        command = " ".join(["python benchmarks/guard.py", *given])
        content = {"schema": 1, "command": command, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(any(not row["met"] for row in rows))


def measured(pair: str, make: Callable[..., Any], arguments: argparse.Namespace) -> list[Any]:
    """The rows of a pair: what the fixture takes beside both programs."""
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    seconds = seconds_of(make(arguments), arguments.rounds, clock=clock)
    rows = []
    for what, taken in seconds.items():
        ratios = [one / both for one, both in zip(taken, seconds[BOTH], strict=True)]
        ratio = statistics.median(ratios)
        goal = GOAL if what == FIXTURE else None
        print(
            f"{pair:<20}{what:<20}{1000 * statistics.median(taken):>10.1f}{ratio:>8.2f}"
            f"{'' if goal is None else goal:>9}",
            flush=True,
        )
        rows.append({"pair": pair, "what": what, "ratio": round(ratio, 3), "goal": goal})
        rows[-1]["met"] = goal is None or ratio <= goal
    return rows


def turns(
    programs: tuple[Any, Any], wrong: Any, images: np.ndarray, both: Callable[[], Any]
) -> dict[str, Callable[[], Any]]:
    """What takes turns, of two programs that agree and one that does not."""
    from efficientnet_rosetta.common.guard.fixture import Asked, Parity, ParityError

    def parity() -> Parity:
        folder = Path(tempfile.gettempdir())
        return Parity("guard.py::pair", folder / "guard.py", Asked(), {}, lambda became: None)

    def differing() -> None:
        try:
            parity()(programs[0], wrong, images)
        except ParityError:
            return
        raise AssertionError("the fixture has overlooked a mistake")

    return {
        BOTH: both,
        FIXTURE: lambda: parity()(*programs, images),
        DIFFERING: differing,
    }


def networks(arguments: argparse.Namespace) -> tuple[Any, Any, np.ndarray]:
    """A network, its weights, and images (N, C, H, W)."""
    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images

    network = resolve("b0", resolution=arguments.size)
    weights = calibrated(resolve("b0", resolution=64), 0)
    return network, weights, structured_images(arguments.batch, 3, (arguments.size, arguments.size), 1)


def in_torch(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Two models of PyTorch's."""
    import torch

    from efficientnet_rosetta import torch_impl

    torch.set_num_threads(arguments.threads)
    network, weights, images = networks(arguments)
    first = torch_impl.build(network)
    torch_impl.load_weights(first, weights)
    first.eval()
    second, wrong = copy.deepcopy(first), copy.deepcopy(first)
    with torch.no_grad():
        next(wrong.parameters()).mul_(1.01)
    wide = [copy.deepcopy(model).double() for model in (first, second)]
    tensor = torch.tensor(images).double()

    def both() -> None:
        with torch.inference_mode():
            for model in wide:
                model(tensor)

    return turns((first, second), wrong, images, both)


def across(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """A model of PyTorch's and one of Keras's."""
    import keras
    import torch

    from efficientnet_rosetta import keras_impl, torch_impl

    torch.set_num_threads(arguments.threads)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
        tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    network, weights, images = networks(arguments)
    first = torch_impl.build(network)
    torch_impl.load_weights(first, weights)
    first.eval()
    models = [keras_impl.build(network, dtype) for dtype in ("float32", "float64", "float32")]
    for model in models:
        keras_impl.load_weights(model, weights)
    second, wide_second, wrong = models
    wrong.weights[0].assign(wrong.weights[0] * 1.01)
    wide_first, tensor = copy.deepcopy(first).double(), torch.tensor(images).double()
    last = images.transpose(0, 2, 3, 1).astype(np.float64)

    def both() -> None:
        with torch.inference_mode():
            wide_first(tensor)
        wide_second(last, training=False)

    return turns((first, second), wrong, images, both)


PAIRS = {"torch and torch": in_torch, "torch and keras": across}


if __name__ == "__main__":
    main()
