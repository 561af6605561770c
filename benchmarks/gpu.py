"""Every goal of speed in one run, ours and the libraries' programs taking turns.

    python benchmarks/gpu.py [--device cuda|cpu] [--only WORK ...] [--quick] [--json FILE]

On a machine with a GPU it takes about six minutes.  Without one, or with --device cpu, it measures
what a CPU can be measured by, and says so.  Each piece of work has a process of its own.  The ratio
is their time over ours, above 1 where ours is faster.  The exit status is 1 where a goal is missed.

It needs timm and torchvision beside the package.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from contenders import (
    SIDE,
    Setting,
    batch_of,
    models,
    our_bookkeeping,
    pytorchs_bookkeeping,
    step_program,
    timms_bookkeeping,
    waiting,
)
from epochs import loop
from turns import HEAD, Program, Row, rows, taking_turns

# ------------------------------------------------------------------ training


def bookkeeping(setting: Setting) -> list[Row]:
    """Optimizer and moving average on their own; benchmarks/optimizer.py tells them apart."""
    import torch
    from optimizer import LIMIT, measured

    found = measured(3 * setting.rounds, torch.device(setting.device))
    row = Row("optimizer and average", found["both", "ours"], "timm", found["both", "timm"])
    return [replace(row, limit=LIMIT) if setting.on_gpu else replace(row, goal=1.0)]


def steps(setting: Setting) -> list[Row]:
    """The whole training step."""
    import torch

    found: list[Row] = []
    sizes = [(128, SIDE), (32, SIDE)] if setting.on_gpu else [(16, 64), (8, SIDE)]
    for number, (count, side) in enumerate(sizes):
        all_models = {
            name: model.to(memory_format=torch.channels_last)
            for name, model in models(setting, training=True).items()
        }
        images, labels = batch_of(setting, count, side)
        timm_again = models(setting, training=True)["timm"].to(memory_format=torch.channels_last)
        programs = {
            name: step_program(model, book, images, labels, setting)
            for name, model, book in (
                ("ours", all_models["ours"], our_bookkeeping(all_models["ours"])),
                ("timm, its optimizer", all_models["timm"], timms_bookkeeping(all_models["timm"])),
                ("timm, PyTorch's optimizer", timm_again, pytorchs_bookkeeping(timm_again)),
                (
                    "torchvision, PyTorch's optimizer",
                    all_models["torchvision"],
                    pytorchs_bookkeeping(all_models["torchvision"]),
                ),
            )
        }
        times = taking_turns(programs, setting.rounds, 1, waiting(setting))
        least = (1.35, 1.4)[number] if setting.on_gpu else 1.0
        goals = {"timm, its optimizer": least}
        if not setting.on_gpu:
            goals = dict.fromkeys(list(times)[1:], 1.0)
        found += rows(f"training step, {side} px, batch {count}", times, goals)
    return found


def compiled_steps(setting: Setting) -> list[Row]:
    """The training step with the model compiled, by the second, beside timm's uncompiled step."""
    import torch

    found: list[Row] = []
    counts = (128, 32) if setting.on_gpu else (8,)
    side = SIDE if setting.on_gpu else 64
    mode = "reduce-overhead" if setting.on_gpu else "default"
    for number, count in enumerate(counts):
        pair = {
            name: model.to(memory_format=torch.channels_last)
            for name, model in models(setting, training=True).items()
            if name != "torchvision"
        }
        images, labels = batch_of(setting, count, side)
        programs = {
            "ours": step_program(
                torch.compile(pair["ours"], mode=mode),
                our_bookkeeping(pair["ours"]),
                images,
                labels,
                setting,
            ),
            "timm, not compiled": step_program(
                pair["timm"], timms_bookkeeping(pair["timm"]), images, labels, setting
            ),
        }
        times = taking_turns(programs, setting.rounds, 1, waiting(setting))
        goal = {"timm, not compiled": (1.6, 3.0)[number]} if setting.on_gpu else {}
        found += rows(f"training step compiled, {side} px, batch {count}", times, goal)
    return found


def compiling(setting: Setting) -> list[Row]:
    """How long the first call of a compiled model takes, each in turn with an empty cache."""
    import torch

    found: list[Row] = []
    for training in (False, True):
        pair = models(setting, training)
        images, _ = batch_of(setting, 8, SIDE if setting.on_gpu else 64)
        times = {}
        for name in ("ours", "timm"):
            torch.compiler.reset()
            compiled = torch.compile(pair[name])
            began = time.perf_counter()
            with torch.set_grad_enabled(training):
                result = compiled(images)
                if training:
                    result.sum().backward()
            waiting(setting)()
            times[name] = 1000 * (time.perf_counter() - began)
        work = f"compiling, {'training' if training else 'inference'}"
        found += rows(work, times, {"timm": 1 / 1.2})
    return found


# ------------------------------------------------------------------ inference


def inference(setting: Setting) -> list[Row]:
    """Every mode of inference that is not compiled."""
    import torch

    found: list[Row] = []
    trio = models(setting, training=False)
    modes = [("float32", torch.float32, False), ("float32, channels last", torch.float32, True)]
    if setting.on_gpu:
        modes += [
            ("bfloat16", torch.bfloat16, False),
            ("bfloat16, channels last", torch.bfloat16, True),
        ]
    for count in (256, 1) if setting.on_gpu else (8, 1):
        for said, dtype, last in modes:
            layout = torch.channels_last if last else torch.contiguous_format
            images = batch_of(setting, count, SIDE)[0].to(dtype).contiguous(memory_format=layout)
            programs = {}
            for name, model in trio.items():
                model.to(dtype=dtype, memory_format=layout)
                programs[name] = _inferring(model, images)
            times = taking_turns(programs, setting.rounds, 1, waiting(setting))
            work = f"inference, {said}, batch {count}"
            found += rows(work, times, dict.fromkeys(list(times)[1:], 0.98))
            for model in trio.values():
                model.float()
    return found


def compiled_inference(setting: Setting) -> list[Row]:
    """Inference by compiled models, in bfloat16 on a GPU."""
    import torch

    found: list[Row] = []
    dtype = torch.bfloat16 if setting.on_gpu else torch.float32
    for count in (256, 1) if setting.on_gpu else (8,):
        trio = models(setting, training=False)
        images = batch_of(setting, count, SIDE)[0].to(dtype)
        programs = {
            name: _inferring(
                torch.compile(model.to(dtype=dtype, memory_format=torch.channels_last)), images
            )
            for name, model in trio.items()
        }
        times = taking_turns(programs, setting.rounds, 1, waiting(setting))
        found += rows(
            f"inference, compiled, batch {count}", times, dict.fromkeys(list(times)[1:], 0.98)
        )
    return found


def _inferring(model: Any, images: Any) -> Program:
    import torch

    def run() -> None:
        with torch.inference_mode():
            model(images)

    return run


# ------------------------------------------------------------------ what each precision costs


def errors(setting: Setting) -> list[Row]:
    """Print the errors of every precision against float64, on calibrated weights; no rows."""
    import torch

    from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, photograph
    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.weights.calibration import calibrated
    from efficientnet_rosetta.torch_impl import build, load_weights

    network = resolve("b0")
    image = photograph(PHOTOGRAPH, 3, network.resolution)[None]
    model = build(network, "float64").to(setting.device)
    load_weights(model, calibrated(network))

    def logits(dtype: Any, autocast: Any = None, tf32: bool = False) -> np.ndarray:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        x = torch.tensor(image, dtype=dtype, device=setting.device)
        with (
            torch.inference_mode(),
            torch.autocast(setting.device, autocast, enabled=autocast is not None),
        ):
            return model.to(dtype)(x).double().numpy(force=True)

    right = logits(torch.float64)
    ways: dict[str, tuple[Any, Any, bool]] = {"float32": (torch.float32, None, False)}
    if setting.on_gpu:
        ways["TF32"] = (torch.float32, None, True)
    ways["bfloat16"] = (torch.float32, torch.bfloat16, False)
    if setting.on_gpu:
        ways["float16"] = (torch.float32, torch.float16, False)
    for name, way in ways.items():
        model.double()
        load_weights(model, calibrated(network))
        error = np.abs(logits(*way) - right).max() / right.std()
        print(f"largest error of {name} logits, in their standard deviations: {error:.1e}")
    return []


# ------------------------------------------------------------------ all of it


WORKS: dict[str, Callable[[Setting], list[Row]]] = {
    "bookkeeping": bookkeeping,
    "steps": steps,
    "compiled-steps": compiled_steps,
    "compiling": compiling,
    "inference": inference,
    "compiled-inference": compiled_inference,
    "loop": loop,
    "errors": errors,
}
# What has a program of its own, which prints its own table and ends in 1 where it misses a goal.
SCRIPTS = {
    "reading": ["read.py"],
    "keras-step": ["keras_step.py"],
    "keras-inference": ["inference.py", "--frameworks", "keras", "--threads", "2"],
}


def main() -> None:
    """Measure each piece of work in a process of its own; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"))
    parser.add_argument("--only", nargs="+", choices=[*WORKS, *SCRIPTS], metavar="WORK")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it runs")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--one", choices=WORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import torch

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    setting = Setting(device, arguments.quick)
    if arguments.one:
        for row in WORKS[arguments.one](setting):
            print(json.dumps(row.to_dict()), flush=True)
        return
    where = torch.cuda.get_device_name() if setting.on_gpu else "a CPU; no GPU was measured"
    print(f"torch {torch.__version__} on {where}\n{HEAD}")
    asked = arguments.only or [*WORKS, *SCRIPTS]
    found = [row for name in asked if name in WORKS for row in in_a_process(name, device)]
    if arguments.json:
        content = {"schema": 1, "device": where, "rows": [row.to_dict() for row in found]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    missed = [row.work for row in found if row.missed]
    missed += [name for name in asked if name in SCRIPTS and not reaches(name, setting)]
    print(f"missed: {', '.join(dict.fromkeys(missed)) or 'none'}")
    raise SystemExit(1 if missed else 0)


def reaches(name: str, setting: Setting) -> bool:
    """Run a program of SCRIPTS, whose table is printed as it comes; whether it meets its goals.

    On a GPU Keras runs on JAX.
    """
    script, *options = SCRIPTS[name]
    rounds = ["--rounds", "2"] if setting.quick else []
    command = [sys.executable, str(Path(__file__).with_name(script)), *options, *rounds]
    backend = {"KERAS_BACKEND": "jax"} if setting.on_gpu else {}
    print(f"{name}:", flush=True)
    environment = {**os.environ, **backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment)
    if done.returncode not in (0, 1):
        sys.exit(f"{name}: ended with status {done.returncode}")
    return done.returncode == 0


def in_a_process(name: str, device: str) -> list[Row]:
    """The rows of a piece of work, printed as they come; what else it prints is handed on."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--device", device]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as cache:  # what was compiled before is not to be found
        environment["TORCHINDUCTOR_CACHE_DIR"] = cache
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    found = []
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            print(line, flush=True)
            continue
        said = json.loads(line)
        row = Row(**{field.name: said[field.name] for field in fields(Row)})
        print(row, flush=True)
        found.append(row)
    return found


if __name__ == "__main__":
    main()
