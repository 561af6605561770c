"""`rosetta train` and `evaluate`, and predicting after them: what they print, write and refuse."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common import spec
from efficientnet_rosetta.common.checkpoints.formats import read
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.named import CLASSES, folder_names
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.images.normalization import INCEPTION
from efficientnet_rosetta.common.network import PYTORCH
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.run import (
    BEST,
    EPOCHS,
    LAST,
    SETTINGS,
    read_table,
)
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import load, save
from parity_tests.loops.short import SHORT
from parity_tests.peers.operators import declare
from parity_tests.runs import refused, run
from parity_tests.test_data import write_shard

BACKENDS = ("torch", "keras")
SMALL = ["--width", "0.25", "--depth", "0.5", "--image-size", "32", "--batch", "4", "--epochs", "1"]


@pytest.fixture(scope="module", autouse=True)
def _lightning():
    """Lightning's metrics import torchvision."""
    declare()


@pytest.fixture
def short(monkeypatch):
    """Networks of three blocks, for what the others only repeat."""
    monkeypatch.setattr(spec, "TABLE_1", SHORT)


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs of two kinds, of which one each is held out."""
    root = tmp_path / "data"
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((64, 48)))
    for name, image in (("plain", photograph), ("turned", photograph[::-1])):
        (root / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(image // (number + 1)).save(root / name / f"{number}.png")
    return root


# ------------------------------------------------------------------ train


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_evaluating_and_predicting(backend, short, folder, tmp_path):
    out = tmp_path / "run"
    printed = run("train", "--backend", backend, "--data", folder, *SMALL, "--out", out)
    lines = printed.splitlines()
    assert lines[0].startswith(f"{out}: EfficientNet-CUSTOM with 2 classes at 32x32 pixels in ")
    assert "10 images to train on and 2 to validate on, 2 steps of 4 images in an epoch" in lines[0]
    assert lines[2].split()[0] == "1"
    assert lines[-1].endswith(str(out / BEST))
    assert json.loads((out / CLASSES).read_text()) == {"plain": 0, "turned": 1}
    found = inspect(out / BEST)
    assert (found.num_classes, found.layouts) == (2, ("canonical",))
    assert "mean 0.485 0.456 0.406" in found.expects[0]

    shutil.copy(out / BEST, tmp_path / "alone.safetensors")  # away from all that is beside it
    named = read(tmp_path / "alone.safetensors").metadata
    assert folder_names(tmp_path / "alone.safetensors", named) == ("plain", "turned")

    scores = json.loads(
        run("evaluate", "--weights", out / LAST, "--data", folder, "--backend", backend, "--json")
    )
    assert (scores["images"], scores["skipped"]) == (12, 0)
    image = folder / "plain" / "0.png"
    maps = tmp_path / "maps"
    printed = run("predict", image, "--weights", out / LAST, "--backend", backend, "--cam", maps)
    shares = re.findall(r"(plain|turned) +([\d.]+)%", printed)
    assert sum(float(share) for _, share in shares) == pytest.approx(100, abs=0.02)
    written = sorted(path.name for path in maps.iterdir())
    assert written == [f"000-0-{rank}-{name}.png" for rank, (name, _) in enumerate(shares, 1)]
    assert Image.open(maps / written[0]).size == (32, 32)


def test_a_run_is_never_written_over_and_resumed_only_as_it_is(folder, tmp_path):
    out = tmp_path / "run"
    run("train", "--backend", "torch", "--data", folder, *SMALL, "--out", out)
    before = (out / EPOCHS).read_text()
    again = refused("train", "--backend", "torch", "--data", folder, *SMALL, "--out", out)
    assert again.startswith(f"{out}: holds a run already; resume it, or choose another folder")
    said = refused("train", "--resume", out, "--batch", 2)
    assert said == f"batch is that of the run in {out}; leave it out"
    assert "continuing after epoch 1" in run("train", "--resume", out)
    assert (out / EPOCHS).read_text() == before
    (folder / "plain" / "0.png").rename(folder / "gone.png")
    said = refused("train", "--resume", out)
    assert "has 9 images to train on and 2 to validate on" in said
    assert said.endswith("where the run began with 10 and 2")
    (folder / "gone.png").rename(folder / "plain" / "0.png")
    (folder / "plain").rename(folder / "other")
    assert "has other classes than the run began with" in refused("train", "--resume", out)
    (folder / "other").rename(folder / "plain")
    settings = json.loads((out / SETTINGS).read_text())
    for wrong in ({"seed": "x"}, {"width": [1]}):
        (out / SETTINGS).write_text(json.dumps({**settings, **wrong}))
        said = refused("train", "--resume", out)
        assert said.startswith(f"{out / SETTINGS}: {next(iter(wrong))} is ")
    del settings["seed"]
    (out / SETTINGS).write_text(json.dumps(settings))
    assert "run.json: seed is missing; correct it" in refused("train", "--resume", out)
    (out / SETTINGS).write_text("[1]")
    assert "is not the settings of a run" in refused("train", "--resume", out)
    (out / SETTINGS).write_text("{")
    assert "is not the settings of a run" in refused("train", "--resume", out)
    assert "is not the settings of a run" in refused("train", "--resume", tmp_path / "none")


def test_training_starts_from_weights_of_any_layout(folder, tmp_path):
    """A new classifier, the network and its dialect, and the normalization come along."""
    network = resolve("b0", resolution=32, dialect=PYTORCH)
    save(tmp_path / "c.safetensors", network, calibrated(network))
    port(tmp_path / "c.safetensors", tmp_path / "b0.pth", "timm", run=False)
    out = tmp_path / "run"
    options = ["--data", folder, "--batch", 4, "--epochs", 1, "--image-size", 32, "--out", out]
    start = ["--weights", tmp_path / "b0.pth", "--freeze", "backbone", "--backend", "torch"]
    unsaid = refused("train", *options, *start)
    assert unsaid.startswith(f"{tmp_path / 'b0.pth'}: timm-tf and timm have the same keys")
    assert "choose tensorflow or pytorch" in unsaid
    said = ["--dialect", "pytorch", "--family", "timm-ra4"]
    run("train", *options, *start, *said)
    found, weights = load(out / LAST)
    assert (found.name, found.dialect.name, found.num_classes) == ("b0", "pytorch", 2)
    started = calibrated(network)
    for name, array in weights.items():
        same = array.shape == started[name].shape and np.allclose(array, started[name], rtol=1e-6)
        assert same != name.startswith("classifier."), name
    assert inspect(out / LAST).expects == (str(INCEPTION),)


def test_a_family_goes_along_with_the_weights(folder, tmp_path):
    """What is evaluated is fitted and normalised as it was in the training.

    From calibrated weights: a new network sees no difference between images.
    """
    network = resolve("b0", width=0.25, depth=0.5, resolution=32, num_classes=2)
    save(tmp_path / "w.safetensors", network, calibrated(network))
    out = tmp_path / "run"
    start = ["--weights", tmp_path / "w.safetensors", "--freeze", "backbone", "--batch", 4]
    options = ["--backend", "torch", "--data", folder, "--epochs", 1, "--out", out]
    run("train", *options, *start, "--family", "tpu-advprop")
    row = read_table(out / EPOCHS)[0]
    common = ["evaluate", "--weights", out / LAST, "--data", folder, "--backend", "torch", "--json"]
    held_out = ["--held-out", 0.05, "--batch", 4]  # float32 rounds otherwise in other batches
    found = json.loads(run(*common, *held_out))
    assert found["images"] == 2
    assert found["loss"] == pytest.approx(row["val_loss"], rel=1e-6)
    for other in ("official", "timm-tf-ap"):  # the second is normalised alike, and cut otherwise
        apart = json.loads(run(*common, *held_out, "--family", other))["loss"] - row["val_loss"]
        assert abs(apart) > 1e-3 * row["val_loss"], other


def test_a_head_of_other_classes_is_replaced(folder, tmp_path):
    """Also where they are as many."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    common = ["train", "--backend", "torch", "--data", folder]
    run(*common, *SMALL, "--out", first)
    start = ["--weights", first / LAST, "--batch", 4, "--epochs", 1, "--seed", 7]
    run(*common, *start, "--out", second)
    (folder / "plain").rename(folder / "other")
    run(*common, *start, "--out", third)
    rows = [load(out / LAST)[1]["classifier.weight"].ravel() for out in (first, second, third)]
    like = [np.corrcoef(rows[0], row)[0, 1] for row in rows[1:]]
    assert like[0] > 0.9 > like[1]


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_shards_are_trained_on(backend, short, tmp_path):
    data = tmp_path / "shards"
    data.mkdir()
    write_shard(data / "train-00000-of-00001", [1, 2, 3, 3, 1])
    write_shard(data / "validation-00000-of-00001", [1, 2])
    out = tmp_path / "run"
    said = run("train", "--backend", backend, "--data", data, "--classes", 3, *SMALL, "--out", out)
    assert "4 images to train on and 1 to validate on" in said
    assert "scored on the 2 images of val" in said
    assert "the best epoch is chosen by 1 images that are held out of train" in said
    assert said.splitlines()[-1].startswith("val: ")
    assert load(out / LAST)[0].num_classes == 3
    assert read_table(out / EPOCHS)[0]["step"] == 1
    printed = run("evaluate", "--weights", out / LAST, "--data", data, "--backend", backend)
    assert printed.startswith("2 images: top-1 ")


def test_what_cannot_be_trained_is_one_line(folder, tmp_path):
    out = ["--out", tmp_path / "run"]
    data = ["--data", folder, *out]
    assert refused("train", *out).startswith("there is no data; name a folder of images")
    assert refused("train", *data, "--recipe", "adam").startswith("unknown recipe 'adam'; choose")
    assert refused("train", *data, "--preset", "b9").startswith("unknown preset 'b9'; choose from")
    assert refused("train", *data, "--epochs", 0) == "epochs is 0; it must be at least 1"
    large = refused("train", *data, "--batch", 2048)
    assert large.startswith("the batch is 2048, but there are 10 images")
    assert refused("train", *data, "--batch", 4, "--freeze", "all").startswith("freeze is all;")
    assert refused("train", *data, "--batch", 4, "--precision", "int8").startswith(
        "unknown precision 'int8'; choose from float32, bfloat16"
    )
    assert refused("train", *data, "--recipe", "finetune").startswith(
        "recipe finetune starts from trained weights; name them"
    )
    one = tmp_path / "one"
    shutil.copytree(folder / "plain", one / "plain")
    alone = refused("train", "--data", one, *out, "--batch", 2)
    assert alone.startswith("there is one class only; there must be another")
    assert refused("train", *data, "--held-out", 0).endswith("on; hold out a larger share")
    assert refused("train", *data, "--batch", 4, "--family", "mine").startswith("unknown prep")
    assert refused("train", *data, "--seed", -1).startswith("seed is -1; it must be at least 0")
    missing = refused("train", *data, "--batch", 4, "--weights", tmp_path / "no.pth")
    assert missing.startswith(f"{tmp_path / 'no.pth'}: ")
    # Found only when the loop is put together.
    devices = refused("train", *data, "--batch", 4, "--backend", "keras", "--devices", 2)
    assert devices.startswith("devices is 2, but TensorFlow sees 0 GPUs")
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ evaluate


@pytest.fixture
def weights(tmp_path):
    """A small network of five named classes."""
    network = resolve("b0", width=0.25, depth=0.5, resolution=64, num_classes=5)
    save(tmp_path / "w.safetensors", network, calibrated(network))
    names = {name: number for number, name in enumerate(("ant", "bee", "cat", "dog", "elk"))}
    (tmp_path / CLASSES).write_text(json.dumps(names))
    return tmp_path / "w.safetensors"


def test_both_frameworks_score_alike(weights, folder):
    for name in ("ant", "bee", "elk"):
        shutil.copytree(folder / "plain", folder.parent / "five" / name)
    data = folder.parent / "five"
    broken = next((data / "ant").iterdir())
    broken.write_bytes(b"none")
    common = ["evaluate", "--weights", weights, "--data", data, "--batch", 7]
    found = [json.loads(run(*common, "--json", "--backend", name)) for name in BACKENDS]
    assert (found[0]["images"], found[0]["skipped"]) == (17, 1)
    for key in ("loss", "top1", "top5", "images", "skipped"):
        assert found[1][key] == pytest.approx(found[0][key], rel=1e-4), key
    assert found[0]["classes"] == found[1]["classes"]
    assert found[0]["confusion"] == found[1]["confusion"]
    assert sum(map(sum, found[0]["confusion"])) == 17
    assert [score["images"] for score in found[0]["classes"]] == [5, 6, 0, 0, 6]
    printed = run(*common, "--backend", "torch")
    assert re.match(r"17 images: top-1 [\d.]+%, top-5 100.00%, cross-entropy [\d.]+\n", printed)
    assert f"left out: 1 image that cannot be read\n  {broken}: " in printed


def test_what_cannot_be_evaluated_is_one_line(weights, folder):
    common = ["evaluate", "--weights", weights, "--backend", "torch", "--data"]
    assert "plain: is no class of the network; remove it" in refused(*common, folder)
    assert "is no folder; name one with a folder of images" in refused(*common, folder / "none")
