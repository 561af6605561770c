"""What `rosetta predict` prints: a table, JSON, CSV; a note about an assumption; a bar."""

import csv
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.checkpoints.named import CLASSES, ClassNames
from efficientnet_rosetta.common.classes.imagenet import published
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.cli import predict as command
from efficientnet_rosetta.common.errors import UnreadableImageError
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training import predict as training
from efficientnet_rosetta.common.training.predict import Prediction
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.support import weights_of

from .support import as_json, predict, refused

NAMES = ("ant", "bee", "cat", "dog", "elk")
TORCH = ("--backend", "torch")


@pytest.fixture
def named(weights):
    """Weights whose classes have names."""
    table = {name: number for number, name in enumerate(NAMES)}
    (weights.parent / CLASSES).write_text(json.dumps(table))
    return weights


@pytest.fixture
def thousand(network, tmp_path):
    """Weights of a thousand classes that nothing names."""
    wide = changed(network, num_classes=1000)
    save(tmp_path / "thousand.safetensors", wide, initial(wide))
    return tmp_path / "thousand.safetensors"


def test_a_table(named, pictures):
    out, err = predict(named, pictures, "--top", 2, *TORCH)
    rows = [line.split() for line in out.splitlines() if "%" in line]
    assert len(rows) == 10
    assert [row[0] for row in rows[::2]] == [
        str(pictures / name) for name in ("2.png", "10.png", "a/3.png", "a/20.png", "b/1.JPG")
    ]
    assert {row[-2] for row in rows} < set(NAMES)
    assert not err


def test_json(named, pictures):
    found = as_json(named, pictures / "a", "--top", 2, *TORCH)
    assert found["weights"] == str(named)
    assert (found["names_from"], found["assumed"], found["unreadable"]) == (CLASSES, False, {})
    assert len(found["images"]) == 2
    for image in found["images"]:
        assert [*image] == ["path", "classes", "labels", "wnids", "probabilities"]
        assert image["labels"] == [NAMES[number] for number in image["classes"]]
        assert image["wnids"] == [None, None]
        assert 1 > image["probabilities"][0] >= image["probabilities"][1] > 0


def test_csv_says_the_same_as_json(named, pictures):
    out, _ = predict(named, pictures, "--csv", *TORCH)
    rows = list(csv.DictReader(io.StringIO(out)))
    images = as_json(named, pictures, *TORCH)["images"]
    assert len(rows) == 5 * 5
    for number, image in enumerate(images):
        mine = rows[5 * number : 5 * number + 5]
        assert {row["image"] for row in mine} == {image["path"]}
        assert [row["rank"] for row in mine] == list("12345")
        assert [int(row["class"]) for row in mine] == image["classes"]
        assert [row["label"] for row in mine] == image["labels"]
        assert [float(row["probability"]) for row in mine] == image["probabilities"]


def test_words_of_imagenet_with_identifiers_and_a_note_that_they_are_assumed(thousand, pictures):
    known = published(1000)
    arguments = [pictures / "2.png", "--top", 3, *TORCH]
    found = as_json(thousand, *arguments)
    (image,) = found["images"]
    assert (found["names_from"], found["assumed"]) == ("ImageNet-1k", True)
    assert image["labels"] == [known.words[number] for number in image["classes"]]
    assert image["wnids"] == [known.wnids[number] for number in image["classes"]]
    for form in ((), ("--csv",), ("--json",)):
        out, err = predict(thousand, *arguments, *form)
        assert "note" not in out
        assert err == (
            f"note: nothing names the 1,000 classes of {thousand}; they are assumed to be those of "
            "ImageNet-1k (--names numbers prints numbers instead)\n"
        )
        assert image["labels"][0] in out
    rows = csv.DictReader(io.StringIO(predict(thousand, *arguments, "--csv")[0]))
    assert [row["wnid"] for row in rows] == image["wnids"]


@pytest.mark.parametrize("asked", ["imagenet", "numbers"])
def test_what_was_asked_for_is_no_assumption(asked, thousand, pictures):
    out, err = predict(thousand, pictures / "2.png", "--names", asked, "--csv", *TORCH)
    first = next(csv.DictReader(io.StringIO(out)))
    words = published(1000).words if asked == "imagenet" else list(map(str, range(1000)))
    assert first["label"] == words[int(first["class"])]
    assert not err


def test_batches_say_what_images_alone_say(named, pictures):
    alone = as_json(named, pictures, "--batch", 1, *TORCH)["images"]
    for batch in (2, 32):
        together = as_json(named, pictures, "--batch", batch, *TORCH)["images"]
        for one, other in zip(alone, together, strict=True):
            assert one["path"] == other["path"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)


def test_what_cannot_be_predicted_is_one_line(named, pictures, tmp_path):
    image = pictures / "2.png"
    assert refused(named, image, *TORCH, "--top", 0) == "top is 0; it must be at least 1"
    assert refused(named, image, *TORCH, "--batch", 0) == "batch is 0; it must be at least 1"
    line = "json and csv exclude one another; choose one"
    assert refused(named, image, *TORCH, "--json", "--csv") == line
    (named.parent / CLASSES).write_text('{"a": 0}')
    line = "has 5 classes, but class_indices.json beside it 1"
    assert line in refused(named, image, *TORCH)
    headless = resolve("b0", width=0.25, depth=0.1, resolution=64, num_classes=None)
    save(tmp_path / "h.safetensors", headless, weights_of(headless))
    line = "has no classifier; train one"
    assert line in refused(tmp_path / "h.safetensors", image, *TORCH)


# ------------------------------------------------------------------ nothing of a terminal


ODD = [("[red]x.png", "[/x]"), ("a\n\x1b[2Jb.png", "\x1b]0;c\x07"), ("c,d.png", 'x "y", z')]


@pytest.fixture
def odd(monkeypatch, tmp_path):
    """Predictions with names that a terminal, or a table, would take for something else."""
    nothing = np.zeros((1, 1, 1))
    found = [
        Prediction(tmp_path / name, (0,), (label,), (0.5,), nothing, nothing, (None,))
        for name, label in ODD
    ]

    def predictions(images, unreadable, progress):
        unreadable(images[0], UnreadableImageError("\x1b[2J", "is\nnone"))
        return iter(found)

    predictor = SimpleNamespace(names=ClassNames((), None), predictions=predictions)
    monkeypatch.setattr(training, "prepared", lambda *arguments, **options: predictor)
    return [(str(tmp_path / name), label) for name, label in ODD]


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_names_from_outside_are_printed_as_they_are(form, odd):
    done = CliRunner().invoke(app, ["predict", "x.png", "--weights", "w", *form])
    assert done.exit_code == 2
    assert "\x1b" not in done.output
    assert done.stderr == "rosetta: \\x1b[2J: is\\nnone\n"
    if form == ("--json",):
        images = json.loads(done.stdout)["images"]
        assert [(image["path"], image["labels"][0]) for image in images] == odd
        return
    shown = [
        (path.replace("\n\x1b", r"\n\x1b"), re.sub("\x1b(.*)\x07", r"\\x1b\1\\x07", label))
        for path, label in odd
    ]
    if form:
        rows = csv.DictReader(io.StringIO(done.stdout))
        assert [(row["image"], row["label"]) for row in rows] == shown
    else:
        for path, label in shown:
            assert path in done.stdout
            assert label in done.stdout


def test_a_bar_on_a_terminal_only(monkeypatch, named, pictures):
    drawn = io.StringIO()

    def terminal(stderr):
        return Console(stderr=stderr, file=drawn, force_terminal=True)

    assert not predict(named, pictures, *TORCH)[1]
    monkeypatch.setattr(command, "Console", terminal)
    out, _ = predict(named, pictures, "--json", *TORCH)
    assert len(json.loads(out)["images"]) == 5
    assert "5/5" in drawn.getvalue()


def test_the_photograph_of_the_package_is_looked_at(named):
    assert as_json(named, PHOTOGRAPH, *TORCH)["images"][0]["path"] == str(PHOTOGRAPH)
