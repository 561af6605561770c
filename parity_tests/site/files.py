"""Files that the commands of pages start from, made here: checkpoints, graphs, images."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import torch
from PIL import Image
from safetensors.numpy import save_file

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.peers import operators
from parity_tests.real.published import photographs, weights
from parity_tests.situations import from_others, from_timm, from_torchvision
from parity_tests.situations.making import Make as MakeSituation
from parity_tests.situations.making import images as of_situation
from parity_tests.support import exported, small, weights_of

operators.declare()

import timm  # noqa: E402
import torchvision  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[[Path], None]
MINE = "def run(images):\n    return images.mean((2, 3))\n"


def checkpoint(
    layout: str, preset: str = "b0", dialect: str = "tensorflow", **network: object
) -> Make:
    """A file of calibrated weights in a layout, as its library would have written it."""

    def make(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        resolved = resolve(preset, dialect=dialect, **network)
        source = path.parent / f".{path.name}.safetensors"
        save(source, resolved, weights_of(resolved))
        port(source, path, layout, force=True, verify=False)
        source.unlink()
        _forget(path)

    return make


def _forget(path: Path) -> None:
    """A library's file has no metadata of ours, which would say the dialect."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        save_file(load_file(path), path)


def canonical(path: Path) -> None:
    """B0 as this project keeps it."""
    network = resolve("b0")
    save(path, network, weights_of(network))


def of_form(layout: str, kind: str) -> dict[str, np.ndarray]:
    """The arrays of a file that no command writes."""
    network = resolve("b0")
    keys = layout_of(layout).forms_of(kind)[0].keys(network)
    return {key.path: weights_of(network)[name].transpose(key.axes) for name, key in keys.items()}


def segmentation(path: Path) -> None:
    """The encoder of a segmentation model, and some of its decoder."""
    arrays = of_form("smp", "torch")
    tensors = {key: torch.tensor(array) for key, array in arrays.items()}
    torch.save({**tensors, "decoder.blocks.0.conv1.0.weight": torch.zeros(4, 4, 3, 3)}, path)


def lightning(path: Path) -> None:
    """A fine-tuned network of ten classes as a training loop keeps it."""
    network = resolve("b0", num_classes=10)
    keys = layout_of("timm-tf").forms["torch"].keys(network)
    state = {f"net.{k.path}": torch.tensor(weights_of(network)[n]) for n, k in keys.items()}
    torch.save({"epoch": 3, "state_dict": state, "callbacks": {}}, path)


def situation(make: MakeSituation, channels: int = 3) -> Make:
    """A file as a library writes it, of networks that people describe."""

    def made(path: Path) -> None:
        make(path, of_situation(channels))

    return made


def official(path: Path) -> None:
    """What the paper's code leaves: every variable, and its moving average."""
    path.parent.mkdir()
    content = {}
    for name, value in of_form("tpu", "tf-checkpoint").items():
        content[name] = value * np.float32(2)
        content[f"{name}/ExponentialMovingAverage"] = value
    tensors = [tf.constant(value) for value in content.values()]
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(content),
        shape_and_slices=[""] * len(content),
        tensors=tensors,
    )


def graph(backend: str) -> Make:
    """A network for small images, exported."""
    network = small(size=64, width=0.25, depth=0.5)
    return lambda path: path.write_bytes(exported(backend, network, False).source)


def whole_graph(path: Path) -> None:
    """B0, exported."""
    path.write_bytes(exported("torch", resolve("b0"), False).source)


def foreign_graph(path: Path) -> None:
    """B0 of torchvision, by PyTorch's exporter, which folds batch norms."""
    checkpoint("torchvision", dialect="pytorch")(path.with_suffix(".pth"))
    model = torchvision.models.efficientnet_b0()
    model.load_state_dict(torch.load(path.with_suffix(".pth"), weights_only=True))
    image = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(model.eval(), image, str(path), dynamo=False, opset_version=17)


def exported_program(path: Path) -> None:
    """B0 of timm, by torch.export."""
    checkpoint("timm-tf")(path.with_suffix(".pth"))
    model = timm.create_model("tf_efficientnet_b0")
    model.load_state_dict(torch.load(path.with_suffix(".pth"), weights_only=True))
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 3, 224, 224),)), path)


def saved_model(path: Path) -> None:
    """B0 of keras.applications as Keras exports it, but for its program, which nothing reads."""
    archive = keras.export.ExportArchive()
    archive.track(keras.applications.EfficientNetB0(weights=None))
    archive.add_endpoint("serve", tf.identity, [tf.TensorSpec((None, 224, 224, 3))])
    archive.write_out(path, verbose=False)


def program(path: Path) -> None:
    """A module with a function of arrays."""
    path.write_text(MINE)


def batch(path: Path) -> None:
    """Images as an array."""
    np.save(path, np.random.default_rng(0).random((2, 3, 8, 8), np.float32))


def few_images(path: Path) -> None:
    """A folder of two photographs, one in a folder of its own."""
    (path / "more").mkdir(parents=True)
    for name in ("1.jpg", "more/2.jpg"):
        shutil.copyfile(PHOTOGRAPH, path / name)


def images(path: Path, count: int = 40, kinds: tuple[str, str] = ("plain", "turned")) -> None:
    """A folder of photographs of two kinds."""
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((64, 48)))
    for kind, image in zip(kinds, (photograph, photograph[::-1]), strict=True):
        (path / kind).mkdir(parents=True)
        for number in range(count):  # of 40, five percent can be held out
            Image.fromarray(image // (number % 7 + 1)).save(path / kind / f"{number}.png")


def flowers(path: Path) -> None:
    """A folder of two classes, of which a fifth can be held out."""
    images(path, 5, ("daisy", "rose"))


def digits(path: Path) -> None:
    """The scans that the pages on training begin with."""
    runpy.run_path(str(ROOT / "examples" / "digits.py"))["write"](path)


def trained_on_digits(path: Path) -> None:
    """A small network of ten classes, as a run leaves one."""
    path.parent.mkdir(parents=True)
    network = resolve("b0", width=0.25, depth=0.5, resolution=32, num_classes=10)
    save(path, network, weights_of(network))


def lite0(path: Path) -> None:
    """What was published of EfficientNet-Lite0."""
    shutil.copyfile(weights("lite0"), path)


def photograph(path: Path) -> None:
    """A cup of coffee."""
    shutil.copyfile(PHOTOGRAPH, path)


def split(path: Path) -> None:
    """A few of these photographs to train on, and to validate on."""
    for part in ("train", "val"):
        images(path / part, 4)


# As if it was fetched elsewhere: $ROSETTA_WEIGHTS_DIR is the first folder.
NOISY_STUDENT = "fetched/timm/tf_efficientnet_b0.ns_jft_in1k/model.safetensors"

FILES: dict[str, dict[str, Make]] = {
    "use/api.md": {
        "tf_efficientnet_b0.pth": checkpoint("timm-tf"),
        "flowers": images,
    },
    "use/port.md": {
        # In the order of their weights, which are calibrated once where they follow one another.
        "mystery.pth": checkpoint("timm-tf"),
        "efficientnetb0.h5": checkpoint("keras-applications"),
        "efficientnetb0.weights.h5": checkpoint("keras-applications"),
        "efficientnet-b0-355c32eb.pth": checkpoint("efficientnet-pytorch"),
        "adv-efficientnet-b0.pth": checkpoint("efficientnet-pytorch"),
        "google-efficientnet-b0.safetensors": checkpoint("transformers"),
        "efficientnet-b0/model.ckpt": official,
        "qubvel_b0.h5": checkpoint("qubvel"),
        "tf_efficientnet_b0.npz": checkpoint("efficientnet-jax"),
        "kecam_b0.h5": checkpoint("kecam"),
        "zeromodels_b0.weights.h5": checkpoint("zeromodels"),
        "smp_encoder.pth": segmentation,
        "best.safetensors": canonical,
        "efficientnet_b0.ra_in1k.pth": checkpoint("timm", dialect="pytorch"),
        "efficientnet_b0_rwightman.pth": checkpoint("torchvision", dialect="pytorch"),
        "keras_hub_b0.weights.h5": checkpoint("keras-hub", dialect="pytorch"),
        "tf_efficientnet_b4_ns.pth": checkpoint("timm-tf", "b4"),
        "efficientnet_b5_lukemelas.pth": checkpoint(
            "torchvision", "b5", dialect="torchvision-large"
        ),
        "xception.weights.h5": checkpoint("keras-applications", "xception"),
        "legacy_xception.pth": checkpoint("timm", "xception", dialect="pytorch"),
    },
    "use/port_unusual.md": {
        "exported.onnx": whole_graph,
        "tf_efficientnet_b0.pt2": exported_program,
        "torchvision_b0.onnx": foreign_graph,
        "finetuned.ckpt": lightning,
        "saved_model": saved_model,
        "rgbn.pth": situation(from_timm.four_channels, 4),
        "embedder.pth": situation(from_timm.metric_learning),
        "siamese.pth": situation(from_timm.siamese),
        "model_best.pth.tar": situation(from_timm.trained),
        "checkpoint-500": situation(from_others.trainer),
        "sharded": situation(from_others.shards),
        "step-7": situation(from_torchvision.distributed),
    },
    "use/convert.md": {"mystery.pth": checkpoint("timm-tf"), NOISY_STUDENT: checkpoint("timm-tf")},
    "use/identify.md": {
        "mystery.pth": checkpoint("timm-tf"),
        "efficientnet-lite0-57934424.pth": lite0,
        NOISY_STUDENT: checkpoint("timm-tf"),
    },
    "use/finetune.md": {NOISY_STUDENT: checkpoint("timm-tf"), "flowers": flowers},
    "use/features.md": {NOISY_STUDENT: checkpoint("timm-tf")},
    "use/serve.md": {"efficientnet-lite0-57934424.pth": lite0, "photo.jpg": photograph},
    "use/weights.md": {
        NOISY_STUDENT: checkpoint("timm-tf"),
        "fetched/timm/efficientnet_lite0.ra_in1k/model.safetensors": checkpoint(
            "timm", "lite0", dialect="pytorch"
        ),
        "photo.jpg": photograph,
    },
    "use/divergence.md": {
        "mine.py": program,
        "theirs.py": program,
        "batch.npy": batch,
    },
    "use/ci.md": {
        "mine.onnx": graph("torch"),
        "theirs.onnx": graph("keras"),
    },
    "use/predict.md": {
        "efficientnet-lite0-57934424.pth": lite0,
        "photo.jpg": photograph,
        "photos": few_images,
    },
    "explore/photographs.md": {
        "efficientnet-lite0-57934424.pth": lite0,
        "coffee.png": lambda path: shutil.copyfile(photographs()["coffee.png"], path),
    },
    "explore/emoji.md": {
        "efficientnet-lite0-57934424.pth": lite0,
        "emoji": split,
    },
    "train/recipes.md": {"flowers": images},
    "train/evaluate.md": {"digits": digits, "runs/torch/best.safetensors": trained_on_digits},
    "train/finetuning.md": {
        "tf_efficientnet_b0.safetensors": checkpoint("timm-tf"),
        "flowers": images,
    },
    "train/devices.md": {
        "tf_efficientnet_b0.safetensors": checkpoint("timm-tf"),
        "flowers": images,
        "imagenet": images,
    },
}
