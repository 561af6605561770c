"""Every record is whole, speaks of things that this project has, and says where it is from."""

import json
import math
import re
from collections import Counter
from functools import lru_cache
from importlib.resources import files

import pytest

from efficientnet_rosetta.common.architectures import PRESETS, resolve
from efficientnet_rosetta.common.catalogue.location import Address, HubFile, KaggleFile
from efficientnet_rosetta.common.catalogue.preparation import preparation
from efficientnet_rosetta.common.catalogue.records import Record, libraries, records
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.images.fitting import Centre, CropFirst, ResizeFirst, Squash
from efficientnet_rosetta.common.images.normalization import INCEPTION
from efficientnet_rosetta.common.network import DIALECTS

RECORDS = list(records())
DIGITS = {"sha256": 64, "md5": 32}
SHORTEST_HASH = 8  # digits, of the beginning that PyTorch's libraries write into file names
CLASSES = {0, 1000, 1001, 11821, 21843}
# Their address is another preset's, which is B1: what KerasHub's own table says.
WRONG_ADDRESS = {
    "keras-hub:efficientnet_es_ra_imagenet",
    "keras-hub:efficientnet_em_ra2_imagenet",
    "keras-hub:efficientnet_el_ra_imagenet",
}
# timm squashes the image and then cuts 0.9 of it, which no family does.
NO_EXACT_FAMILY = {"timm:tf_efficientnetv2_b3.in21k_ft_in1k"}


def wrong(check, among=RECORDS):
    """The references of the records that fail a check."""
    return [record.reference for record in among if not check(record)]


def test_the_catalogue_has_what_was_published():
    assert {name: len(library.records) for name, library in libraries().items()} == {
        "automl": 23,
        "efficientnet-pytorch": 17,
        "geffnet": 45,
        "kecam": 45,
        "keras-applications": 32,
        "keras-hub": 17,
        "kimm": 21,
        "qubvel": 32,
        "smp": 50,
        "timm": 99,
        "torchvision": 12,
        "tpu": 44,
        "transformers": 8,
        "zeromodels": 54,
    }


@pytest.mark.parametrize("library", libraries().values(), ids=lambda library: library.name)
def test_no_name_of_a_library_means_two_records(library):
    names = Counter(
        name.lower() for record in library.records for name in (record.name, *record.aliases)
    )
    assert [name for name, times in names.items() if times > 1] == []
    assert not [name for name in names if not re.fullmatch(r"[\w.:/-]+", name)]


def test_no_other_name_of_a_library_is_anothers():
    names = Counter(
        name
        for library in libraries().values()
        for name in {
            re.sub(r"[\s._/-]+", "-", known.lower()) for known in (library.name, *library.aliases)
        }
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_what_can_be_ported_is_said_whole_and_what_cannot_says_why():
    assert not wrong(
        lambda record: (
            (record.unported is None)
            == (None not in (record.preset, record.layout, record.dialect))
        )
    )


def test_names_of_this_project_are_known():
    assert not wrong(lambda record: record.preset is None or record.preset in PRESETS)
    assert not wrong(lambda record: record.dialect is None or record.dialect in DIALECTS)
    assert not wrong(lambda record: record.family is None or record.family in FAMILIES)


def test_the_layout_holds_the_network_and_computes_in_the_dialect():
    def fits(record):
        if record.unported is not None:
            return True
        layout = layout_of(record.layout, record.preset)
        return layout is not None and layout.runs(record.preset, DIALECTS[record.dialect])

    assert not wrong(fits)


def test_the_family_is_of_the_same_weights():
    def fits(record):
        if record.family is None:
            return record.unported is not None
        family = FAMILIES[record.family]
        return (
            family.architecture == PRESETS[record.preset].name
            and (not family.presets or record.preset in family.presets)
            and family.layout in (record.layout, record.library)
        )

    assert not wrong(fits)


def test_mean_and_deviation_are_those_of_the_family_or_win_over_it():
    kept = [r for r in RECORDS if r.family and preparation(r) == FAMILIES[r.family]]
    assert len(kept) > 350
    for record in RECORDS:
        found = preparation(record)
        if found is not None and record not in kept:
            assert found.normalization == INCEPTION, record.reference
            assert (found.fit, found.name) == (FAMILIES[record.family].fit, record.family)


def test_timms_families_resize_as_its_configurations_say():
    def fits(record):
        fit = FAMILIES[record.family].fit
        if isinstance(fit, Squash):
            return record.squash and record.crop == 1
        assert isinstance(fit, ResizeFirst)
        image = (1000, 2000)
        (height, _) = fit.fit(image, (record.size, record.size)).size
        return not record.squash and height == math.floor(record.size / record.crop)

    mine = [r for r in RECORDS if r.library == "timm" and r.family]
    kernels = {r.reference for r in mine} - {
        r.reference for r in mine if FAMILIES[r.family].interpolation.kernel == r.interpolation
    }
    assert not kernels
    assert set(wrong(fits, mine)) <= NO_EXACT_FAMILY | {
        # The whole image at a size that is not its square: no edge is cut off either way.
        r.reference
        for r in mine
        if r.squash and r.crop == 1
    }


@lru_cache
def trainable(preset, classes):
    network = resolve(preset, num_classes=classes or 1)
    (dense,) = (layer for layer in network.layers if layer.kind == "dense")
    whole = count(network).trainable
    return whole if classes else whole - dense.in_channels - 1


def test_parameters_are_those_of_the_network():
    assert not wrong(lambda r: r.preset is None or r.parameters == trainable(r.preset, r.classes))


def test_numbers_are_possible():
    assert not wrong(lambda r: r.classes in CLASSES)
    assert not wrong(lambda r: r.size is None or 128 <= r.size <= 800)
    assert not wrong(lambda r: r.training_size is None or 128 <= r.training_size < r.size)
    assert not wrong(lambda r: r.crop is None or 0.8 < r.crop <= 1)
    assert not wrong(lambda r: r.top1 is None or 40 < r.top1 < 90)
    assert not wrong(lambda r: r.interpolation in (None, "bicubic", "bilinear", "nearest"))
    assert not wrong(lambda r: (r.mean is None) == (r.std is None))
    assert not wrong(lambda r: r.top1 is None or r.classes in (1000, 1001))


def test_every_field_has_a_source():
    for record in RECORDS:
        assert "classes" in record.stated  # none is a number too
        missing = [name for name in record.stated if not record.source(name)]
        assert not missing, f"{record.reference}: nobody says where {missing} is from"
        assert set(record.sources) - {"*"} <= set(Record.__dataclass_fields__), record.reference


def test_files_have_one_record_a_line_and_repeat_no_source():
    folder = files("efficientnet_rosetta.common.catalogue") / "records"
    for library in libraries().values():
        text = folder.joinpath(f"{library.name}.json").read_text("utf-8")
        lines = [line for line in text.splitlines() if line.startswith('  {"name": ')]
        assert len(lines) == len(library.records)
        data = json.loads(text)
        for line in data["records"]:
            for name, source in line.get("sources", {}).items():
                assert source != data["sources"].get(name), f"{line['name']}: {name}"


# ------------------------------------------------------------------ files


def locations():
    return [(record, location) for record in RECORDS for location in record.locations]


def test_every_record_has_a_file():
    assert not wrong(lambda record: record.locations)
    for record, location in locations():
        place = location.place
        if isinstance(place, Address):
            assert re.fullmatch(r"https://[\w.-]+/[\w./-]+", place.url), record.reference
            assert re.fullmatch(r"[\w.-]+", place.filename), record.reference
        elif isinstance(place, HubFile):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", place.repository), record.reference
            assert re.fullmatch(r"[\w.-]+\.(safetensors|weights\.h5)", place.filename)
            assert place.revision is None or re.fullmatch("[0-9a-f]{40}", place.revision)
        else:
            assert isinstance(place, KaggleFile)
            assert re.fullmatch(r"keras/\w+/keras/\w+/\d+", place.handle), record.reference


def test_hashes_are_whole_or_said_to_be_a_beginning():
    digests = [
        (record, location) for record, location in locations() if location.digest is not None
    ]
    assert len(digests) > 250
    for record, location in digests:
        digest = location.digest
        assert re.fullmatch("[0-9a-f]+", digest.value), record.reference
        if digest.is_prefix:
            assert SHORTEST_HASH <= len(digest.value) < DIGITS[digest.algorithm]
            assert digest.value in location.place.url, record.reference
        else:
            assert len(digest.value) == DIGITS[digest.algorithm], record.reference


def test_a_cache_can_keep_every_file_under_its_name():
    urls: dict[str, set[str]] = {}
    for _, location in locations():
        if isinstance(location.place, Address):
            urls.setdefault(location.place.filename, set()).add(location.place.url)
    assert {name: found for name, found in urls.items() if len(found) > 1} == {}


def test_one_file_is_one_network_but_where_an_address_is_known_to_be_wrong():
    holders: dict[object, set[str]] = {}
    for record, location in locations():
        holders.setdefault(location.place, set()).add(record.reference)
    presets = {record.reference: record.preset for record in RECORDS}
    differing = {
        reference
        for found in holders.values()
        if len({presets[reference] for reference in found}) > 1
        for reference in found
    }
    assert differing == WRONG_ADDRESS | {"keras-hub:efficientnet_b1_ft_imagenet"}


# ------------------------------------------------------------------ findings


def test_a_wrong_address_is_a_finding():
    assert {
        record.reference
        for record in RECORDS
        if any("what is fetched is B1" in finding for finding in record.findings)
    } == WRONG_ADDRESS


@pytest.mark.parametrize(
    ("library", "words", "number"),
    [
        ("kimm", "kimm calls these weights imagenet", 12),
        ("kimm", "divides by the root", 21),
        ("keras-applications", "adds a division by the root", 16),
        ("torchvision", "torchvision pads symmetrically", 3),
        ("kecam", "AdvProp weights", 8),
        ("geffnet", "the stride of its fused blocks is on the projection", 3),
        ("tpu", "the first is the background", 3),
        ("smp", "the encoder pads symmetrically", 33),
        ("transformers", "divides by it twice", 8),
    ],
)
def test_what_is_known_to_be_wrong_is_said(library, words, number):
    found = [r for r in RECORDS if any(words in finding for finding in r.findings)]
    assert {r.library for r in found} == {library}
    assert len(found) == number


def test_weights_trained_with_another_normalization_do_not_get_their_librarys():
    kecam = [r for r in libraries()["kecam"].records if r.training == "AdvProp"]
    assert {preparation(r).normalization for r in kecam} == {INCEPTION}
    assert all(isinstance(preparation(r).fit, CropFirst | Centre) for r in kecam)
