"""Source and result of a port, run on the same picture."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends import registry
from efficientnet_rosetta.common.backends.judgement import PROVED
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.checkpoints.run_files import (
    FileRun,
    NotRun,
    compare_runs,
    run_here,
)
from efficientnet_rosetta.common.checkpoints.verify import verify
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.support import SHALLOW, small, weights_of

B0 = resolve("b0")
LITTLE = small(size=96, width=0.5, **SHALLOW)  # for what is asked of files of our own


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "canonical.safetensors"
    save(path, B0, weights_of(B0))
    return path


@pytest.fixture
def little(tmp_path):
    path = tmp_path / "little.safetensors"
    save(path, LITTLE, weights_of(LITTLE))
    return path


def rosetta(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_port_runs_both_files_in_their_own_frameworks(source, tmp_path):
    done = port(source, tmp_path / "b0.weights.h5", "keras-applications")
    assert done.outputs.frameworks == ("torch", "keras")
    assert (done.outputs.precision, done.outputs.images) == ("float64", 4)
    assert 0 < done.outputs.error < done.outputs.tolerance  # of two frameworks: some rounding
    assert done.outputs.agree
    assert done.verdict.ending == PROVED


def test_other_weights_are_seen(little, tmp_path):
    """What the check is for: a wrong value that the shapes do not show."""
    other = tmp_path / "other.safetensors"
    weights = {**weights_of(LITTLE)}
    name = "stages.5.blocks.0.depthwise_conv.weight"
    weights[name] = weights[name].transpose(0, 1, 3, 2)
    save(other, LITTLE, weights)
    found = run_here(FileRun(little, "torch", TENSORFLOW), FileRun(other, "torch", TENSORFLOW))
    assert found.error > 1e-2
    assert not found.agree


def test_another_dialect_is_measured(little):
    found = run_here(FileRun(little, "torch", TENSORFLOW), FileRun(little, "torch", PYTORCH))
    assert found.error > 0.1


def test_a_refusal_says_what_it_would_cost(source, tmp_path):
    done = rosetta("port", source, tmp_path / "out.pth", "--to", "timm")
    assert isinstance(done.exception, RosettaError)
    said = r"on test images its (features|logits) would change by up to \d"
    assert re.search(said, str(done.exception))
    assert "force it to write them anyway" in str(done.exception)
    assert not (tmp_path / "out.pth").exists()


def test_a_new_classifier(source, tmp_path):
    out = tmp_path / "out.pth"
    done = port(source, out, "timm-tf", classes=7)
    assert done.mapped == 309
    assert sorted(k for k, why in done.dropped.items() if why == "the classifier") == [
        "classifier.bias",
        "classifier.weight",
    ]
    assert done.outputs.agree
    again = tmp_path / "again.pth"
    port(source, again, "timm-tf", classes=7, run=False)
    assert verify(out, again, dialect="tensorflow").same
    with pytest.raises(RosettaError, match="cannot be dropped and replaced at once"):
        port(source, out, "timm-tf", classes=7, drop_head=True, force=True)
    with pytest.raises(RosettaError, match="num_classes is 0"):
        port(source, out, "timm-tf", classes=0, force=True)


def test_float16_is_the_same_function_and_its_cost_is_measured(little, tmp_path):
    done = rosetta(
        "port", little, tmp_path / "h.safetensors", "--to", "canonical", "--dtype", "float16"
    )
    assert done.exit_code == 0
    assert "note: rounding the weights changes the outputs by up to" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("proved: ")


def test_float16_that_overflows_is_refused(source, tmp_path):
    weights = load_file(source)
    weights["head.bn.variance"][0] = 1e6
    save(source, B0, weights)
    with pytest.raises(RosettaError, match=r"head.bn.variance does not fit into float16"):
        port(source, tmp_path / "half.safetensors", "canonical", dtype="float16")
    assert not (tmp_path / "half.safetensors").exists()


def test_verify_says_whether_the_outputs_differ(source, tmp_path):
    other = tmp_path / "other.pth"
    port(source, other, "transformers", run=False)
    assert rosetta("verify", source, other).exit_code == 0
    weights = {**weights_of(B0)}
    weights["classifier.bias"] = weights["classifier.bias"] + np.float32(1e-7)
    save(source, B0, weights)
    done = rosetta("verify", source, other)
    assert done.exit_code == 1
    assert "1 tensors differ" in done.stdout
    assert "DIFFER: largest error" in done.stdout
    assert done.stdout.splitlines()[-1] == "differs: classifier.bias of the two files"


def test_verify_compares_dialects(tmp_path):
    """The same numbers, but one file's library would pad otherwise."""
    network = resolve("b0", dialect="pytorch")
    source, tv = tmp_path / "canonical.safetensors", tmp_path / "torchvision.pth"
    save(source, network, weights_of(network))
    port(source, tv, "torchvision", run=False)
    assert verify(source, tv).same
    forced = tmp_path / "forced.safetensors"
    port(source, forced, "transformers", run=False, force=True)
    found = verify(tv, forced)
    assert found.same_weights
    assert not found.same_dialect
    assert not found.outputs.agree
    done = rosetta("verify", tv, forced)
    assert done.exit_code == 1
    assert "the same weights, but they need different dialects" in done.stdout


def test_where_nothing_can_be_run_it_says_why(little, tmp_path, monkeypatch):
    run = FileRun(little, "torch", TENSORFLOW)
    missing = compare_runs(run, FileRun(tmp_path / "nowhere.pth", "torch", TENSORFLOW))
    assert isinstance(missing, NotRun)
    assert missing.reason.endswith("nowhere.pth: no such file")
    monkeypatch.setattr(registry, "backend_names", list)
    with pytest.raises(RosettaError, match="no framework is installed"):
        run_here(run, run)


def test_a_folder_called_common_is_not_ours(little, tmp_path, monkeypatch):
    """The process that runs the files starts where the user stands."""
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    run = FileRun(little, "torch", TENSORFLOW)
    assert compare_runs(run, run).error == 0


def test_marks_stay_in_the_file(tmp_path):
    network = resolve("b0", dialect="pytorch")
    source = tmp_path / "canonical.safetensors"
    save(source, network, weights_of(network))
    for layout, name in (
        ("transformers", "x.pth"),
        ("keras-applications", "x.h5"),
        ("keras-applications", "x.weights.h5"),
        ("keras-applications", "x.keras"),
    ):
        done = rosetta("port", source, tmp_path / name, "--to", layout, "--force", "--no-verify")
        assert f"warning: {layout} uses other rules than these weights need" in done.stdout
        assert "weights of the pytorch dialect" in rosetta("inspect", tmp_path / name).stdout


def test_a_file_without_our_keys_keeps_its_own_metadata(source, tmp_path):
    save_file(load_file(source), tmp_path / "plain.safetensors", {"format": "pt"})
    with pytest.raises(RosettaError, match="no efficientnet-rosetta metadata"):
        verify(source, tmp_path / "plain.safetensors")
