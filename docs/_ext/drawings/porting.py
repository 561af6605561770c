"""The way of a checkpoint from one library's file to another's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from drawings.canvas import WIDE, Canvas
from drawings.registry import drawing
from efficientnet_rosetta.common.checkpoints.layouts import Key, Layout, layout_of
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.spec import resolve


@dataclass(frozen=True)
class Way:
    """A network, one of its tensors, and the layouts at both ends."""

    network: Network
    tensor: str
    source: tuple[Layout, str]  # and a format
    target: tuple[Layout, str]


def from_timm_to_keras() -> Way:
    """The way that most people ask for."""
    network = resolve("b0")
    return Way(
        network,
        f"{network.blocks[1].role}.depthwise_conv.weight",
        (layout_of("timm", network.name), "safetensors"),
        (layout_of("keras-applications", network.name), "h5"),
    )


def _spelt(way: Way, key: Key) -> tuple[str, tuple[int, ...]]:
    """The key of the tensor in a file, and its shape there."""
    shape = way.network.tensors[way.tensor]
    return key.path, tuple(shape[axis] for axis in key.axes)


def _broken(key: str) -> list[str]:
    """A key on lines that fit their box, broken after a slash, a dot or an underscore."""
    lines = [""]
    for part in re.findall(r"[^/._]*[/._]?", key):
        if len(lines[-1] + part) > 26:
            lines.append("")
        lines[-1] += part
    return lines


@drawing("port", of=from_timm_to_keras)
def port(way: Way) -> Canvas:
    """A file, its canonical tensors, another file; and what shows that nothing was lost."""
    count = len(way.network.tensors)
    (source, kind), (target, other) = way.source, way.target
    boxes = (
        (4.0, source.name, *_spelt(way, source.forms[kind].keys(way.network)[way.tensor])),
        (264.0, "canonical", way.tensor, way.network.tensors[way.tensor]),
        (524.0, target.name, *_spelt(way, target.forms[other].keys(way.network)[way.tensor])),
    )
    canvas = Canvas(
        WIDE,
        268,
        f"A file in the layout {source.name} becomes {count} canonical tensors, and these "
        f"become a file in the layout {target.name}, {boxes[0][2]} as {boxes[2][2]}; "
        "the same fingerprint before and after, and the same logits, show that nothing was lost",
    )
    for number, (x, name, key, shape) in enumerate(boxes):
        canvas.rect(x, 30, 232, 118, "front" if number == 1 else "pixel")
        canvas.text(x + 12, 54, name, kind="strong")
        canvas.lines(x + 12, 76, _broken(key), kind="code")
        canvas.text(x + 12, 132, " × ".join(map(str, shape)), kind="code")
    canvas.arrow((238, 88), (262, 88))
    canvas.arrow((498, 88), (522, 88))
    canvas.text(250, 20, "every key is identified", "middle", "quiet")
    canvas.text(510, 20, "named, turned, written", "middle", "quiet")
    canvas.text(380, 172, f"{count} tensors, one fingerprint", "middle", "paper")
    for x in (120, 640):
        canvas.arrow((x, 150), (x, 196))
        canvas.text(x, 214, "run on the same image", "middle")
    canvas.path([(200, 209), (286, 209)])
    canvas.path([(474, 209), (560, 209)])
    canvas.text(380, 214, "the same logits?", "middle", "good")
    words = "A file with a key that is not identified is rejected whole."
    canvas.text(380, 244, words, "middle", "quiet")
    return canvas
