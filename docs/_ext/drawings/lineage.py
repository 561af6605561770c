"""The first block of EdgeTPU, whose width follows from an input that is not its own."""

from __future__ import annotations

from drawings.canvas import COLUMN, Canvas
from drawings.registry import drawing
from efficientnet_rosetta.common.blocks import FusedMBConvBlock
from efficientnet_rosetta.common.edgetpu import resolve


def first_of_edgetpu() -> FusedMBConvBlock:
    """Of S, whose only block in this stage it is."""
    return resolve("edgetpu-s").blocks[0]


@drawing("declared input", of=first_of_edgetpu)
def declared_input(block: FusedMBConvBlock) -> Canvas:
    """The channels that come in, those that the list states, and those that follow from them."""
    real, inner, ratio = block.in_channels, block.expanded_channels, block.expand_ratio
    declared = inner // ratio
    canvas = Canvas(
        COLUMN,
        206,
        f"The first block takes in {real} channels, and is declared to take in {declared}: it "
        f"expands to {ratio} times {declared}, which is {inner}, and not to {ratio * real}",
    )
    per_channel = 226 / (ratio * real)
    rows = (
        (40.0, "in", real, f"{{C}} = {real}", ""),
        (82.0, "as listed", declared, f"{declared}", "ghost"),
        (124.0, "expanded", inner, f"{{M}} = {{t}}·{declared} = {inner}", ""),
        (166.0, "out", block.out_channels, f"{{D}} = {block.out_channels}", ""),
    )
    for y, name, channels, label, kind in rows:
        length = channels * per_channel
        canvas.text(84, y + 5, name, "end", "quiet")
        if channels == inner:
            canvas.rect(94 + length, y - 10, (ratio * real - inner) * per_channel, 20, "ghost")
        canvas.rect(94, y - 10, length, 20, kind or "front")
        if channels == inner:
            canvas.text(94 + length / 2, y + 5, label, "middle")
        else:
            canvas.text(104 + length, y + 5, label)
    canvas.text(94, 199, f"dashed: not {{t}}·{real} = {ratio * real}", kind="quiet")
    return canvas
