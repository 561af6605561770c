"""Files that were made to do harm: small, and sound as far as the format goes."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save

from .damage import Random
from .networks import network, weights


def _metadata_of(random: Random) -> dict[str, str]:
    from efficientnet_rosetta.common.weights.metadata import metadata

    found = metadata(network())
    said = json.loads(found["network"])
    values = (
        *(10**400, -1, 0, 1e300, float("nan"), float("inf"), [], {}, [[[]]], "x" * 10**6, None),
        *(True, ["tensorflow"], {"name": []}, 2**31, "\n\x1b[2J", "\udcff"),
    )
    key = sorted(said)[random.integers(len(said))]
    said[key] = values[random.integers(len(values))]
    if random.integers(3) == 0:
        said["dialect"] = {"name": values[random.integers(len(values))], "padding": "same"}
    return {**found, "network": json.dumps(said)}


def hostile_metadata(folder: Path, random: Random) -> Path:
    """A network that says of itself what cannot be."""
    path = folder / "x.safetensors"
    path.write_bytes(save(weights(), _metadata_of(random)))
    return path


def hostile_normalization(folder: Path, random: Random) -> Path:
    """A normalization that nothing can be normalised by."""
    from efficientnet_rosetta.common.weights.metadata import metadata

    said = (
        *('{"mean": ' + "[" * 10**5, '{"mean": [0,0,0], "std": [0,0,0]}', "[]", "null", "7"),
        *('{"mean": [NaN,0,0], "std": [1,1,1]}', '{"mean": [1], "std": [1,2]}', "{"),
        *('{"mean": [' + "9" * 400 + ',0,0], "std": [1,1,1]}', '{"mean": {"a": 1}, "std": "x"}'),
    )
    path = folder / "x.safetensors"
    stated = {"normalization": said[random.integers(len(said))]}
    path.write_bytes(save(weights(), {**metadata(network()), **stated}))
    return path


def config_beside(folder: Path, random: Random) -> Path:
    """A `config.json` beside the weights that is no configuration, or no file."""
    from efficientnet_rosetta.common.weights.metadata import metadata

    path, config = folder / "x.safetensors", folder / "config.json"
    path.write_bytes(save(weights(), metadata(network())))
    way = random.integers(6)
    if way == 0:
        os.mkfifo(config)
    elif way == 1:
        config.symlink_to("/dev/zero")
    elif way == 2:
        config.mkdir()
    else:
        texts = (b"[" * 10**5, b'{"pretrained_cfg": {"mean": [1], "std": 0}}', b"\xff\xfe{")
        config.write_bytes(texts[way - 3])
    return path


def dictionaries(folder: Path, random: Random) -> Path:
    """Dictionaries in one another, which name more tensors than there are atoms."""
    found: object = {}
    for _ in range(random.integers(10, 60)):
        found = {"a": found, "b": found}
    path = folder / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(found, 2))
        archive.writestr("x/version", "3\n")
    return path


def stride(folder: Path, random: Random) -> Path:
    """A tensor of one value that is to be as many as it likes."""
    size = int(2 ** random.integers(20, 45))

    def integer(value: int) -> bytes:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw

    def text(words: str) -> bytes:
        return b"X" + struct.pack("<I", len(words)) + words.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += integer(1) + b"tQ"
    axes = b"(" + integer(size) + b"t(" + integer(int(random.integers(-1, 2))) + b"t"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(0) + axes
    content = b"\x80\x02}" + text("conv_stem.weight") + tensor + b"\x89}tRs."
    path = folder / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", bytes(4))
    return path


def _npy(descr: str, shape: tuple[int, ...], content: bytes) -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + content


@cache
def _zeros(size: int, level: int) -> bytes:
    """Many zeros in few bytes, which take a while to make."""
    return zlib.compress(bytes(size), level)


def archive_of_arrays(folder: Path, random: Random) -> Path:
    """Names of no bytes, arrays of no end, zeros that take far more room than their file."""
    path = folder / "x.npz"
    path.write_bytes(_archive_of_arrays(int(random.integers(6)), int(random.integers(5, 18))))
    return path


@cache
def _archive_of_arrays(way: int, power: int) -> bytes:
    huge = (10**power,)
    names = (
        _npy("|S0", huge, b""),
        _npy("<U0", huge, b""),
        _npy("<f4", huge, b""),
        _npy("<U9", (2, 2), bytes(144)),
        _npy("|O", (1,), pickle.dumps([1])),
        _npy("<U1", (1,), "0".encode("utf-32-le")),
    )[way]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("names.npy", names)
        archive.writestr("0.npy", _npy("<f4", (2**25,), bytes(2**27)))
    return out.getvalue()


def datasets(folder: Path, random: Random) -> Path:
    """Datasets that were never written, or unpack to far more than the file holds."""
    size, way = int(2 ** random.integers(18, 31)), random.integers(4)
    path = folder / "x.h5"
    with h5py.File(path, "w") as file:
        if way == 0:
            file.create_dataset("a/a/kernel:0", (size,), "f4", chunks=(2**10,))
        elif way == 1:
            file.create_dataset("a/a/kernel:0", (size,), "f4")
        elif way == 2:
            made = file.create_dataset("a/a/kernel:0", (999,), "f4", chunks=(999,), compression=9)
            made.id.write_direct_chunk((0,), _zeros(2**28, 9))
        else:
            kind = np.dtype("f4")
            made = file.create_dataset(
                "a/a/kernel:0", (2**26,), kind, chunks=(2**26,), compression=9
            )
            made.id.write_direct_chunk((0,), _zeros(2**28, 9))
    return path


def device(folder: Path, random: Random) -> Path:
    """A pipe, a device, a folder, a link to one of them, or to itself."""
    path, way = folder / "x.pth", random.integers(5)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.symlink_to("/dev/zero")
    elif way == 2:
        path.mkdir()
    elif way == 3:
        path.symlink_to(path)
    else:
        (folder / "pipe").mkdir()
        os.mkfifo(folder / "pipe" / "x")
        path.symlink_to(folder / "pipe" / "x")
    return path


def not_a_number(folder: Path, random: Random) -> Path:
    """Weights that are no numbers, or no weights."""
    from efficientnet_rosetta.common.weights.metadata import metadata

    found = {name: array.copy() for name, array in weights().items()}
    name = sorted(found)[random.integers(len(found))]
    found[name].flat[random.integers(found[name].size)] = (np.nan, np.inf, -np.inf)[
        random.integers(3)
    ]
    path = folder / "x.safetensors"
    path.write_bytes(save(found, metadata(network())))
    return path


def names_of_keys(folder: Path, random: Random) -> Path:
    """Keys that obey no rule of ours, and would move a terminal's cursor."""
    signs = ("\n", "\x1b[31m", "[red]", "\x00", "a" * 5000, "/", "..", "", "\u202e", "é")
    keys = {
        "".join(signs[random.integers(len(signs))] for _ in range(random.integers(1, 5)))
        for _ in range(random.integers(1, 50))
    }
    path = folder / "x.safetensors"
    path.write_bytes(save({key: np.zeros(2, np.float32) for key in keys}))
    return path


def stems(folder: Path, random: Random) -> Path:
    """Many networks that begin, none of which goes on."""
    count, key = random.integers(2, 400), ("conv_stem.weight", "features.0.0.weight")
    chosen = key[random.integers(2)]
    path = folder / "x.safetensors"
    path.write_bytes(save({f"p{n}.{chosen}": np.zeros(1, np.float32) for n in range(count)}))
    return path


HOSTILE: tuple[Callable[[Path, Random], Path], ...] = (
    *(hostile_metadata, hostile_normalization, config_beside, dictionaries, stride),
    *(archive_of_arrays, datasets, device, not_a_number, names_of_keys, stems),
)


def odd_name(random: Random) -> str:
    """A name that a file may have."""
    names = (
        "[red]x",
        "[b]x[0]",
        "a\nb",
        "\x1b[2Jx",
        "x" * 230,
        "ä" * 120,
        "\udcff",
        " ",
        "-x",
        "'\"",
    )
    return names[random.integers(len(names))]
