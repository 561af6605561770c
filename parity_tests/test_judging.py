"""What is said of a classifier's judgement: by class, which for which, and where it is worst."""

import csv
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.named import CLASSES
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.evaluate import probabilities
from efficientnet_rosetta.common.training.judging import Judgement, write_csv, write_picture
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.peers.operators import declare

NAMES = ("ant", "bee", "cat")
softmax = partial(probabilities, independent=False)


def judged(worst=2, batch=4):
    """Nine images of three classes, of which the sixth cannot be read, in batches."""
    labels = np.array([0, 0, 0, 1, 1, -1, 1, 2, 2])
    taken = np.array([0, 1, 1, 1, 1, 0, 0, 2, 2])
    logits = np.eye(3)[taken] * np.arange(1.0, 10)[:, None]
    judgement = Judgement(3, worst, softmax)
    for first in range(0, 9, batch):
        part = slice(first, first + batch)
        read = labels[part] >= 0
        judgement.count(first, logits[part][read], labels[part])
    return judgement


@pytest.mark.parametrize("batch", [1, 4, 9])
def test_counts_do_not_depend_on_the_batch(batch):
    found = judged(batch=batch)
    assert found.confusion.tolist() == [[1, 2, 0], [1, 2, 0], [0, 0, 2]]
    scores = found.by_class(NAMES)
    assert [score.precision for score in scores] == [1 / 2, 2 / 4, 1.0]
    assert [score.recall for score in scores] == [1 / 3, 2 / 3, 1.0]
    assert scores[0].to_dict() == {
        "name": "ant",
        "images": 3,
        "predicted": 2,
        "correct": 1,
        "precision": 0.5,
        "recall": 1 / 3,
    }
    worst = found.worst(NAMES, "image {}".format)
    assert [image.path for image in worst] == ["image 6", "image 2"]
    assert (worst[0].true, worst[0].predicted) == ("bee", "ant")
    share = np.exp(7) / (np.exp(7) + 2)
    assert worst[0].probability == pytest.approx(share)
    assert worst[0].true_probability == pytest.approx((1 - share) / 2)


def test_of_images_that_are_as_bad_the_first_are_kept():
    judgement = Judgement(2, 2, softmax)
    judgement.count(0, np.zeros((5, 2)), np.ones(5, np.int64))
    assert [image.path for image in judgement.worst(NAMES, str)] == ["0", "1"]
    assert len(Judgement(2, 0, softmax).worst(NAMES, str)) == 0


def test_what_there_is_none_of_has_no_share():
    judgement = Judgement(2, 0, softmax)
    judgement.count(0, np.array([[1.0, 0.0]]), np.array([0]))
    ant, bee = judgement.by_class(NAMES[:2])
    assert (ant.precision, ant.recall) == (1.0, 1.0)
    assert (bee.precision, bee.recall) == (None, None)


def test_the_matrix_is_a_table(tmp_path):
    path = tmp_path / "c.csv"
    write_csv(path, judged().confusion, ("a, b", "bee", "c\nat"))
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head[1:] == [row[0] for row in rows]
    assert head[1] == "a, b"
    assert "\n" not in head[3]
    assert [list(map(int, row[1:])) for row in rows] == judged().confusion.tolist()


@pytest.mark.parametrize("classes", [2, 40, 1000])
def test_the_matrix_is_a_picture(classes, tmp_path):
    confusion = np.zeros((classes, classes), np.int64)
    confusion[0, 0] = 3  # all of the first class are right, all of the second wrong
    confusion[1, 0] = 2
    path = tmp_path / "c.png"
    write_picture(path, confusion, [f"class {number}" for number in range(classes)])
    with Image.open(path) as image:
        assert max(image.size) < 2200
        pixels = np.asarray(image.convert("RGB")).astype(int)
    dark = np.abs(pixels - (8, 48, 107)).sum(2) < 3
    rows, columns = np.nonzero(dark)
    cell = np.ptp(columns) + 1  # the first column, as high as two cells
    assert np.ptp(rows) + 1 == 2 * cell


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Weights of three named classes, and images of two of them."""
    declare()  # Lightning's metrics import torchvision
    root, random = tmp_path_factory.mktemp("judged"), np.random.default_rng(0)
    network = resolve("b0", width=0.1, depth=0.1, resolution=32, num_classes=3)
    save(root / "w.safetensors", network, calibrated(network))
    (root / CLASSES).write_text(json.dumps({name: place for place, name in enumerate(NAMES)}))
    for name in ("ant", "cat"):
        (root / "data" / name).mkdir(parents=True)
        for number in range(5):
            pixels = random.integers(256, size=(40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "data" / name / f"{number}.png")
    return root


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_the_command_says_all(room, tmp_path, backend):
    common = ["evaluate", "--weights", room / "w.safetensors", "--data", room / "data"]
    options = ["--backend", backend, "--batch", 4, "--workers", 0, "--worst", 3]
    files = ["--confusion", tmp_path / "c.csv", "--confusion", tmp_path / "c.PNG"]
    done = CliRunner().invoke(app, list(map(str, [*common, *options, *files, "--json"])))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert np.sum(found["confusion"], axis=1).tolist() == [5, 0, 5]
    assert [score["name"] for score in found["classes"]] == list(NAMES)
    right = sum(score["correct"] for score in found["classes"])
    assert found["top1"] == pytest.approx(right / 10)
    shares = [image["true_probability"] for image in found["worst"]]
    assert shares == sorted(shares)
    assert len(shares) == 3
    assert all(str(room / "data" / image["true"]) in image["path"] for image in found["worst"])
    assert (tmp_path / "c.csv").read_text().startswith("true/predicted,ant,bee,cat\nant,")
    assert Image.open(tmp_path / "c.PNG").format == "PNG"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--confusion", "c.txt"], "c.txt: is not a name for a confusion matrix; let it end in "),
        (["--confusion", "none/c.csv"], "none/c.csv: "),
        (["--worst", "-1"], "worst is -1; it must be at least 0"),
    ],
)
def test_what_cannot_be_said_is_one_line(room, options, said):
    common = ["evaluate", "--weights", room / "w.safetensors", "--data", room / "data"]
    done = CliRunner().invoke(app, list(map(str, [*common, *options])))
    assert isinstance(done.exception, RosettaError)
    assert str(done.exception).startswith(said)
