"""Why no layout explains a file: which other network it looks like, or what is amiss."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..architectures import PRESETS
from ..errors import FileError, UnknownLayoutError
from ..network import Network
from ..weights.metadata import FORMAT
from .formats.checkpoint import Checkpoint
from .layouts.schema import Form, Layout
from .recognition import Index, Tensors, fits, forms, layer_of, network_of, networks, views

LISTED = 4  # keys shown of each kind of mismatch
TRIED = 8  # prefixes, those with most keys below them
NEAR = 0.1  # of the keys may be amiss for it to be that network, and no other
CLOSE = 0.5  # of the keys of a network may be amiss, for it to be named as the closest

# Networks of other families by what some of their keys look like; all patterns of a line must be
# found.  What is more special comes first.
OTHER_V2 = "an EfficientNetV2 of another size"
OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "DINO, a vision transformer",
        (r"(^|\.)(register_tokens|mask_token)$", r"blocks\.\d+\.attn\."),
    ),
    (
        "DINO, with the head that it is trained by",
        (r"blocks\.\d+\.attn\.qkv", r"(^|\.)(dino_)?head\.(mlp|last_layer)"),
    ),
    ("CLIP", (r"(visual|vision_model)\.", r"(text_projection|logit_scale)")),
    ("a Swin transformer", (r"relative_position_bias_table",)),
    (
        "a vision transformer",
        (r"patch_embed|patch_embeddings|conv_proj|class_token|cls_token", r"attn|attention|mhsa"),
    ),
    ("a detector of the YOLO family", (r"model\.\d+\.(cv\d|m\.\d|conv)\.",)),
    ("a transformer", (r"(^|[._/])(attn|attention|self_attn|mhsa|multi_head_attention\w*)[._/]",)),
    ("ConvNeXt", (r"stages?\.\d+\.(blocks|layers)\.\d+\.(gamma|dwconv|conv_dw|layer_scale\w*)",)),
    ("ConvNeXt", (r"features\.\d+\.\d+\.layer_scale",)),
    ("MixNet", (r"blocks\.\d+\.\d+\.(conv_(pw|dw|pwl))\.\d+\.weight",)),
    (
        "KerasHub's EfficientNet-EdgeTPU or EfficientNetV2 of another size",
        (r"(^|/)(fused_)?mb_conv_block(_\d+)?/",),
    ),
    (
        "an EfficientNet-EdgeTPU or EfficientNetV2 of another size",
        (r"blocks\.\d+\.\d+\.conv_exp\.weight",),
    ),
    (OTHER_V2, (r"(^|\.)blocks\.0\.0\.conv\.weight$", r"conv_stem\.weight$")),
    (
        OTHER_V2,
        (r"features\.1\.0\.block\.0\.0\.weight", r"features\.\d\.\d+\.block\.2\.fc1\.weight"),
    ),
    (
        "MobileNetV3",
        (r"blocks\.\d\.\d\.se\.conv_reduce\.", r"conv_stem\.weight$", r"blocks\.6\.0\.conv\."),
    ),
    ("MobileNetV3", (r"features\.\d+\.block\.\d+\.fc1\.",)),
    ("MobileNetV2", (r"features\.\d+\.conv\.\d+(\.0)?\.weight",)),
    ("MobileNetV2", (r"(^|/)(expanded_conv_project|block_\d+_expand)(_BN)?/",)),
    ("MobileNet", (r"(^|/)conv_dw_\d+(_bn)?/",)),
    ("an Inception network", (r"(^|[./])(Mixed_\d\w|inception\w*)[./]|^mixed\d+",)),
    ("DenseNet", (r"denseblock\d|(^|/)conv\d_block\d+_0_bn/",)),
    ("ResNet", (r"layer1\.0\.conv1\.", r"layer4\.")),
    ("ResNet", (r"(^|/)conv2_block1_1_conv/",)),
    ("ResNet", (r"encoder\.stages\.\d+\.layers\.\d+\.layer\.\d+\.convolution\.",)),
    ("RegNet", (r"trunk_output\.block\d|s1\.b1\.conv1\.conv",)),
    ("VGG or AlexNet", (r"^(features\.0\.weight)$", r"^classifier\.[36]\.weight$")),
    ("VGG", (r"(^|/)block5_conv3/", r"(^|/)block1_conv1/")),
    ("a U-Net", (r"(^|\.)(inc|down1|up1|outc)\.",)),
)
STEMS = (r"conv_stem\.weight$", r"blocks\.0\.0\.")
SQUEEZE = r"(^|[._/])se[._/]|se_reduce|_se_|squeeze|fc1"


def unexplained(checkpoint: Checkpoint) -> FileError:
    """What a file looks like, or which network comes closest and what is amiss there."""
    *_, (kind, tensors) = views(checkpoint)
    path = checkpoint.path
    if any(_half_of(preset, tensors) for preset in PRESETS):
        return FileError(
            path, f"has the keys of canonical weights, but no {FORMAT} metadata; port the original"
        )
    best = min(_candidates(kind, tensors), default=None, key=lambda found: found.share)
    if best is not None and best.share < CLOSE and (axes := _axes(tensors)):
        return UnknownLayoutError(
            path, f"has the keys of {best.name}, but {axes}", closest=best.name
        )
    near = best is not None and best.share < NEAR
    if not near and (other := looks_like(tensors)):
        return UnknownLayoutError(
            path, f"looks like {other}, which is none of the networks here ({_some(tensors)})"
        )
    if best is None or best.share >= CLOSE:
        return UnknownLayoutError(path, f"no layout has keys like {_some(tensors)}")
    return UnknownLayoutError(
        path,
        f"no layout explains every key; closest is {best.name}: {best.reason}",
        closest=best.name,
    )


def looks_like(tensors: Tensors) -> str | None:
    """The network of another family that the keys are known from."""
    keys = list(tensors)
    if any(_is_fused(key, stored.shape) for key, stored in tensors.items()):
        return OTHER_V2
    for name, patterns in OTHERS:
        if all(_has(keys, pattern) for pattern in patterns):
            return name
    if all(_has(keys, pattern) for pattern in STEMS) and not _has(keys, SQUEEZE):
        return "MobileNetV2 or another network without squeeze-and-excitation"
    return None


def _is_fused(key: str, shape: tuple[int, ...]) -> bool:
    """Whether a kernel of Keras expands and looks around at once, as only EfficientNetV2's do."""
    return bool(re.search(r"block2a_expand_conv/", key)) and shape[:2] == (3, 3)


def _has(keys: Collection[str], pattern: str) -> bool:
    compiled = re.compile(pattern)
    return any(compiled.search(key) for key in keys)


def _axes(tensors: Tensors) -> str | None:
    """What is said of convolutions that are not of two dimensions."""
    kernels = [len(stored.shape) for stored in tensors.values() if stored.is_float]
    if 3 in kernels and 4 not in kernels:
        return "its convolutions are of one dimension, as for signals"
    if 5 in kernels:
        return "its convolutions are of three dimensions, as for volumes"
    return None


def _half_of(preset: str, tensors: Tensors) -> bool:
    """Whether a file has more than half of the canonical keys of a preset."""
    canonical = network_of(preset, headless=False).tensors
    return len(canonical.keys() & tensors.keys()) > len(canonical) / 2


# ------------------------------------------------------------------ what comes closest


@dataclass(frozen=True)
class Candidate:
    """A network, the share of its keys that are amiss below some prefix, and which they are."""

    name: str
    share: float
    reason: str


def _candidates(kind: str, tensors: Tensors) -> Iterator[Candidate]:
    index = Index(tensors)
    for layout, form in forms(kind):
        for network in networks(layout):
            prefixes = index.prefixes(form, network) or [""]
            most = sorted(prefixes, key=lambda prefix: -index.count(prefix))[:TRIED]
            for prefix in most:
                # Fewer keys than this are too far away to be told apart, or to be named.
                if index.count(prefix) > (1 - CLOSE) * len(network.tensors):
                    yield _candidate(layout, form, network, index, prefix)


def _candidate(
    layout: Layout, form: Form, network: Network, index: Index, prefix: str
) -> Candidate:
    """How many keys below a prefix do not fit, and which."""
    named = form.keys(network)
    keys = {key.path: key for key in named.values()}
    layers = {layer_of(path) for path in keys}
    kept = {
        name: index.tensors[key]
        for key, name in index.named(form, prefix).items()
        if not form.is_ignored(name)
    }
    missing = sorted(keys.keys() - kept.keys())
    left = sorted(
        name
        for name in kept.keys() - keys.keys()
        if kept[name].is_float and (form.owns(name) or layer_of(name) in layers)
    )
    shapes = {named[name].path: shape for name, shape in network.tensors.items()}
    first = next(iter(keys))
    misshapen = [
        f"{name} is {kept[name].shape} and not {_turned(shapes[name], key.axes)}"
        for name, key in keys.items()
        if name in kept and name != first and not fits(kept[name].shape, key.axes, shapes[name])
    ]
    parts = [
        f"{len(names)} keys {kind}: {_listed(names)}"
        for kind, names in (
            ("missing", missing),
            ("left over", left),
            ("of another shape", misshapen),
        )
        if names
    ]
    amiss = len(missing) + len(left) + len(misshapen)
    if not parts and form.is_beside_another(index.tensors) and form.another:
        parts = [form.another[1]]
    below = f" below {prefix.rstrip('./')}" if prefix else ""
    name = f"{layout.name} {network.name} without classifier{below}"
    return Candidate(name, amiss / len(keys), "; ".join(parts) or "its values are no floats")


def _turned(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in axes)


def _some(tensors: Mapping[str, object]) -> str:
    return _listed(sorted(tensors))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
