"""What the scaling rule says of a network, beside what the network is.

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import math

from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.spec import ALPHA, BETA, GAMMA, PRESETS, resolve

BASE = resolve("b0")
COST = ALPHA * BETA**2 * GAMMA**2  # of one phi, by the condition of equation 3


# Section 6, Table 7: what is multiplied, and by how much.
ALONE = {
    "B0": {},
    "depth ×4": {"depth": 4.0},
    "width ×2": {"width": 2.0},
    "resolution ×2": {"resolution": 2 * PRESETS["b0"].resolution},
    "depth ×1.4, width ×1.2, resolution ×1.3": {
        "depth": 1.4,
        "width": 1.2,
        "resolution": round(1.3 * PRESETS["b0"].resolution),
    },
}


def side(network: Network) -> float:
    """The multiplier of the resolution, of the height."""
    return network.resolution[0] / PRESETS[BASE.name].resolution


def alone(network: Network) -> dict[str, float]:
    """The phi that each coefficient by itself would need."""
    return {
        "depth": math.log(network.depth, ALPHA),
        "width": math.log(network.width, BETA),
        "resolution": math.log(side(network), GAMMA),
    }


def predicted(network: Network) -> float:
    """Multiply-accumulates over those of B0, as the rule has them: d * w^2 * r^2."""
    return network.depth * network.width**2 * side(network) ** 2


def counted(network: Network) -> float:
    """Multiply-accumulates over those of B0."""
    return count(network).macs / count(BASE).macs
