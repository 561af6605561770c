"""The command line: what it prints, how it ends, what it leaves behind."""

import json
import re

import onnx
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends import comparison
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.parity import report
from efficientnet_rosetta.common.parity import run as parity
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.metadata import SCHEMA
from parity_tests.support import rosetta_process, small, weights_of, wrong_epsilon

RUNNERS = ["torch", "keras", "onnx-torch", "onnx-keras"]


def rosetta(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments))


def test_version():
    assert rosetta("--version").stdout == "rosetta 0.1.0\n"


def test_table_is_table_1_of_the_preset():
    lines = rosetta("table", "b4").stdout.splitlines()
    rows = [line.split() for line in lines if line.strip() and line.split()[0].isdigit()]
    assert rows[0] == ["1", "Conv3x3", "380x380", "48", "1", "2", "1,392", "46,785,600"]
    assert rows[3] == ["4", "MBConv6,", "k5x5", "95x95", "56", "4", "2", "197,586", "409,485,888"]
    assert len(rows) == 9
    total = next(line for line in lines if "total" in line)
    assert total.split() == ["total", "19,341,616", "4,393,771,024"]


def test_parity_agrees_and_writes_every_error(tmp_path):
    path = tmp_path / "result.json"
    done = rosetta("parity", "b0", "--size", "64", "--batch", "2", "--json", str(path))
    assert done.exit_code == 0, done.output
    assert "agrees" in done.stdout
    assert "1 of 1 agree" in done.stdout
    result = json.loads(path.read_text())
    assert (result["schema"], result["agrees"]) == (SCHEMA, True)
    assert {"torch", "keras", "tensorflow", "onnxruntime", "numpy"} <= set(result["environment"])
    assert result["environment"]["tensorflow_onednn"] in ("on", "off")
    (preset,) = result["presets"]
    assert (preset["preset"], preset["parameters"]) == ("b0", 5_288_548)
    assert [run["runner"] for run in preset["runs"]] == RUNNERS
    for run in preset["runs"]:
        names = [error["endpoint"] for error in run["endpoints"]]
        assert names == list(resolve("b0").endpoints)
        assert 0 < run["endpoints"][-1]["largest"] < 1e-4
        assert run["top5_agreement"] == 1.0


@pytest.mark.parametrize("dialect", ["tensorflow", "pytorch"])
def test_parity_in_float64(dialect, tmp_path):
    path = tmp_path / "result.json"
    options = ("--size", "64", "--dtype", "float64", "--dialect", dialect, "--json", str(path))
    done = rosetta("parity", "v2-test", *options)
    assert done.exit_code == 0, done.output
    runs = {run["runner"]: run for run in json.loads(path.read_text())["presets"][0]["runs"]}
    assert list(runs) == ["keras", "onnx-torch", "onnx-keras"]  # torch is the reference
    assert runs["keras"]["tolerance"] == {"limit": 1e-11, "inside": "largest"}
    assert max(error["largest"] for error in runs["keras"]["endpoints"]) < 1e-11


def test_parity_that_differs_says_where_and_exits_with_1(monkeypatch):
    wrong_epsilon(monkeypatch)
    done = rosetta("parity", "b0", "--size", "64")
    assert done.exit_code == 1
    assert "DIFFERS" in done.stdout
    for runner in ("keras", "onnx-keras"):
        (line,) = [text for text in done.stdout.splitlines() if text.strip().startswith(runner)]
        assert "from stages.5.blocks.1 on (" in line
        assert "largest at" in line
    assert "0 of 1 agree" in done.stdout


def test_errors_without_a_number_are_null_in_the_report():
    network = small()
    nothing = comparison.Error("logits", float("inf"), float("nan"))
    run = comparison.Comparison("torch", comparison.TOLERANCES["float32"], (nothing,), None)
    result = parity.NetworkResult(network, count(network), (run,), 1.0, {})
    found = report.content([result], parity.Settings(), {}, "rosetta parity")
    content = json.dumps(found, allow_nan=False)
    (error,) = json.loads(content)["presets"][0]["runs"][0]["endpoints"]
    assert error == {"endpoint": "logits", "largest": None, "rms": None}
    assert not json.loads(content)["agrees"]


def test_a_symbolic_link_stays_one(tmp_path):
    target, link = tmp_path / "real.onnx", tmp_path / "link.onnx"
    link.symlink_to(target)
    done = rosetta("export", "b0", str(link), "--backend", "torch", "--size", "32")
    assert done.exit_code == 0, done.output
    assert link.is_symlink()
    assert onnx.load(target).graph.output[0].name == "logits"


@pytest.fixture
def tight(monkeypatch):
    """All runs in float32 are off by more than is allowed of any network."""
    found = comparison.Tolerance(1e-9, "rms")
    monkeypatch.setitem(comparison.TOLERANCES, "float32", found)


def test_what_rounding_explains_of_a_network_is_no_difference(tight):
    done = rosetta("parity", "v2-test", "--size", "64")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert re.search(r"1e-09 is allowed, of v2-test [1-9]\.\de-0[45], which its rounding", said)


def test_a_tolerance_that_is_too_tight_fails(tight, monkeypatch):
    monkeypatch.setattr(comparison, "ROUNDING_SHARE", 0.01)
    assert rosetta("parity", "v2-test", "--size", "64").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["parity", "b9"], "unknown preset 'b9'; choose from b0, b1"),
        (["parity", "b0", "--dialect", "caffe"], "unknown dialect 'caffe'"),
        (["parity", "b0", "--dtype", "int8"], "unknown dtype 'int8'; choose from float32"),
        (["parity", "b0", "--size", "16"], "at least 32 pixels"),
        (["parity", "b0", "--image", "nowhere.png"], "nowhere.png: no such file"),
        (["parity", "b0", "--image", __file__], "cannot be read as an image"),
        (["parity", "b0", "--size", "64", "--json", "no/r.json"], "no/r.json: cannot be written"),
        (["parity", "b0", "--batch", "0"], "batch is 0; it must be at least 1"),
        (["table", "b9"], "unknown preset 'b9'"),
        (["export", "b0", ".", "--backend", "torch"], ".: is not a file"),
        (["export", "b0", "x.onnx", "--backend", "torch", "--opset", "0"], "opset is 0"),
        (["export", "b0", "x.onnx", "--backend", "caffe"], "unknown backend 'caffe'; choose from"),
        (["export", "b0", "no/x.onnx", "--backend", "torch"], "no/x.onnx: cannot be written"),
        (["export", "b0", "x.onnx", "--backend", "torch", "--opset", "9"], "opset is 9"),
        (
            ["export", "b0", "x.onnx", "--backend", "torch", "--weights", "nowhere"],
            "nowhere: no such file",
        ),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = rosetta(*arguments)
    assert isinstance(done.exception, RosettaError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["parity", "b9"], ["parity", "b0", "--batch", "0"]])
def test_bad_usage_ends_the_process_with_2_and_no_traceback(arguments):
    done = rosetta_process(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("rosetta: ")


def test_nothing_but_results_and_no_progress_bar_when_not_at_a_terminal():
    done = rosetta_process("parity", "v2-test", "--size", "32")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_export_of_given_weights(backend, tmp_path):
    network = small(size=64, num_classes=7, dialect="pytorch")
    save(tmp_path / "w.safetensors", network, weights_of(network))
    out = tmp_path / "b0.onnx"
    options = ("--backend", backend, "--weights", str(tmp_path / "w.safetensors"))
    done = rosetta("export", "b0", str(out), *options, "--size", "96", "--endpoints")
    assert done.exit_code == 0, done.output
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == list(network.endpoints)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["dialect"], metadata["classes"]) == ("pytorch", "7")
    assert "96" in metadata["network"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["b1"], "holds b0, not b1"), (["b0", "--dialect", "tensorflow"], "give no other")],
)
def test_weights_of_another_network_are_refused(arguments, message, tmp_path):
    network = small(dialect="pytorch")
    path = tmp_path / "w.safetensors"
    save(path, network, weights_of(network))
    preset, *options = arguments
    done = rosetta(
        "export",
        preset,
        str(tmp_path / "x.onnx"),
        "--backend",
        "torch",
        "--weights",
        str(path),
        *options,
    )
    assert isinstance(done.exception, RosettaError)
    assert message in str(done.exception)
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("channels", [1, 4])
def test_the_photograph_is_given_as_many_channels_as_the_network_has(channels):
    images = parity.parity_images(small(in_channels=channels), parity.Settings())
    assert images.shape == (2, channels, 64, 64)


def test_photographs_of_a_batch_are_all_different():
    images = parity.parity_images(small(), parity.Settings(batch=4))
    assert images.shape == (8, 3, 64, 64)
    flat = images.reshape(8, -1)
    assert len({row.tobytes() for row in flat}) == 8
