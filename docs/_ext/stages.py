"""Tables of networks by their stages, as the paper's Table 1 has B0.

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import scaled
from efficientnet_rosetta.common import architectures, edgetpu
from efficientnet_rosetta.common.cli.tables import stage_row
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.network import Network
from generating import rows_of


def rows(network: Network) -> Iterator[dict[str, Any]]:
    """Every stage, with what the paper leaves out: what comes out of it, and what it costs."""
    costs, total = count_stages(network), count(network)
    last = {section.stage: section for section in network.maps}
    for number, sections in network.stages.items():
        row = stage_row(sections)
        yield {
            "stage": number,
            "operator": row.operator.replace("x", "×"),
            "input": row.input_size,
            "output": last[number].output_size,
            "channels": row.channels,
            "layers": row.layers,
            "stride": row.stride,
            "parameters": costs[number].trainable,
            "parameters_share": costs[number].trainable / total.trainable,
            "macs": costs[number].macs,
            "macs_share": costs[number].macs / total.macs,
        }


@rows_of("stages")
def of_b0() -> Iterator[dict[str, Any]]:
    """The paper's Table 1."""
    return rows(scaled.BASE)


@rows_of("stages of edgetpu")
def of_edgetpu() -> Iterator[dict[str, Any]]:
    """Those of the smallest."""
    return rows(architectures.resolve(next(iter(edgetpu.PRESETS))))
