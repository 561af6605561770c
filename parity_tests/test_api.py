"""The public API: its names, its signatures, its results and its errors stay as they are."""

import dataclasses
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common import errors
from efficientnet_rosetta.common._util.result import Result
from efficientnet_rosetta.common.backends import registry
from efficientnet_rosetta.common.cli import app, command, main
from efficientnet_rosetta.common.parity import run as parity_run
from efficientnet_rosetta.common.weights.metadata import SCHEMA
from parity_tests.support import rosetta_process, small, weights_of

# Whoever changes one of these breaks somebody's program: say so in the changelog.
SIGNATURES = {
    "resolve": "(preset='b0', **arguments)",
    "build": "(network='b0', backend=None, *, weights=None, features_only=False, folded=False, "
    "dtype=None, dialect=None, **arguments)",
    "load": "(path, *, dialect=None, raw=False, network=None, drop_head=False, resolution=None, "
    "dtype='float32')",
    "inspect": "(path, dialect=None, raw=False, network=None)",
    "port": "(source, destination, to, *, dialect=None, dtype=None, drop_head=False, classes=None, "
    "raw=False, network=None, force=False, verify=True, run=True, progress)",
    "verify": "(first, second, *, dialect=None, network=None, run=True, progress)",
    "export": "(preset, output, backend=None, *, weights=None, endpoints=False, opset=18, "
    "width=None, depth=None, middle_blocks=None, dialect=None, resolution=None)",
    "parity": "(presets, *, image=None, width=None, depth=None, middle_blocks=None, "
    "dialect=None, dtype='float32', resolution=None, batch=1, seed=0, variants=(), full=False, "
    "watcher, command='')",
    "compare": "(first, second, *, input=None, layout=None, seed=0, dialect=None, tolerance=None, "
    "atol=None, after=None)",
    "train": "(data=None, *, backend=None, keras_backend=None, preset=None, width=None, "
    "depth=None, middle_blocks=None, dialect=None, recipe=None, weights=None, freeze=None, "
    "classes=None, image_size=None, batch=None, epochs=None, precision=None, seed=None, "
    "held_out=None, family=None, set=None, lr=None, patience=None, accumulate=None, "
    "class_weights=None, sampler=None, workers=2, devices=1, compile=False, loggers=None, "
    "out=None, resume=None, watcher)",
    "evaluate": "(weights, data, *, backend=None, keras_backend=None, dialect=None, "
    "image_size=None, batch=32, held_out=0.0, seed=0, family=None, workers=2, worst=0)",
    "predict": "(weights, images, *, top=5, names=None, batch=32, backend=None, dialect=None, "
    "image_size=None, family=None)",
    "identify": "(path, network=None)",
    "save": "(path, network, weights, further=None)",
    "initial": "(network, seed=0)",
    "calibrated": "(network, seed=0)",
    "fingerprint": "(weights)",
}
LONG = {"presets", "watcher", "progress"}  # whose defaults are too long to be written here


def shown(function):
    """A signature by names, kinds and defaults."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty if name in LONG else parameter.default,
        )
        for name, parameter in signature.parameters.items()
    ]
    kinds = [parameter.kind for parameter in parameters]
    text = ", ".join(str(parameter) for parameter in parameters)
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        first = next(p for p in parameters if p.kind is p.KEYWORD_ONLY)
        text = text.replace(f", {first}", f", *, {first}", 1)
    return f"({text})"


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_stays(name):
    assert shown(getattr(rosetta, name)) == SIGNATURES[name]


def test_every_public_name_is_there_and_listed_in_order():
    assert rosetta.__all__ == sorted(rosetta.__all__, key=lambda name: (not name.isupper(), name))
    for name in rosetta.__all__:
        assert getattr(rosetta, name) is not None
    functions = {name for name in rosetta.__all__ if inspect.isfunction(getattr(rosetta, name))}
    assert functions == set(SIGNATURES)
    assert set(dir(rosetta)) == set(rosetta.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rosetta.nothing


def test_every_public_function_and_class_has_a_docstring_that_states_its_errors():
    for name in rosetta.__all__:
        found = getattr(rosetta, name)
        if inspect.isfunction(found):
            pure = name in ("calibrated", "fingerprint", "initial")
            assert pure or "Raises:" in found.__doc__, name
        elif inspect.isclass(found):
            assert found.__doc__, name


@pytest.fixture
def files(tmp_path):
    """A small network's weights in two layouts that have any scaling."""
    network = rosetta.resolve("b0", num_classes=3)
    rosetta.save(tmp_path / "b0.safetensors", network, rosetta.calibrated(network))
    rosetta.port(
        tmp_path / "b0.safetensors", tmp_path / "b0.pth", "efficientnet-pytorch", run=False
    )
    return tmp_path


def test_results_are_dataclasses_that_read_well_and_turn_into_json(files):
    found = [
        rosetta.inspect(files / "b0.pth"),
        rosetta.load(files / "b0.pth"),
        rosetta.port(files / "b0.pth", files / "again.h5", "keras-applications", run=False),
        rosetta.verify(files / "b0.pth", files / "again.h5", run=False),
        rosetta.export("b0", files / "b0.onnx", "torch", weights=files / "b0.pth", resolution=32),
        rosetta.compare(lambda x: x.mean((2, 3)), lambda x: 2 * x.mean((2, 3))),
        rosetta.parity("v2-test", resolution=32),
    ]
    for result in found:
        assert dataclasses.is_dataclass(result)
        assert isinstance(result, Result)
        assert len(repr(result)) < 2000, type(result)
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found[1].to_dict()["path"].endswith("b0.pth")
    assert "weights" not in found[1].to_dict()
    assert found[6].to_dict()["schema"] == SCHEMA


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_model_is_built_with_the_weights_of_a_file(backend, files):
    framework = registry.get_backend(backend)
    model = rosetta.build("b0", backend, weights=files / "b0.pth")
    loaded = rosetta.load(files / "b0.pth")
    assert loaded.network.num_classes == 3
    weights = framework.dump_weights(model)
    assert rosetta.fingerprint(weights) == rosetta.fingerprint(loaded.weights)
    again = rosetta.build(loaded.network, backend, weights=loaded)
    assert rosetta.fingerprint(framework.dump_weights(again)) == rosetta.fingerprint(weights)
    # Another number of classes means a new classifier on the same features.
    other = framework.dump_weights(rosetta.build("b0", backend, weights=loaded, num_classes=7))
    assert other["classifier.weight"].shape == (7, 1280)
    np.testing.assert_array_equal(other["head.conv.weight"], weights["head.conv.weight"])
    headless = framework.dump_weights(
        rosetta.build("b0", backend, weights=loaded, num_classes=None)
    )
    assert "classifier.weight" not in headless
    with pytest.raises(rosetta.FileError, match="holds EfficientNet-B0, not EfficientNet-B1"):
        rosetta.build("b1", backend, weights=files / "b0.pth")


def test_arrays_of_another_network_are_refused():
    with pytest.raises(rosetta.WeightsError, match="missing"):
        rosetta.build("b1", "torch", weights=weights_of(small()))


# ------------------------------------------------------------------ errors


def test_errors_carry_what_a_program_needs(files):
    network = rosetta.resolve("b0")
    rosetta.save(files / "c.safetensors", network, rosetta.calibrated(network))
    rosetta.port(files / "c.safetensors", files / "timm.pth", "timm-tf", run=False)
    with pytest.raises(rosetta.DialectUndecidedError) as undecided:
        rosetta.load(files / "timm.pth")
    assert undecided.value.possible == ("tensorflow", "pytorch")
    assert undecided.value.path == files / "timm.pth"
    with pytest.raises(rosetta.UnfaithfulError) as unfaithful:
        rosetta.port(files / "b0.pth", files / "x.pth", "torchvision", run=False)
    assert unfaithful.value.cost is None
    with pytest.raises(rosetta.ExistsError) as exists:
        rosetta.port(files / "b0.pth", files / "timm.pth", "timm-tf", run=False)
    assert exists.value.argument == "force"
    np.savez(files / "other.npz", x=np.zeros(3))
    with pytest.raises(rosetta.UnknownLayoutError) as unknown:
        rosetta.inspect(files / "other.npz")
    assert unknown.value.closest is None
    with pytest.raises(rosetta.UsageError, match="unknown preset"):
        rosetta.resolve("b99")
    with pytest.raises(ImportError) as missing, errors.needs("a test"):
        import no_such_library  # noqa: F401
    assert missing.value.package == "no_such_library"


def test_no_message_of_the_library_names_an_option_of_the_command_line(files):
    for error in (
        lambda: rosetta.load(files / "b0.pth", dialect="pytorch"),
        lambda: rosetta.port(files / "b0.pth", files / "b0.safetensors", "timm-tf"),
        lambda: rosetta.train(),
        lambda: rosetta.train(files, batch=0),
    ):
        with pytest.raises(rosetta.RosettaError) as found:
            error()
        assert "--" not in str(found.value)


def test_the_command_line_names_the_option(files):
    done = rosetta_process("port", files / "b0.pth", files / "b0.safetensors", "--to", "canonical")
    assert done.returncode == 2
    assert done.stderr == (
        f"rosetta: {files / 'b0.safetensors'}: exists; choose another name, or overwrite it "
        "(--force)\n"
    )


def test_an_error_keeps_its_attributes_between_processes():
    import pickle

    error = errors.UnfaithfulError("a.pth", "is of another dialect", cost=2.0)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.cost, again.argument) == (str(error), 2.0, "force")
    assert type(again) is errors.UnfaithfulError


def parser(error):
    """What a parser of another library would raise on a damaged file."""
    namespace = {"__name__": "somebody.elses.parser", "error": error}
    exec("def parse():\n    raise error", namespace)
    return namespace["parse"]


def test_damage_is_told_with_its_cause():
    with pytest.raises(rosetta.DamagedFileError) as found, errors.reading("x.h5", "HDF5"):
        parser(TypeError("no"))()
    assert str(found.value) == "x.h5: cannot be read as HDF5 (no)"
    assert isinstance(found.value.__cause__, TypeError)


def test_our_own_mistakes_and_a_lack_of_memory_are_no_damage():
    with pytest.raises(MemoryError), errors.reading("x.h5", "HDF5"):
        parser(MemoryError("too much"))()
    with pytest.raises(AttributeError), errors.reading("x.h5", "HDF5"):
        registry.model_maker("efficientnet_rosetta.torch_impl", None)  # raised in our own code


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_shown_when_it_is_asked_for(debug, tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_DEBUG", "1" if debug else "")
    done = rosetta_process("inspect", tmp_path / "nowhere.pth")
    assert ("Traceback" in done.stderr) is debug
    assert done.returncode == (1 if debug else 2)


def test_a_lack_of_memory_is_one_line(monkeypatch, capsys):
    def full():
        raise MemoryError("3 GiB")

    monkeypatch.setattr(command, "app", full)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "rosetta: there is not enough memory for this (3 GiB)\n"


# ------------------------------------------------------------------ the command line


def test_every_command_has_short_help_and_completion_is_offered():
    for arguments in ([], *([known.name] for known in app.registered_commands)):
        names = [name or "" for name in arguments]
        done = CliRunner().invoke(app, [*filter(None, names), "-h"])
        assert done.exit_code == 0, done.output
        assert "Usage: " in done.output
    assert "--install-completion" in CliRunner().invoke(app, ["-h"]).output


def test_the_command_starts_without_numpy():
    program = (
        "import sys; sys.argv = ['rosetta', '--help']\n"
        "from efficientnet_rosetta.common.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'torch', 'tensorflow', 'keras', 'h5py', 'PIL'} & set(sys.modules)\n"
        "sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


# ------------------------------------------------------------------ files of newer versions


def test_a_newer_file_is_refused_by_name(files, tmp_path):
    import safetensors.numpy
    from safetensors import safe_open

    path = files / "b0.safetensors"
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert metadata["schema"] == str(SCHEMA)
    newer = files / "newer.safetensors"
    safetensors.numpy.save_file(tensors, newer, {**metadata, "schema": str(SCHEMA + 1)})
    for read in (rosetta.inspect, rosetta.load):
        with pytest.raises(rosetta.FileError, match=r"newer.safetensors: was written by a newer"):
            read(newer)
    safetensors.numpy.save_file(tensors, newer, {**metadata, "schema": "soon"})
    with pytest.raises(rosetta.DamagedFileError, match="which is no number"):
        rosetta.load(newer)
    del metadata["schema"]  # files from before there was one
    safetensors.numpy.save_file(tensors, newer, metadata)
    assert rosetta.load(newer).network.num_classes == 3


# ------------------------------------------------------------------ a third backend


class Core:
    """PyTorch with the five verbs of the core, and nothing else."""

    def __init__(self):
        self.torch = registry.get_backend("torch")

    def __getattr__(self, verb):
        if verb not in ("build", "load_weights", "dump_weights", "run", "endpoints"):
            raise AttributeError(verb)
        return getattr(self.torch, verb)


def test_a_backend_with_the_core_alone_runs_parity(monkeypatch):
    backends = {"torch": registry.get_backend("torch"), "mine": Core()}
    monkeypatch.setattr(parity_run, "backend_names", lambda: sorted(backends))
    monkeypatch.setattr(parity_run, "get_backend", backends.__getitem__)
    found = rosetta.parity("v2-test", resolution=32)
    (result,) = found.results
    assert [run.runner for run in result.comparisons] == ["torch", "mine", "onnx-torch"]
    assert found.agrees
    with pytest.raises(
        rosetta.RosettaError, match="backend 'mine' cannot do this: it has no trace"
    ):
        parity_run.tracer("mine", small(), weights_of(small()), "float32")
