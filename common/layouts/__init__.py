"""The layouts, in the order in which a file is tried against them."""

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
from common.layouts.xception import (
    KERAS_APPLICATIONS_XCEPTION,
    KERAS_HUB_XCEPTION,
    TIMM_XCEPTION,
)

__all__ = ["LAYOUTS", "LAYOUT_NAMES", "Form", "Key", "Layout", "layout_of"]

LAYOUTS = (
    CANONICAL,
    TORCHVISION,
    TIMM_TF,
    TIMM,
    TIMM_XCEPTION,
    EFFICIENTNET_PYTORCH,
    TRANSFORMERS,
    KERAS_APPLICATIONS,
    KERAS_APPLICATIONS_XCEPTION,
    KERAS_HUB,
    KERAS_HUB_XCEPTION,
    TPU,
    QUBVEL,
    EFFICIENTNET_JAX,
    KECAM,
    SMP,
)
# A library has one name, and a layout for each architecture.
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def layout_of(name: str, preset: str = "b0") -> Layout | None:
    """The layout of a name that holds a preset, where there is one."""
    found = (layout for layout in LAYOUTS if layout.name == name and layout.holds(preset))
    return next(found, None)
