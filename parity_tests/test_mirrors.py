"""The two implementations are the same program, and every module keeps to its floor."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.backends import protocol
from parity_tests.peers.operators import declare

ROOT = Path(__file__).parent.parent
PACKAGE = "efficientnet_rosetta"
FRAMEWORKS = {"torch", "tensorflow", "keras", "torch_impl", "keras_impl"}


PARTS = (
    *(protocol.Backend, protocol.FeatureBuilder, protocol.Tracer, protocol.Exporter),
    *(protocol.Trainer, protocol.Probes, protocol.Variants, protocol.Described),
)


def imports(path):
    """Top-level packages imported anywhere in a file; our own by the names of their folders."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (_top(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield _top(node.module)


def _top(name):
    return name.removeprefix(f"{PACKAGE}.").split(".")[0]


def public_names(module):
    """What a module defines itself and does not hide, in the order of its source."""
    tree = ast.parse(inspect.getsource(module))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]


def test_both_packages_hold_the_same_files():
    files = [
        sorted(path.name for path in (ROOT / package).glob("*.py"))
        for package in ("torch_impl", "keras_impl")
    ]
    assert files[0] == files[1]


# What one framework needs and the other has no counterpart of.
ONE_SIDED = {
    "layer_name",  # Keras's name of a layer, from its role,
    "role_of",  # and back
    "variables",  # those of a whole Keras model, by canonical name
    "Value",  # a Keras tensor in ONNX, with its channels first or last
    "layer_variables",  # a Keras layer's variables; PyTorch's are in its state dict by name
    "functional",  # a graph of Keras, however deep
    "SynchronizedBatchNorm",  # a setting of Keras's own layer
    "in_phase",  # Keras is told with every call whether it trains
    "inference_only",  # in PyTorch the modules that stand for batch norms see to it
    "overwrites",  # what Keras runs on decides that itself,
    "Overwritten",  # as it does which layers
    "layout",  # the order of axes in memory, which Keras has as that of the maps,
    "tell",  # what was chosen for a GPU,
    "compile_model",  # and what Keras compiles by itself
    "Devices",  # Lightning chooses them
    "devices",
    "LiteProgram",  # TensorFlow's other runtime; that of PyTorch reads what it exports
    "sends_levels",  # images go to a GPU as bytes by PyTorch's loop only,
    "looked_up",  # which makes numbers of them there
    "Pieces",  # of a batch; Keras's step goes through them by itself
}


# Whatever the packages have: a module of one alone is the business of the test above.
# What is private to a library has no counterpart in the other one.
MODULES = sorted(path.stem for path in (ROOT / "torch_impl").glob("*.py") if path.stem != "_compat")


@pytest.mark.parametrize("module", MODULES)
def test_public_names_match_in_the_same_order(module):
    declare()  # Lightning's metrics, in `.loop`, import torchvision
    names = [
        [
            name
            for name in public_names(importlib.import_module(_module(package, module)))
            if name not in ONE_SIDED
        ]
        for package in ("torch_impl", "keras_impl")
    ]
    assert names[0] == names[1]
    assert names[0]


def _module(package, name):
    return f"{PACKAGE}.{package}" if name == "__init__" else f"{PACKAGE}.{package}.{name}"


def test_the_packages_export_the_same_names():
    torch_impl, keras_impl = (
        importlib.import_module(f"{PACKAGE}.{name}") for name in ("torch_impl", "keras_impl")
    )
    assert torch_impl.__all__ == keras_impl.__all__


@pytest.mark.parametrize("package", ["torch_impl", "keras_impl"])
def test_each_package_keeps_the_protocol(package):
    module = importlib.import_module(f"{PACKAGE}.{package}")
    for part in PARTS:
        assert protocol.provides(module, part)
        for name, verb in inspect.getmembers(part, inspect.isfunction):
            if not name.startswith("_"):
                expected = list(inspect.signature(verb).parameters)[1:]  # without self
                assert list(inspect.signature(getattr(module, name)).parameters) == expected, name


def steps(package, module):
    """Names of a model file's classes and functions with the layers that they assign, in order."""
    tree = ast.parse((ROOT / package / f"{module}.py").read_text())
    for definition in tree.body:
        if isinstance(definition, ast.ClassDef | ast.FunctionDef):
            stored = [
                (node.lineno, node.attr)
                for node in ast.walk(definition)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            ]
            layers = [
                name
                for _, name in sorted(stored)
                if name.endswith(
                    ("conv", "bn", "reduce", "expand", "drop_path", "separable", "pool")
                )
            ]
            yield definition.name, layers


@pytest.mark.parametrize(
    ("module", "classes"),
    [
        ("efficientnet", {"ConvBnSwish": 2, "MBConv": 9}),
        ("blocks", {"PlainMBConv": 7, "FusedMBConv": 6, "ConvBnAct": 2}),
        ("xception", {"ConvBnRelu": 2, "SeparableConv": 3, "XceptionBlock": 4}),
    ],
)
def test_blocks_assign_the_same_layers_in_the_same_order(module, classes):
    torch_steps, keras_steps = (dict(steps(p, module)) for p in ("torch_impl", "keras_impl"))
    for name, layers in classes.items():
        assert torch_steps[name] == keras_steps[name], name
        assert len(torch_steps[name]) == layers, name


@pytest.mark.parametrize("path", sorted((ROOT / "common").rglob("*.py")), ids=lambda p: p.name)
def test_common_imports_no_framework(path):
    assert not FRAMEWORKS & set(imports(path))


@pytest.mark.parametrize(
    ("package", "other"),
    [
        ("torch_impl", {"keras", "tensorflow", "keras_impl"}),
        ("keras_impl", {"torch", "torch_impl"}),
    ],
)
def test_the_backends_never_meet(package, other):
    for path in (ROOT / package).rglob("*.py"):
        assert not other & set(imports(path)), path.name
        assert "parity_tests" not in set(imports(path)), path.name


@pytest.mark.parametrize("package", ["torch_impl", "keras_impl"])
@pytest.mark.parametrize("module", ["blocks", *ARCHITECTURES])
def test_model_files_compute_no_numbers_of_the_architecture(package, module):
    """Rounding, ceilings, ramps and ratios belong to the specification."""
    path = ROOT / package / f"{module}.py"
    tree = ast.parse(path.read_text())
    arithmetic = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Pow)
    ]
    assert arithmetic == []
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"int", "round", "max", "min", "ceil"}
    assert not {"math", "numpy"} & set(imports(path))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["parity", "--help"], ["train", "--help"], ["table", "b4"]]
)
def test_the_command_line_imports_no_framework_until_it_runs_one(arguments):
    program = f"""
import sys
from efficientnet_rosetta.common.cli import main
sys.argv = ["rosetta", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code
heavy = {{"torch", "tensorflow", "keras", "onnxruntime", "onnx"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_backend_without_its_framework_says_what_to_install():
    program = """
import sys
sys.modules["torch"] = None
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError
try:
    get_backend("torch")
except RosettaError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == (
        "backend 'torch' needs torch, which is not installed; run: pip install torch"
    )
