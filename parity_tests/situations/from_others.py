"""What people make of efficientnet_pytorch, transformers and segmentation_models_pytorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from parity_tests.peers import operators
from parity_tests.situations.making import awake, outputs

operators.declare()

import segmentation_models_pytorch as smp  # noqa: E402
from efficientnet_pytorch import EfficientNet  # noqa: E402
from transformers import (  # noqa: E402
    EfficientNetConfig,
    EfficientNetForImageClassification,
    EfficientNetModel,
)

# ------------------------------------------------------------------ efficientnet_pytorch


def lukemelas(classes: int = 1000) -> nn.Module:
    """The library's B0, awake."""
    return awake(EfficientNet.from_name("efficientnet-b0", num_classes=classes))


def dropout_in_front(path: Path, images: np.ndarray) -> np.ndarray:
    """`model._fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(1280, 4))`, with DataParallel."""
    model = EfficientNet.from_name("efficientnet-b0")
    model._fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(1280, 4))
    awake(model)
    torch.save({"net": nn.DataParallel(model).state_dict(), "acc": 0.9, "epoch": 12}, path)
    return outputs(model, images)


def numbered_by_stage(path: Path, images: np.ndarray) -> np.ndarray:
    """MONAI's EfficientNetBN: the same names, but for the stage in front of a block's number."""
    model = lukemelas(4)
    stages, widths = [], [block._block_args.output_filters for block in model._blocks]
    for number, width in enumerate(widths):
        new = number == 0 or width != widths[number - 1]
        stages.append((stages[-1] + 1 if new else stages[-1]) if stages else 0)
    state = {}
    for key, value in model.state_dict().items():
        first, number, *rest = key.split(".")
        if first == "_blocks":
            key = ".".join([first, str(stages[int(number)]), number, *rest])
        state[f"net.{key}"] = value
    torch.save({"state_dict": state, "epoch": 4}, path)
    return outputs(model, images)


def zylo117(path: Path, images: np.ndarray) -> np.ndarray:
    """zylo117's EfficientDet: a convolution has a `conv` inside, and there is no last one."""
    model = lukemelas()
    modules = dict(model.named_modules())
    state = {}
    for key, value in model.state_dict().items():
        name, _, last = key.rpartition(".")
        if name in ("_conv_head", "_bn1", "_fc"):
            continue
        inside = ".conv" if isinstance(modules[name], nn.Conv2d) else ""
        state[f"backbone_net.model.{name}{inside}.{last}"] = value
    state["bifpn.0.p6_w1"] = torch.ones(2)
    state["bifpn.0.conv6_up.depthwise_conv.conv.weight"] = torch.randn(64, 1, 3, 3)
    state["regressor.header.pointwise_conv.conv.weight"] = torch.randn(36, 64, 1, 1)
    torch.save(state, path)
    return outputs(lambda x: _last_map(model, x).mean((2, 3)), images)


def _last_map(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = model._swish(model._bn0(model._conv_stem(x)))
    for block in model._blocks:
        x = block(x)
    return x


# ------------------------------------------------------------------ transformers


def huggingface(classes: int = 5) -> nn.Module:
    """The library's B0, awake."""
    config = EfficientNetConfig(
        num_labels=classes,
        image_size=224,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        dropout_rate=0.2,
    )
    return awake(EfficientNetForImageClassification(config))


def trainer(path: Path, images: np.ndarray) -> np.ndarray:
    """A folder that a Trainer leaves: the model, its configuration, optimizer and state."""
    model = huggingface()
    model.save_pretrained(path)
    torch.save({"state": {}, "param_groups": []}, path / "optimizer.pt")
    torch.save({"last_epoch": 500}, path / "scheduler.pt")
    (path / "trainer_state.json").write_text(json.dumps({"epoch": 1.0, "global_step": 500}))
    return outputs(model, images)


def shards(path: Path, images: np.ndarray) -> np.ndarray:
    """`save_pretrained(folder, max_shard_size="5MB")`"""
    model = huggingface()
    model.save_pretrained(path, max_shard_size="5MB")
    assert len(list(path.glob("*.safetensors"))) > 2
    return outputs(model, images)


def older_shards(path: Path, images: np.ndarray) -> np.ndarray:
    """Shards of an older version, `pytorch_model-*.bin`; the index is what is given."""
    model = huggingface()
    folder = path.parent
    model.config.save_pretrained(folder)
    state = model.state_dict()
    names = {
        key: f"pytorch_model-0000{1 if number < len(state) // 2 else 2}-of-00002.bin"
        for number, key in enumerate(state)
    }
    for name in set(names.values()):
        torch.save({key: state[key] for key in state if names[key] == name}, folder / name)
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return outputs(model, images)


def without_head(path: Path, images: np.ndarray) -> np.ndarray:
    """`EfficientNetModel`, whose names lack a prefix."""
    model = huggingface()
    bare = EfficientNetModel(model.config).eval()
    bare.load_state_dict(model.efficientnet.state_dict())
    bare.save_pretrained(path)
    return outputs(lambda x: bare(x).pooler_output, images)


def accelerate(path: Path, images: np.ndarray) -> np.ndarray:
    """A folder as accelerate's `save_state` has it."""
    model = lukemelas(5)
    path.mkdir()
    save_file(model.state_dict(), path / "model.safetensors")
    torch.save({"state": {}, "param_groups": []}, path / "optimizer.bin")
    torch.save({"last_epoch": 3}, path / "scheduler.bin")
    torch.save(
        {"step": 3, "torch_manual_seed": torch.get_rng_state()}, path / "random_states_0.pkl"
    )
    return outputs(model, images)


# ------------------------------------------------------------------ segmentation_models_pytorch


def segmentation(encoder: str):
    """A Unet: the encoder is ours to read, the decoder is not."""

    def make(path: Path, images: np.ndarray) -> np.ndarray:
        model = awake(smp.Unet(encoder, encoder_weights=None, classes=2))
        torch.save(model.state_dict(), path)
        if encoder.startswith("tu-"):
            return outputs(lambda x: model.encoder(x)[-1].mean((2, 3)), images)
        return outputs(lambda x: _top(model.encoder, x).mean((2, 3)), images)

    return make


def _top(encoder: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The last convolution, which an encoder keeps from efficientnet_pytorch and does not use."""
    x = encoder(x)[-1]
    return encoder._swish(encoder._bn1(encoder._conv_head(x)))
