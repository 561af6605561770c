"""Keys and shapes of every library's own files, of every size, as text to compare with.

`python -m parity_tests.peers.manifest` builds every model of every library and writes the files
again; a library's new release that renames something shows as a difference.  Layouts whose
libraries cannot be installed (tpu, efficientnet-jax) have none; kecam's are in test_kecam.py.

A file has a section for each size, and a line for each layer: its name, and its tensors with their
shapes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import keras
import torch

from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from parity_tests.peers import legacy
from parity_tests.peers.libraries import PEERS, XCEPTION_PEERS, Peer

FOLDER = Path(__file__).parent / "manifests"
Shapes = dict[str, tuple[int, ...]]


def of_torch(peer: Peer, preset: str) -> Shapes:
    """Of a state dict; the model takes no memory."""
    with torch.device("meta"):
        state = peer.build(preset).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


@lru_cache(maxsize=2)  # what one format is of, the next is too
def first_of_session(build: Callable[[str], keras.Model], preset: str) -> keras.Model:
    """A model whose layers have the numbers that a session starts with."""
    keras.backend.clear_session()
    model = build(preset)
    keras.backend.clear_session()
    return model


def of_keras(peer: Peer, preset: str) -> Shapes:
    """Of a file that the library saves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"saved{peer.suffix}"
        peer.save(first_of_session(peer.build, preset), path)
        return in_file(path)


def in_file(path: Path) -> Shapes:
    """Of a file."""
    return {key: tensor.shape for key, tensor in formats.read(path).tensors.items()}


def of_legacy(library: str) -> Callable[[str], Shapes]:
    """Of a library on Keras 2."""
    return lambda preset: legacy.shapes(library, preset)


XCEPTION = {peer.name: peer for peer in XCEPTION_PEERS}  # the same files of another architecture


def _one(peer: Peer) -> Callable[[str], Shapes]:
    of = of_torch if peer.suffix == ".pth" else of_keras
    return lambda preset: of(XCEPTION[peer.name] if preset == "xception" else peer, preset)


# By file name: the layout, its format, and who knows its keys.
SOURCES: dict[str, tuple[str, str, Callable[[str], Shapes]]] = {
    **{
        peer.name: (peer.layout, formats.format_of(f"x{peer.suffix}"), _one(peer))
        for peer in PEERS
        if peer.suffix != ".keras"  # whose weights are a .weights.h5
    },
    "keras-applications-keras2.h5": ("keras-applications", "h5", of_legacy("keras-applications")),
    "qubvel.h5": ("qubvel", "h5", of_legacy("qubvel")),
}


def presets(name: str) -> tuple[str, ...]:
    """The sizes of a manifest; qubvel's released package stops at building its L2."""
    layout = layout_of(SOURCES[name][0])
    sizes = tuple(p for p in layout.presets if (layout.name, p) != ("qubvel", "l2"))
    return (*sizes, *(["xception"] if name in XCEPTION else []))


def read(name: str) -> dict[str, Shapes]:
    """A manifest by size."""
    sections: dict[str, Shapes] = {}
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        layer, *tensors = line.split()
        if not tensors:
            shapes = sections.setdefault(layer.strip("[]"), {})
        for tensor in tensors:
            variable, _, sides = tensor.partition("=")
            shapes[layer + variable] = tuple(int(side) for side in sides.split("x") if side)
    return sections


def write(name: str) -> None:
    """Build every size of a library, and write its manifest."""
    lines = []
    for preset in presets(name):
        lines.append(f"[{preset}]")
        layers: dict[str, list[str]] = {}
        for key, shape in SOURCES[name][2](preset).items():
            cut = max(key.rfind("."), key.rfind("/")) + 1
            layers.setdefault(key[:cut], []).append(f"{key[cut:]}={'x'.join(map(str, shape))}")
        lines += [" ".join([layer, *tensors]) for layer, tensors in layers.items()]
    (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for source in SOURCES:
        write(source)
