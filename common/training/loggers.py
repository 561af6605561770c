"""Where the epochs of a run are reported besides its own tables, by name.

The loggers are the frameworks' own: `torch_impl/loggers.py` and `keras_impl/loggers.py` make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import (
    OWN_FAULTS,
    DamagedFileError,
    MissingDependencyError,
    RosettaError,
    UsageError,
    reason,
)

# What must be installed for each.
LOGGERS: dict[str, str | None] = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "csv": None,
}
NONE = "none"
DEFAULT_LOGGERS = ("tensorboard",)
LOGGERS_KEY = "loggers"  # of the settings
PROJECT = "efficientnet-rosetta"  # the project of W&B, and the experiment of MLflow
CSV = "csv"  # folder of a run


def chosen_loggers(names: Sequence[str]) -> tuple[str, ...]:
    """The loggers of these names, each once; "none" is none of them.

    Raises:
        UsageError: there is no such logger, or there are others beside none.
        MissingDependencyError: what one needs is not installed.
    """
    for name in names:
        if name not in (*LOGGERS, NONE):
            raise UsageError(
                f"unknown logger {name!r}; choose from {', '.join((*LOGGERS, NONE))}",
                argument="logger",
            )
    if NONE in names:
        if set(names) != {NONE}:
            raise UsageError(f"{NONE} excludes other loggers; leave it out", argument="logger")
        return ()
    for name in names:
        package = LOGGERS[name]
        if package is not None and find_spec(package) is None:
            raise MissingDependencyError(
                f"logger {name} needs {package}, which is not installed; run: "
                f"pip install {package}",
                package=package,
            )
    return tuple(dict.fromkeys(names))


def kept_loggers(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The loggers that a run had before.

    Raises:
        DamagedFileError: its settings say something else there.
        MissingDependencyError: what one needs is not installed.
    """
    said = settings.get(LOGGERS_KEY, DEFAULT_LOGGERS)
    if not isinstance(said, list | tuple) or not all(name in LOGGERS for name in said):
        raise DamagedFileError(
            path, f"{LOGGERS_KEY} is {said!r}; correct it, or start the run again"
        )
    return chosen_loggers(said)


@contextmanager
def beginning(name: str) -> Iterator[None]:
    """Say in one line why a logger cannot begin: its server is not there, or does not know us.

    Raises:
        RosettaError: it cannot.
    """
    try:
        yield
    except OWN_FAULTS:
        raise
    except Exception as error:
        raise RosettaError(
            f"logger {name} cannot begin ({reason(error)}); mend that, or leave it out",
            argument="logger",
        ) from error
