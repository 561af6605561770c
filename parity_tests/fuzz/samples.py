"""Small sound files of every format, from which damaged ones are made.

A new format is a line in `SAMPLES`.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import save_file

from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, sstable
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.layouts.keras_graph import config
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.metadata import metadata

from .exported import exported
from .networks import network, weights

DATA = "data-00000-of-00001"  # of a TensorFlow checkpoint


@dataclass(frozen=True)
class Sample:
    """How to make a sound file, and what is known of damage to it.

    `make` writes it into a folder and returns its path; `parts` are the files that may be damaged,
    as what is behind the path.  With `checksummed`, all values and names are under a checksum, so
    that damage which leaves the checksums alone may not change one.  `members` takes a part apart
    into pieces that have checksums of their own, and `joined` puts them together with new ones.
    """

    make: Callable[[Path], Path]
    parts: tuple[str, ...] = ("",)
    checksummed: bool = False
    members: Callable[[bytes], list[tuple[bytes, bytes]]] | None = None
    joined: Callable[[list[tuple[bytes, bytes]]], bytes] | None = None
    large: bool = False  # some 20 MB: damaged once in a while only
    known: bool = False  # a network that is recognised
    graph: bool = False  # its values are those that its operations lead to
    framework: bool = False  # made by a process of its own, which imports a framework


def _canonical(folder: Path) -> Path:
    save(folder / "x.safetensors", network(), weights())
    return folder / "x.safetensors"


def _library(layout: str, name: str, preset: str = "custom") -> Callable[[Path], Path]:
    """A file as one of the libraries has it, though of a network that it may not have."""

    def make(folder: Path) -> Path:
        kind = "tf-checkpoint" if "." not in name else formats.format_of(name)
        found = network(preset)
        form = layout_of(layout, "b0").forms[kind]
        tensors = {
            key.path: LazyTensor.of(key.path, weights(preset)[role].transpose(key.axes))
            for role, key in form.keys(found).items()
        }
        names = {}
        if form.layer_names is not None:
            groups, layers = form.names.layers(found), form.layer_names.layers(found)
            names = {f"{groups[role]}/vars": layers[role] for role in layers}
        graph = config(found) if kind == "keras" else None
        formats.write(folder / name, kind, Content(tensors, {"format": "pt"}, names, graph))
        return folder / name

    return make


def _legacy_torch(folder: Path) -> Path:
    import torch

    form = layout_of("timm-tf", "b0").forms["torch"]
    state = {
        key.path: torch.from_numpy(weights()[role].transpose(key.axes).copy())
        for role, key in form.keys(network()).items()
    }
    torch.save(state, folder / "x.pth", _use_new_zipfile_serialization=False)
    return folder / "x.pth"


def _saved_model(folder: Path) -> Path:
    inner = folder / "x" / "variables"
    inner.mkdir(parents=True)
    made = _library("tpu", "variables")(inner)
    (folder / "x" / "saved_model.pb").write_bytes(b"\x08\x01")
    return made.parent.parent


def _onnx(folder: Path) -> Path:
    """The initializers and the metadata of an export; the nodes are passed over in reading."""
    from onnx import helper, numpy_helper

    tensors = [numpy_helper.from_array(array, name) for name, array in weights().items()]
    model = helper.make_model(helper.make_graph([], "graph", [], [], tensors))
    helper.set_model_props(model, metadata(network()))
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    return folder / "x.onnx"


def _shards(folder: Path) -> Path:
    """A folder of two files and the index of their tensors, as transformers saves it."""
    found, path = weights(), folder / "x"
    path.mkdir()
    names = sorted(found)
    half = len(names) // 2
    index = {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: found[name] for name in part}, path / shard, {"format": "pt"})
        index.update(dict.fromkeys(part, shard))
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return path


# ------------------------------------------------------------------ pieces under checksums


def zip_members(content: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name.encode(), archive.read(name)) for name in archive.namelist()]


def zip_joined(members: list[tuple[bytes, bytes]]) -> bytes:
    """An archive whose checksums fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name.decode("utf-8", "replace") or "x", content)
    return out.getvalue()


def table_rows(content: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of a TensorFlow index."""
    return list(sstable.read_table(content))


def table_joined(rows: list[tuple[bytes, bytes]]) -> bytes:
    """An index whose checksums fit and whose keys are in order."""
    return sstable.write_table(sorted(dict(rows).items()))


def header_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Header and values of a safetensors file."""
    (size,) = struct.unpack_from("<Q", content)
    return [(b"header", content[8 : 8 + size]), (b"values", content[8 + size :])]


def header_joined(pieces: list[tuple[bytes, bytes]]) -> bytes:
    """A safetensors file whose first number fits."""
    header, *values = (content for _, content in pieces)
    return struct.pack("<Q", len(header)) + header + b"".join(values)


FRAMEWORK = {"framework": True}
GRAPH = {"large": True, "known": True, "graph": True, "framework": True}
ZIP = {"checksummed": True, "members": zip_members, "joined": zip_joined}
TABLE = {"checksummed": True, "members": table_rows, "joined": table_joined}
HEADER = {"members": header_of, "joined": header_joined}
INDEX = (".index", f".{DATA}")
SHARDS = ("/model.safetensors.index.json", "/model-00001-of-00002.safetensors")

SAMPLES = {
    "safetensors": Sample(_canonical, known=True, **HEADER),
    "torch zip": Sample(_library("timm-tf", "x.pth"), **ZIP),
    "torch legacy": Sample(_legacy_torch),
    "h5": Sample(_library("keras-applications", "x.h5")),
    "weights.h5": Sample(_library("keras-applications", "x.weights.h5")),
    "keras": Sample(_library("keras-applications", "x.keras"), **ZIP),
    "npz": Sample(_library("efficientnet-jax", "x.npz"), **ZIP),
    "tf-checkpoint": Sample(_library("tpu", "x"), INDEX, **TABLE),
    "saved-model": Sample(
        _saved_model, tuple(f"/variables/variables{part}" for part in INDEX), **TABLE
    ),
    "onnx": Sample(_onnx, known=True),
    "onnx and its data": Sample(exported("external", "x.onnx"), ("", ".data"), **FRAMEWORK),
    "TorchScript": Sample(exported("script", "x.pt"), **FRAMEWORK, **ZIP),
    "torch.export": Sample(exported("program", "x.pt2"), **FRAMEWORK, **ZIP),
    "torch distributed": Sample(
        exported("distributed", "x"), ("/.metadata", "/__0_0.distcp"), **FRAMEWORK
    ),
    "shards": Sample(_shards, SHARDS),
    "B0 torch zip": Sample(_library("timm-tf", "x.pth", "b0"), large=True, known=True, **ZIP),
    "B0 h5": Sample(_library("keras-applications", "x.h5", "b0"), large=True, known=True),
    "B0 tf-checkpoint": Sample(_library("tpu", "x", "b0"), INDEX, large=True, known=True, **TABLE),
    "B0 graph": Sample(exported("graph", "x.onnx"), **GRAPH),
    "B0 tflite": Sample(exported("lite", "x.tflite"), **GRAPH),
}
