"""What people have of other libraries for PyTorch, and of other networks."""

from __future__ import annotations

from functools import partial

from parity_tests.situations import from_others, from_timm
from parity_tests.situations.judge import Situation
from parity_tests.situations.rows.words import DENSE, DROP, OUT

_five_classes = partial(Situation, layout="transformers", classes=5, head=DENSE, to="timm-tf")

LIBRARIES = (
    Situation(
        "lukemelas-dropout",
        "efficientnet_pytorch, `_fc` is dropout and a dense layer, DataParallel",
        "lukemelas/EfficientNet-PyTorch#295",
        from_others.dropout_in_front,
        "ckpt.t7",
        "efficientnet-pytorch",
        classes=4,
        head=DENSE,
        to="timm-tf",
    ),
    Situation(
        "monai",
        "MONAI's EfficientNetBN in a checkpoint of Lightning",
        "Project-MONAI/MONAI#6352",
        from_others.numbered_by_stage,
        "monai.ckpt",
        "monai",
        classes=4,
        head=DENSE,
        to="timm-tf",
    ),
    Situation(
        "effdet",
        "effdet's EfficientDet",
        "huggingface/pytorch-image-models#1349",
        from_timm.efficientdet,
        "tf_efficientdet_d0.pth",
        "timm-tf",
        maps=True,
        head="a detector",
        dialect="tensorflow",
        to="efficientnet-pytorch",
        options=DROP,
        refused=("fpn", "class_net", OUT),
    ),
    Situation(
        "zylo117",
        "zylo117's EfficientDet",
        "zylo117/Yet-Another-EfficientDet-Pytorch#222",
        from_others.zylo117,
        "efficientdet-d0.pth",
        "efficientnet-pytorch",
        maps=True,
        head="a detector",
        to="timm-tf",
        options=DROP,
        refused=("bifpn", "regressor", OUT),
    ),
    _five_classes(
        "transformers-trainer",
        "A folder of transformers' Trainer",
        "",
        from_others.trainer,
        "checkpoint-500",
    ),
    _five_classes(
        "transformers-shards",
        "Shards of safetensors with an index",
        "",
        from_others.shards,
        "sharded",
    ),
    _five_classes(
        "transformers-bin",
        "Shards `pytorch_model-*.bin`, by their index",
        "",
        from_others.older_shards,
        "pytorch_model.bin.index.json",
    ),
    Situation(
        "transformers-headless",
        "transformers' `EfficientNetModel`",
        "",
        from_others.without_head,
        "encoder",
        "transformers",
        head="none",
        to="timm-tf",
    ),
    Situation(
        "accelerate",
        "A folder of accelerate's `save_state`",
        "",
        from_others.accelerate,
        "checkpoint_3",
        "efficientnet-pytorch",
        classes=5,
        head=DENSE,
        to="timm-tf",
    ),
    Situation(
        "smp-unet",
        "A Unet of segmentation_models_pytorch on `efficientnet-b0`",
        "nasa/pretrained-microscopy-models#19",
        from_others.segmentation("efficientnet-b0"),
        "unet.pth",
        "smp",
        head="a decoder",
        to="timm-tf",
        options=DROP,
        refused=("decoder", OUT),
    ),
    Situation(
        "smp-universal",
        "A Unet of segmentation_models_pytorch on `tu-tf_efficientnet_b0`",
        "",
        from_others.segmentation("tu-tf_efficientnet_b0"),
        "unet.pth",
        "timm-tf",
        maps=True,
        head="a decoder",
        dialect="tensorflow",
        to="efficientnet-pytorch",
        options=DROP,
        refused=("decoder", OUT),
    ),
    Situation(
        "face-forensics",
        "Xception with pointwise kernels of two axes, and `last_linear`",
        "ondyari/FaceForensics#101",
        from_timm.face_forensics,
        "xception.pth",
        "timm",
        "xception",
        classes=2,
        head=DENSE,
        dialect="pytorch",
        to="timm",
        slow=True,
    ),
)

NETWORKS = (
    *(
        Situation(
            name,
            have,
            thread,
            from_timm.another(name),
            f"{name}.pth",
            refused=refused,
        )
        for name, have, thread, refused in (
            ("resnet50", "ResNet", "", ("ResNet",)),
            ("mixnet_s", "MixNet", "", ("MixNet",)),
            ("vit_tiny_patch16_224", "A vision transformer", "", ("transformer",)),
            (
                "mobilenetv2_100",
                "MobileNetV2",
                "",
                ("MobileNetV2",),
            ),
        )
    ),
    Situation(
        "one-dimension",
        "B0 for signals of one dimension",
        "TorchDSP/torchsig#239",
        from_timm.one_dimension,
        "signal.pt",
        refused=("one dimension",),
    ),
)
