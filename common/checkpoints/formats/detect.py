"""Which format a file is in: told by its bytes when read, by its suffix when written."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ..._util.files import is_file, is_folder, is_there, opened
from ...errors import FileError, reading

# Formats of the frameworks' own; every other one is named where it is needed.
PYTORCH_FILE, KERAS_ARCHIVE = "torch", "keras"
# What a file name ends in, by format; the longest that fits counts.
SUFFIXES = {
    ".safetensors": "safetensors",
    ".pth": PYTORCH_FILE,
    ".pt": PYTORCH_FILE,
    ".bin": PYTORCH_FILE,
    ".ckpt": PYTORCH_FILE,
    ".pth.tar": PYTORCH_FILE,
    ".h5": "h5",
    ".hdf5": "h5",
    ".weights.h5": "weights.h5",
    ".keras": KERAS_ARCHIVE,
    ".npz": "npz",
}
CHECKPOINT = "tf-checkpoint"  # named by the prefix of its files, which has no suffix
SAVED_MODEL = "saved-model"  # a folder
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
PICKLE_SIGNATURE = b"\x80"
ONNX_SIGNATURE = re.compile(
    rb"\x08[\x01-\x7f][\x12\x1a\x22\x2a\x32\x3a]"
)  # ir_version, the next field
TORCH_MEMBER = "data.pkl"
KERAS_MEMBER = "model.weights.h5"
# From the dtypes of safetensors to NumPy's, where a tensor can be a weight or a counter.
SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
}


def format_of(path: str | Path) -> str:
    """The format that a file name asks for.

    Raises:
        RosettaError: the suffix belongs to no format.
    """
    name = Path(path).name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    if not fitting:
        raise FileError(
            path, f"the suffix says no format; choose from {', '.join(sorted(SUFFIXES))}"
        )
    return SUFFIXES[max(fitting, key=len)]


def index_of(prefix: Path) -> Path:
    """The file by which a TensorFlow checkpoint, named by its prefix, is recognised."""
    return prefix.parent / f"{prefix.name}.index"  # of `.` and `/` too, which have no name


def detect(path: str | Path) -> str:
    """The format that a file has, by its first bytes; "hdf5" stands for both of Keras's.

    Raises:
        RosettaError: there is no such file, or its bytes are of no format.
    """
    path = Path(path)
    if is_file(index_of(path)):
        return CHECKPOINT
    if is_file(index_of(path / "variables" / "variables")):
        return SAVED_MODEL
    if is_folder(path):
        raise FileError(path, "is a folder, but not a SavedModel; name a file in it")
    if not is_file(path):
        raise FileError(path, "is not a file; name one" if is_there(path) else "no such file")
    with reading(path, "a file"), opened(path) as file:
        head = file.read(16)
    if head.startswith(HDF5_SIGNATURE):
        return "hdf5"
    if head.startswith(ZIP_SIGNATURE):
        return _zip_format(path)
    # An eight-byte length, and JSON that starts with a brace.  A length below 4 GiB is not taken
    # for a pickle where it begins with the same byte, as one of 32 does.
    if head[4:9] == b"\0\0\0\0{":
        return "safetensors"
    if head.startswith(PICKLE_SIGNATURE):
        return PYTORCH_FILE
    if head[8:9] == b"{":
        return "safetensors"
    if ONNX_SIGNATURE.match(head):
        return "onnx"
    raise FileError(
        path,
        "is in no known format; choose a safetensors, PyTorch, Keras, TensorFlow, .npz "
        "or ONNX file",
    )


def _zip_format(path: Path) -> str:
    with reading(path, "a zip archive"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if KERAS_MEMBER in names:
        return KERAS_ARCHIVE
    if any(name.rpartition("/")[2] == TORCH_MEMBER for name in names):
        return PYTORCH_FILE
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise FileError(path, "is a zip archive, but of neither PyTorch, NumPy nor Keras")
