"""The layouts, in the order in which a file is tried against them."""

from ...network import Dialect
from .canonical import CANONICAL
from .efficientnet_jax import EFFICIENTNET_JAX, EFFICIENTNET_JAX_LITE
from .efficientnet_pytorch import EFFICIENTNET_LITE_PYTORCH, EFFICIENTNET_PYTORCH
from .kecam import KECAM, KECAM_EDGETPU, KECAM_LITE, KECAM_V2, KECAM_V2_SCALED
from .keras_applications import (
    KERAS_APPLICATIONS,
    KERAS_APPLICATIONS_V2,
    KERAS_APPLICATIONS_V2_SCALED,
)
from .keras_hub import KERAS_HUB, KERAS_HUB_EDGETPU, KERAS_HUB_LITE, KERAS_HUB_V2
from .monai import MONAI
from .qubvel import QUBVEL
from .schema import Form, Key, Layout
from .smp import SMP, SMP_LITE, SMP_TIMM
from .timm import TIMM, TIMM_LINEAGE, TIMM_TF
from .torchvision import TORCHVISION, TORCHVISION_V2_L, TORCHVISION_V2_SMALL
from .tpu import AUTOML_SCALED, AUTOML_TABLED, TPU, TPU_EDGETPU, TPU_LITE
from .transformers import TRANSFORMERS
from .xception import KERAS_APPLICATIONS_XCEPTION, KERAS_HUB_XCEPTION, TIMM_XCEPTION
from .zeromodels import (
    ZEROMODELS,
    ZEROMODELS_LITE,
    ZEROMODELS_V2,
    ZEROMODELS_V2_SCALED,
    ZEROMODELS_V2_XL,
)

__all__ = ["LAYOUTS", "LAYOUT_NAMES", "Form", "Key", "Layout", "layout_of"]

LAYOUTS = (
    CANONICAL,
    TORCHVISION,
    TORCHVISION_V2_SMALL,
    TORCHVISION_V2_L,
    TIMM_TF,
    TIMM,
    *TIMM_LINEAGE,
    TIMM_XCEPTION,
    EFFICIENTNET_PYTORCH,
    EFFICIENTNET_LITE_PYTORCH,
    TRANSFORMERS,
    KERAS_APPLICATIONS,
    KERAS_APPLICATIONS_V2_SCALED,
    KERAS_APPLICATIONS_V2,
    KERAS_APPLICATIONS_XCEPTION,
    KERAS_HUB,
    KERAS_HUB_LITE,
    KERAS_HUB_EDGETPU,
    KERAS_HUB_V2,
    KERAS_HUB_XCEPTION,
    ZEROMODELS,
    ZEROMODELS_LITE,
    ZEROMODELS_V2_SCALED,
    ZEROMODELS_V2,
    ZEROMODELS_V2_XL,
    TPU,
    TPU_LITE,
    TPU_EDGETPU,
    AUTOML_SCALED,
    AUTOML_TABLED,
    QUBVEL,
    EFFICIENTNET_JAX,
    EFFICIENTNET_JAX_LITE,
    KECAM,
    KECAM_LITE,
    KECAM_V2_SCALED,
    KECAM_V2,
    KECAM_EDGETPU,
    SMP,
    SMP_TIMM,
    SMP_LITE,
    MONAI,
)
# A library has one name, and a layout for each architecture.
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def layout_of(name: str, preset: str = "b0", dialect: Dialect | None = None) -> Layout | None:
    """The layout of a name that holds a preset, where there is one.

    Of several, it is one whose library computes in the dialect, if there is one of those.
    """
    found = [layout for layout in LAYOUTS if layout.name == name and layout.holds(preset)]
    fitting = [layout for layout in found if dialect is not None and layout.runs(preset, dialect)]
    return next(iter([*fitting, *found]), None)
