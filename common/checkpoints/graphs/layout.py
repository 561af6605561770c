"""What a graph is called where other files have a layout."""

from __future__ import annotations

from ...architectures import PRESETS
from ...backends.registry import KERAS, TORCH
from ...images.families import GRAPH
from ...network import DIALECTS
from ..layouts.schema import Layout, same_for
from .recover import Recovered

UNNAMED = "an unknown exporter"


def layout_of_graph(found: Recovered) -> Layout:
    """The layout of a graph, which is read only, and called after what exported it."""
    channels_last = found.steps.turn[-1] == 1
    return Layout(
        name=GRAPH + (found.exporter or UNNAMED),
        library=found.exporter or UNNAMED,
        presets=tuple(PRESETS),
        dialects=same_for(tuple(PRESETS), *DIALECTS.values()),
        forms={},
        expects="what the model that was exported expects",
        framework=KERAS if channels_last else TORCH,
        any_network=True,
    )
