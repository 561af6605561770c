"""Our own: canonical names in safetensors, the network in the metadata."""

from __future__ import annotations

from dataclasses import replace

from ...architectures import PRESETS
from ...backends.registry import TORCH
from ...network import DIALECTS
from .names import Roles
from .schema import PYTORCH_ORDER, Form, Layout, Tensors, same_for

# What `rosetta export` stores beside the weights: arguments of the operations.
ARGUMENTS = r"\.(axes|least|most|pads|value)$"
FORM = Form(
    names=Roles(),
    path="{layer}.{tensor}",
    tensors=Tensors("weight", "weight", "weight", "bias", "scale", "bias", "mean", "variance"),
    orientation=PYTORCH_ORDER,
)

CANONICAL = Layout(
    name="canonical",
    library="efficientnet-rosetta",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), *DIALECTS.values()),
    forms={"safetensors": FORM},
    # The graphs of `rosetta export`, which keep batch norm and the names of its weights.
    also_read={"onnx": (replace(FORM, ignored=ARGUMENTS, ignored_why="constants of the graph"),)},
    expects="what the weights it was made from expect",
    framework=TORCH,
    any_network=True,
)
