"""CPU seconds of our ONNX exporters and of the frameworks' own, as ratios.

    python benchmarks/export.py [PRESET...]     (b0 and b7 by default; B7 needs 9 GiB)

Every export runs in a process of its own, with imports and model building left out, on the same
weights.  Absolute times mean nothing beyond the machine they were measured on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPORTERS = {
    "torch": ("ours", "torch.onnx"),
    "keras": ("ours", "model.export"),
}
IMPORTS = {
    ("torch", "ours"): ["efficientnet_rosetta.torch_impl.onnx", "torch.export"],
    ("torch", "torch.onnx"): ["onnxscript", "torch.onnx", "torch.onnx._internal.exporter._core"],
    ("keras", "ours"): ["efficientnet_rosetta.keras_impl.onnx"],
    ("keras", "model.export"): ["tf2onnx"],
}


def main() -> None:
    """Measure every exporter for every preset, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=["b0", "b7"])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        json.dump(measure(*arguments.one), sys.stdout)
        return
    print(f"{'preset':<8}{'framework':<11}{'exporter':<14}{'CPU s':>8}{'ratio':>8}{'nodes':>8}")
    for preset in arguments.presets:
        for backend, exporters in EXPORTERS.items():
            baseline = None
            for exporter in exporters:
                seconds, nodes = in_a_process(preset, backend, exporter)
                baseline = baseline or seconds
                ratio = f"{seconds / baseline:.1f}"
                print(
                    f"{preset:<8}{backend:<11}{exporter:<14}{seconds:>8.1f}{ratio:>8}{nodes:>8}",
                    flush=True,
                )


def in_a_process(preset: str, backend: str, exporter: str) -> tuple[float, int]:
    """Measure one exporter where nothing else was imported or cached."""
    command = [sys.executable, __file__, "--one", preset, backend, exporter]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def measure(preset: str, backend: str, exporter: str) -> tuple[float, int]:
    """CPU seconds of one export, and the number of nodes it made."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import onnx

    from efficientnet_rosetta.common.backends.registry import get_backend
    from efficientnet_rosetta.common.spec import resolve
    from efficientnet_rosetta.common.weights.initial import initial

    network = resolve(preset)
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, initial(network))
    # What each exporter imports late, imported now.
    for name in IMPORTS[backend, exporter]:
        importlib.import_module(name)
    module.run(model, np.zeros((2, 3, *network.resolution)))  # Keras exports what was called
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        start = time.process_time()
        if exporter == "ours":
            path.write_bytes(module.export_onnx(model, network).SerializeToString())
        elif backend == "torch":
            with_torch(model, network, path)
        else:
            model.export(str(path), format="onnx", verbose=False)
        return time.process_time() - start, len(onnx.load(path).graph.node)


def with_torch(model, network, path: Path) -> None:
    """PyTorch's own exporter, with a dynamic batch like ours."""
    import torch

    torch.onnx.export(
        model,
        (torch.zeros(2, 3, *network.resolution),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
        external_data=False,
    )


if __name__ == "__main__":
    main()
