"""The architectures by name, and `resolve` for the presets of all of them.

Whoever adds one lists it here (docs/use/add_network.md); nothing else knows which there are.
"""

from __future__ import annotations

import inspect
from typing import Any

from common.spec import EFFICIENTNET, Architecture, Network, look_up
from common.xception import XCEPTION

ARCHITECTURES = {architecture.name: architecture for architecture in (EFFICIENTNET, XCEPTION)}
PRESETS: dict[str, Architecture] = {
    preset: architecture
    for architecture in ARCHITECTURES.values()
    for preset in architecture.presets
}


def resolve(preset: str = "b0", **arguments: Any) -> Network:
    """The network of a preset of any architecture, or another scaling of it.

    The arguments are those of the architecture's own `resolve`.

    Raises:
        ValueError: unknown preset or dialect, an argument that the architecture does not have, or
            a value outside its range.
    """
    architecture = look_up("preset", preset, PRESETS)
    known = inspect.signature(architecture.resolve).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ValueError(f"{architecture.model} has no {unknown[0]}; leave it out")
    return architecture.resolve(preset, **arguments)
