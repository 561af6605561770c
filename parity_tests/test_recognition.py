"""What a file is: which network, in whose layout, of which dialect, made for which images."""

import json

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.support import weights_of

B0 = resolve("b0")
HEADLESS = resolve("b0", num_classes=None)


def arrays(layout, network=B0, kind="torch", prefix=""):
    """The calibrated weights of a network under a layout's keys."""
    keys = layout_of(layout).forms_of(kind)[0].keys(network)
    weights = weights_of(network)
    return {prefix + k.path: weights[n].transpose(k.axes) for n, k in keys.items()}


def saved(path, content):
    """A torch file."""
    torch.save({key: torch.tensor(np.ascontiguousarray(a)) for key, a in content.items()}, path)
    return path


def ported(tmp_path, layout, name, network=B0, **options):
    source = tmp_path / "canonical.safetensors"
    save(source, network, weights_of(network))
    port(source, tmp_path / name, layout, run=False, **options)
    return tmp_path / name


# ------------------------------------------------------------------ where the network is


@pytest.mark.parametrize("prefix", ["backbone.", "net.module.", "a.b.c."])
def test_a_network_behind_an_attribute_beside_other_layers(prefix, tmp_path):
    content = arrays("timm", HEADLESS, prefix=prefix)
    content |= {"fc.weight": np.zeros((5, 128), np.float32), "loss.scale": np.ones(1, np.float32)}
    found = inspect(saved(tmp_path / "mine.pth", content))
    assert found.wrappers == (prefix.rstrip("."),)
    assert found.num_classes is None
    assert found.fingerprint == fingerprint(weights_of(HEADLESS))
    assert found.head == {"fc.weight": (5, 128)}
    assert found.keys["fc.weight"] == "not of the network"
    assert found.keys["loss.scale"] == "state of a loss or a metric"
    assert found.keys[f"{prefix}conv_stem.weight"] == "stem.conv.weight"


def test_an_extra_key_in_a_block_still_vetoes(tmp_path):
    content = arrays("timm", prefix="net.") | {"net.blocks.0.0.extra": np.zeros(3, np.float32)}
    with pytest.raises(RosettaError, match=r"closest is timm-tf b0 .* below net: 1 keys left over"):
        inspect(saved(tmp_path / "mine.pth", content))


def two_networks(first, second, scale=2):
    other = {key: array * np.float32(scale) for key, array in arrays("timm", prefix=second).items()}
    return arrays("timm", prefix=first) | other


def test_the_moving_average_comes_first_wherever_it_is(tmp_path):
    path = saved(tmp_path / "two.ckpt", two_networks("ema_model.module.", "model."))
    assert inspect(path).fingerprint == fingerprint(weights_of(B0))
    assert inspect(path).wrappers == ("ema_model.module",)
    assert inspect(path, raw=True).wrappers == ("model",)


def test_two_networks_in_one_file_are_not_guessed_between(tmp_path):
    path = saved(tmp_path / "two.ckpt", two_networks("student.", "teacher."))
    with pytest.raises(RosettaError, match=r"holds 2 networks, below student, teacher; name"):
        inspect(path)
    path = saved(tmp_path / "one.ckpt", two_networks("model.", "alias.", scale=1))
    assert inspect(path).fingerprint == fingerprint(weights_of(B0))


@pytest.mark.parametrize(
    ("layout", "prefix"), [("torchvision", "features."), ("transformers", "efficientnet.")]
)
def test_the_part_that_a_library_saves_without_its_head(layout, prefix, tmp_path):
    content = arrays(layout, resolve("b0"))
    inner = {
        key.removeprefix(prefix): array
        for key, array in content.items()
        if not key.startswith("classifier")
    }
    found = inspect(saved(tmp_path / "part.pth", inner))
    assert found.layouts == (layout,)
    assert found.fingerprint == fingerprint(weights_of(HEADLESS))


def test_a_header_without_its_head_says_so(tmp_path):
    content = {k: a for k, a in arrays("timm", HEADLESS).items() if not k.startswith("conv_head")}
    with pytest.raises(RosettaError, match="closest is timm-tf b0 without classifier: 1 keys miss"):
        inspect(saved(tmp_path / "part.pth", content))


# ------------------------------------------------------------------ Keras 3: names and counters


def with_counters_exchanged(path, a, b):
    """As if the layers had been made in another order: the names say which is which."""
    with h5py.File(path, "r+") as file:
        file.move(f"layers/{a}", "layers/aside")
        file.move(f"layers/{b}", f"layers/{a}")
        file.move("layers/aside", f"layers/{b}")


def test_layer_names_are_preferred_to_counters(tmp_path):
    path = ported(tmp_path, "keras-applications", "b0.weights.h5")
    with_counters_exchanged(path, "batch_normalization_1", "batch_normalization")
    found = inspect(path)
    assert found.fingerprint == fingerprint(weights_of(B0))
    assert found.keys["layers/batch_normalization_1/vars/0"] == "stem.bn.scale"


def test_counters_serve_where_there_are_no_names(tmp_path):
    path = ported(tmp_path, "keras-applications", "b0.weights.h5")
    with h5py.File(path, "r+") as file:
        for group in file["layers"].values():
            del group["vars"].attrs["name"]
    found = inspect(path)
    assert found.fingerprint == fingerprint(weights_of(B0))
    assert found.keys["layers/batch_normalization/vars/0"] == "stem.bn.scale"


# ------------------------------------------------------------------ dialect


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("tf_efficientnet_b0_ns-c0e6a31c.pth", "tensorflow"),
        ("efficientnet_b0_ra-3dd342df.pth", "pytorch"),
        ("efficientnet_b0.ra_in1k.pth", "pytorch"),
        ("efficientnet_b0.pth", None),
        ("my_efficientnet_b0_ra.pth", None),
        ("model_best.pth", None),
    ],
)
def test_an_unmistakable_file_name_says_the_dialect(name, dialect, tmp_path):
    found = inspect(saved(tmp_path / name, arrays("timm")))
    assert found.dialect == dialect
    assert found.dialect_from == ("the file's name" if dialect else None)


@pytest.mark.parametrize(
    ("architecture", "dialect"),
    [("tf_efficientnet_b0", "tensorflow"), ("efficientnet_b0", "pytorch"), ("resnet50", None)],
)
def test_a_configuration_beside_the_file_says_the_dialect(architecture, dialect, tmp_path):
    config = {"architecture": architecture}
    config["pretrained_cfg"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    path = saved(tmp_path / "pytorch_model.bin", arrays("timm"))
    found = inspect(path)
    assert found.dialect == dialect
    assert found.expects == ("RGB / 255, mean 0.5 0.5 0.5, standard deviation 0.25 0.25 0.25",)
    if dialect:
        assert found.dialect_from == "config.json"
        done = port(path, tmp_path / "out.safetensors", "canonical", run=False)
        assert done.dialect == dialect
    assert inspect(path, dialect="pytorch").dialect_from == "the dialect that was given"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"architecture": 3}', "[" * 100_000])
def test_a_configuration_of_something_else_is_nothing(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    assert inspect(saved(tmp_path / "model.bin", arrays("timm"))).dialect is None


# ------------------------------------------------------------------ what the weights are fed


def keras_file(tmp_path, mean, variance):
    """A legacy file with the given constants in its graph."""
    path = ported(tmp_path, "keras-applications", "b0.h5", force=True)
    with h5py.File(path, "r+") as file:
        group = file["normalization/normalization"]
        group["mean:0"][...], group["variance:0"][...] = mean, variance
    return path


@pytest.mark.parametrize(
    ("mean", "variance", "std"),
    [
        (IMAGENET_MEAN, IMAGENET_STD**2, IMAGENET_STD),
        (IMAGENET_MEAN, IMAGENET_STD, IMAGENET_STD),  # the published files
        ([0, 0, 0], [1, 1, 1], [1, 1, 1]),  # weights=None
        ([0.5, 0.4, 0.3], [0.25, 0.16, 0.09], [0.5, 0.4, 0.3]),
    ],
)
def test_the_constants_of_a_keras_file_say_what_it_is_fed(mean, variance, std, tmp_path):
    path = keras_file(tmp_path, mean, variance)
    shown = " ".join(f"{value:.4g}" for value in std)
    assert inspect(path).expects[0].endswith(f"standard deviation {shown}")
    # Through a layout that keeps no constants, and back: they are among the metadata.
    port(path, tmp_path / "out.pth", "timm-tf", run=False)
    port(
        tmp_path / "out.pth",
        tmp_path / "back.weights.h5",
        "keras-applications",
        run=False,
        dialect="tensorflow",
    )
    with h5py.File(tmp_path / "back.weights.h5") as file:
        variables = file["layers/normalization/vars"]
        np.testing.assert_allclose(variables["0"][()], mean, rtol=1e-6)
        np.testing.assert_allclose(variables["1"][()], np.square(std), rtol=1e-6)


# ------------------------------------------------------------------ our own files


def test_a_scaling_of_ones_own(tmp_path):
    network = resolve(width=0.5, depth=0.5, dialect="pytorch")
    path = tmp_path / "small.safetensors"
    save(path, network, weights_of(network))
    found = inspect(path)
    assert (found.preset, found.scaling) == ("custom", {"width": 0.5, "depth": 0.5})
    port(path, tmp_path / "half.safetensors", "canonical", dtype="float16", run=False)
    assert inspect(tmp_path / "half.safetensors").dtypes == ("float16",)
    with pytest.raises(RosettaError, match="timm has presets only, and this is custom"):
        port(path, tmp_path / "out.pth", "timm", run=False)


def test_canonical_keys_without_metadata_are_named(tmp_path):
    path = tmp_path / "canonical.safetensors"
    save(path, B0, weights_of(B0))
    save_file(load_file(path), path)
    with pytest.raises(RosettaError, match="has the keys of canonical weights, but no"):
        inspect(path)


def test_a_canonical_file_is_not_told_another_dialect(tmp_path):
    path = tmp_path / "canonical.safetensors"
    save(path, B0, weights_of(B0))
    with pytest.raises(RosettaError, match="says that its dialect is tensorflow; give no other"):
        inspect(path, dialect="pytorch")
