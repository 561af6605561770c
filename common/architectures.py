"""The architectures by name, and `resolve` for the presets of all of them.

Whoever adds one lists it here (docs/use/add_network.md).  Like the specifications themselves this
module imports the standard library only.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from ._util.arguments import look_up
from .edgetpu import EDGETPU
from .errors import UsageError
from .lite import LITE
from .network import Architecture, Dialect, Network
from .spec import EFFICIENTNET
from .v2 import V2
from .v2_rw import V2_RW
from .xception import XCEPTION

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (EFFICIENTNET, LITE, V2, V2_RW, EDGETPU, XCEPTION)
}
PRESETS: dict[str, Architecture] = {
    preset: architecture
    for architecture in ARCHITECTURES.values()
    for preset in architecture.presets
}


def resolve(preset: str = "b0", **arguments: Any) -> Network:
    """The network of a preset of any architecture, or another scaling of it.

    The arguments are those of the architecture's own `resolve`, such as `resolution`,
    `num_classes`, `in_channels`, `dropout` and `dialect`.

    Raises:
        UsageError: unknown preset or dialect, an argument that the architecture does not have, or
            a value outside its range.
    """
    architecture = look_up("preset", preset, PRESETS)
    known = inspect.signature(architecture.resolve).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise UsageError(f"{architecture.model} has no {unknown[0]}; leave it out")
    return architecture.resolve(preset, **arguments)


def scaled(
    preset: str,
    width: float | None = None,
    depth: float | None = None,
    middle_blocks: int | None = None,
    **arguments: Any,
) -> Network:
    """The network of a preset, or of another scaling of it where something of that is not None.

    Raises:
        UsageError: as `resolve`.
    """
    scaling = {"width": width, "depth": depth, "middle_blocks": middle_blocks}
    given = {name: value for name, value in scaling.items() if value is not None}
    return resolve(preset, **given, **arguments)


def arguments_of(network: Network) -> dict[str, Any]:
    """What `rebuilt` needs to make a network again, the preset's name apart."""
    return {**network.arguments, "dialect": dataclasses.asdict(network.dialect)}


def changed(network: Network, **arguments: Any) -> Network:
    """The same network with other arguments of `resolve`; a dialect is given as a dictionary.

    Raises:
        UsageError: a value is outside its range.
    """
    given = {**arguments_of(network), **arguments}
    return rebuilt(network.architecture, network.name, given)


def rebuilt(architecture: str, name: str, arguments: dict[str, Any]) -> Network:
    """A network from what `arguments_of` said of it.

    Raises:
        UsageError: the architecture has no such preset, or a value is outside its range.
        KeyError, TypeError: something is missing, or is of another type.
    """
    presets = ARCHITECTURES[architecture].presets
    dialect = Dialect(**arguments["dialect"])
    preset = presets[0] if name == "custom" else name
    if preset not in presets:
        raise UsageError(f"{architecture} has no preset {preset!r}")
    return resolve(preset, **{**arguments, "dialect": dialect})
