"""What a file or folder of a user's holds: a program, or weights of ours; no framework reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from .._util.files import is_file, is_folder

# Parts of archives by which PyTorch's are told apart from its checkpoints.
OF_SCRIPT, OF_EXPORTED = "/code/", ("archive_format", "serialized_exported_program.json")
SAVED_MODEL = "saved_model.pb"


def is_script(path: str | Path) -> bool:
    """Whether a file is TorchScript."""
    return any(OF_SCRIPT in f"/{name}" for name in _members(path))


def is_exported(path: str | Path) -> bool:
    """Whether a file is of `torch.export`."""
    return any(name.rpartition("/")[2] in OF_EXPORTED for name in _members(path))


def is_saved_model(path: str | Path) -> bool:
    """Whether a folder has a graph of TensorFlow's, beside which there may be weights."""
    return is_folder(path) and is_file(Path(path) / SAVED_MODEL)


def _members(path: str | Path) -> list[str]:
    """The names in an archive; none if it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return []
