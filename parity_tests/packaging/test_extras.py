"""Each extra works alone: what should work does, and the rest says what is missing."""

import json

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.named import CLASSES
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save

from .environments import Environment

SIDE = 64
# Every format that is written, by the layout that has it and the name of a file.
FORMATS = {
    "b0.safetensors": "timm-tf",
    "b0.pth": "efficientnet-pytorch",
    "b0.h5": "keras-applications",
    "b0.weights.h5": "keras-applications",
    "b0.keras": "keras-applications",
    "b0.npz": "efficientnet-jax",
    "b0.ckpt": "tpu",
}

# All are looked at, and one of each kind of file is enough to port and to verify.
VERIFIED = ("b0.pth", "b0.weights.h5", "b0.ckpt", "b0.onnx")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of B0 in every format, an ONNX file, an image and a data set."""
    folder = tmp_path_factory.mktemp("files")
    network = resolve("b0", num_classes=2)
    save(folder / "canonical.safetensors", network, calibrated(network))
    (folder / CLASSES).write_text(json.dumps({"dark": 0, "light": 1}))
    backend = get_backend("torch")
    small = resolve("b0", num_classes=2, resolution=SIDE)
    model = backend.build(small)
    backend.load_weights(model, calibrated(small))
    exported = backend.export_onnx(model, small)
    (folder / "b0.onnx").write_bytes(exported.SerializeToString())
    for name, layout in FORMATS.items():
        port(folder / "canonical.safetensors", folder / name, layout, run=False)
    random = np.random.default_rng(0)
    for number, label in enumerate(("dark", "light")):
        (folder / "data" / label).mkdir(parents=True)
        for image in range(4):
            pixels = random.integers(0, 120, (SIDE, SIDE, 3), np.uint8) + np.uint8(100 * number)
            Image.fromarray(pixels).save(folder / "data" / label / f"{image}.png")
    return folder


@pytest.fixture
def environment(request, wheel, tmp_path):
    """One with the extras that a test names."""
    return Environment(tmp_path / "environment", wheel, *request.param)


def with_extras(*extras):
    """Run a test in an environment that has these."""
    return pytest.mark.parametrize("environment", [extras], indirect=True, ids=["+".join(extras)])


@with_extras()
def test_no_extra_is_enough_for_files_of_every_format(environment, files, tmp_path):
    def run(*arguments):
        return environment.succeeds(*arguments, cwd=files)

    def weighs(*arguments):
        done = environment.rosetta(*arguments, cwd=files)
        assert done.returncode == 3, done.stderr
        why = "no framework is installed; run: pip install torch"
        assert f"weights proved, outputs not run: {why}" in done.stdout.splitlines()[-1]
        return done.stdout

    assert "keras-applications" in run("layouts")
    assert "5,288,548" in run("table", "b0")
    assert "0.97" in run("recipe", "official")
    for name, layout in {**FORMATS, "b0.onnx": "canonical"}.items():
        assert layout in run("inspect", name)
        if name not in VERIFIED:
            continue
        printed = weighs("verify", name, "canonical.safetensors", "--dialect", "tensorflow")
        assert "the same network" in printed
        again = tmp_path / f"again-of-{name}"
        to = ["--to", "timm-tf"] if name == "b0.onnx" else ["--to", layout]
        target = tmp_path / "onnx.safetensors" if name == "b0.onnx" else again
        printed = weighs("port", name, target, *to, "--dialect", "tensorflow")
        assert "verified: read back" in printed
    line = environment.refuses("predict", "data/dark/0.png", "--weights", "b0.onnx", cwd=files)
    assert line.endswith("needs torch, which is not installed; run: pip install torch")
    line = environment.refuses("export", "b0", "x.onnx", "--backend", "keras", cwd=files)
    assert line.endswith("which is not installed; run: pip install tensorflow keras")
    line = environment.refuses("compare", "b0.onnx", "b0.onnx", cwd=files)
    assert line.endswith(("run: pip install onnx", "run: pip install onnxruntime"))
    assert not (files / "x.onnx").exists()


@with_extras("onnx")
def test_onnx_alone_compares_graphs(environment, files):
    assert "agrees" in environment.succeeds("compare", "b0.onnx", "b0.onnx", cwd=files)
    line = environment.refuses("parity", "b0", "--size", "32", cwd=files)
    assert line.endswith(("run: pip install torch", "run: pip install tensorflow keras"))


@pytest.mark.parametrize(
    ("environment", "backend"),
    [
        pytest.param(("torch",), "torch", id="torch", marks=pytest.mark.slow),
        pytest.param(("keras",), "keras", id="keras"),
    ],
    indirect=["environment"],
)
def test_a_framework_alone_predicts_and_proves_ports(environment, backend, files, tmp_path):
    weights = ["--weights", files / "b0.pth"]
    printed = environment.succeeds("predict", "data/dark/0.png", *weights, cwd=files)
    assert "dark" in printed
    assert "light" in printed
    target = tmp_path / "b0.weights.h5"
    printed = environment.succeeds(
        "port", files / "b0.pth", target, "--to", "keras-applications", cwd=files
    )
    assert f"source ({backend}) and result ({backend})" in printed
    program = (
        "import efficientnet_rosetta as rosetta; "
        f"model = rosetta.build('b0', weights={str(files / 'b0.pth')!r}); print(type(model))"
    )
    done = environment.run("-c", program, cwd=files)
    assert backend in done.stdout, done.stderr
    line = environment.refuses("export", "b0", tmp_path / "x.onnx", "--size", 32, cwd=files)
    assert line.endswith("run: pip install onnx")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("environment", "backend"),
    [
        pytest.param(("train",), "torch", id="train"),
        pytest.param(("train", "keras"), "keras", id="train+keras", marks=pytest.mark.slow),
    ],
    indirect=["environment"],
)
def test_training_and_evaluating(environment, backend, files, tmp_path):
    """Lightning brings PyTorch along, so that the extra is enough for that."""
    small = ["--width", 0.25, "--depth", 0.25, "--image-size", 32, "--batch", 2, "--epochs", 1]
    out = ["--out", tmp_path / "run", "--held-out", 0.25, "--workers", 0]
    data = ["--data", files / "data", "--backend", backend]
    printed = environment.succeeds("train", *data, *small, *out, cwd=files)
    assert "best: " in printed
    weights = ["--weights", tmp_path / "run" / "best.safetensors"]
    printed = environment.succeeds("evaluate", *weights, *data, "--workers", 0, cwd=files)
    assert printed.startswith("8 images: top-1 ")


@with_extras("torch")
def test_what_training_lacks_is_named(environment, files, tmp_path):
    data = ["--data", files / "data", "--out", tmp_path / "run", "--batch", 2]
    line = environment.refuses("train", *data, cwd=files)
    assert line.endswith("which is not installed; run: pip install lightning")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # which `make parity` shows too
@with_extras("torch", "keras", "onnx")
def test_what_parity_needs(environment, tmp_path):
    report = tmp_path / "report.html"
    printed = environment.succeeds("parity", "b0", "--size", 32, "--report", report, cwd=tmp_path)
    assert "1 of 1 agree" in printed
    assert report.exists()
    done = environment.rosetta("mutants", "--claim", "initialisation", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
