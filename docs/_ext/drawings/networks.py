"""Whole networks: the nine stages of B0, B0 scaled in four ways, and Xception's three flows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import scaled
from drawings.canvas import COLUMN, WIDE, Canvas
from drawings.registry import drawing
from efficientnet_rosetta.common.cli.tables import stage_row
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.spec import EfficientNetSpec, resolve
from efficientnet_rosetta.common.v2 import V2Spec
from efficientnet_rosetta.common.v2 import resolve as resolve_v2
from efficientnet_rosetta.common.xception import ResidualBlock, XceptionSpec
from efficientnet_rosetta.common.xception import resolve as resolve_xception

# ------------------------------------------------------------------ Table 1


@drawing("tower of v2", of=lambda: resolve_v2("v2-s"))
@drawing("tower", of=lambda: resolve("b0"))
def tower(network: EfficientNetSpec | V2Spec) -> Canvas:
    """A layer is as wide as its map and as high as its channels, from the image down."""
    layers = list(network.maps)
    stages = {number: stage_row(sections) for number, sections in network.stages.items()}
    told = "; ".join(
        f"stage {number}, {row.operator}: {row.channels} channels, {row.layers} layers"
        for number, row in stages.items()
    )
    apart, top = 40, 34
    canvas = Canvas(COLUMN, top + apart * len(stages) + 14, f"{network.title}: {told}")
    per_pixel = 124 / max(network.resolution)
    per_channel = apart * len(stages) / sum(layer.out_channels for layer in layers)
    middle, y = 66.0, float(top)
    canvas.text(middle, 16, "image", "middle", "quiet")
    canvas.text(166, 16, "stage, operator, {L} layers", kind="quiet")
    for number, (stage, group) in enumerate(groupby(layers, key=lambda layer: layer.stage)):
        above, row = y, stages[stage]
        for layer in group:
            width, height = max(layer.input_size) * per_pixel, layer.out_channels * per_channel
            canvas.rect(middle - width / 2, y, width, height)
            y += height
        line, half = top + apart * number + 14, max(row.input_size) * per_pixel / 2
        canvas.path(
            [(middle + half + 3, (above + y) / 2), (150, line - 4), (160, line - 4)], "grid"
        )
        operator = row.operator.replace("x", "×")
        canvas.text(166, line, f"{stage}  {operator}")
        canvas.text(
            166,
            line + 17,
            f"{max(row.input_size)} px, {row.channels} channels, {{L}} = {row.layers}",
            kind="quiet",
        )
    return canvas


# ------------------------------------------------------------------ compound scaling


def scaled_networks() -> dict[str, Network]:
    """The networks of the paper's Table 7: B0 and four ways to about the same cost."""
    return {name: resolve("b0", **how) for name, how in scaled.ALONE.items()}


@drawing("scaling", of=scaled_networks)
def scaling(networks: dict[str, Network]) -> Canvas:
    """Each network as an image and a tower of blocks, as wide as their channels."""
    base = next(iter(networks.values()))
    names = ("baseline", "deeper", "wider", "higher resolution", "compound")
    told = [
        f"{name}: d {network.depth:g}, w {network.width:g}, r {scaled.side(network):.3g}, "
        f"{len(network.blocks)} blocks, {scaled.counted(network):.2f} times the cost"
        for name, network in zip(names, networks.values(), strict=True)
    ]
    canvas = Canvas(WIDE, 342, "B0 scaled in four ways. " + ". ".join(told))
    per_block = 190 / max(len(network.blocks) for network in networks.values())
    widest = max(block.out_channels for n in networks.values() for block in n.blocks)
    room = WIDE / len(networks)
    for number, (name, network) in enumerate(zip(names, networks.values(), strict=True)):
        middle, floor = room * (number + 0.5), 218.0
        canvas.text(middle, 16, name, "middle", "strong")
        for block in network.blocks:
            width = 30 + 96 * block.out_channels / widest
            floor -= per_block
            canvas.rect(middle - width / 2, floor, width, per_block)
        side = 22 * scaled.side(network)
        canvas.rect(middle - side / 2, 226, side, side, "filled")
        d, w, r = network.depth, network.width, scaled.side(network)
        for line, (letter, value, same) in enumerate(
            (("d", d, d == base.depth), ("w", w, w == base.width), ("r", r, r == 1))
        ):
            canvas.text(
                middle - 44 + 44 * line,
                290,
                f"{{{letter}}} {value:.2g}",
                "middle",
                "quiet" if same else "",
            )
        canvas.text(middle, 312, f"{count(network).macs / 1e9:.2f} G, ×{_cost(network)}", "middle")
        millions = count(network).trainable / 1e6
        canvas.text(middle, 332, f"{millions:.1f} M parameters", "middle", "quiet")
    return canvas


def _cost(network: Network) -> str:
    return f"{scaled.counted(network):.2f}"


# ------------------------------------------------------------------ Xception


@drawing("flows", of=resolve_xception)
def flows(network: XceptionSpec) -> Canvas:
    """Stem and blocks of three flows, each with its shortcut, from the image to the features."""
    canvas = Canvas(
        COLUMN,
        0,  # as high as the longest flow
        f"{network.title}: entry flow from {network.resolution[0]} to "
        f"{_out(network.blocks, 'entry')} pixels, middle flow of {network.middle_blocks} equal "
        f"blocks, exit flow to {max(network.head[-1].output_size)} pixels",
    )
    for number, flow in enumerate(("entry", "middle", "exit")):
        blocks = [block for block in network.blocks if block.flow == flow]
        left, y = 8.0 + 118 * number, 26.0
        canvas.text(left, 14, f"{flow} flow", kind="strong")
        if flow == "entry":
            for conv in network.stem:
                words = f"conv {conv.out_channels}" + (f" /{conv.stride}" * (conv.stride > 1))
                y = _box(canvas, left, y, words, "top")
        drawn = blocks[:1] if flow == "middle" else blocks
        for block in drawn:
            y = _residual(canvas, block, left, y)
        if flow == "middle":
            canvas.text(left, y + 18, f"× {{L}} = {len(blocks)}")
            y += 26
        if flow == "exit":
            for end in network.head:
                y = _box(canvas, left, y, f"sep {end.out_channels}", "front")
            y = _box(canvas, left, y, "mean, dense", "top")
        side = max(blocks[-1].output_size)
        canvas.text(left, y + 16, f"{side} × {side} pixels", kind="quiet")
        canvas.height = max(canvas.height, y + 24)
    return canvas


def _out(blocks: Sequence[ResidualBlock], flow: str) -> int:
    return max(next(b for b in reversed(blocks) if b.flow == flow).output_size)


def _box(canvas: Canvas, left: float, y: float, words: str, kind: str) -> float:
    """A layer, from `y` on; returns where the next may begin."""
    canvas.rect(left + 14, y, 88, 20, kind)
    canvas.text(left + 58, y + 15, words, "middle")
    return y + 24


def _residual(canvas: Canvas, block: ResidualBlock, left: float, y: float) -> float:
    """The layers of a block, and its shortcut at their left: dashed where it is a convolution."""
    top = y - 2
    for conv in block.separable:
        y = _box(canvas, left, y, f"sep {conv.out_channels}", "front")
    if block.has_pool:
        y = _box(canvas, left, y, f"pool /{block.stride}", "pixel")
    kind = "line dashed" if block.has_projection else "line"
    canvas.arrow(
        *((left + 14, top), (left + 3, top), (left + 3, y), (left + 52, y)),
        kind=kind,
    )
    canvas.dot(left + 58, y, 5, "sum")
    return y + 12
