"""MBConv as a row of tensors, its steps, the fused block, and the gate of a channel."""

from __future__ import annotations

import math

from drawings.canvas import COLUMN, DEPTH, WIDE, Canvas
from drawings.registry import drawing
from efficientnet_rosetta.common.blocks import FusedMBConvBlock
from efficientnet_rosetta.common.network import Layer
from efficientnet_rosetta.common.spec import MBConvBlock, resolve
from efficientnet_rosetta.common.v2 import resolve as resolve_v2

HIGH, LONG = 84, 340  # units: the side of the largest map, and all channels together
APART = 66  # between two tensors


def example() -> MBConvBlock:
    """The block that the pages draw: the first of B0 with all steps, a 5x5 window and a stride."""
    return next(b for b in resolve("b0").blocks if b.has_expansion and b.kernel > 3)


def repeated() -> MBConvBlock:
    """The block after it, which has a shortcut."""
    return resolve("b0").blocks[example().index + 1]


def _side(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


# ------------------------------------------------------------------ the whole block


@drawing("mbconv", of=example)
def mbconv(block: MBConvBlock) -> Canvas:
    """A block from left to right: height is the side of a map, length the channels."""
    title = (
        f"MBConv in stage {block.stage}: {block.in_channels} channels of {_side(block.input_size)} "
        f"pixels are expanded to {block.expanded_channels}, filtered {block.kernel} by "
        f"{block.kernel} with a stride of {block.stride}, gated through {block.squeezed_channels} "
        f"channels, and projected to {block.out_channels}; the input is "
        f"{'added' if block.has_skip else 'not added'}"
    )
    canvas = Canvas(WIDE, 250, title)
    floor = 162.0
    inner, size = block.expanded_channels, block.output_size
    tensors = [
        (block.in_channels, block.input_size, f"{{C}} = {block.in_channels}"),
        (inner, block.input_size, f"{{M}} = {{t}}·{{C}} = {inner}"),
        (inner, size, f"{{M}} = {inner}"),
        (block.out_channels, size, f"{{D}} = {block.out_channels}"),
    ]
    steps = [
        ("1×1", f"{{t}} = {block.expand_ratio}"),
        (f"{{k}} = {block.kernel}", f"{{s}} = {block.stride}"),
        ("1×1", "project"),
    ]
    per_channel = LONG / sum(channels for channels, _, _ in tensors)
    per_pixel = HIGH / max(block.input_size)
    x, ends = 14.0, []
    for number, (channels, side, label) in enumerate(tensors):
        length, height = channels * per_channel, max(side) * per_pixel
        reach = canvas.slab(x, floor, length, height)
        canvas.text(x + length / 2, floor + 20, label, "middle")
        ends.append((x, length, height))
        if length > 80:
            canvas.text(x + length / 2, floor - height / 2 + 5, _side(side), "middle", "quiet")
        start, x = x + reach, x + reach + APART
        if number < len(steps):
            middle = floor - min(height, HIGH / 2) / 2
            canvas.arrow((start + 5, middle), (x - 5, middle))
            upper, lower = steps[number]
            canvas.text((start + x) / 2, middle - 8, upper, "middle")
            canvas.text((start + x) / 2, middle + 18, lower, "middle")
    _gate(canvas, block, ends[2], floor)
    _skip(canvas, block, ends, floor, x - APART)
    return canvas


def _gate(canvas: Canvas, block: MBConvBlock, at: tuple[float, float, float], floor: float) -> None:
    """Squeeze-and-excitation above the tensor that it multiplies."""
    x, length, height = at
    over, up = DEPTH * height * 0.8, DEPTH * height * 0.6
    x, y = x + over, floor - height - up - 8
    squeezed = max(length * block.squeezed_channels / block.expanded_channels, 5)
    middle = x + length / 2
    canvas.polygon(
        [(x, y), (x + length, y), (middle + squeezed / 2, y - 18), (middle - squeezed / 2, y - 18)],
        "funnel",
    )
    canvas.rect(middle - squeezed / 2, y - 24, squeezed, 6, "filled")
    canvas.polygon(
        [
            *((middle - squeezed / 2, y - 24), (middle + squeezed / 2, y - 24)),
            *((x + length, y - 42), (x, y - 42)),
        ],
        "funnel",
    )
    _gates(canvas, x, y - 52, length, 10)
    canvas.text(middle - length / 2 - 8, y - 17, f"{{R}} = {block.squeezed_channels}", "end")
    canvas.text(x + length + 8, y - 43, "{g}: a gate for each channel")


def _gates(canvas: Canvas, x: float, y: float, length: float, height: float) -> None:
    """Gates of some channels: the stronger, the more goes through."""
    shown = 16
    for number in range(shown):
        strength = _strength(number)
        width = length / shown
        canvas.rect(x + number * width, y, width, height, "filled", strength)
        canvas.rect(x + number * width, y, width, height, "frame")


def _strength(number: int) -> float:
    """Any value between 0 and 1: real ones depend on the image."""
    return 0.12 + 0.88 * ((number + 1) * 0.618 % 1)


def _skip(
    canvas: Canvas,
    block: MBConvBlock,
    ends: list[tuple[float, float, float]],
    floor: float,
    right: float,
) -> None:
    """The way of the input around the block."""
    x, length, _ = ends[0]
    middle, y = x + length / 2, floor - ends[-1][2] / 2
    canvas.arrow((right + 5, y), (right + 38, y))
    canvas.plus(right + 48, y)
    canvas.arrow(
        *((middle, floor + 28), (middle, floor + 56), (right + 48, floor + 56)),
        (right + 48, y + 12),
        kind="line" if block.has_skip else "line dashed",
    )
    words = "{x} is added, as size and channels stay the same"
    if not block.has_skip:
        words = "no sum here: {x} is added only where size and channels stay the same"
    canvas.text((middle + right) / 2, floor + 76, words, "middle", "quiet")


# ------------------------------------------------------------------ single steps


def _pair(
    canvas: Canvas,
    before: tuple[int, int, str],
    after: tuple[int, int, str],
    step: tuple[str, str],
) -> None:
    """Two tensors (channels, side, label) and what is done between them, in a column."""
    floor, high = 104.0, 62
    per_pixel = high / max(before[1], after[1])
    per_channel = 170 / (before[0] + after[0])
    x = 12.0
    for number, (channels, side, label) in enumerate((before, after)):
        length, height = max(channels * per_channel, 4), side * per_pixel
        reach = canvas.slab(x, floor, length, height)
        canvas.text(x + length / 2, floor + 20, label, "middle" if length > 50 else "start")
        if not number:
            start, x = x + reach, 252 - after[0] * per_channel / 2
            x = start + 84
            canvas.arrow((start + 8, floor - 26), (x - 8, floor - 26))
            canvas.text((start + x) / 2, floor - 34, step[0], "middle")
            canvas.text((start + x) / 2, floor - 8, step[1], "middle")


@drawing("expand", of=example)
def expand(block: MBConvBlock) -> Canvas:
    """One pixel of all channels becomes one pixel of more channels."""
    title = (
        f"A 1 by 1 convolution widens {block.in_channels} to {block.expanded_channels} channels, "
        f"{block.expand_ratio} times as many"
    )
    canvas = Canvas(COLUMN, 134, title)
    side = max(block.input_size)
    _pair(
        canvas,
        (block.in_channels, side, f"{{C}} = {block.in_channels}"),
        (block.expanded_channels, side, f"{{M}} = {block.expanded_channels}"),
        ("1×1", f"{{t}} = {block.expand_ratio}"),
    )
    return canvas


@drawing("depthwise", of=example)
def depthwise(block: MBConvBlock) -> Canvas:
    """Every channel is filtered by itself, and the map becomes smaller."""
    before, after = max(block.input_size), max(block.output_size)
    title = (
        f"Each of {block.expanded_channels} maps of {before} by {before} pixels has a window of "
        f"{block.kernel} by {block.kernel} pixels of its own, which moves by {block.stride}, and "
        f"becomes {after} by {after}"
    )
    canvas = Canvas(COLUMN, 168, title)
    scale = 92 / before
    for number in range(4):
        shift = 9 * (3 - number)
        canvas.rect(12 + shift, 40 - shift + 9, 92, 92, "front")
        small = after * scale
        canvas.rect(236 + shift, 72 - shift + 9, small, small, "front")
    canvas.window(12, 49, block.kernel * scale, "filled")
    canvas.window(12 + block.stride * scale, 49, block.kernel * scale, "window next")
    canvas.rect(236, 81, scale, scale, "filled")
    canvas.text(58, 159, f"{before} × {before}", "middle")
    canvas.text(236 + after * scale / 2, 159, f"{after} × {after}", "middle")
    canvas.arrow((146, 95), (222, 95))
    canvas.text(184, 85, f"{{k}} = {block.kernel}", "middle")
    canvas.text(184, 115, f"{{s}} = {block.stride}", "middle")
    canvas.text(236 + after * scale / 2 + 12, 36, "{M} maps", "middle")
    return canvas


@drawing("project", of=example)
def project(block: MBConvBlock) -> Canvas:
    """Many channels become few, without an activation."""
    inner, outer = block.expanded_channels, block.out_channels
    canvas = Canvas(
        COLUMN, 134, f"A 1 by 1 convolution without activation narrows {inner} to {outer} channels"
    )
    side = max(block.output_size)
    _pair(
        canvas,
        (inner, side, f"{{M}} = {inner}"),
        (outer, side, f"{{D}} = {outer}"),
        ("1×1", "no swish"),
    )
    return canvas


@drawing("skip", of=repeated)
def skip(block: MBConvBlock) -> Canvas:
    """Six images of a batch, of which some lose the branch."""
    rate = block.drop_path_rate
    canvas = Canvas(
        COLUMN,
        196,
        f"Of six images one loses the branch of the block; each does with probability {rate:g}",
    )
    dropped = 3
    for number in range(6):
        y = 30 + 24 * number
        canvas.text(12, y + 5, "{x}")
        canvas.arrow((26, y), (238, y))
        canvas.rect(84, y - 8, 92, 16, "ghost" if number == dropped else "front")
        words = "{x} alone" if number == dropped else "{x} + {y} / (1 \u2212 {p})"
        canvas.text(246, y + 5, words)
    canvas.text(130, 14, "branch", "middle", "quiet")
    canvas.text(12, 184, f"In this block {{p}} = {rate:.3g}.", kind="quiet")
    return canvas


# ------------------------------------------------------------------ squeeze-and-excitation


@drawing("squeeze and excitation", of=example)
def squeeze_and_excitation(block: MBConvBlock) -> Canvas:
    """From the maps to one number each, through a bottleneck, and back as a gate of each map."""
    inner, squeezed = block.expanded_channels, block.squeezed_channels
    height, width = block.output_size
    canvas = Canvas(
        COLUMN,
        352,
        f"The means of {inner} maps go through {squeezed} channels and come back as {inner} gates "
        "between 0 and 1, each of which multiplies its map",
    )
    left, long = 10.0, 190.0
    narrow = max(long * squeezed / inner, 4)
    middle, words = left + long / 2, left + long + 30
    canvas.slab(left, 62, long, 40)
    canvas.lines(words, 38, (f"{height} × {width} pixels,", f"{{M}} = {inner} channels"))
    canvas.arrow((middle, 68), (middle, 92))
    canvas.text(words, 86, "mean of each map", kind="quiet")
    canvas.rect(left, 98, long, 12, "front")
    canvas.text(words, 109, f"{inner} means")
    _funnel(canvas, middle, 114, long, narrow)
    canvas.text(words, 139, "1×1, swish", kind="quiet")
    canvas.rect(middle - narrow / 2, 158, narrow, 12, "filled")
    canvas.text(words, 169, f"{{R}} = {squeezed}")
    _funnel(canvas, middle, 174, narrow, long)
    canvas.text(words, 199, "1×1, sigmoid", kind="quiet")
    _gates(canvas, left, 218, long, 14)
    canvas.text(words, 230, f"{{g}}: {inner} gates")
    canvas.arrow((middle, 238), (middle, 262))
    canvas.text(words, 256, "times", kind="quiet")
    shown = 16
    over, up = DEPTH * 40 * 0.8, DEPTH * 40 * 0.6
    for number in range(shown):
        x = left + number * long / shown
        canvas.rect(x, 280, long / shown, 40, "filled", _strength(number))
        canvas.rect(x, 280, long / shown, 40, "frame")
    canvas.polygon(
        [
            *((left, 280), (left + over, 280 - up)),
            *((left + long + over, 280 - up), (left + long, 280)),
        ],
        "top",
    )
    canvas.lines(words, 295, ("the same maps,", "each let through", "by its gate"))
    return canvas


def _funnel(canvas: Canvas, middle: float, top: float, before: float, after: float) -> None:
    canvas.polygon(
        [
            *((middle - before / 2, top), (middle + before / 2, top)),
            *((middle + after / 2, top + 40), (middle - after / 2, top + 40)),
        ],
        "funnel",
    )


# ------------------------------------------------------------------ the fused block


def fused_example() -> FusedMBConvBlock:
    """The first block of V2-S whose expansion is fused."""
    return next(
        block
        for block in resolve_v2("v2-s").blocks
        if isinstance(block, FusedMBConvBlock) and block.has_expansion
    )


@drawing("fused", of=fused_example)
def fused(block: FusedMBConvBlock) -> Canvas:
    """The same widening and filtering, by two convolutions and by one."""
    inner, kernel = block.expanded_channels, block.kernel
    dense = _weights(Layer("", "conv", block.in_channels, inner, block.output_size, kernel))
    wide = _weights(Layer("", "conv", block.in_channels, inner, block.input_size, 1))
    deep = _weights(Layer("", "depthwise_conv", inner, inner, block.output_size, kernel))
    canvas = Canvas(
        WIDE,
        284,
        f"From {block.in_channels} to {inner} channels: MBConv takes a 1 by 1 and a depthwise "
        f"{kernel} by {kernel} convolution with {wide:,} and {deep:,} weights, the fused block one "
        f"full {kernel} by {kernel} convolution with {dense:,}",
    )
    per_channel = 92 / inner
    before, after = max(block.input_size), max(block.output_size)
    large, small = 70.0, 70.0 * after / before
    stride = f", {{s}} = {block.stride}" if block.stride > 1 else ""
    for number, (name, steps) in enumerate(
        (
            (
                "MBConv",
                (
                    (inner, large, "1×1", f"{wide:,} weights"),
                    (inner, small, f"{{k}} = {kernel}, each alone", f"{deep:,} weights"),
                    (block.out_channels, small, "1×1", "project"),
                ),
            ),
            (
                "Fused",
                (
                    (inner, small, f"{{k}} = {kernel}{stride}, full", f"{dense:,} weights"),
                    (block.out_channels, small, "1×1", "project"),
                ),
            ),
        )
    ):
        floor, x = 110.0 + 140 * number, 66.0
        canvas.text(8, floor - 28, name, kind="strong")
        length = block.in_channels * per_channel
        start = x + canvas.slab(x, floor, length, large)
        canvas.text(x + length / 2, floor + 20, f"{{C}} = {block.in_channels}", "middle")
        for channels, height, upper, lower in steps:
            x = start + (98 if upper == "1×1" else 136)
            canvas.arrow((start + 6, floor - 18), (x - 6, floor - 18))
            canvas.text((start + x) / 2, floor - 26, upper, "middle")
            canvas.text((start + x) / 2, floor, lower, "middle", "quiet")
            length = channels * per_channel
            start = x + canvas.slab(x, floor, length, height)
            letter = "M" if channels == inner else "D"
            canvas.text(x + length / 2, floor + 20, f"{{{letter}}} = {channels}", "middle")
    return canvas


def _weights(layer: Layer) -> int:
    return math.prod(layer.tensors[f"{layer.role}.weight"])
