"""Class activation maps: exact, alike in both frameworks, and where the evidence is."""

import json

import numpy as np
import pytest
from PIL import Image

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.protocol import loaded
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.images.transforms import evaluation_image
from efficientnet_rosetta.common.training.activation import (
    HEAT,
    activation_maps,
    cell_centres,
    overlay,
    save_maps,
)
from efficientnet_rosetta.common.training.predict import Prediction
from efficientnet_rosetta.common.weights.canonical import load, save
from parity_tests.support import BACKENDS, weights_of

from .support import as_json, predict, refused

WHOLE = FAMILIES["transformers"]  # which resizes an image, and cuts nothing off
SIDE, SQUARE = 256, 96  # pixels: eight cells of a map, and three
PLACES = [(0, 0), (160, 64), (96, 160)]  # of the square: rows and columns of its first pixel


def planted(row, column):
    """A photograph with a square of stripes in it, as uint8."""
    pixels = np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((SIDE, SIDE))).copy()
    stripes = np.where(np.arange(SQUARE) // 4 % 2, 255, 0).astype(np.uint8)
    pixels[row : row + SQUARE, column : column + SQUARE] = stripes[:, None, None]
    return pixels


NETWORKS = {
    "same": ("b0", {"width": 0.25, "depth": 0.1, "dialect": "tensorflow"}),
    "symmetric": ("b0", {"width": 0.25, "depth": 0.1, "dialect": "pytorch"}),
    "xception": ("xception", {"width": 0.25, "middle_blocks": 1}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def detector(request, tmp_path_factory):
    """Weights whose second class is the stripes: its row is what tells their features apart."""
    preset, given = NETWORKS[request.param]
    network = resolve(preset, **given, resolution=SIDE, num_classes=2)
    values = dict(weights_of(network))
    backend = get_backend("torch")
    model = loaded(backend, network, values)
    images = [evaluation_image(planted(*place), network.resolution, WHOLE) for place in PLACES]
    role = network.maps[-1].role
    heads = backend.endpoints(model, np.stack(images), (role,))[role].transpose(0, 2, 3, 1)
    striped = np.stack([inside(network, *place) for place in PLACES])
    apart = heads[striped].mean(0) - heads[~striped].mean(0)
    values["classifier.weight"] = np.stack([-apart, apart]).astype(np.float32)
    values["classifier.bias"] = np.zeros(2, np.float32)
    path = tmp_path_factory.mktemp("detector") / "w.safetensors"
    save(path, network, values)
    path.with_name("class_indices.json").write_text(json.dumps(["photograph", "stripes"]))
    return path


def inside(network, row, column):
    """Which cells of the last map look into the square: (h, w)."""
    rows, columns = cell_centres(network)
    down = (rows >= row) & (rows < row + SQUARE)
    return down[:, None] & (columns >= column) & (columns < column + SQUARE)


def test_the_evidence_is_in_the_square_in_both_frameworks(detector, tmp_path):
    network, _ = load(detector)
    for number, place in enumerate(PLACES):
        Image.fromarray(planted(*place)).save(tmp_path / f"{number}.png")
    one, other = (
        rosetta.predict(detector, tmp_path, backend=backend, family=WHOLE.name)
        for backend in BACKENDS
    )
    for place, *found in zip(PLACES, one, other, strict=True):
        assert found[0].classes == found[1].classes
        first, second = (prediction.maps for prediction in found)
        assert np.abs(first - second).max() <= 1e-4 * np.abs(first).max()
        striped = inside(network, *place)
        for prediction in found:
            evidence = prediction.maps[prediction.labels.index("stripes")]
            assert striped[np.unravel_index(evidence.argmax(), evidence.shape)]
            others = evidence[~striped]
            assert evidence[striped].mean() > others.mean() + others.std()


@pytest.mark.parametrize(
    ("preset", "given", "first", "step", "cells"),
    [
        ("b0", {"dialect": "tensorflow"}, 31, 32, 7),
        ("b0", {"dialect": "pytorch"}, 0, 32, 7),
        ("b3", {"dialect": "pytorch"}, 0, 32, 10),
        # 1 and 2 of the stem, which is not padded, and 4 of the pooling of an even size.
        ("xception", {}, 7, 32, 10),
    ],
)
def test_a_cell_looks_at_the_middle_of_what_it_depends_on(preset, given, first, step, cells):
    rows, columns = cell_centres(resolve(preset, **given))
    assert (rows == columns).all()
    assert len(rows) == cells
    assert (np.diff(rows) == step).all()
    assert rows[0] == first


def test_a_map_adds_up_to_the_logit(weights):
    network, values = load(weights)
    backend = get_backend("torch")
    pixels = decode(PHOTOGRAPH.read_bytes(), "photograph")
    image = evaluation_image(pixels, network.resolution)[None]
    (logits,) = backend.run(loaded(backend, network, values), image)
    for name in BACKENDS:
        (found,) = rosetta.predict(weights, PHOTOGRAPH, backend=name)
        assert found.classes == tuple(np.argsort(-logits))
        means = found.maps.mean((1, 2))
        np.testing.assert_allclose(means, logits[list(found.classes)], rtol=1e-4, atol=1e-5)
        assert np.ptp(found.maps, axis=(1, 2)).min() > 0.1  # and is no constant


def test_a_map_follows_the_evidence():
    """One channel speaks for a class, and is on in one corner."""
    head = np.zeros((2, 4, 4))
    head[1, 0, 3] = 16.0
    rows = np.array([[0.0, 0.0], [0.0, 2.0]])
    found = activation_maps(
        head, {"classifier.weight": rows, "classifier.bias": np.array([0.5, -1.0])}, [1, 0]
    )
    assert found[0, 0, 3] == 31.0
    assert found[0].mean() == 1.0  # the logit, 2 * 1 - 1
    assert (found[1] == 0.5).all()


# ------------------------------------------------------------------ pictures


def test_a_picture_is_red_where_the_evidence_is_and_blue_where_there_is_none():
    """Of a map of 4 x 8 cells over a black image of 64 x 128 pixels."""
    activation = np.zeros((4, 8))
    activation[1, 6] = 5.0
    centres = 15 + 16 * np.arange(4), 16 * np.arange(8)
    found = overlay(activation, np.zeros((64, 128, 3), np.uint8), centres)
    assert (found[31, 96] == HEAT[-1] / 2).all()  # the centre of the cell
    far = np.ones((64, 128), bool)
    far[16:47, 81:112] = False  # up to where the next cells look, which have no evidence
    assert (found[far] == HEAT[0] / 2).all()
    np.testing.assert_allclose(found[31, 88], HEAT[1:3].mean(0) / 2, atol=0.5)  # half way


def test_a_constant_map_is_a_picture_too():
    centres = np.array([0, 4]), np.array([3, 7])
    found = overlay(np.full((2, 2), 3.0), np.full((8, 8, 3), 200, np.uint8), centres)
    assert (found == HEAT[0] / 2 + 100).all()


def test_a_map_of_one_cell_is_a_picture_too():
    centres = np.array([15]), np.array([15])
    assert overlay(np.ones((1, 1)), np.zeros((32, 32, 3), np.uint8), centres).shape == (32, 32, 3)


def test_pictures_are_named_after_number_image_rank_and_class(weights, pictures, tmp_path):
    folder = tmp_path / "new" / "maps"
    common = ["--top", 2, "--backend", "torch", "--cam", folder]
    found = as_json(weights, pictures / "10.png", pictures / "a", *common)
    written = [path for image in found["images"] for path in image["maps"]]
    assert written == [
        str(folder / f"{number:03}-{stem}-{rank}-{label}.png")
        for number, (image, stem) in enumerate(zip(found["images"], ("10", "3", "20"), strict=True))
        for rank, label in enumerate(image["labels"], 1)
    ]
    assert sorted(map(str, folder.iterdir())) == sorted(written)
    assert {Image.open(path).size for path in written} == {(64, 64)}
    out, _ = predict(weights, pictures / "10.png", pictures / "a", *common)
    assert out.splitlines()[-6:] == written


@pytest.mark.parametrize(
    "label", ["a/b", "../../x", "n:\\c*?\x1b", "ä" * 300, "crane (n02012849)", "\udcff"]
)
def test_any_name_of_a_class_makes_a_name_of_a_file(label, tmp_path):
    maps, pixels = np.zeros((1, 1, 1)), np.zeros((4, 4, 3), np.uint8)
    found = Prediction("x.png", (0,), (label,), (1.0,), maps, pixels)
    (path,) = save_maps(tmp_path, f"000-{label}", found, (np.zeros(1), np.zeros(1)))
    assert path.parent == tmp_path
    assert [*tmp_path.iterdir()] == [path]
    assert len(path.name.encode()) <= 255


def test_a_folder_that_cannot_be_made_is_one_line(weights, pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused(weights, pictures, "--backend", "torch", "--cam", tmp_path / "file" / "maps")
    assert line == f"{tmp_path / 'file' / 'maps'}: cannot be made (Not a directory)"
