"""Inspecting and porting files: what is found, what is refused, what is left behind."""

import argparse
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends.judgement import NOT_RUN
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, tensor_bundle, writers
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUT_NAMES, LAYOUTS, layout_of
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.checkpoints.verify import verify
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import fingerprint, load, save
from parity_tests.support import weights_of

SUFFIX = {
    "safetensors": ".safetensors",
    "torch": ".pth",
    "h5": ".h5",
    "weights.h5": ".weights.h5",
    "npz": ".npz",
    "keras": ".keras",
    "tf-checkpoint": "",
}
WRITABLE = [  # whole networks
    (layout.name, kind)
    for layout in LAYOUTS
    if layout.holds("b0") and not layout.headless
    for kind in layout.forms
]
TENSORFLOW = resolve("b0")
PYTORCH = resolve("b0", dialect="pytorch")


# Running what was written has tests of its own.
carry = partial(port, run=False)


def canonical_file(tmp_path, network=TENSORFLOW):
    path = tmp_path / "canonical.safetensors"
    save(path, network, weights_of(network))
    return path


def ported(tmp_path, layout, kind, network=TENSORFLOW, name="ported", **options):
    path = tmp_path / f"{name}{SUFFIX[kind]}"
    carry(canonical_file(tmp_path, network), path, layout, force=True, **options)
    return path


@pytest.mark.parametrize(("layout", "kind"), WRITABLE)
def test_a_file_of_every_layout_is_recognised_and_comes_back(layout, kind, tmp_path):
    path = ported(tmp_path, layout, kind)
    found = inspect(path)
    assert layout in found.layouts
    assert (found.format, found.preset, found.num_classes) == (kind, "b0", 1000)
    assert found.fingerprint == fingerprint(weights_of(TENSORFLOW))
    back = tmp_path / "back.safetensors"
    carry(path, back, "canonical", dialect="tensorflow")
    network, weights = load(back)
    assert network == TENSORFLOW
    assert all((weights[n] == weights_of(TENSORFLOW)[n]).all() for n in weights)


@pytest.mark.parametrize(("layout", "kind"), WRITABLE)
@pytest.mark.parametrize("options", [{"num_classes": 5}, {"num_classes": None}, {"in_channels": 1}])
def test_other_heads_and_channels(layout, kind, options, tmp_path):
    network = resolve("b0", **options)
    found = inspect(ported(tmp_path, layout, kind, network))
    assert (found.num_classes, found.in_channels) == (network.num_classes, network.in_channels)
    assert found.fingerprint == fingerprint(weights_of(network))


def test_metadata_of_another_network_is_noticed(tmp_path):
    path = canonical_file(tmp_path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    headless = json.loads(metadata["network"]) | {"num_classes": None}
    save_file(load_file(path), path, {**metadata, "network": json.dumps(headless)})
    with pytest.raises(RosettaError, match=r"canonical.safetensors: .* 2 unexpected: classifier"):
        inspect(path)


def test_the_head_can_be_left_behind(tmp_path):
    path = ported(tmp_path, "timm-tf", "torch", drop_head=True)
    assert inspect(path).num_classes is None


def test_b1_is_not_taken_for_b0_although_it_holds_all_its_keys(tmp_path):
    b1 = resolve("b1")
    assert inspect(ported(tmp_path, "torchvision", "torch", b1)).preset == "b1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("bn1.weight"), "1 keys missing: bn1.weight"),
        (
            lambda a: a.update({"conv_stem.bias": np.zeros(32, np.float32)}),
            "1 keys left over: conv_stem.bias",
        ),
        (
            lambda a: a.update({"blocks.0.0.gate.weight": np.zeros(32, np.float32)}),
            "1 keys left over: blocks.0.0.gate.weight",
        ),
        (
            lambda a: a.update({"bn1.weight": np.zeros(7, np.float32)}),
            "1 keys of another shape: bn1.weight is (7,) and not (32,)",
        ),
    ],
)
def test_what_does_not_fit_is_listed(change, message, tmp_path):
    path = ported(tmp_path, "timm", "safetensors", PYTORCH)
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    with pytest.raises(RosettaError) as caught:
        inspect(path)
    assert message in str(caught.value)
    assert "closest is timm" in str(caught.value)


# ------------------------------------------------------------------ dialects


def test_timm_files_do_not_say_their_dialect_and_the_command_asks(tmp_path):
    path = ported(tmp_path, "timm", "torch", PYTORCH)
    assert (inspect(path).dialect, inspect(path).layouts) == (None, ("timm-tf", "timm"))
    with pytest.raises(RosettaError, match="choose tensorflow or pytorch"):
        carry(path, tmp_path / "out.safetensors", "canonical")
    carry(path, tmp_path / "out.safetensors", "canonical", dialect="pytorch")
    assert load(tmp_path / "out.safetensors")[0].dialect == PYTORCH.dialect


def test_weights_that_the_target_would_run_differently_are_refused(tmp_path):
    source, out = canonical_file(tmp_path, PYTORCH), tmp_path / "out.safetensors"
    with pytest.raises(RosettaError, match="epsilon 1e-05, but transformers runs"):
        carry(source, out, "transformers")
    assert not out.exists()
    assert not carry(source, out, "transformers", force=True).faithful
    assert "pytorch" in inspect(out).mark


def test_torchvision_changes_dialect_at_b5(tmp_path):
    layout = layout_of("torchvision")
    epsilons = [layout.dialects[preset][0].epsilon for preset in layout.presets]
    assert epsilons == [1e-5] * 5 + [1e-3] * 3
    assert {layout.dialects[preset][0].padding for preset in layout.presets} == {"symmetric"}


def test_a_size_that_a_library_does_not_have_is_refused(tmp_path):
    with pytest.raises(RosettaError, match="keras-hub has no b6"):
        ported(tmp_path, "keras-hub", "weights.h5", resolve("b6", dialect="pytorch"))


# ------------------------------------------------------------------ wrappers


def state_dict(prefix="", scale=1.0):
    """A state dict in timm's layout."""
    keys = layout_of("timm").forms["torch"].keys(TENSORFLOW)
    weights = weights_of(TENSORFLOW)
    return {prefix + k.path: torch.tensor(weights[n] * np.float32(scale)) for n, k in keys.items()}


WRAPPED = {
    "plain": (lambda: state_dict(), ()),
    "DataParallel": (lambda: state_dict("module."), ("module",)),
    "compiled": (lambda: state_dict("_orig_mod.module."), ("_orig_mod.module",)),
    "AveragedModel": (
        lambda: {**state_dict("module."), "n_averaged": torch.tensor(3)},
        ("AveragedModel", "module"),
    ),
    "tutorial": (
        lambda: {"epoch": 3, "model_state_dict": state_dict(), "optimizer_state_dict": {}},
        ("model_state_dict",),
    ),
    "Lightning": (
        lambda: {"epoch": 3, "state_dict": state_dict("net."), "callbacks": {}},
        ("state_dict", "net"),
    ),
    "timm": (
        lambda: {
            "args": argparse.Namespace(lr=0.1),
            "state_dict": state_dict(scale=2.0),
            "state_dict_ema": state_dict(),
        },
        ("state_dict_ema",),
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_are_found_through(name, tmp_path):
    build, expected = WRAPPED[name]
    torch.save(build(), tmp_path / "wrapped.pth")
    found = inspect(tmp_path / "wrapped.pth")
    assert found.wrappers == expected
    assert found.fingerprint == fingerprint(weights_of(TENSORFLOW))
    if name == "timm":  # what is left out is said, to the last key
        raw = {found.keys[key] for key in found.keys if key.startswith("state_dict.")}
        assert raw == {"the raw weights, of which the moving average was taken"}


def test_the_raw_weights_are_there_for_who_wants_them(tmp_path):
    torch.save(WRAPPED["timm"][0](), tmp_path / "wrapped.pth")
    raw = inspect(tmp_path / "wrapped.pth", raw=True)
    assert raw.wrappers == ("state_dict",)
    assert raw.fingerprint != inspect(tmp_path / "wrapped.pth").fingerprint


def test_the_legacy_torch_format_is_read(tmp_path):
    torch.save(state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert inspect(tmp_path / "old.pth").fingerprint == fingerprint(weights_of(TENSORFLOW))


@pytest.mark.parametrize("classes", [5, 37, 11821, 21843])
def test_other_numbers_of_classes(classes, tmp_path):
    network = resolve("b0", num_classes=classes)
    path = ported(tmp_path, "torchvision", "torch", resolve("b0", num_classes=classes))
    assert inspect(path).num_classes == classes
    assert inspect(path).fingerprint == fingerprint(weights_of(network))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_in_safetensors(dtype, tmp_path):
    content = {key: value.to(dtype).contiguous() for key, value in state_dict().items()}
    safetensors.torch.save_file(content, tmp_path / "narrow.safetensors")
    name = str(dtype).removeprefix("torch.")
    assert inspect(tmp_path / "narrow.safetensors").dtypes == (name,)
    arguments = (tmp_path / "narrow.safetensors", tmp_path / "wide.safetensors", "canonical")
    with pytest.raises(RosettaError, match=f"is in {name}; choose dtype float32"):
        carry(*arguments, dialect="tensorflow")
    carry(*arguments, dialect="tensorflow", dtype="float32")
    weights = load(tmp_path / "wide.safetensors")[1]
    assert (weights["stem.conv.weight"] == content["conv_stem.weight"].float().numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_are_widened_on_request_only(dtype, tmp_path):
    narrow = {key: value.to(dtype) for key, value in state_dict().items()}
    torch.save(narrow, tmp_path / "narrow.pth")
    name = str(dtype).removeprefix("torch.")
    assert inspect(tmp_path / "narrow.pth").dtypes == (name,)
    arguments = (tmp_path / "narrow.pth", tmp_path / "wide.safetensors", "canonical")
    with pytest.raises(RosettaError, match=f"is in {name}; choose dtype float32"):
        carry(*arguments, dialect="tensorflow")
    carry(*arguments, dialect="tensorflow", dtype="float32")
    weights = load(tmp_path / "wide.safetensors")[1]
    expected = narrow["conv_stem.weight"].float().numpy()
    assert (weights["stem.conv.weight"] == expected).all()


def training_checkpoint(tmp_path):
    """What the official code leaves: variables, moving averages, slots of RMSProp, a step."""
    keys = layout_of("tpu").forms["tf-checkpoint"].keys(TENSORFLOW)
    variables = {k.path: weights_of(TENSORFLOW)[n].transpose(k.axes) for n, k in keys.items()}
    content = {"global_step": np.array(218_949, np.int64)}
    for name, value in variables.items():
        content[name] = value * np.float32(2)
        content[f"{name}/ExponentialMovingAverage"] = value
        if not name.endswith(("moving_mean", "moving_variance")):
            content[f"{name}/RMSProp"] = content[f"{name}/RMSProp_1"] = value
    tensors = {name: LazyTensor.of(name, array) for name, array in content.items()}
    tensor_bundle.write(tmp_path / "model.ckpt-218949", tensors)
    return tmp_path / "model.ckpt-218949"


def test_the_official_checkpoint_gives_its_moving_averages(tmp_path):
    path = training_checkpoint(tmp_path)
    found = inspect(path)
    assert (found.layouts, found.preset, found.dialect) == (("tpu",), "b0", "tensorflow")
    assert found.wrappers == ("ExponentialMovingAverage",)
    assert set(found.keys.values()) - set(TENSORFLOW.tensors) == {
        "what the moving average is of",
        "state of the training",
    }
    assert found.fingerprint == fingerprint(weights_of(TENSORFLOW))
    raw = inspect(path, raw=True)
    assert raw.wrappers == ()
    assert raw.fingerprint != found.fingerprint
    done = carry(path, tmp_path / "out.safetensors", "timm-tf", raw=True)
    assert set(done.dropped.values()) == {"state of the optimizer", "the moving average"}


def test_a_checkpoint_with_a_part_missing_is_one_line(tmp_path):
    path = training_checkpoint(tmp_path)
    (part,) = tmp_path.glob("*.data-*")
    part.unlink()
    with pytest.raises(RosettaError, match=r"ckpt-218949.data-00000-of-00001 is missing"):
        inspect(path)


def test_an_existing_checkpoint_is_not_overwritten(tmp_path):
    path = training_checkpoint(tmp_path)
    with pytest.raises(RosettaError, match="exists; choose another name"):
        carry(canonical_file(tmp_path), path, "tpu")


# ------------------------------------------------------------------ what is written


def test_an_existing_file_is_not_overwritten_unless_told(tmp_path):
    out = tmp_path / "out.pth"
    out.write_text("mine")
    with pytest.raises(RosettaError, match="exists; choose another name, or overwrite it"):
        carry(canonical_file(tmp_path), out, "timm-tf")
    assert out.read_text() == "mine"
    carry(canonical_file(tmp_path), out, "timm-tf", force=True)
    assert inspect(out).preset == "b0"


def test_an_interrupted_port_leaves_the_destination_as_it_was(tmp_path, monkeypatch):
    source, out = canonical_file(tmp_path), tmp_path / "out.npz"
    out.write_text("mine")

    def interrupted(path, content):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(writers.WRITERS, "npz", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry(source, out, "efficientnet-jax", force=True)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, out.name]


@pytest.mark.parametrize(
    ("to", "name"),
    [("keras-applications", "out.weights.h5"), ("timm-tf", "out.pth"), ("tpu", "out.ckpt")],
)
def test_no_framework_is_imported_to_carry_weights(to, name, tmp_path):
    source = canonical_file(tmp_path)
    program = f"""
import sys
import efficientnet_rosetta as rosetta
out = {str(tmp_path / name)!r}
rosetta.port({str(source)!r}, out, {to!r}, run=False)
rosetta.verify(out, {str(source)!r}, dialect="tensorflow", run=False)
assert not {{"torch", "tensorflow", "keras", "onnx"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_verify_names_what_differs(tmp_path):
    first = ported(tmp_path, "timm-tf", "safetensors", name="first")
    second = ported(tmp_path, "efficientnet-pytorch", "torch", name="second")
    assert verify(first, second).same
    arrays = load_file(first)
    arrays["bn1.bias"] = arrays["bn1.bias"] + np.float32(0.5)
    save_file(arrays, first)
    found = verify(first, second, run=False)
    assert not found.same
    (difference,) = found.differences
    assert (difference.name, difference.largest) == ("stem.bn.bias", pytest.approx(0.5))


@pytest.mark.filterwarnings("error")
def test_values_that_both_files_share_are_no_difference(tmp_path):
    """Zeros of either sign are one number, and infinity in both files is no gap."""
    first = ported(tmp_path, "timm-tf", "safetensors", name="first")
    second = tmp_path / "second.safetensors"
    arrays = load_file(first)
    arrays["bn1.bias"][:2] = 0, np.inf
    save_file(arrays, first)
    arrays["bn1.bias"][0] = -0.0
    save_file(arrays, second)
    found = verify(first, second, run=False)
    assert found.same
    assert found.verdict.ending == NOT_RUN
    arrays["bn1.bias"][2] += np.float32(0.5)
    save_file(arrays, second)
    (difference,) = verify(first, second, run=False).differences
    assert difference.largest == pytest.approx(0.5)


# ------------------------------------------------------------------ the command line


def rosetta(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_commands(tmp_path):
    source, out = canonical_file(tmp_path), tmp_path / "b0.weights.h5"
    done = rosetta("port", source, out, "--to", "keras-applications")
    assert done.exit_code == 0, done.output
    assert "311 tensors written" in done.stdout
    mark = fingerprint(weights_of(TENSORFLOW))
    assert f"verified: read back, fingerprint {mark[:16]}" in done.stdout
    done = rosetta("inspect", out, "--json")
    assert json.loads(done.stdout)["fingerprint"] == mark
    done = rosetta("inspect", out, "--keys")
    assert "layers/conv2d/vars/0  stem.conv.weight" in done.stdout
    assert rosetta("verify", source, out).stdout.startswith("the same network, fingerprint")
    assert all(name in rosetta("layouts").stdout for name in LAYOUT_NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere.pth"], "nowhere.pth: no such file"),
        (["port", "s", "out.xyz", "--to", "timm"], "out.xyz: the suffix says no format"),
        (["port", "s", "out.pth", "--to", "caffe"], "unknown layout 'caffe'; choose from"),
        (["port", "s", "out.pth", "--to", "timm", "--dtype", "int8"], "unknown dtype 'int8'"),
        (["port", "s", "out.pth", "--to", "monai"], "monai is read only"),
        (["port", "s", "out.npz", "--to", "timm"], "timm is not written as npz; choose from"),
    ],
)
def test_bad_usage_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = rosetta(*arguments)
    assert isinstance(done.exception, RosettaError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert list(tmp_path.iterdir()) == []
