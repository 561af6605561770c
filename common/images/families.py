"""How the weights of each library expect images to be prepared.

Libraries agree on the network and not on the image: what is cut off, how it is resized and what it
is normalised by are data of a `Family` of weights, which `transforms.py` applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import RosettaError
from ..spec import EFFICIENTNET
from ..xception import XCEPTION
from .fitting import (
    CROP_FRACTION,
    CROP_PADDING,
    PILLOW_BICUBIC,
    Centre,
    CropFirst,
    Interpolation,
    ResizeFirst,
    Squash,
)
from .normalization import IMAGENET, INCEPTION, RAW, Normalization, check_normalization

# What the layouts of graphs begin with, which are called after what exported them.
GRAPH = "graph of "

# ------------------------------------------------------------------ families of weights


@dataclass(frozen=True)
class Family:
    """Weights that see images alike, and how; `source` says where the numbers are from."""

    name: str
    layout: str  # of common.layouts
    fit: Centre | CropFirst | ResizeFirst | Squash
    source: str
    interpolation: Interpolation = PILLOW_BICUBIC
    normalization: Normalization = IMAGENET
    graph_normalises: bool = False  # the library's own graph begins with the normalization
    architecture: str = EFFICIENTNET.name

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
        Family(
            name="keras-hub",
            layout="keras-hub",
            fit=CropFirst(),
            interpolation=Interpolation("keras-layer", antialias=False),
            source="keras_hub's ImageConverter, as its loader of timm's presets makes it",
        ),
        Family(
            name="kecam",
            layout="kecam",
            fit=CropFirst(),
            interpolation=Interpolation("tensorflow"),
            source="keras_cv_attention_models, imagenet/eval_func.py",
        ),
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
    )
}


def family_of(
    layouts: Sequence[str],
    normalization: Normalization | None,
    architecture: str = EFFICIENTNET.name,
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
