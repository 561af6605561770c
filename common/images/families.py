"""How the weights of each library expect images to be prepared.

Libraries agree on the network and not on the image: what is cut off, how it is resized and what it
is normalised by are data of a `Family` of weights, which `transforms.py` applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..edgetpu import EDGETPU
from ..errors import RosettaError
from ..lite import LITE
from ..spec import EFFICIENTNET
from ..v2 import SCALED, V2
from ..xception import XCEPTION
from .fitting import (
    CROP_FRACTION,
    CROP_PADDING,
    PILLOW_BICUBIC,
    Centre,
    CropFirst,
    CropSmall,
    Interpolation,
    ResizeFirst,
    Squash,
)
from .normalization import (
    IMAGENET,
    INCEPTION,
    LITE_PIXELS,
    RAW,
    V2_PIXELS,
    Normalization,
    check_normalization,
)

# What the layouts of graphs begin with, which are called after what exported them.
GRAPH = "graph of "

# ------------------------------------------------------------------ families of weights


@dataclass(frozen=True)
class Family:
    """Weights that see images alike, and how; `source` says where the numbers are from."""

    name: str
    layout: str  # of common.layouts
    fit: Centre | CropFirst | CropSmall | ResizeFirst | Squash
    source: str
    interpolation: Interpolation = PILLOW_BICUBIC
    normalization: Normalization = IMAGENET
    graph_normalises: bool = False  # the library's own graph begins with the normalization
    architecture: str = EFFICIENTNET.name
    presets: tuple[str, ...] = ()  # of the architecture, where it is not all of them

    @property
    def fed(self) -> Normalization:
        """What the library's own graph is given: RGB from 0 to 255 if it normalises by itself."""
        return RAW if self.graph_normalises else self.normalization


_TENSORFLOW_1 = Interpolation("tensorflow1", antialias=False)
_PAPER = CropFirst(padding=CROP_PADDING, odd_before=True)
_ADVPROP = "eval_ckpt_main.py there: x * 2 / 255 - 1"

OFFICIAL = Family(
    name="official",
    layout="canonical",
    fit=Centre(CROP_FRACTION),
    source="ours: the released code's fraction, by Pillow",
)
_TPU = Family(
    name="tpu",
    layout="tpu",
    fit=CropFirst(fraction=CROP_FRACTION, odd_before=True),
    interpolation=_TENSORFLOW_1,
    source="tensorflow/tpu, efficientnet/preprocessing.py and main.py",
)
_TIMM_TF = Family(
    name="timm-tf",
    layout="timm-tf",
    # Its fractions are the paper's padding in three digits, which at two sizes are a pixel off.
    fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331, 800: 833}),
    source="crop_pct of timm's tf_efficientnet_*",
)
_TIMM = Family(
    name="timm",
    layout="timm",
    fit=ResizeFirst(CROP_FRACTION),
    source="timm's efficientnet_*, whose crop_pct is the default",
)
_TORCHVISION = Family(
    name="torchvision",
    layout="torchvision",
    # Other sizes are as 224.
    fit=ResizeFirst(
        224 / 256,
        edges={224: 256, 240: 256, 288: 288, 300: 320, 380: 384, 456: 456, 528: 528, 600: 600},
    ),
    source="transforms of torchvision's EfficientNet_B*_Weights.IMAGENET1K_V1",
)
_EFFICIENTNET_PYTORCH = Family(
    name="efficientnet-pytorch",
    layout="efficientnet-pytorch",
    fit=ResizeFirst(),
    source="lukemelas/EfficientNet-PyTorch, examples/imagenet/main.py",
)
_TRANSFORMERS = Family(
    name="transformers",
    layout="transformers",
    fit=Squash(),
    source="EfficientNetImageProcessor; it divides by the root of the deviation twice",
)
_EFFICIENTNET_JAX = Family(
    name="efficientnet-jax",
    layout="efficientnet-jax",
    fit=_PAPER,
    interpolation=Interpolation("tensorflow"),
    source="rwightman/efficientnet-jax, jeffnet/data/tf_input_pipeline.py",
)

_XCEPTION = Family(
    name="keras-applications-xception",
    layout="keras-applications",
    fit=Centre(CROP_FRACTION),
    normalization=INCEPTION,
    architecture=XCEPTION.name,
    source="preprocess_input, which does not crop; the fraction of Inception's code, by Pillow",
)

# ------------------------------------------------------------------ Lite, V2 and EdgeTPU

_LITE, _V2, _EDGETPU = LITE.name, V2.name, EDGETPU.name
_TPU_LITE = replace(
    _TPU,
    name="tpu-lite",
    architecture=_LITE,
    normalization=LITE_PIXELS,
    source="tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py",
)
# As the source has it (preprocessing.py), which neither pads nor cuts for the larger sizes.
_AUTOML = Family(
    name="automl-v2",
    layout="automl",
    architecture=_V2,
    fit=CropSmall(320, CropFirst(padding=CROP_PADDING)),
    interpolation=Interpolation("tensorflow", "bilinear", antialias=False),
    normalization=V2_PIXELS,
    source="google/automl, efficientnetv2/preprocessing.py",
)
_AUTOML_SCALED = replace(
    _AUTOML,
    name="automl-v2-b",
    fit=_PAPER,
    interpolation=_TENSORFLOW_1,
    normalization=IMAGENET,
    presets=SCALED,
    source="its configurations of B0 to B3, which see images as the first EfficientNet",
)
_TIMM_TF_LITE = replace(
    _TIMM_TF,
    name="timm-tf-lite",
    architecture=_LITE,
    normalization=INCEPTION,
    source="crop_pct of timm's tf_efficientnet_lite*",
)
_TIMM_TF_V2 = replace(
    _TIMM_TF,
    name="timm-tf-v2",
    architecture=_V2,
    fit=Squash(),
    normalization=INCEPTION,
    source="crop_mode of timm's tf_efficientnetv2_m, l and xl",
)
_TIMM_TF_V2_SCALED = replace(
    _TIMM_TF,
    name="timm-tf-v2-b",
    architecture=_V2,
    presets=SCALED,
    source="crop_pct of timm's tf_efficientnetv2_b0 to b3, at the sizes of their test",
)
_TORCHVISION_V2 = replace(
    _TORCHVISION,
    name="torchvision-v2",
    architecture=_V2,
    fit=ResizeFirst(),
    interpolation=Interpolation(kernel="bilinear"),
    source="transforms of torchvision's EfficientNet_V2_S_Weights and EfficientNet_V2_M_Weights",
)
_EFFICIENTNET_JAX_LITE = replace(
    _EFFICIENTNET_JAX,
    name="efficientnet-jax-lite",
    architecture=_LITE,
    normalization=INCEPTION,
    source="its models tf_efficientnet_lite*",
)
_KERAS_APPLICATIONS_V2 = replace(
    _AUTOML,
    name="keras-applications-v2",
    layout="keras-applications",
    graph_normalises=True,
    source="the library has no transform; its weights are google/automl's",
)
_KECAM = Family(
    name="kecam",
    layout="kecam",
    fit=CropFirst(),
    interpolation=Interpolation("tensorflow"),
    source="keras_cv_attention_models, imagenet/eval_func.py",
)
_KERAS_HUB = Family(
    name="keras-hub",
    layout="keras-hub",
    fit=CropFirst(),
    interpolation=Interpolation("keras-layer", antialias=False),
    source="keras_hub's ImageConverter, as its loader of timm's presets makes it",
)
# Those of some presets come before those of all.
_LINEAGE = (
    _TPU_LITE,
    replace(
        _TPU_LITE,
        name="tpu-edgetpu",
        architecture=_EDGETPU,
        source="tensorflow/tpu, efficientnet/edgetpu",
    ),
    _AUTOML_SCALED,
    _AUTOML,
    replace(
        _AUTOML,
        name="automl-v2-ft",
        fit=Squash(),
        normalization=INCEPTION,
        source="preprocess_for_finetune there, of weights of 21k classes tuned for ImageNet",
    ),
    replace(
        _TIMM_TF_LITE,
        name="timm-tf-lite-large",
        fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331, 380: 413}),
        interpolation=Interpolation(kernel="bilinear"),
        presets=("lite3", "lite4"),
    ),
    _TIMM_TF_LITE,
    _TIMM_TF_V2_SCALED,
    replace(
        _TIMM_TF_V2_SCALED,
        name="timm-tf-v2-b-21k",
        normalization=INCEPTION,
        source="its tags in21k; in21k_ft_in1k squashes 0.9 of it",
    ),
    replace(
        _TIMM_TF_V2,
        name="timm-tf-v2-s",
        fit=ResizeFirst(),
        presets=("v2-s",),
        source="crop_pct of timm's tf_efficientnetv2_s",
    ),
    _TIMM_TF_V2,
    replace(
        _TIMM_TF_LITE,
        name="timm-tf-edgetpu",
        architecture=_EDGETPU,
        source="crop_pct of timm's tf_efficientnet_es, em and el",
    ),
    replace(
        _TIMM_TF,
        name="timm-lite",
        layout="timm",
        architecture=_LITE,
        source="crop_pct of timm's efficientnet_lite*",
    ),
    replace(
        _TIMM,
        name="timm-v2",
        architecture=_V2,
        fit=ResizeFirst(),
        source="crop_pct of timm's efficientnetv2_s, m, l and xl, which have no weights",
    ),
    replace(
        _TIMM_TF,
        name="timm-edgetpu",
        layout="timm",
        architecture=_EDGETPU,
        source="crop_pct of timm's efficientnet_es, em and el",
    ),
    replace(
        _TORCHVISION_V2,
        name="torchvision-v2-l",
        interpolation=PILLOW_BICUBIC,
        normalization=INCEPTION,
        presets=("v2-l",),
        source="transforms of torchvision's EfficientNet_V2_L_Weights",
    ),
    _TORCHVISION_V2,
    replace(
        _TPU_LITE,
        name="efficientnet-lite-pytorch-lite",
        layout="efficientnet-lite-pytorch",
        fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331}),
        interpolation=PILLOW_BICUBIC,
        source="the library has no transform; its weights are tensorflow/tpu's, by Pillow",
    ),
    replace(
        _AUTOML_SCALED,
        name="keras-applications-v2-b",
        layout="keras-applications",
        graph_normalises=True,
        source="the library has no transform; its weights are google/automl's",
    ),
    _KERAS_APPLICATIONS_V2,
    replace(_KERAS_HUB, name="keras-hub-lite", architecture=_LITE),
    replace(_KECAM, name="kecam-lite", architecture=_LITE),
    replace(_KECAM, name="kecam-v2-b", architecture=_V2, presets=SCALED),
    replace(_KECAM, name="kecam-v2", architecture=_V2, normalization=INCEPTION),
    replace(_KECAM, name="kecam-edgetpu", architecture=_EDGETPU),
    _EFFICIENTNET_JAX_LITE,
    replace(
        _EFFICIENTNET_JAX_LITE,
        name="smp-lite",
        layout="smp",
        fit=ResizeFirst(),
        interpolation=PILLOW_BICUBIC,
        source="segmentation_models_pytorch only normalises; its weights are timm's",
    ),
)

# The first of a layout is the one that a file of that layout belongs to if it says nothing else.
FAMILIES = {
    family.name: family
    for family in (
        OFFICIAL,
        _TPU,
        replace(_TPU, name="tpu-paper", fit=_PAPER, source="the same when the paper came out"),
        replace(_TPU, name="tpu-advprop", normalization=INCEPTION, source=_ADVPROP),
        _TIMM_TF,
        replace(_TIMM_TF, name="timm-tf-ap", normalization=INCEPTION, source="its tags ap_in1k"),
        _TIMM,
        replace(_TIMM, name="timm-test", fit=ResizeFirst(), source="test_crop_pct, at test sizes"),
        replace(
            _TIMM,
            name="timm-ra4",
            fit=ResizeFirst(0.9),
            normalization=INCEPTION,
            source="its tags ra4_e3600",
        ),
        replace(_TIMM, name="timm-sw-in12k", fit=ResizeFirst(0.95), source="its tag sw_in12k"),
        replace(_TIMM, name="timm-sw-in12k-ft", fit=Squash(), source="its tag sw_in12k_ft_in1k"),
        _TORCHVISION,
        replace(
            _TORCHVISION,
            name="torchvision-b1-v2",
            fit=ResizeFirst(240 / 255, edges={240: 255}),
            interpolation=Interpolation(kernel="bilinear"),
            source="EfficientNet_B1_Weights.IMAGENET1K_V2",
        ),
        _EFFICIENTNET_PYTORCH,
        replace(
            _EFFICIENTNET_PYTORCH,
            name="efficientnet-pytorch-advprop",
            normalization=INCEPTION,
            source="the same, --advprop",
        ),
        _TRANSFORMERS,
        replace(
            _TRANSFORMERS,
            name="transformers-nearest",
            interpolation=Interpolation(kernel="nearest"),
            source="its default until transformers pull request 42956, in files from before",
        ),
        Family(
            name="keras-applications",
            layout="keras-applications",
            fit=_PAPER,
            interpolation=_TENSORFLOW_1,
            graph_normalises=True,
            source="the library has no transform; its weights are the paper's",
        ),
        Family(
            name="qubvel",
            layout="qubvel",
            fit=_PAPER,
            interpolation=Interpolation("scikit-image"),
            source="qubvel's efficientnet/preprocessing.py",
        ),
        _KERAS_HUB,
        _KECAM,
        _EFFICIENTNET_JAX,
        replace(
            _EFFICIENTNET_JAX,
            name="efficientnet-jax-ap",
            normalization=INCEPTION,
            source="its models *_ap",
        ),
        replace(
            _EFFICIENTNET_PYTORCH,
            name="smp",
            layout="smp",
            source="segmentation_models_pytorch only normalises; as efficientnet-pytorch",
        ),
        replace(
            _EFFICIENTNET_PYTORCH,
            name="monai",
            layout="monai",
            source="MONAI leaves it to its users; its weights are efficientnet-pytorch's",
        ),
        _XCEPTION,
        replace(
            _XCEPTION,
            name="keras-hub-xception",
            layout="keras-hub",
            fit=CropFirst(),
            interpolation=Interpolation("keras-layer", "bilinear", antialias=False),
            source="keras_hub, tools/checkpoint_conversion/convert_xception_checkpoints.py",
        ),
        replace(
            _XCEPTION,
            name="timm-xception",
            layout="timm",
            fit=ResizeFirst(0.8975),
            source="crop_pct of timm's legacy_xception",
        ),
        *_LINEAGE,
    )
}


def family_of(
    layouts: Sequence[str],
    normalization: Normalization | None,
    architecture: str = EFFICIENTNET.name,
    preset: str = "",
) -> Family:
    """The family of a file by the names of its layouts, the first of which counts.

    What a file states it was normalised by wins over what its layout's files usually are.

    Raises:
        RosettaError: no such layout, or no normalization of RGB.
    """
    if layouts and layouts[0].startswith(GRAPH):  # of which nothing is known but the network
        layouts = [OFFICIAL.layout]
    of_layout = [
        family
        for family in FAMILIES.values()
        # What we trained, or wrote, sees images as we do, whatever it is.
        if family.layout in layouts[:1]
        and (family is OFFICIAL or family.architecture == architecture)
        and (not family.presets or preset in family.presets)
    ]
    if not of_layout:
        known = dict.fromkeys(family.layout for family in FAMILIES.values())
        raise RosettaError(
            f"no transforms are known of layout {', '.join(layouts)!r}; "
            f"choose from {', '.join(known)}"
        )
    if normalization is None:
        return of_layout[0]
    check_normalization(normalization)
    alike = (family for family in of_layout if family.normalization == normalization)
    return next(alike, replace(of_layout[0], normalization=normalization))
