"""The layouts by name, in the order in which a file is tried against them."""

from common.layouts.canonical import CANONICAL
from common.layouts.efficientnet_jax import EFFICIENTNET_JAX
from common.layouts.efficientnet_pytorch import EFFICIENTNET_PYTORCH
from common.layouts.kecam import KECAM
from common.layouts.keras_applications import KERAS_APPLICATIONS
from common.layouts.keras_hub import KERAS_HUB
from common.layouts.qubvel import QUBVEL
from common.layouts.schema import Form, Key, Layout
from common.layouts.smp import SMP
from common.layouts.timm import TIMM, TIMM_TF
from common.layouts.torchvision import TORCHVISION
from common.layouts.tpu import TPU
from common.layouts.transformers import TRANSFORMERS

__all__ = ["LAYOUTS", "Form", "Key", "Layout"]

LAYOUTS = {
    layout.name: layout
    for layout in (
        CANONICAL,
        TORCHVISION,
        TIMM_TF,
        TIMM,
        EFFICIENTNET_PYTORCH,
        TRANSFORMERS,
        KERAS_APPLICATIONS,
        KERAS_HUB,
        TPU,
        QUBVEL,
        EFFICIENTNET_JAX,
        KECAM,
        SMP,
    )
}
