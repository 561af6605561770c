"""What our files say of themselves: the keys, the version, and the network in them.

Every file that this project writes names its kind with `FORMAT`, and the version of what it says
with `SCHEMA`.  A file of a newer version is refused by name, whatever kind of file it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientnet_rosetta import __version__

from ..architectures import arguments_of, rebuilt
from ..errors import DamagedFileError, FileError, reason
from ..network import Network
from ..spec import EFFICIENTNET

FORMAT = "efficientnet-rosetta"
SCHEMA = (
    4  # of weights, graphs, runs and reports alike; files before 4 counted apart, or not at all
)
# Keys beside those of `metadata`.
SCHEMA_KEY = "schema"
NORMALIZATION = "normalization"  # of the images that the weights were trained on, as JSON
ACTIVATION = "activation"  # that the classifier's outputs go through: softmax, sigmoid or linear
FAMILY = "family"  # of preprocessing, of weights that were trained here
CLASS_NAMES = "class_names"  # in the order of the outputs, as a list in JSON
FOLDED = "folded"  # weights out of a graph whose batch norms were folded into its convolutions
UNFAITHFUL = "unfaithful"  # weights that were written for a library that runs another dialect


def metadata(network: Network) -> dict[str, str]:
    """What a file says about the network in it; `network` alone rebuilds it."""
    return {
        "format": FORMAT,
        SCHEMA_KEY: str(SCHEMA),
        "architecture": network.architecture,
        "preset": network.name,
        "dialect": network.dialect.name,
        "classes": str(network.num_classes or "none"),
        "network": json.dumps(arguments_of(network)),
    }


def description(network: Network, layout: str, framework: str) -> dict[str, str]:
    """The metadata of an exported graph: that of the weights, and how the graph came to be."""
    producer = f"{FORMAT} {__version__} ({framework})"
    return {**metadata(network), "layout": layout, "producer": producer}


def check_schema(path: str | Path, found: Mapping[str, Any]) -> None:
    """Refuse a file of a newer version than this one.

    Raises:
        FileError: the file is newer.
        DamagedFileError: its version is not a number.
    """
    said = found.get(SCHEMA_KEY, 0)
    try:
        version = int(said)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedFileError(path, f"its schema is {said!r}, which is no number") from error
    if version > SCHEMA:
        raise FileError(
            path,
            f"was written by a newer version of {FORMAT} (schema {version}, and this version knows "
            f"{SCHEMA}); run: pip install --upgrade {FORMAT}",
        )


def network_from(path: str | Path, found: Mapping[str, str] | None) -> Network:
    """Rebuild the network that `metadata` described in the file `path`.

    Raises:
        FileError: there is no such metadata, or it is of a newer version.
        DamagedFileError: the metadata is damaged.
    """
    if not found or found.get("format") != FORMAT:
        raise FileError(
            path,
            f"has no {FORMAT} metadata; port the original to the layout canonical",
        )
    check_schema(path, found)
    try:
        # Files from before there was a second architecture do not name theirs.
        architecture = found.get("architecture", EFFICIENTNET.name)
        return rebuilt(architecture, found["preset"], json.loads(found["network"]))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DamagedFileError(
            path, f"its {FORMAT} metadata is damaged ({reason(error)})"
        ) from error
