"""Time of a step of our optimizer and moving average beside timm's, as ratios.

    python benchmarks/optimizer.py [--device cpu] [--threads 1] [--rounds 25] [--json FILE]

All change the same B0 by the same gradients.  `rmsprop` is RMSProp as TensorFlow 1 has it (timm's
RMSpropTF, and PyTorch's own, which is another rule), `average` the moving average of all tensors
(timm's ModelEmaV3), and `both` what a step takes of them.  `one by one` is the rule of ours that is
there to be read (`foreach=False`).

All take turns in one process.  The time on a CPU is that of the processor, and on a GPU until it
has nothing left to do; of each it is the median over the rounds.  `ratio` is another's time over
ours, above 1 where ours is faster.  Absolute times mean nothing beyond the machine they were
measured on.  The exit status is 1 where both take longer than timm's, or than 3 ms on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from turns import Program, taking_turns

from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.schedules import Constant, Optimization
from efficientnet_rosetta.torch_impl.efficientnet import EfficientNet
from efficientnet_rosetta.torch_impl.optimizer import MovingAverage, make_optimizer

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

OPTIMIZATION = Optimization(Constant(1e-4))
LIMIT = 3.0  # milliseconds of both on a GPU; on a CPU they are to take no longer than timm's


def main() -> None:
    """Let all take turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path, help="write the ratios there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    found = measured(arguments.rounds, device)
    print(f"b0 on {device}, {arguments.rounds} rounds, threads: {arguments.threads}")
    print(f"{'what':<9}{'whose':<18}{'ms':>8}{'ratio':>7}")
    rows = []
    for (what, whose), milliseconds in sorted(found.items(), key=lambda item: item[0][0]):
        ratio = round(milliseconds / found[what, "ours"], 2)
        print(f"{what:<9}{whose:<18}{milliseconds:>8.2f}{ratio:>7.2f}")
        if whose != "ours":
            rows.append({"what": what, "beside": whose, "ratio": ratio})
    if arguments.json:
        command = f"python benchmarks/optimizer.py --json {arguments.json}"
        content = {"schema": 1, "command": command, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    both = found["both", "ours"]
    missed = both > (LIMIT if device.type == "cuda" else found["both", "timm"])
    raise SystemExit(1 if missed else 0)


def programs(device: torch.device) -> dict[tuple[str, str], Program]:
    """What everybody does to a model of their own, by what it is and whose."""
    from parity_tests.peers import operators

    operators.declare()
    from timm.optim import RMSpropTF
    from timm.utils import ModelEmaV3

    network = resolve("b0")

    def model() -> EfficientNet:
        torch.manual_seed(0)
        made = EfficientNet(network).to(device)
        for parameter in made.parameters():
            parameter.grad = 1e-3 * torch.randn_like(parameter)
        return made

    def groups() -> list[dict[str, object]]:
        """Of L2 regularisation and of none, as ours; theirs add it as a loop over the groups."""
        ours = make_optimizer(model(), OPTIMIZATION).param_groups
        return [{name: group[name] for name in ("params", "weight_decay")} for group in ours]

    numbers = {"lr": 1e-4, "alpha": 0.9, "eps": 1e-3, "momentum": 0.9}
    averaged, emaed = model(), model()
    ema = ModelEmaV3(emaed, decay=0.9999)
    return {
        ("rmsprop", "ours"): make_optimizer(model(), OPTIMIZATION).step,
        ("rmsprop", "one by one"): make_optimizer(model(), OPTIMIZATION, foreach=False).step,
        ("rmsprop", "RMSpropTF"): RMSpropTF(groups(), **numbers).step,
        ("rmsprop", "PyTorch RMSprop"): torch.optim.RMSprop(groups(), **numbers, foreach=True).step,
        ("average", "ours"): MovingAverage(averaged, 0.9999).update,
        ("average", "ModelEmaV3"): lambda: ema.update(emaed),
    }


def measured(rounds: int, device: torch.device) -> dict[tuple[str, str], float]:
    """Median milliseconds of each, and of what a step takes of both."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def settle() -> None:
        """Wait until the device has nothing left to do."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    found = taking_turns(programs(device), rounds, 1, settle, clock)
    for peer, parts in (("ours", ("ours", "ours")), ("timm", ("RMSpropTF", "ModelEmaV3"))):
        one, other = (found[key] for key in zip(("rmsprop", "average"), parts, strict=True))
        found["both", peer] = one + other
    return found


if __name__ == "__main__":
    main()
