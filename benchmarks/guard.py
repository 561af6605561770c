"""What the fixture `parity` of pytest costs, beside running both programs once.

    python benchmarks/guard.py [--size 224] [--batch 2] [--threads 1] [--rounds 7] [--json FILE]

Beside the fixture stands what a test without it would do to hold two programs against one another
in float64: it makes a copy of each in that type, and runs it by its own framework's call.  All take
turns in one process, and a ratio is that of every round, of which the table has the median: once
beside making and running the programs, which the goal is about, and once beside running them alone.
On one thread it is CPU time, on more the time on the clock.  The programs agree, as in nearly every
run of a test; where they differ the values on the way are looked at too, which is measured as well.

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
MADE, ALONE = "making and running both", "running both alone"
FIXTURE, DIFFERING = "the fixture", "the fixture, where they differ"


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
    print(f"{'pair':<18}{'what':<32}{'ms':>9}{'ratio':>7}{'at most':>9}{'alone':>7}")
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
        ratio, alone = (ratio_of(taken, seconds[beside]) for beside in (MADE, ALONE))
        goal = GOAL if what == FIXTURE else None
        print(
            f"{pair:<18}{what:<32}{1000 * statistics.median(taken):>9.1f}{ratio:>7.2f}"
            f"{'' if goal is None else goal:>9}{alone:>7.2f}",
            flush=True,
        )
        rows.append({"pair": pair, "what": what, "ratio": round(ratio, 3), "goal": goal})
        rows[-1] |= {"alone": round(alone, 3), "met": goal is None or ratio <= goal}
    return rows


def ratio_of(taken: list[float], beside: list[float]) -> float:
    """The median over the rounds of one time over another."""
    return statistics.median(one / other for one, other in zip(taken, beside, strict=True))


def turns(
    programs: tuple[Any, Any],
    wrong: Any,
    images: np.ndarray,
    make: Callable[[], Any],
    run: Callable[[Any], Any],
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

    wide = make()
    return {
        MADE: lambda: run(make()),
        ALONE: lambda: run(wide),
        FIXTURE: lambda: parity()(*programs, images),
        DIFFERING: differing,
    }


def networks(arguments: argparse.Namespace) -> tuple[Any, Any, np.ndarray]:
    """A network, its weights, and images (N, C, H, W)."""
    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images

    network = resolve("b0", resolution=arguments.size)
    weights = calibrated(resolve("b0", resolution=64), 0)
    return (
        network,
        weights,
        structured_images(arguments.batch, 3, (arguments.size, arguments.size), 1),
    )


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
    tensor = torch.tensor(images).double()

    def make() -> list[Any]:
        return [copy.deepcopy(model).double() for model in (first, second)]

    def run(wide: list[Any]) -> None:
        with torch.inference_mode():
            for model in wide:
                model(tensor)

    return turns((first, second), wrong, images, make, run)


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
    second, wrong = keras_impl.build(network), keras_impl.build(network)
    for model in (second, wrong):
        keras_impl.load_weights(model, weights)
    wrong.weights[0].assign(wrong.weights[0] * 1.01)
    tensor = torch.tensor(images).double()
    last = images.transpose(0, 2, 3, 1).astype(np.float64)

    def make() -> tuple[Any, Any]:
        wide = keras_impl.build(network, "float64")
        keras_impl.load_weights(wide, weights)
        return copy.deepcopy(first).double(), wide

    def run(wide: tuple[Any, Any]) -> None:
        with torch.inference_mode():
            wide[0](tensor)
        wide[1](last, training=False)

    return turns((first, second), wrong, images, make, run)


PAIRS = {"torch and torch": in_torch, "torch and keras": across}


if __name__ == "__main__":
    main()
