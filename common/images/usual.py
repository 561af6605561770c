"""How most weights of each library expect images to be prepared.

From these follow the families of single networks and recipes, in `later.py` and `families.py`.
"""

from __future__ import annotations

from ..xception import XCEPTION
from .family import Family
from .fitting import (
    CROP_FRACTION,
    CROP_PADDING,
    Centre,
    CropFirst,
    Interpolation,
    ResizeFirst,
    Squash,
)
from .normalization import (
    INCEPTION,
)

TENSORFLOW_1 = Interpolation("tensorflow1", antialias=False)
PAPER = CropFirst(padding=CROP_PADDING, odd_before=True)
ADVPROP = "eval_ckpt_main.py there: x * 2 / 255 - 1"

OFFICIAL = Family(
    name="official",
    layout="canonical",
    fit=Centre(CROP_FRACTION),
    source="ours: the released code's fraction, by Pillow",
)
TPU = Family(
    name="tpu",
    layout="tpu",
    fit=CropFirst(fraction=CROP_FRACTION, odd_before=True),
    interpolation=TENSORFLOW_1,
    source="tensorflow/tpu, efficientnet/preprocessing.py and main.py",
)
TIMM_TF = Family(
    name="timm-tf",
    layout="timm-tf",
    # Its fractions are the paper's padding in three digits, which at two sizes are a pixel off.
    fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331, 800: 833}),
    source="crop_pct of timm's tf_efficientnet_*",
)
TIMM = Family(
    name="timm",
    layout="timm",
    fit=ResizeFirst(CROP_FRACTION),
    source="timm's efficientnet_*, whose crop_pct is the default",
)
TORCHVISION = Family(
    name="torchvision",
    layout="torchvision",
    # Other sizes are as 224.
    fit=ResizeFirst(
        224 / 256,
        edges={224: 256, 240: 256, 288: 288, 300: 320, 380: 384, 456: 456, 528: 528, 600: 600},
    ),
    source="transforms of torchvision's EfficientNet_B*_Weights.IMAGENET1K_V1",
)
EFFICIENTNET_PYTORCH = Family(
    name="efficientnet-pytorch",
    layout="efficientnet-pytorch",
    fit=ResizeFirst(),
    source="lukemelas/EfficientNet-PyTorch, examples/imagenet/main.py",
)
TRANSFORMERS = Family(
    name="transformers",
    layout="transformers",
    fit=Squash(),
    source="EfficientNetImageProcessor; it divides by the root of the deviation twice",
)
EFFICIENTNET_JAX = Family(
    name="efficientnet-jax",
    layout="efficientnet-jax",
    fit=PAPER,
    interpolation=Interpolation("tensorflow"),
    source="rwightman/efficientnet-jax, jeffnet/data/tf_input_pipeline.py",
)

OF_XCEPTION = Family(
    name="keras-applications-xception",
    layout="keras-applications",
    fit=Centre(CROP_FRACTION),
    normalization=INCEPTION,
    architecture=XCEPTION.name,
    source="preprocess_input, which does not crop; the fraction of Inception's code, by Pillow",
)
KECAM = Family(
    name="kecam",
    layout="kecam",
    fit=CropFirst(),
    interpolation=Interpolation("tensorflow"),
    source="keras_cv_attention_models, imagenet/eval_func.py",
)
KERAS_HUB = Family(
    name="keras-hub",
    layout="keras-hub",
    fit=CropFirst(),
    interpolation=Interpolation("keras-layer", antialias=False),
    source="keras_hub's ImageConverter, as its loader of timm's presets makes it",
)
ZEROMODELS = Family(
    name="zeromodels",
    layout="zeromodels",
    fit=Squash(),
    interpolation=Interpolation("tensorflow"),
    source="its image processors; its weights, and what they are normalised by, are timm's",
)
