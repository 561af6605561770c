"""The verdict: its three endings in every command, no false alarm, and no miss."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.backends import agreement, judgement
from efficientnet_rosetta.common.backends.agreement import (
    Foreign,
    Model,
    compared,
    compared_in_float32,
    images_for,
    judged,
)
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.judgement import apart, root_mean_square
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints import port as porting
from efficientnet_rosetta.common.checkpoints import run_files, verify
from efficientnet_rosetta.common.checkpoints.run_files import NotRun, Outputs
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, verdicts
from parity_tests.support import weights_of

SMALL = resolve("b0", width=0.25, depth=0.25, num_classes=2)
SHOWN = tuple(mistake for mistake in MUTATIONS if mistake.claim == "forward")
NO_FRAMEWORK = NotRun("no framework is installed; run: pip install torch")
SAME = Outputs(("torch", "keras"), "logits", 1e-14, 1e-11, "float64", 4, "", False)
APART = replace(SAME, error=0.5, difference="stem: conv is the first operation that differs")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def last(done):
    return done.stdout.splitlines()[-1]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.safetensors"
    save(path, SMALL, weights_of(SMALL))
    return path


def model(backend, network=SMALL, weights=None, dtype="float64"):
    weights = weights_of(network) if weights is None else weights
    return Model(backend, get_backend(backend), network, weights, dtype)


# ------------------------------------------------------------------ endings


ENDINGS = [
    (SAME, 0, "proved: the weights are the same ("),
    (APART, 1, "differs: stem: conv is the first operation that differs"),
    (NO_FRAMEWORK, 3, f"weights proved, outputs not run: {NO_FRAMEWORK.reason}"),
]


@pytest.mark.parametrize(("outputs", "status", "line"), ENDINGS)
def test_the_endings_of_port_and_verify(outputs, status, line, source, tmp_path, monkeypatch):
    for module in (porting, verify):
        monkeypatch.setattr(module, "compare_runs", lambda *runs, **graph: outputs)
    done = run("port", source, tmp_path / "out.safetensors", "--to", "canonical")
    assert (done.exit_code, last(done).startswith(line)) == (status, True), done.stdout
    done = run("verify", source, tmp_path / "out.safetensors")
    assert (done.exit_code, last(done).startswith(line)) == (status, True), done.stdout
    found = rosetta.verify(source, tmp_path / "out.safetensors")
    assert line.startswith(found.verdict.ending)
    assert json.loads(json.dumps(found.to_dict()))["verdict"]["ending"] == found.verdict.ending


def test_outputs_that_nobody_asked_for_leave_the_weights_proved(source, tmp_path):
    done = run("port", source, tmp_path / "out.safetensors", "--to", "canonical", "--no-verify")
    assert done.exit_code == 3
    assert last(done) == "weights proved, outputs not run: they were not asked for"
    assert rosetta.port(source, tmp_path / "b.safetensors", "canonical", verify=False).verified
    done = run("verify", source, tmp_path / "out.safetensors", "--no-run")
    assert (done.exit_code, last(done)[:14]) == (3, "weights proved")


def test_a_file_that_does_not_read_back_differs(source, tmp_path):
    wrong = {**weights_of(SMALL)}
    wrong["stem.bn.mean"] = wrong["stem.bn.mean"] + np.float32(1e-6)
    with verdicts._written(wrong):
        done = run("port", source, tmp_path / "out.safetensors", "--to", "canonical")
    assert done.exit_code == 1
    assert last(done).startswith("differs: stem.bn.mean does not read back as it was written")
    assert not (tmp_path / "out.safetensors").exists()


def test_other_weights_differ_whatever_the_outputs_say(source, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "compare_runs", lambda *runs, **graph: SAME)
    weights = {**weights_of(SMALL)}
    weights["classifier.bias"] = weights["classifier.bias"] + np.float32(0.5)
    save(tmp_path / "other.safetensors", SMALL, weights)
    done = run("verify", source, tmp_path / "other.safetensors")
    assert (done.exit_code, last(done)) == (1, "differs: classifier.bias of the two files")


@pytest.mark.parametrize("outputs", [SAME, NO_FRAMEWORK, APART])
def test_what_was_forced_differs(outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(porting, "compare_runs", lambda *runs, **graph: outputs)
    network = resolve("b0", dialect="pytorch", num_classes=2)
    save(tmp_path / "source.safetensors", network, weights_of(network))
    done = run(
        "port", tmp_path / "source.safetensors", tmp_path / "o.pth", "--to", "timm-tf", "--force"
    )
    assert (done.exit_code, last(done)[:9]) == (1, "differs: ")


def means(images):
    return images.mean((2, 3))


def test_the_endings_of_compare(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def means(x): return x.mean((2, 3))\n"
        "def other(x): return 1.01 * x.mean((2, 3))\n"
        "def one(x): return np.full((len(x), 1), 3.0)\n"
        "def chaos(x): return np.sin(1e16 * x[:, :, 3, 5].astype(float))\n"
        "def near(x): return np.sin(1e16 * x[:, :, 3, 5].astype(float) * (1 + 2e-16))\n"
    )
    monkeypatch.chdir(tmp_path)
    for first, second, status, line in (
        ("means", "means", 0, "proved: both programs compute the same on these inputs"),
        ("means", "other", 1, "differs: output (output in the second) is the first operation"),
        ("one", "one", 3, "outputs not compared: the output of mine:one does not depend on its"),
        ("chaos", "near", 3, "outputs not compared: rounding alone may move output by"),
    ):
        done = run("compare", f"mine:{first}", f"mine:{second}")
        assert (done.exit_code, last(done).startswith(line)) == (status, True), done.stdout


def test_the_endings_of_parity(monkeypatch):
    from efficientnet_rosetta.common.parity import check

    done = run("parity", "v2-test", "--size", "32")
    assert (done.exit_code, last(done)[:41]) == (0, "proved: 1 of 1 agree with torch in float6")
    broken = check.Claim("gradients", "keras", 1.0, 1e-10, "stem.conv.weight")
    results = rosetta.parity("v2-test", resolution=32)
    found = replace(results, claims={"v2-test": (broken,)}).verdict
    assert found.ending == "differs"
    assert found.why.endswith("first in keras of v2-test: gradients, stem.conv.weight")


# ------------------------------------------------------------------ what is judged


@pytest.mark.parametrize("classes", [1, 2])
def test_one_value_and_two_are_compared(classes):
    network = replace_classes(classes)
    found = compared(model("torch", network), model("keras", network), images_for(network))
    assert found.judged.agrees
    assert 1e-11 <= found.judged.tolerance < 1e-9
    wrong = {**weights_of(network)}
    wrong["classifier.bias"] = wrong["classifier.bias"] + np.float32(1e-6)
    other = model("keras", network, wrong)
    found = compared(model("torch", network), other, images_for(network))
    assert not found.judged.agrees
    assert found.difference.startswith("classifier (classifier in the second) is the first")


def replace_classes(classes):
    return resolve("b0", width=0.25, depth=0.25, num_classes=classes)


def test_constants_are_compared_in_a_scale_that_does_not_vanish():
    ones = {"logits": np.full((1, 2), 7.0)}
    assert compare_endpoints("x", ones, ones).agrees
    assert not compare_endpoints("x", ones, {"logits": np.full((1, 2), 7.01)}).agrees
    zeros = {"logits": np.zeros((1, 1))}
    assert compare_endpoints("x", zeros, zeros).agrees
    assert not compare_endpoints("x", zeros, {"logits": np.full((1, 1), 1e-30)}).agrees


def test_values_that_are_no_numbers_are_compared_by_where_they_are():
    nan, inf = np.nan, np.inf
    first = np.array([[1.0, nan, inf], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(apart(first, first), [0, 0])
    np.testing.assert_array_equal(
        apart(first, np.array([[1.5, nan, inf], [1, 2, nan]])), [0.5, inf]
    )
    np.testing.assert_allclose(root_mean_square(np.array([[3e200, 4e200, inf]])), [5e200 / 3**0.5])
    logits = {"logits": first}
    assert compare_endpoints("x", logits, logits).agrees
    other = {"logits": np.where(np.isnan(first), 0, first)}
    assert not compare_endpoints("x", logits, other).agrees


def test_what_rounding_explains_is_measured():
    """A network that magnifies is allowed more than one that does not."""
    value = {"features": np.array([[1.0, 2.0]])}
    scale = {"features": root_mean_square(value["features"])}
    tolerances = [
        judgement.explained_by_noise(value, {"features": value["features"] * (1 + moved)}, scale)
        for moved in (1e-12, 1e-9, 1e-2)
    ]
    least, more, anything = (float(found["features"][0]) for found in tolerances)
    assert least == 1e-11
    assert 1e-10 < more < 1e-8
    assert anything == np.inf


@pytest.mark.parametrize("kind", ["no numbers", "constant features", "chaos"])
def test_where_weights_show_nothing_others_do(kind):
    """The programs are run with calibrated weights, and a mistake in one of them is still seen."""
    weights = {**weights_of(SMALL)}
    if kind == "no numbers":
        weights["stem.bn.variance"] = -weights["stem.bn.variance"]
    elif kind == "chaos":
        weights = verdicts.KINDS["biases of ten thousand"](SMALL)
    else:
        weights["head.bn.scale"] = 0 * weights["head.bn.scale"]
    found = judged(
        model("torch", SMALL, weights), model("keras", SMALL, weights), images_for(SMALL)
    )
    assert found.judged.agrees
    assert found.calibrated
    other = replace(SMALL, dialect=replace(SMALL.dialect, epsilon=1e-5))
    wrong = model("keras", other, weights)
    assert not judged(model("torch", SMALL, weights), wrong, images_for(SMALL)).judged.agrees


def test_the_operation_that_differs_is_named():
    other = replace(SMALL, dialect=replace(SMALL.dialect, padding="symmetric"))
    found = compared(model("keras"), model("torch", other), images_for(SMALL))
    assert found.difference.startswith("stem: conv (conv in the second) is the first operation")
    role = SMALL.blocks[1].role
    weights = {**weights_of(SMALL)}
    weights[f"{role}.se_expand.bias"] = weights[f"{role}.se_expand.bias"] + np.float32(0.1)
    found = compared(model("keras"), model("torch", SMALL, weights), images_for(SMALL))
    assert found.difference.startswith(f"{role}: se_expand (se_expand in the second) is the first")


def test_memory_that_ends_is_no_difference(monkeypatch):
    def full(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    monkeypatch.setattr(agreement, "loaded", full)
    with pytest.raises(MemoryError, match="allocate 9 GB"):
        judged(model("torch"), model("keras"), images_for(SMALL))


def test_a_program_in_float32_is_judged_by_what_float32_explains():
    narrow, right = model("torch", dtype="float32"), model("torch")
    kept = model("keras", dtype="float32")

    def softmax_of(images):
        logits = kept.run(images)["logits"].astype(np.float64)
        return {"logits": logits - np.log(np.exp(logits).sum(1, keepdims=True))}

    images = images_for(SMALL)
    found = compared_in_float32(narrow, right, Foreign("a graph", kept.run), images)
    assert found.judged.agrees
    assert 0 < found.judged.error < found.judged.tolerance < 1e-3
    graph = Foreign("a graph", softmax_of, up_to_a_constant=True)
    assert compared_in_float32(narrow, right, graph, images).judged.agrees
    assert not compared_in_float32(
        narrow, right, Foreign("a graph", softmax_of), images
    ).judged.agrees
    wrong = Foreign("a graph", lambda batch: {"logits": 1.01 * kept.run(batch)["logits"]})
    assert compared_in_float32(narrow, right, wrong, images).difference == "logits of a graph"


def test_one_file_is_read_once_for_both_libraries(source, monkeypatch):
    read = []
    monkeypatch.setattr(
        run_files,
        "match",
        lambda path, right=run_files.match, **how: read.append(path) or right(path, **how),
    )
    both = [run_files.FileRun(source, name, SMALL.dialect) for name in ("torch", "keras")]
    assert run_files.run_here(*both).agree
    assert read == [source]


# ------------------------------------------------------------------ counted


def test_a_few_heads_and_networks_give_no_false_alarm():
    found = list(verdicts.heads(12, SMALL))
    assert {case.network for case in found} == {f"{k} classes" for k in verdicts.CLASSES}
    found += verdicts.cases_of("small", SMALL)
    assert all(case.right for case in found), [case for case in found if not case.right]
    assert len(found) == 12 + len(verdicts.KINDS)


@pytest.mark.parametrize("kind", ["calibrated", "the official initialisation"])
def test_a_few_mistakes_are_not_missed(kind):
    names = ("epsilon 1e-5 for 1e-3", "hard swish for swish", "kernels turned around")
    some = tuple(mistake for mistake in SHOWN if mistake.name in names)
    found = list(verdicts.in_programs(some, (kind,), {"b0": SMALL}))
    assert len(found) == len(names)
    assert all(case.right for case in found), found


def test_a_case_is_right_if_and_only_if_it_should_be():
    case = verdicts.Case("b0", "calibrated", None, False, 1.0, 1e-11, False)
    assert not case.right
    assert replace(case, agrees=True).right
    assert replace(case, mistake="x").right
    assert not replace(case, mistake="x", agrees=True).right


@pytest.mark.slow
def test_no_false_alarm_on_heads():
    found = list(verdicts.heads())
    assert len(found) == 600
    assert all(case.right for case in found), [case for case in found if not case.right]


@pytest.mark.slow
def test_no_false_alarm_on_networks():
    found = list(verdicts.networks())
    assert len(found) >= 100
    assert all(case.right for case in found), [case for case in found if not case.right]


@pytest.mark.slow
def test_no_mistake_is_missed():
    found = [*verdicts.in_programs(SHOWN), *verdicts.in_files()]
    assert len(found) > 400
    assert all(case.right for case in found), [case for case in found if not case.right]
