"""How weights of Lite, V2 and EdgeTPU expect images to be prepared, library by library."""

from __future__ import annotations

from dataclasses import replace

from ..edgetpu import EDGETPU
from ..lite import LITE
from ..v2 import SCALED, V2
from ..v2_rw import V2_RW
from .family import Family
from .fitting import (
    CROP_PADDING,
    PILLOW_BICUBIC,
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
    V2_PIXELS,
)
from .usual import (
    EFFICIENTNET_JAX,
    KECAM,
    KERAS_HUB,
    PAPER,
    TENSORFLOW_1,
    TIMM,
    TIMM_TF,
    TORCHVISION,
    TPU,
    ZEROMODELS,
)

TPU_LITE = replace(
    TPU,
    name="tpu-lite",
    architecture=LITE.name,
    normalization=LITE_PIXELS,
    source="tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py",
)
# As the source has it (preprocessing.py), which neither pads nor cuts for the larger sizes.
AUTOML = Family(
    name="automl-v2",
    layout="automl",
    architecture=V2.name,
    fit=CropSmall(320, CropFirst(padding=CROP_PADDING)),
    interpolation=Interpolation("tensorflow", "bilinear", antialias=False),
    normalization=V2_PIXELS,
    source="google/automl, efficientnetv2/preprocessing.py",
)
AUTOML_SCALED = replace(
    AUTOML,
    name="automl-v2-b",
    fit=PAPER,
    interpolation=TENSORFLOW_1,
    normalization=IMAGENET,
    presets=SCALED,
    source="its configurations of B0 to B3, which see images as the first EfficientNet",
)
TIMM_TF_LITE = replace(
    TIMM_TF,
    name="timm-tf-lite",
    architecture=LITE.name,
    normalization=INCEPTION,
    source="crop_pct of timm's tf_efficientnet_lite*",
)
TIMM_TF_V2 = replace(
    TIMM_TF,
    name="timm-tf-v2",
    architecture=V2.name,
    fit=Squash(),
    normalization=INCEPTION,
    source="crop_mode of timm's tf_efficientnetv2_m, l and xl",
)
TIMM_TF_V2_SCALED = replace(
    TIMM_TF,
    name="timm-tf-v2-b",
    architecture=V2.name,
    presets=SCALED,
    source="crop_pct of timm's tf_efficientnetv2_b0 to b3, at the sizes of their test",
)
TORCHVISION_V2 = replace(
    TORCHVISION,
    name="torchvision-v2",
    architecture=V2.name,
    fit=ResizeFirst(),
    interpolation=Interpolation(kernel="bilinear"),
    source="transforms of torchvision's EfficientNet_V2_S_Weights and EfficientNet_V2_M_Weights",
)
EFFICIENTNET_JAX_LITE = replace(
    EFFICIENTNET_JAX,
    name="efficientnet-jax-lite",
    architecture=LITE.name,
    normalization=INCEPTION,
    source="its models tf_efficientnet_lite*",
)
KERAS_APPLICATIONS_V2 = replace(
    AUTOML,
    name="keras-applications-v2",
    layout="keras-applications",
    graph_normalises=True,
    source="the library has no transform; its weights are google/automl's",
)
# Those of some presets come before those of all.
LINEAGE = (
    TPU_LITE,
    replace(
        TPU_LITE,
        name="tpu-edgetpu",
        architecture=EDGETPU.name,
        source="tensorflow/tpu, efficientnet/edgetpu",
    ),
    AUTOML_SCALED,
    AUTOML,
    replace(
        AUTOML,
        name="automl-v2-ft",
        fit=Squash(),
        normalization=INCEPTION,
        source="preprocess_for_finetune there, of weights of 21k classes tuned for ImageNet",
    ),
    replace(
        TIMM_TF_LITE,
        name="timm-tf-lite-large",
        fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331, 380: 413}),
        interpolation=Interpolation(kernel="bilinear"),
        presets=("lite3", "lite4"),
    ),
    TIMM_TF_LITE,
    TIMM_TF_V2_SCALED,
    replace(
        TIMM_TF_V2_SCALED,
        name="timm-tf-v2-b-21k",
        normalization=INCEPTION,
        source="its tags in21k; in21k_ft_in1k squashes 0.9 of it",
    ),
    replace(
        TIMM_TF_V2,
        name="timm-tf-v2-s",
        fit=ResizeFirst(),
        presets=("v2-s",),
        source="crop_pct of timm's tf_efficientnetv2_s",
    ),
    TIMM_TF_V2,
    replace(
        TIMM_TF_LITE,
        name="timm-tf-edgetpu",
        architecture=EDGETPU.name,
        source="crop_pct of timm's tf_efficientnet_es, em and el",
    ),
    replace(
        TIMM_TF,
        name="timm-lite",
        layout="timm",
        architecture=LITE.name,
        source="crop_pct of timm's efficientnet_lite*",
    ),
    replace(
        TIMM,
        name="timm-v2",
        architecture=V2.name,
        fit=ResizeFirst(),
        source="crop_pct of timm's efficientnetv2_s, m, l and xl, which have no weights",
    ),
    replace(
        TIMM,
        name="timm-v2-rw-test",
        architecture=V2_RW.name,
        fit=ResizeFirst(0.95),
        presets=("v2-test",),
        source="crop_pct of timm's test_efficientnet",
    ),
    replace(
        TIMM,
        name="timm-v2-rw",
        architecture=V2_RW.name,
        fit=ResizeFirst(),
        source="crop_pct of timm's efficientnetv2_rw_t, s and m",
    ),
    replace(
        TIMM_TF,
        name="timm-edgetpu",
        layout="timm",
        architecture=EDGETPU.name,
        source="crop_pct of timm's efficientnet_es, em and el",
    ),
    replace(
        TORCHVISION_V2,
        name="torchvision-v2-l",
        interpolation=PILLOW_BICUBIC,
        normalization=INCEPTION,
        presets=("v2-l",),
        source="transforms of torchvision's EfficientNet_V2_L_Weights",
    ),
    TORCHVISION_V2,
    replace(
        TPU_LITE,
        name="efficientnet-lite-pytorch-lite",
        layout="efficientnet-lite-pytorch",
        fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331}),
        interpolation=PILLOW_BICUBIC,
        source="the library has no transform; its weights are tensorflow/tpu's, by Pillow",
    ),
    replace(
        AUTOML_SCALED,
        name="keras-applications-v2-b",
        layout="keras-applications",
        graph_normalises=True,
        source="the library has no transform; its weights are google/automl's",
    ),
    KERAS_APPLICATIONS_V2,
    replace(KERAS_HUB, name="keras-hub-lite", architecture=LITE.name),
    replace(KERAS_HUB, name="keras-hub-v2-rw", architecture=V2_RW.name),
    replace(KERAS_HUB, name="keras-hub-edgetpu", architecture=EDGETPU.name),
    replace(KECAM, name="kecam-lite", architecture=LITE.name),
    replace(KECAM, name="kecam-v2-b", architecture=V2.name, presets=SCALED),
    replace(KECAM, name="kecam-v2", architecture=V2.name, normalization=INCEPTION),
    replace(KECAM, name="kecam-edgetpu", architecture=EDGETPU.name),
    replace(ZEROMODELS, name="zeromodels-lite", architecture=LITE.name, normalization=INCEPTION),
    replace(ZEROMODELS, name="zeromodels-v2-b", architecture=V2.name, presets=SCALED),
    replace(ZEROMODELS, name="zeromodels-v2", architecture=V2.name, normalization=INCEPTION),
    EFFICIENTNET_JAX_LITE,
    replace(
        EFFICIENTNET_JAX_LITE,
        name="smp-lite",
        layout="smp",
        fit=ResizeFirst(),
        interpolation=PILLOW_BICUBIC,
        source="segmentation_models_pytorch only normalises; its weights are timm's",
    ),
)
