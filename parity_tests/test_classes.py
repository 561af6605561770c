"""ImageNet's names as data: against timm's lists, and the order against torchvision's."""

import gzip
import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

from efficientnet_rosetta.common.classes.forms import Label, in_words, labels, table
from efficientnet_rosetta.common.classes.imagenet import DATA, LISTS, WNID, published, words_of

ROOT = Path(__file__).parents[1]
TIMM = Path(find_spec("timm").origin).parent / "data" / "_info"  # its lists, as files
# That of timm with so many classes.
FILES = {
    1000: "imagenet_synsets.txt",
    11821: "imagenet12k_synsets.txt",
    21841: "imagenet22k_synsets.txt",
    21843: "imagenet21k_goog_synsets.txt",
}
# Where torchvision tells classes apart that have one word in WordNet, it adds another.
OTHERWISE = {134: "crane bird", 264: "Cardigan", 517: "crane", 639: "maillot tank suit"}


# ------------------------------------------------------------------ the data


@pytest.mark.parametrize("classes", LISTS)
def test_a_list_is_that_of_timm_in_its_order(classes):
    lines = (TIMM / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    words = dict(line.split("\t") for line in lines)
    wnids = tuple((TIMM / FILES[classes]).read_text().split())
    found = published(classes)
    assert found.wnids == wnids
    assert found.names == tuple(words[wnid] for wnid in wnids)


@pytest.mark.parametrize("classes", [*LISTS, 1001])
def test_every_class_has_an_identifier_and_a_word_of_its_own(classes):
    found = published(classes)
    assert len(found.wnids) == len(found.words) == len(found.names) == classes
    assert len(set(found.wnids)) == len({word.casefold() for word in found.words}) == classes
    assert all(WNID.fullmatch(wnid) for wnid in found.wnids if wnid is not None)
    assert (None in found.wnids) == (classes == 1001)
    for name, word, wnid in zip(found.names, found.words, found.wnids, strict=True):
        assert word in (name.partition(",")[0], name, f"{name} ({wnid})")


def test_the_order_is_that_of_torchvision():
    path = Path(find_spec("torchvision").origin).parent / "models" / "_meta.py"
    theirs = runpy.run_path(path)["_IMAGENET_CATEGORIES"]
    ours = published(1000).words
    assert {n: word for n, word in enumerate(theirs) if word != ours[n]} == OTHERWISE


def test_the_background_class_comes_first():
    found, known = published(1001), published(1000)
    assert (found.wnids[0], found.words[0]) == (None, "background")
    assert (found.wnids[1:], found.words[1:]) == (known.wnids, known.words)


def test_no_other_number_of_classes_is_a_list():
    assert published(999) is None
    assert published(5) is None


def test_words_of_identifiers():
    assert words_of(["n02124075", "n07920052"]) == ("Egyptian cat", "espresso")
    assert words_of(["n02124075", "n00000000"]) is None


def test_the_program_writes_the_file_that_is_there():
    """The text: another zlib may make other bytes of it."""
    program = runpy.run_path(ROOT / "docs" / "classes.py")
    assert gzip.decompress(DATA.read_bytes()).decode() == program["text"]()
    assert DATA.stat().st_size < 320_000


def test_the_notice_of_wordnet_goes_along():
    text = DATA.with_name("LICENSE.wordnet").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in text
    assert "LICENSE.wordnet" in DATA.with_name("README.md").read_text()


# ------------------------------------------------------------------ forms


ANT, BEE = Label("ant"), Label("bee")


@pytest.mark.parametrize(
    "said",
    [
        ["ant", "bee"],
        ("ant", "bee"),
        {"ant": 0, "bee": 1},
        {"bee": 1, "ant": 0},
        {"0": "ant", "1": "bee"},
        {1: "bee", 0: "ant"},
    ],
    ids=str,
)
def test_every_form_is_the_same_table(said):
    assert labels(said) == {0: ANT, 1: BEE}


def test_identifiers_come_along():
    said = {"0": ["n02124075", "Egyptian cat"], "1": ["n07920052", "espresso"]}
    assert labels(said)[1] == Label("espresso", "n07920052")
    assert labels([*said.values()]) == labels(said)
    assert in_words(labels(["n02124075", "n07920052"])) == labels(said)
    mixed = labels(["n02124075", "my cup"])
    assert in_words(mixed) == mixed


def test_descriptions_are_of_names():
    config = {"label_names": {"0": "a1", "2": "b2"}, "label_descriptions": {"b2": "bee"}}
    assert table(config, "label_names") == {0: Label("a1"), 2: BEE}
    assert table({"classes": 1000}, "classes") == {}
    assert table({}, "id2label") == {}


@pytest.mark.parametrize(
    "said",
    [
        *(3, "ant", None, [], {}, [1, 2], [["ant", "bee"]], {"ant": "bee"}, {"ant": 0, "bee": 0}),
        *({"0": 1.5}, {"ant": True}, {"ant": 1e999}, {"0": "ant", "00": "bee"}, {"0": ["x", "y"]}),
        *({"9" * 10_000: "ant"}, {"²": "ant"}),
    ],
    ids=lambda said: ascii(said)[:20],
)
def test_what_is_no_table(said):
    with pytest.raises(ValueError, match=r"no |two |neither|a number"):
        labels(said)
