"""Our own: canonical names in safetensors, the network in the metadata."""

from dataclasses import replace

from common.architectures import PRESETS
from common.layouts.schema import PYTORCH_ORDER, Form, Layout, Roles, Tensors, same_for
from common.spec import DIALECTS

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
    also_read={
        "onnx": (replace(FORM, ignored=r"(axes|pads)$", ignored_why="constants of the graph"),)
    },
    expects="what the weights it was made from expect",
    framework="torch",
    any_network=True,
)
