"""Milliseconds of inference of our models and of other libraries', as ratios.

    python benchmarks/inference.py [--size 224] [--batch 8] [--threads 1] [--rounds 15]
                                   [--compile] [--json FILE]

Eager float32 on a CPU, in the way a person runs it: the memory allocator is left as it is.  The
models of a framework share a process and take turns, each once a round; the time of each is its
least over the rounds, which other work on the machine disturbs least, and `ratio` is the best of
the others' over it: above 1 where ours is faster.  On one thread it is CPU time, on more the time
on the clock.  Absolute times mean nothing beyond the machine they were measured on.

`--compile` measures instead how long `torch.compile` takes, each model in a process of its own with
empty caches: whichever model is compiled first in a process pays for what the next ones find.

The goals are those of GOALS; the exit status is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from turns import Program, seconds_of

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

# Each group: a mode, our models, and what computes the same.
GROUPS = {
    "torch": {
        "contiguous": (("ours", "ours, folded"), ("timm", "torchvision")),
        "channels-last": (("ours", "ours, folded"), ("timm", "torchvision")),
        "contiguous, tensorflow": (("ours", "ours, folded"), ("timm tf",)),
        "channels-last, tensorflow": (("ours", "ours, folded"), ("timm tf",)),
    },
    "keras": {"graph": (("ours", "ours, folded"), ("keras.applications",))},
}
# Ratios to the best of the others.
GOALS = {
    "torch": {"ours": 1.0, "ours, folded": 1.25},
    "keras": {"ours": 1.0, "ours, folded": 1.0},
}
COMPILED = ("ours", "timm", "ours, tensorflow", "timm tf")
COMPILE_GOAL = 1.2  # times the other's, at most
NOISE = 0.02  # of a ratio: the same model twice differs by so much


def main() -> None:
    """Measure each mode of each framework, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frameworks", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--compile", action="store_true", help="measure torch.compile instead")
    parser.add_argument("--json", type=Path, help="write the ratios there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        found = seconds_to_compile if arguments.compile else measure
        json.dump(found(arguments.one, arguments), sys.stdout)
        return
    rows = compile_rows(arguments) if arguments.compile else inference_rows(arguments)
    if arguments.json:
        given = [word for word in sys.argv[1:] if word not in ("--json", str(arguments.json))]
        command = " ".join(["python benchmarks/inference.py", *given])
        content = {"schema": 1, "command": command, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(any(not row["met"] for row in rows))


def inference_rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each of our models in each mode."""
    print(
        f"b0, {arguments.size} px, batch {arguments.batch}, rounds: {arguments.rounds}, "
        f"threads: {arguments.threads}"
    )
    print(f"{'framework':<11}{'mode':<27}{'model':<20}{'ms':>8}{'ratio':>7}{'goal':>7}")
    rows = []
    for framework in arguments.frameworks:
        seconds = in_a_process(framework)
        for mode, (ours, others) in GROUPS[framework].items():
            best = min(seconds[f"{mode}: {name}"] for name in others)
            for name in (*ours, *others):
                taken, goal = seconds[f"{mode}: {name}"], GOALS[framework].get(name)
                ratio = round(best / taken, 3)
                print(
                    f"{framework:<11}{mode:<27}{name:<20}{1000 * taken:>8.1f}{ratio:>7.2f}"
                    f"{'' if goal is None else goal:>7}",
                    flush=True,
                )
                if goal is not None:
                    row = {"framework": framework, "mode": mode, "model": name, "ratio": ratio}
                    rows.append({**row, "goal": goal, "met": ratio >= goal - NOISE})
    return rows


def compile_rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each of our models that is compiled."""
    print(f"torch.compile of b0, {arguments.size} px: CPU seconds of this and its own processes")
    seconds = {name: in_a_process(name)["seconds"] for name in COMPILED}
    rows = []
    for ours, theirs in zip(COMPILED[::2], COMPILED[1::2], strict=True):
        ratio = round(seconds[ours] / seconds[theirs], 3)
        print(
            f"{ours:<20}{seconds[ours]:>7.1f} {theirs:<10}{seconds[theirs]:>7.1f}"
            f"{ratio:>7.2f}, at most {COMPILE_GOAL}"
        )
        rows.append({"model": ours, "beside": theirs, "ratio": ratio, "goal": COMPILE_GOAL})
        rows[-1]["met"] = ratio <= COMPILE_GOAL + NOISE
    return rows


def in_a_process(what: str) -> dict[str, float]:
    """Measure where another framework or model has left nothing in memory."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", what]
    with tempfile.TemporaryDirectory() as folder:
        caches = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        environment = {**os.environ, **caches, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(framework: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Least seconds of a run of each model; the models take turns."""
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    shape = (arguments.batch, arguments.size, arguments.size, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    seconds = {}
    for mode, runs in RUNS[framework](images, arguments.threads):
        found = seconds_of(runs, arguments.rounds, clock=clock)
        seconds |= {f"{mode}: {name}": min(taken) for name, taken in found.items()}
    return seconds


def torch_models(dialect: str, folded: bool = True) -> dict[str, Any]:
    """Our models in PyTorch with those that compute the same, in inference mode."""
    from parity_tests.peers import operators

    operators.declare()
    import timm
    from torchvision.models import efficientnet_b0

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.torch_impl import build

    network = resolve("b0", dialect=dialect)
    models = {"ours": build(network)} | (
        {"ours, folded": build(network, folded=True)} if folded else {}
    )
    if dialect == "tensorflow":
        return {**models, "timm tf": timm.create_model("tf_efficientnet_b0").eval()}
    others = {
        "timm": timm.create_model("efficientnet_b0").eval(),
        "torchvision": efficientnet_b0().eval(),
    }
    return {**models, **others}


def torch_runs(images: np.ndarray, threads: int) -> Any:
    """A run of each PyTorch model, mode by mode."""
    import torch

    torch.set_num_threads(threads)
    contiguous = torch.tensor(images.transpose(0, 3, 1, 2).copy())
    formats = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
    for dialect, said in {"pytorch": "", "tensorflow": ", tensorflow"}.items():
        models = torch_models(dialect)
        for name, memory_format in formats.items():
            x = contiguous.to(memory_format=memory_format)

            def run_of(model: torch.nn.Module, x: torch.Tensor = x) -> Program:
                def run() -> None:
                    with torch.inference_mode():
                        model(x)

                return run

            converted = {
                name: model.to(memory_format=memory_format) for name, model in models.items()
            }
            yield name + said, {name: run_of(model) for name, model in converted.items()}


def keras_runs(images: np.ndarray, threads: int) -> Any:
    """A run of each Keras model, compiled by what Keras runs on."""
    import keras

    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.keras_impl import build

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    network = resolve("b0")
    models = {
        "ours": build(network),
        "ours, folded": build(network, folded=True),
        "keras.applications": keras.applications.EfficientNetB0(
            weights=None, input_shape=images.shape[1:], classifier_activation=None
        ),
    }
    yield (
        "graph",
        {
            name: lambda model=model: model.predict_on_batch(images)
            for name, model in models.items()
        },
    )


def seconds_to_compile(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of the first run of a compiled model, the compiler's own processes included."""
    import torch

    torch.set_num_threads(1)
    dialect = "tensorflow" if name.endswith(("tensorflow", "tf")) else "pytorch"
    model = torch_models(dialect, folded=False)[name.partition(",")[0]]
    images = torch.zeros(arguments.batch, 3, arguments.size, arguments.size)
    before = cpu_seconds()
    with torch.inference_mode():
        torch.compile(model)(images)
    return {"seconds": cpu_seconds() - before}


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    found = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in found)


RUNS = {"torch": torch_runs, "keras": keras_runs}


if __name__ == "__main__":
    main()
