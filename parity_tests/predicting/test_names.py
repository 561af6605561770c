"""What classes are called: by the file, by what is beside it, by whoever asks, or by assumption."""

import json
import zipfile

import pytest
import torch
from PIL import Image

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.checkpoints.formats import read
from efficientnet_rosetta.common.checkpoints.load import load
from efficientnet_rosetta.common.checkpoints.named import (
    THE_FILE,
    class_names,
    folder_names,
    stated_names,
)
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.classes.forms import MOST
from efficientnet_rosetta.common.classes.imagenet import published
from efficientnet_rosetta.common.errors import FileError, UsageError
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.initial import initial
from efficientnet_rosetta.common.weights.metadata import ACTIVATION, CLASS_NAMES, FAMILY

NAMES = ("ant", "bee", "cat", "dog", "elk")
INDICES = {name: number for number, name in enumerate(NAMES)}
BY_NUMBER = {str(number): name for number, name in enumerate(NAMES)}
WNIDS = ("n02124075", "n07920052", "n04009552", "n03792782", "n11939491")
WORDS = ("Egyptian cat", "espresso", "projector", "mountain bike", "daisy")
TABLES = {
    "class_indices.json": [INDICES, BY_NUMBER, list(NAMES)],
    "config.json": [
        {"id2label": BY_NUMBER, "label2id": INDICES},
        {"architecture": "tf_efficientnet_b0", "num_classes": 5, "label_names": list(NAMES)},
        {"pretrained_cfg": {"label_names": NAMES}},
        {"pretrained_cfg": {"labels": NAMES}},
        {
            "label_names": list("abcde"),
            "label_descriptions": dict(zip("abcde", NAMES, strict=True)),
        },
    ],
    "imagenet_class_index.json": [
        {str(n): pair for n, pair in enumerate(zip(WNIDS, NAMES, strict=True))}
    ],
}
BESIDE = [(file, said) for file, tables in TABLES.items() for said in tables]


def called(path, given=None):
    """The names of the classes of a file of weights, and what they are from."""
    found = load(path)
    said = class_names(found, found.network.num_classes, given)
    return tuple(label.name for label in said.labels), said


def of_so_many(network, path, classes, **said):
    """Save weights of so many classes, with something in their metadata."""
    network = changed(network, num_classes=classes)
    save(path, network, initial(network), said)
    return path


# ------------------------------------------------------------------ who says it


@pytest.mark.parametrize(("file", "said"), BESIDE, ids=lambda value: str(value)[:30])
def test_what_a_file_beside_the_weights_says(file, said, weights):
    (weights.parent / file).write_text(json.dumps(said))
    names, found = called(weights)
    assert names == NAMES
    assert file in found.source
    assert not found.assumed


@pytest.mark.parametrize("file", ["class_indices.json", "config.json"])
def test_identifiers_of_wordnet_are_read_as_words(file, weights):
    said = {wnid: number for number, wnid in enumerate(WNIDS)}
    (weights.parent / file).write_text(
        json.dumps(said if file != "config.json" else {"label_names": WNIDS})
    )
    names, found = called(weights)
    assert names == WORDS
    assert tuple(label.wnid for label in found.labels) == WNIDS


def test_what_the_file_says_counts_first_then_its_neighbours_in_order(network, weights):
    for file, tables in TABLES.items():
        (weights.parent / file).write_text(json.dumps(tables[0]).replace("ant", file))
    mine = of_so_many(
        network,
        weights.with_name("mine.safetensors"),
        5,
        **{CLASS_NAMES: json.dumps(list("vwxyz"))},
    )
    assert called(mine)[0] == tuple("vwxyz")
    for file in TABLES:
        assert called(weights)[0][0] == file
        (weights.parent / file).unlink()
    assert called(weights)[0] == tuple("01234")


STATED = [
    {"class_to_idx": INDICES},
    {"idx_to_class": dict(enumerate(NAMES))},
    {"classes": list(NAMES)},
    {"class_names": NAMES},
    {"hyper_parameters": {"id2label": dict(enumerate(NAMES))}},
    {
        "meta": {
            "label_names": list("abcde"),
            "label_descriptions": dict(zip("abcde", NAMES, strict=True)),
        }
    },
]


def held(path, **said):
    """What a checkpoint of PyTorch calls its five classes that holds this beside its weights."""
    torch.save({"state_dict": {"w": torch.zeros(1)}, "epoch": 3, **said}, path)
    return stated_names(path, 5, read(path).metadata)


@pytest.mark.parametrize("said", STATED, ids=lambda said: str(said)[:30])
def test_what_a_checkpoint_of_pytorch_holds_beside_its_weights(said, tmp_path):
    found = held(tmp_path / "x.pth", **said)
    assert tuple(label.name for label in found.labels) == NAMES
    assert found.source == THE_FILE


@pytest.mark.parametrize(
    "said",
    [
        *({"classes": 5}, {"classes": ["ant"]}, {"classes": [["ant", "bee"]] * 5}, {"labels": "x"}),
        *(
            {"labels": torch.zeros(5)},
            {"id2label": {"ant": "bee"}},
            {"class_names": [1, 2, 3, 4, 5]},
        ),
    ],
    ids=lambda said: str(said)[:30],
)
def test_what_is_not_meant_as_names_is_passed_over(said, tmp_path):
    assert held(tmp_path / "x.pth", **said) is None


def test_a_list_in_very_many_dictionaries_is_looked_at_a_few_times(tmp_path):
    names = [*map(str, range(MOST // 2 - 1)), None]  # the last makes it no list of names
    many = {f"d{number}": {"classes": names} for number in range(2**12)}
    assert held(tmp_path / "x.pth", **many, z={"classes": NAMES}) is None
    assert held(tmp_path / "x.pth", d={"classes": names}, z={"classes": NAMES}) is not None


def test_labels_that_are_packed_into_a_file_of_tensorflow_lite(weights):
    """As TensorFlow's metadata writer does: a zip archive after the model."""
    found, path = load(weights), weights.with_name("x.tflite")
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "\n".join(NAMES) + "\n")
    packed = type(found)(**{**vars(found), "path": path})
    names = class_names(packed, 5)
    assert tuple(label.name for label in names.labels) == NAMES
    assert names.source == "labels.txt in the file of weights"
    path.write_bytes(path.read_bytes()[:150])
    assert class_names(packed, 5).source is None


# ------------------------------------------------------------------ a port keeps it


PORTED = [
    *(("canonical", "x.safetensors"), ("timm-tf", "x.pth"), ("keras-applications", "x.h5")),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("timm-tf", "x.safetensors"), ("keras-applications", "x.weights.h5"))
    ),
]


@pytest.fixture(scope="module")
def b0(tmp_path_factory):
    """Weights of B0 with five classes, which a configuration beside them names."""
    path = tmp_path_factory.mktemp("b0") / "w.safetensors"
    network = resolve("b0", num_classes=5)
    save(path, network, initial(network))
    path.with_name("config.json").write_text(json.dumps({"id2label": BY_NUMBER}))
    return path


@pytest.mark.parametrize(("layout", "name"), PORTED)
def test_a_port_keeps_the_names(layout, name, b0, tmp_path):
    port(b0, tmp_path / name, layout, run=False)
    said = read(tmp_path / name).metadata
    found = stated_names(tmp_path / name, 5, said)
    assert tuple(label.name for label in found.labels) == NAMES
    assert found.source == THE_FILE
    assert folder_names(tmp_path / name, said) == (NAMES if layout == "canonical" else None)


def test_names_do_not_go_with_a_new_classifier(weights, tmp_path):
    (weights.parent / "config.json").write_text(json.dumps({"id2label": BY_NUMBER}))
    for name, options in (("a", {"classes": 5}), ("b", {"drop_head": True}), ("c", {})):
        path = tmp_path / f"{name}.safetensors"
        port(weights, path, "canonical", run=False, **options)
        assert (CLASS_NAMES in read(path).metadata) == (name == "c")


def test_identifiers_stay_with_a_port(weights, tmp_path):
    """They are the folders of ImageNet, and words follow from them."""
    (weights.parent / "class_indices.json").write_text(json.dumps(WNIDS))
    port(weights, tmp_path / "x.safetensors", "canonical", run=False)
    names, found = called(tmp_path / "x.safetensors")
    assert (names, tuple(label.wnid for label in found.labels)) == (WORDS, WNIDS)
    assert folder_names(tmp_path / "x.safetensors", load(tmp_path / "x.safetensors").metadata) == (
        WNIDS
    )


@pytest.mark.parametrize("said", ["[", '{"ant": "bee"}', "ant, bee", "[" * 100_000])
def test_damaged_names_in_a_file_of_ours_are_one_line(said, network, tmp_path):
    path = of_so_many(network, tmp_path / "x.safetensors", 5, **{CLASS_NAMES: said})
    assert called(path)[1].source is None
    with pytest.raises(FileError, match="the names of the classes in it are damaged"):
        folder_names(path, load(path).metadata)
    assert folder_names(path, {CLASS_NAMES: said}) is None  # somebody else's file


def test_a_table_that_cannot_be_read_keeps_nobody_from_porting(weights, tmp_path):
    (weights.parent / "class_indices.json").write_text("[")
    port(weights, tmp_path / "x.safetensors", "canonical", run=False)
    assert CLASS_NAMES not in load(tmp_path / "x.safetensors").metadata


# ------------------------------------------------------------------ nobody says it


@pytest.mark.parametrize("classes", [1000, 1001, 11821, 21841, 21843])
def test_as_many_classes_as_imagenet_are_assumed_to_be_its_own(classes, network, tmp_path):
    names, found = called(of_so_many(network, tmp_path / "x.safetensors", classes))
    assert names == published(classes).words
    assert found.assumed
    asked, found = called(tmp_path / "x.safetensors", "imagenet")
    assert (asked, found.assumed) == (names, False)
    numbers, found = called(tmp_path / "x.safetensors", "numbers")
    assert (numbers, found.assumed) == (tuple(map(str, range(classes))), False)


@pytest.mark.parametrize("said", [{FAMILY: "official"}, {ACTIVATION: "sigmoid"}], ids=str)
def test_a_thousand_classes_of_somebody_else_are_numbers(said, network, tmp_path):
    """Of a training run of this project, which had no names; or of many labels to an image."""
    names, found = called(of_so_many(network, tmp_path / "x.safetensors", 1000, **said))
    assert (names[7], found.source, found.assumed) == ("7", None, False)


def test_a_thousand_classes_with_names_are_never_taken_for_imagenet(network, tmp_path):
    path = of_so_many(network, tmp_path / "x.safetensors", 1000)
    mine = {str(number): f"LABEL_{number}" for number in range(1000)}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": mine}))
    names, found = called(path)
    assert (names, found.assumed) == (tuple(mine.values()), False)


def test_five_classes_are_numbers(weights):
    names, found = called(weights)
    assert (names, found.source, found.assumed) == (tuple("01234"), None, False)


# ------------------------------------------------------------------ somebody asks for it


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", json.dumps(INDICES)),
        ("x.json", json.dumps({"id2label": BY_NUMBER})),
        ("x", json.dumps(NAMES)),
        ("labels.txt", "ant\nbee\ncat\ndog\nelk\n\n"),
        ("labels.txt", "\ufeffant\r\nbee\r\ncat\r\ndog\r\nelk"),
        ("synsets", "".join(f"{w} {n}\n" for w, n in zip(WNIDS, NAMES, strict=True))),
    ],
)
def test_a_file_of_names(name, text, weights, tmp_path):
    (tmp_path / name).write_text(text, newline="")
    (weights.parent / "class_indices.json").write_text("[")  # which is not looked at
    names, found = called(weights, tmp_path / name)
    assert (names, found.source) == (NAMES, name)


def test_names_that_cannot_be_used_are_one_line(weights, tmp_path):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(["ant", "bee"]))
    with pytest.raises(FileError, match=r"few.json: names 2 classes, but .*w.safetensors has 5"):
        called(weights, few)
    few.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"few.json: is not a table of classes"):
        called(weights, few)
    with pytest.raises(FileError, match=r"none.json: cannot be read"):
        called(weights, tmp_path / "none.json")
    with pytest.raises(UsageError, match="has 5 classes, and no list of ImageNet's has as many"):
        called(weights, "imagenet")


@pytest.mark.parametrize(
    ("file", "said", "line"),
    [
        ("class_indices.json", '{"a": 0}', "5 classes, but class_indices.json beside it 1"),
        ("class_indices.json", '{"a": 1}', "does not number its classes from 0 on"),
        ("class_indices.json", "[", "class_indices.json: is not a table of classes"),
        ("config.json", '{"id2label": {"0": "a"}}', "but id2label of config.json beside it 1"),
        (
            "config.json",
            '{"label_names": {"5": "a"}}',
            "but label_names of config.json beside it 1",
        ),
        ("config.json", '{"id2label": {"a": "b"}}', "its id2label is no table of classes"),
        ("imagenet_class_index.json", "{", "imagenet_class_index.json: is not a table"),
    ],
)
def test_a_table_of_other_classes_is_one_line(file, said, line, weights):
    (weights.parent / file).write_text(said)
    with pytest.raises(FileError, match=line):
        called(weights)


def test_numbers_that_timm_leaves_out_stay_numbers(weights):
    (weights.parent / "config.json").write_text('{"label_names": {"0": "ant", "4": "elk"}}')
    assert called(weights)[0] == ("ant", "1", "2", "3", "elk")


def test_an_index_of_keras_of_other_classes_is_not_meant(weights):
    """It lies beside all weights that Keras fetched."""
    index = {str(n): ["n02124075", "x"] for n in range(1000)}
    (weights.parent / "imagenet_class_index.json").write_text(json.dumps(index))
    assert called(weights)[0] == tuple("01234")


def test_predictions_say_what_their_labels_are_from(network, photograph, tmp_path):
    Image.fromarray(photograph).save(tmp_path / "x.png")
    path = of_so_many(network, tmp_path / "x.safetensors", 1000)
    (found,) = rosetta.predict(path, tmp_path / "x.png", top=2, backend="torch")
    known = published(1000)
    assert found.labels == tuple(known.words[number] for number in found.classes)
    assert found.wnids == tuple(known.wnids[number] for number in found.classes)
    assert (found.names_from, found.assumed) == ("ImageNet-1k", True)
    (found,) = rosetta.predict(path, tmp_path / "x.png", top=2, names="numbers", backend="torch")
    assert found.labels == tuple(map(str, found.classes))
    assert (found.names_from, found.assumed, found.wnids) == (None, False, (None, None))
