"""Networks that end early, backbones of detectors, and networks that are none of ours."""

import re

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.recognition import readings
from efficientnet_rosetta.common.errors import FileError, UnknownLayoutError
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.files import B0, HEADLESS, arrays, ones, random_weights, saved, zeros


def without_head(content):
    """timm's features_only: no head convolution."""
    return {
        k: a
        for k, a in content.items()
        if not re.search(r"(^|\.)(conv_head|bn2|_conv_head|_bn1)\.", k) or "blocks" in k
    }


EARLY = "ends after stage 7, without head convolution and classifier"


@pytest.mark.parametrize(
    ("layout", "prefix"),
    [("timm", ""), ("timm", "encoder.model."), ("efficientnet-pytorch", "backbone_net.model.")],
)
@pytest.mark.parametrize("preset", ["b0", "b2"])
def test_a_network_that_ends_early_is_named_with_its_size(layout, prefix, preset, tmp_path):
    network = rosetta.resolve(preset, num_classes=None)
    content = without_head(arrays(layout, network, prefix))
    content |= {"fpn.resample.conv.weight": zeros(64, 40, 1, 1), "class_net.predict.bias": ones(9)}
    path = saved(tmp_path / "mine.pth", content)
    found = rosetta.inspect(path, dialect="tensorflow")
    assert (found.preset, found.ending) == (preset, EARLY)
    assert len(found.head) == 2
    options = {"dialect": "tensorflow", "drop_head": True, "run": False}
    with pytest.raises(
        FileError, match=rf"holds {preset}, which {EARLY}; .* choose from torchvision, timm-tf"
    ):
        rosetta.port(path, tmp_path / "out.h5", "keras-applications", **options)
    for to, name in (("timm-tf", "a.pth"), ("efficientnet-pytorch", "b.safetensors")):
        done = rosetta.port(path, tmp_path / name, to, **options)
        assert (done.mapped, rosetta.inspect(tmp_path / name).ending) == (
            len(network.tensors) - 5,
            EARLY,
        )
        assert rosetta.verify(path, tmp_path / name, dialect="tensorflow", run=False).same
    with pytest.raises(FileError, match="there is nothing to run"):
        rosetta.load(path, dialect="tensorflow", drop_head=True)


def test_the_backbone_of_zylo117s_detector(tmp_path):
    content = {}
    for key, array in without_head(arrays("efficientnet-pytorch", HEADLESS)).items():
        layer, _, tensor = key.rpartition(".")
        inner = ".conv" if "_conv" in layer or "_se_" in layer else ""
        content[f"backbone_net.model.{layer}{inner}.{tensor}"] = array
    content["bifpn.0.p6_w1"] = ones(2)
    found = rosetta.inspect(saved(tmp_path / "d0.pth", content))
    assert (found.layouts, found.dialect, found.ending) == (
        ("efficientnet-pytorch",),
        "tensorflow",
        EARLY,
    )
    assert found.head == {"bifpn.0.p6_w1": (2,)}


def test_monais_nested_blocks(tmp_path):
    found = rosetta.inspect(saved(tmp_path / "m.pt", {"state_dict": arrays("monai", B0, "net.")}))
    assert (found.layouts, found.dialect) == (("monai",), "tensorflow")
    assert found.fingerprint == fingerprint(random_weights(B0))


# ------------------------------------------------------------------ other families

KEYS = {
    "ResNet": [
        "conv1.weight",
        "bn1.weight",
        "layer1.0.conv1.weight",
        "layer4.2.conv3.weight",
        "fc.weight",
    ],
    "MobileNetV2": ["features.0.0.weight", "features.1.conv.0.0.weight", "features.18.0.weight"],
    "MobileNetV3": [
        "conv_stem.weight",
        "blocks.1.0.se.conv_reduce.weight",
        "blocks.6.0.conv.weight",
    ],
    "MixNet": ["conv_stem.weight", "blocks.1.0.conv_dw.1.weight", "blocks.3.0.conv_pw.0.weight"],
    "an EfficientNetV2 of another size": [
        "conv_stem.weight",
        "blocks.0.0.conv.weight",
        "blocks.3.0.se.conv_reduce.weight",
    ],
    "an EfficientNet-EdgeTPU": [
        "conv_stem.weight",
        "blocks.0.0.conv_exp.weight",
        "blocks.5.0.conv_dw.weight",
    ],
    "MobileNetV2 or another": [
        "conv_stem.weight",
        "blocks.0.0.conv_dw.weight",
        "blocks.1.0.conv_pwl.weight",
    ],
    "KerasHub's EfficientNet-EdgeTPU": [
        "layers/efficient_net_backbone/layers/fused_mb_conv_block_1/conv1/vars/0",
        "layers/efficient_net_backbone/layers/mb_conv_block/depthwise/vars/0",
    ],
    "a vision transformer": ["cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"],
    "DINO": [
        "mask_token",
        "register_tokens",
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
    ],
    "a Swin transformer": ["layers.0.blocks.0.attn.relative_position_bias_table"],
    "a transformer": ["encoder.layer.0.attention.self.query.weight"],
    "ConvNeXt": ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "stages.0.blocks.0.gamma"],
    "DenseNet": ["features.conv0.weight", "features.denseblock1.denselayer1.conv1.weight"],
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_network_of_another_family_is_called_by_its_name(name, prefix, tmp_path):
    content = {prefix + key: zeros(8, 4, 3, 3) for key in KEYS[name]}
    with pytest.raises(UnknownLayoutError, match=f"looks like {name}") as caught:
        rosetta.inspect(saved(tmp_path / "other.pth", content))
    assert "closest" not in str(caught.value)


def test_what_nobody_knows_is_not_called_anything(tmp_path):
    with pytest.raises(UnknownLayoutError, match=r"no layout has keys like a\.weight") as caught:
        rosetta.inspect(saved(tmp_path / "other.pth", {"a.weight": zeros(2)}))
    assert caught.value.closest is None


@pytest.mark.parametrize(("axes", "word"), [(3, "one dimension"), (5, "three dimensions")])
def test_signals_and_volumes_are_named(axes, word, tmp_path):
    content = {
        key: (a[..., 0] if axes == 3 else a[..., None]) if a.ndim == 4 else a
        for key, a in arrays(network=B0).items()
    }
    with pytest.raises(UnknownLayoutError, match=f"its convolutions are of {word}"):
        rosetta.inspect(saved(tmp_path / "other.pth", content))


def test_a_damaged_file_of_ours_is_not_another_family(tmp_path):
    content = arrays("keras-applications", B0, kind="h5")
    content |= {"normalization/normalization/mean:0": zeros(3)}
    del content["block1a_bn/block1a_bn/gamma:0"]
    with h5py.File(tmp_path / "b0.h5", "w") as file:
        for key, array in content.items():
            file[key] = array
    with pytest.raises(UnknownLayoutError, match="closest is keras-applications b0"):
        rosetta.inspect(tmp_path / "b0.h5")


def test_kerass_efficientnetv2_is_told_by_its_fused_kernels(tmp_path):
    content = arrays("keras-applications", B0, kind="h5")
    content = {k: a for k, a in content.items() if "dwconv" not in k or "block4" in k}
    content["block2a_expand_conv/block2a_expand_conv/kernel:0"] = zeros(3, 3, 16, 96)
    with h5py.File(tmp_path / "v2.h5", "w") as file:
        for key, array in list(content.items())[::2]:
            file[key] = array
        file.require_dataset(
            "block2a_expand_conv/block2a_expand_conv/kernel:0", (3, 3, 16, 96), "f4"
        )
    with pytest.raises(UnknownLayoutError, match="looks like an EfficientNetV2 of another size"):
        rosetta.inspect(tmp_path / "v2.h5")


# ------------------------------------------------------------------ the work that a file asks for


def test_thousands_of_prefixes_are_not_each_looked_into(tmp_path, monkeypatch):
    """The keys of a network are made for a layout and a size, and not for a prefix."""
    from efficientnet_rosetta.common.checkpoints.layouts.schema import Form

    asked = []
    keys = Form.keys
    monkeypatch.setattr(Form, "keys", lambda self, network: asked.append(1) or keys(self, network))
    save_file(
        {f"p{n}.conv_stem.weight": np.zeros(1, "f4") for n in range(3000)},
        tmp_path / "x.safetensors",
    )
    with pytest.raises(UnknownLayoutError):
        rosetta.inspect(tmp_path / "x.safetensors")
    assert len(asked) < 2000


def test_prefixes_inside_one_another_are_not_each_looked_into(monkeypatch):
    from efficientnet_rosetta.common.checkpoints.recognition import Index, LazyTensor

    looked = []
    named = Index.named
    monkeypatch.setattr(Index, "named", lambda *a: looked.append(1) or named(*a))
    stored = LazyTensor.of("x", np.zeros(1, np.float32))
    assert readings("torch", {"a." * n + "conv_stem.weight": stored for n in range(2000)}) == []
    assert not looked
