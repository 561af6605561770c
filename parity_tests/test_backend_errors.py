"""What both packages refuse, and that they say so in one line that helps."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import UsageError
from parity_tests.peers.operators import declare
from parity_tests.support import BACKENDS, FAMILIES, images_for, small

ROOT = Path(__file__).parent.parent
backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_model_is_not_exported_in_another_dialect_than_its_own(backend, dialect):
    """It would be written with its own padding, and described with another."""
    module = get_backend(backend)
    (other,) = set(FAMILIES) - {dialect}
    model = module.build(small(dialect=dialect, width=0.25, depth=0.5))
    with pytest.raises(ValueError, match="another network than the one given") as found:
        module.export_onnx(model, small(dialect=other, width=0.25, depth=0.5))
    assert isinstance(found.value, UsageError)
    larger = small(dialect=dialect, width=0.25, depth=0.5, size=(96, 64))
    assert module.export_onnx(model, larger).graph.node


def test_a_model_that_does_not_say_its_network_is_refused(tmp_path):
    network = small(width=0.25, depth=0.5)
    path = tmp_path / "model.keras"
    get_backend("keras").build(network).save(path)
    loaded = {"keras": keras.models.load_model(path), "torch": torch.nn.Flatten()}
    for name, model in loaded.items():
        with pytest.raises(UsageError, match="was not made by `build`"):
            get_backend(name).export_onnx(model, network)
    with pytest.raises(UsageError, match="was not made by `build`"):
        get_backend("torch").endpoints(loaded["torch"], images_for(network))


@backends
def test_a_network_without_classes_is_not_scored(backend):
    declare()  # Lightning's metrics import torchvision
    module = get_backend(backend)
    with pytest.raises(UsageError, match="has no classifier to score; give it classes"):
        module.evaluate(module.build(small(num_classes=None)), None, None)


def test_more_devices_than_there_are_is_an_argument_of_another_value():
    from efficientnet_rosetta.keras_impl.devices import devices

    with pytest.raises(UsageError, match=r"^devices is 2, but TensorFlow sees 0 GPUs; ") as found:
        devices(SimpleNamespace(devices=2))
    assert found.value.argument == "devices"


WITHOUT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from parity_tests.peers.operators import declare
declare()
from efficientnet_rosetta.common.backends.registry import get_backend
from parity_tests.support import small
training = SimpleNamespace(devices=1, dtype="float32")
run = SimpleNamespace(loggers=["tensorboard"], first=True, folder=Path("run"))
for name in sys.argv[2:]:
    sys.modules[name] = None
    network = small(width=0.25, depth=0.5)
    module = get_backend(sys.argv[1])
    try:
        if name == "onnx":
            module.export_onnx(module.build(network), network)
        else:
            module.fit(training, {}, run)
    except ImportError as error:
        print(type(error).__name__, error.package, error, sep="|")
    del sys.modules[name]
"""


@pytest.mark.parametrize(
    ("backend", "framework", "names"),
    [
        ("torch", "PyTorch", ("onnx", "lightning", "tensorboard")),
        ("keras", "Keras", ("onnx", "tensorboard")),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_what_to_install(backend, framework, names):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, backend, *names], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == [
        f"MissingDependencyError|{name}|{'ONNX' if name == 'onnx' else f'training in {framework}'} "
        f"needs {name}, which is not installed; run: pip install {name}"
        for name in names
    ], done.stderr
