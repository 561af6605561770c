"""How the weights of each library expect images to be prepared.

Libraries agree on the network and not on the image: what is cut off, how it is resized and what it
is normalised by are data of a `Family` of weights, which `transforms.py` applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import RosettaError
from ..spec import EFFICIENTNET
from .family import Family
from .fitting import (
    CropFirst,
    Interpolation,
    ResizeFirst,
    Squash,
)
from .later import LINEAGE
from .normalization import (
    INCEPTION,
    Normalization,
    check_normalization,
)
from .usual import (
    ADVPROP,
    EFFICIENTNET_JAX,
    EFFICIENTNET_PYTORCH,
    KECAM,
    KERAS_HUB,
    OF_XCEPTION,
    OFFICIAL,
    PAPER,
    TENSORFLOW_1,
    TIMM,
    TIMM_TF,
    TORCHVISION,
    TPU,
    TRANSFORMERS,
    ZEROMODELS,
)

# What the layouts of graphs begin with, which are called after what exported them.
GRAPH = "graph of "

# The first of a layout is the one that a file of that layout belongs to if it says nothing else.
FAMILIES = {
    family.name: family
    for family in (
        OFFICIAL,
        TPU,
        replace(TPU, name="tpu-paper", fit=PAPER, source="the same when the paper came out"),
        replace(TPU, name="tpu-advprop", normalization=INCEPTION, source=ADVPROP),
        TIMM_TF,
        replace(TIMM_TF, name="timm-tf-ap", normalization=INCEPTION, source="its tags ap_in1k"),
        TIMM,
        replace(TIMM, name="timm-test", fit=ResizeFirst(), source="test_crop_pct, at test sizes"),
        replace(
            TIMM,
            name="timm-ra4",
            fit=ResizeFirst(0.9),
            normalization=INCEPTION,
            source="its tags ra4_e3600",
        ),
        replace(TIMM, name="timm-sw-in12k", fit=ResizeFirst(0.95), source="its tag sw_in12k"),
        replace(TIMM, name="timm-sw-in12k-ft", fit=Squash(), source="its tag sw_in12k_ft_in1k"),
        TORCHVISION,
        replace(
            TORCHVISION,
            name="torchvision-b1-v2",
            fit=ResizeFirst(240 / 255, edges={240: 255}),
            interpolation=Interpolation(kernel="bilinear"),
            source="EfficientNet_B1_Weights.IMAGENET1K_V2",
        ),
        EFFICIENTNET_PYTORCH,
        replace(
            EFFICIENTNET_PYTORCH,
            name="efficientnet-pytorch-advprop",
            normalization=INCEPTION,
            source="the same, --advprop",
        ),
        TRANSFORMERS,
        replace(
            TRANSFORMERS,
            name="transformers-nearest",
            interpolation=Interpolation(kernel="nearest"),
            source="its default until transformers pull request 42956, in files from before",
        ),
        Family(
            name="keras-applications",
            layout="keras-applications",
            fit=PAPER,
            interpolation=TENSORFLOW_1,
            graph_normalises=True,
            source="the library has no transform; its weights are the paper's",
        ),
        Family(
            name="qubvel",
            layout="qubvel",
            fit=PAPER,
            interpolation=Interpolation("scikit-image"),
            source="qubvel's efficientnet/preprocessing.py",
        ),
        KERAS_HUB,
        KECAM,
        ZEROMODELS,
        EFFICIENTNET_JAX,
        replace(
            EFFICIENTNET_JAX,
            name="efficientnet-jax-ap",
            normalization=INCEPTION,
            source="its models *_ap",
        ),
        replace(
            EFFICIENTNET_PYTORCH,
            name="smp",
            layout="smp",
            source="segmentation_models_pytorch only normalises; as efficientnet-pytorch",
        ),
        replace(
            EFFICIENTNET_PYTORCH,
            name="monai",
            layout="monai",
            source="MONAI leaves it to its users; its weights are efficientnet-pytorch's",
        ),
        OF_XCEPTION,
        replace(
            OF_XCEPTION,
            name="keras-hub-xception",
            layout="keras-hub",
            fit=CropFirst(),
            interpolation=Interpolation("keras-layer", "bilinear", antialias=False),
            source="keras_hub, tools/checkpoint_conversion/convert_xception_checkpoints.py",
        ),
        replace(
            OF_XCEPTION,
            name="timm-xception",
            layout="timm",
            fit=ResizeFirst(0.8975),
            source="crop_pct of timm's legacy_xception",
        ),
        *LINEAGE,
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
