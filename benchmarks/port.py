"""Cost of `rosetta port` and of public converters, side by side.

    python benchmarks/port.py [PRESET...]       (b0 and b7 by default; KerasHub ends at b5)

Every conversion runs in a process of its own, imports included, as its users would run it; CPU
seconds and peak memory are the process's own.  Ours reads the result back.  `x file` is peak memory
over the size of the source file.  The last lines are of a port with its proof, which runs both
frameworks, against a process that imports these and ends; by turns, so that both meet the same
machine.  Absolute times mean nothing beyond the machine they were measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

# By job: layout and name of the source, layout and name of the result, and the other converter.
JOBS = {
    "Keras to transformers": (
        ("keras-applications", "source.weights.h5"),
        ("transformers", "result.safetensors"),
        "transformers' script",
    ),
    "timm to KerasHub": (
        ("timm", "model.safetensors"),
        ("keras-hub", "result.weights.h5"),
        "keras-hub from_preset",
    ),
    "efficientnet_pytorch": (
        ("efficientnet-pytorch", "source.pth"),
        ("efficientnet-pytorch", "result.safetensors"),
        "its from_pretrained",
    ),
    "PyTorch's .pth": (
        ("timm-tf", "source.pth"),
        ("canonical", "result.safetensors"),
        "load_state_dict",
    ),
    "safetensors to .weights.h5": (
        ("canonical", "source.safetensors"),
        ("keras-applications", "result.weights.h5"),
        None,
    ),
    ".weights.h5 to safetensors": (
        ("keras-applications", "source.weights.h5"),
        ("canonical", "result.safetensors"),
        None,
    ),
}
TURNS = 5  # of either, by turns
DIALECTS = {"timm": "pytorch", "keras-hub": "pytorch"}


def main() -> None:
    """Measure every job for every preset, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=["b0", "b7"])
    parser.add_argument("--other", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--source", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.source:
        write_source(*arguments.source)
        return
    if arguments.other:
        name, preset, folder = arguments.other
        OTHERS[name](preset, Path(folder))
        return
    print(
        f"{'preset':<7}{'job':<28}{'converter':<24}{'CPU s':>7}{'ratio':>7}{'MiB':>7}{'ratio':>7}"
        f"{'x file':>8}"
    )
    for preset in arguments.presets:
        for job, (source, _, _) in JOBS.items():
            size = "b5" if "keras-hub" in str(JOBS[job]) and preset > "b5" else preset
            with tempfile.TemporaryDirectory() as folder:
                # A process is charged for the memory that the one it was started from had.
                subprocess.run(
                    [sys.executable, __file__, "--source", size, folder, *source], check=True
                )
                measure(job, size, Path(folder))
    for preset in arguments.presets:
        with tempfile.TemporaryDirectory() as folder:
            source = [preset, folder, "timm-tf", "source.pth"]
            subprocess.run([sys.executable, __file__, "--source", *source], check=True)
            measure_proof(preset, Path(folder))


def write_source(preset: str, where: str, layout: str, name: str) -> None:
    """A file of the source's layout, with the official initialisation."""
    from efficientnet_rosetta.common.checkpoints.port import port
    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.weights.canonical import save
    from efficientnet_rosetta.common.weights.initial import initial

    folder = Path(where)
    network = resolve(preset, dialect=DIALECTS.get(layout, "tensorflow"))
    canonical = folder / "canonical.safetensors"
    save(canonical, network, initial(network))
    if layout == "canonical":
        canonical.rename(folder / name)
    else:
        port(canonical, folder / name, layout, run=False)
    config = {"architecture": f"efficientnet_{preset}", "num_classes": 1000}
    pretrained = {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "tag": "ra_in1k",
        "classifier": "classifier",
    }
    pretrained |= {"input_size": [3, *network.resolution], "interpolation": "bicubic"}
    (folder / "config.json").write_text(json.dumps(config | {"pretrained_cfg": pretrained}))


def measure(job: str, preset: str, folder: Path) -> None:
    """Run ours, then the other; print their rows."""
    (of, source), (layout, result), other = JOBS[job]
    port = (
        "import sys; from efficientnet_rosetta import port; "
        "port(*sys.argv[1:4], dialect=sys.argv[4], run=False)"
    )
    dialect = DIALECTS.get(of, "tensorflow")
    paths = [str(folder / source), str(folder / result), layout, dialect]
    commands = {"ours": [sys.executable, "-c", port, *paths]}
    if other:
        commands[other] = [sys.executable, __file__, "--other", other, preset, str(folder)]
    size = (folder / source).stat().st_size / 2**20
    baseline = None
    for converter, command in commands.items():
        seconds, memory = cost(command)
        (folder / result).unlink(missing_ok=True)
        baseline = baseline or (seconds, memory)
        print(
            f"{preset:<7}{job:<28}{converter:<24}{seconds:>7.1f}{seconds / baseline[0]:>7.1f}"
            f"{memory:>7.0f}{memory / baseline[1]:>7.1f}{memory / size:>8.2f}",
            flush=True,
        )


def measure_proof(preset: str, folder: Path) -> None:
    """A port to keras.applications with its proof, against the imports; the median of each."""
    program = (
        "import sys; from efficientnet_rosetta import port; "
        "done = port(*sys.argv[1:], dialect='tensorflow', force=True); "
        "assert done.verdict.ending == 'proved', done.verdict"
    )
    paths = [str(folder / "source.pth"), str(folder / "result.weights.h5"), "keras-applications"]
    commands = {
        "importing both frameworks": [sys.executable, "-c", "import torch, tensorflow, keras"],
        "port with its proof": [sys.executable, "-c", program, *paths],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TURNS):
        for name, command in commands.items():
            seconds[name].append(cost(command)[0])
    baseline, ours = (sorted(found)[TURNS // 2] for found in seconds.values())
    print(
        f"{preset:<7}{' against '.join(reversed(commands))}: {ours:.1f} and {baseline:.1f} CPU s, "
        f"ratio {ours / baseline:.2f}",
        flush=True,
    )


def cost(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MiB of one process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(errors.decode())
    # The usage of a process has that of those that it waited for, such as the one of a proof.
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


# ------------------------------------------------------------------ the others


def with_transformers(preset: str, folder: Path) -> None:
    """What transformers' conversion script does: build both models, and copy by name.

    The script itself reads Keras 2's names and is not part of the package.
    """
    import keras
    import torch

    from parity_tests.peers import operators

    operators.declare()
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    from efficientnet_rosetta.common.checkpoints.layouts import layout_of
    from efficientnet_rosetta.common.spec import resolve

    model = getattr(keras.applications, f"EfficientNet{preset.upper()}")(weights=None)
    model.load_weights(folder / "source.weights.h5")
    network = resolve(preset)
    target = EfficientNetForImageClassification(
        EfficientNetConfig(
            image_size=network.resolution[0],
            width_coefficient=network.width,
            depth_coefficient=network.depth,
            hidden_dim=network.head.out_channels,
            num_labels=network.num_classes,
        )
    )
    # Its table of names, which is a function of the blocks' names, is ours here.
    names = layout_of("transformers").forms["torch"].keys(network)
    variables = iter(variable for layer in model.layers[3:] for variable in layer.weights)
    state = target.state_dict()
    for key in names.values():
        value = keras.ops.convert_to_numpy(next(variables))
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
        if "depthwise_conv.depthwise_conv" in key.path:
            axes = (2, 3, 0, 1)
        state[key.path] = torch.from_numpy(value.transpose(axes).copy())
    target.load_state_dict(state)
    target.save_pretrained(folder / "transformers")


def with_keras_hub(preset: str, folder: Path) -> None:
    """KerasHub's conversion of timm's files, from a folder as the hub has it."""
    from parity_tests.peers import operators

    operators.declare()
    import keras_hub

    model = keras_hub.models.ImageClassifier.from_preset(str(folder))
    model.save_weights(folder / "hub.weights.h5")


def with_efficientnet_pytorch(preset: str, folder: Path) -> None:
    """efficientnet_pytorch's loader, and the state dict of what it loaded."""
    from efficientnet_pytorch import EfficientNet
    from safetensors.torch import save_file

    name, path = f"efficientnet-{preset}", str(folder / "source.pth")
    save_file(EfficientNet.from_pretrained(name, path).state_dict(), folder / "its.safetensors")


def with_load_state_dict(preset: str, folder: Path) -> None:
    """What a program that uses the weights does first: `torch.load` and `load_state_dict`."""
    import torch

    from parity_tests.peers import operators

    operators.declare()
    import timm

    model = timm.create_model(f"tf_efficientnet_{preset}")
    model.load_state_dict(torch.load(folder / "source.pth", weights_only=True))


OTHERS = {
    "load_state_dict": with_load_state_dict,
    "transformers' script": with_transformers,
    "keras-hub from_preset": with_keras_hub,
    "its from_pretrained": with_efficientnet_pytorch,
}


if __name__ == "__main__":
    main()
