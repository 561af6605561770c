"""Our own: canonical names in safetensors, the network in the metadata."""

from common.layouts.schema import PYTORCH_ORDER, Form, Layout, Roles, Tensors, same_for
from common.spec import DIALECTS, PRESETS

CANONICAL = Layout(
    name="canonical",
    library="efficientnet-rosetta",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), *DIALECTS.values()),
    forms={
        "safetensors": Form(
            names=Roles(),
            path="{layer}.{tensor}",
            tensors=Tensors("weight", "weight", "bias", "scale", "bias", "mean", "variance"),
            orientation=PYTORCH_ORDER,
        )
    },
    expects="what the weights it was made from expect",
)
