"""What people make of timm's networks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from parity_tests.peers import operators
from parity_tests.situations.making import awake, outputs

operators.declare()

import timm  # noqa: E402
from timm.utils import CheckpointSaver, ModelEmaV3  # noqa: E402


def built(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """A model, awake."""
    return awake(timm.create_model(name, **options), options.get("in_chans", 3), seed)


class Around(nn.Module):
    """Somebody's model: a backbone, and layers of their own behind its features."""

    def __init__(self, backbone: nn.Module, **layers: nn.Module):
        super().__init__()
        self.backbone = backbone
        for name, layer in layers.items():
            self.add_module(name, layer)


def sequential(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.classifier = nn.Sequential(nn.Linear(1280, 8))`"""
    model = timm.create_model("tf_efficientnet_b0.ns_jft_in1k")
    model.classifier = nn.Sequential(nn.Linear(1280, 8))
    torch.save(awake(model).state_dict(), path)
    return outputs(model, images)


def identity(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.classifier = nn.Identity()`: no head at all."""
    model = timm.create_model("tf_efficientnet_b0")
    model.classifier = nn.Identity()
    torch.save(awake(model).state_dict(), path)
    return outputs(model, images)


def four_channels(path: Path, images: np.ndarray) -> np.ndarray:
    """`in_chans=4, num_classes=3`"""
    model = built("efficientnet_b0", in_chans=4, num_classes=3)
    torch.save(model.state_dict(), path)
    return outputs(model, images)


def one_class(path: Path, images: np.ndarray) -> np.ndarray:
    """`num_classes=1`, for a sigmoid, under a key of somebody's own."""
    model = built("tf_efficientnet_b0", num_classes=1)
    torch.save({"weights": model.state_dict(), "auc": 0.91, "threshold": 0.5}, path)
    return outputs(model, images)


def bfloat16(path: Path, images: np.ndarray) -> np.ndarray:
    """A safetensors file in bfloat16."""
    model = built("tf_efficientnet_b0", num_classes=2).bfloat16()
    save_file(model.state_dict(), path)
    return outputs(model.float(), images)


def float16(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.half()`"""
    model = built("tf_efficientnet_b0", num_classes=2).half()
    torch.save(model.state_dict(), path)
    return outputs(model.float(), images)


def _trained(path: Path) -> tuple[nn.Module, nn.Module]:
    """A checkpoint as timm's own loop writes it; the model, and its moving average."""
    model = built("tf_efficientnet_b0", num_classes=5)
    average = ModelEmaV3(model)
    awake(average.module, seed=5)
    saver = CheckpointSaver(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        args=Namespace(model="tf_efficientnet_b0", lr=0.1),
        model_ema=average,
        checkpoint_dir=path.parent,
        recovery_dir=path.parent,
    )
    saver.save_checkpoint(0, metric=0.5)
    (path.parent / "checkpoint-0.pth.tar").rename(path)
    return model, average.module


def trained(path: Path, images: np.ndarray) -> np.ndarray:
    """timm's train.py with `--model-ema`: the averages are what is meant."""
    return outputs(_trained(path)[1], images)


def trained_raw(path: Path, images: np.ndarray) -> np.ndarray:
    """The same file; the raw weights are asked for."""
    return outputs(_trained(path)[0], images)


def lightning_average(path: Path, images: np.ndarray) -> np.ndarray:
    """A module of Lightning with the network and its moving average, each in an attribute."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = built("tf_efficientnet_b0", num_classes=5)
            self.ema = built("tf_efficientnet_b0", num_classes=5, seed=5)

    module = Module()
    trainer = lightning.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return outputs(module.ema, images)


def only_maps(path: Path, images: np.ndarray) -> np.ndarray:
    """`features_only=True`: the network ends before its last convolution."""
    model = built("tf_efficientnet_b0", features_only=True)
    torch.save(model.state_dict(), path)
    return outputs(lambda x: model(x)[-1].mean((2, 3)), images)


def fastai(path: Path, images: np.ndarray) -> np.ndarray:
    """`vision_learner(...).save()`: a body of timm below `0.model`, and fastai's head below `1`."""
    body = Around(nn.Identity(), model=timm.create_model("efficientnet_b0", num_classes=0))
    del body.backbone
    awake(body.model)
    head = nn.Sequential(  # the first two pool and flatten, and have no weights
        nn.Identity(),
        nn.Identity(),
        nn.BatchNorm1d(2560),
        nn.Dropout(0.25),
        nn.Linear(2560, 512, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, 3, bias=False),
    )
    state = nn.Sequential(body, head).state_dict()
    torch.save({"model": state, "opt": {"state": [], "hypers": []}}, path)
    return outputs(body.model, images)


def metric_learning(path: Path, images: np.ndarray) -> np.ndarray:
    """Features, a batch norm and a dense layer to an embedding."""
    model = Around(
        built("tf_efficientnet_b0", num_classes=0), bn=nn.BatchNorm1d(1280), fc=nn.Linear(1280, 512)
    )
    torch.save(model.state_dict(), path)
    return outputs(model.backbone, images)


def multitask(path: Path, images: np.ndarray) -> np.ndarray:
    """Two classifiers of the same features."""
    backbone = built("tf_efficientnet_b0", num_classes=0)
    model = Around(backbone, age=nn.Linear(1280, 5), sex=nn.Linear(1280, 2))
    torch.save(model.state_dict(), path)
    return outputs(backbone, images)


def classifier_beside(path: Path, images: np.ndarray) -> np.ndarray:
    """`self.backbone = timm...(num_classes=0)`, and `self.fc = nn.Linear(1280, 4)` beside it."""
    backbone = built("efficientnet_b0", num_classes=0)
    fc = nn.Linear(1280, 4)
    torch.save({"state_dict": Around(backbone, fc=fc).state_dict(), "epoch": 2}, path)
    return outputs(nn.Sequential(backbone, fc), images)


def siamese(path: Path, images: np.ndarray) -> np.ndarray:
    """Two networks, whose features are joined."""
    model = Around(
        built("efficientnet_b0", num_classes=0),
        other=built("efficientnet_b0", num_classes=0, seed=5),
        fc=nn.Linear(2560, 2),
    )
    torch.save(model.state_dict(), path)
    return outputs(model.other, images)


def face_forensics(path: Path, images: np.ndarray) -> np.ndarray:
    """Xception of old Cadene files: pointwise kernels of two axes, `last_linear` behind dropout."""
    model = built("legacy_xception", num_classes=2)
    state = {}
    for key, value in model.state_dict().items():
        name = key.replace("fc.", "last_linear.1.")
        state[f"model.{name}"] = value[:, :, 0, 0] if "pointwise" in key else value
    torch.save(state, path)
    return outputs(model, images)


def efficientdet(path: Path, images: np.ndarray) -> np.ndarray:
    """effdet's EfficientDet: timm's network without its last convolution below `backbone`."""
    maps = built("tf_efficientnet_b0", features_only=True)
    names = ("fpn.resample.3.conv.conv", "fpn.cell.0.fnode.0.after_combine.conv.conv_pw")
    others = {f"{name}.weight": torch.randn(64, 320, 1, 1) for name in names}
    others["class_net.predict.conv_pw.weight"] = torch.randn(810, 64, 1, 1)
    others["box_net.predict.conv_pw.weight"] = torch.randn(36, 64, 1, 1)
    state = {f"backbone.{key}": value for key, value in maps.state_dict().items()}
    torch.save({**state, **others}, path)
    return outputs(lambda x: maps(x)[-1].mean((2, 3)), images)


def one_dimension(path: Path, images: np.ndarray) -> np.ndarray:
    """The network for signals, each kernel of which has lost an axis."""
    state = built("efficientnet_b0", num_classes=11).state_dict()
    torch.save({k: v[..., 0] if v.ndim == 4 else v for k, v in state.items()}, path)
    return images


def numpy_archive(path: Path, images: np.ndarray) -> np.ndarray:
    """`np.savez(path, **state_dict)`"""
    model = built("tf_efficientnet_b0", num_classes=5)
    np.savez(path, **{key: value.numpy() for key, value in model.state_dict().items()})
    return outputs(model, images)


def whole(name: str):
    """A model as timm saves it, with nothing changed."""

    def make(path: Path, images: np.ndarray) -> np.ndarray:
        model = awake(timm.create_model(name))
        torch.save(model.state_dict(), path)
        return outputs(model, images)

    return make


def another(name: str):
    """A network of another family, as timm saves it."""

    def make(path: Path, images: np.ndarray) -> np.ndarray:
        torch.save(timm.create_model(name).state_dict(), path)
        return images

    return make
