"""The layouts, in the order in which a file is tried against them."""

from .canonical import CANONICAL
from .efficientnet_jax import EFFICIENTNET_JAX
from .efficientnet_pytorch import EFFICIENTNET_PYTORCH
from .kecam import KECAM
from .keras_applications import KERAS_APPLICATIONS
from .keras_hub import KERAS_HUB
from .monai import MONAI
from .qubvel import QUBVEL
from .schema import Form, Key, Layout
from .smp import SMP
from .timm import TIMM, TIMM_TF
from .torchvision import TORCHVISION
from .tpu import TPU
from .transformers import TRANSFORMERS
from .xception import KERAS_APPLICATIONS_XCEPTION, KERAS_HUB_XCEPTION, TIMM_XCEPTION

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
    MONAI,
)
# A library has one name, and a layout for each architecture.
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def layout_of(name: str, preset: str = "b0") -> Layout | None:
    """The layout of a name that holds a preset, where there is one."""
    found = (layout for layout in LAYOUTS if layout.name == name and layout.holds(preset))
    return next(found, None)
