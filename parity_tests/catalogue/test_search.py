"""Words in any order and spelling, references, and the command that prints what they find."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.catalogue.records import libraries, records
from efficientnet_rosetta.common.catalogue.search import find, library_called, record
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import UsageError

NOISY_B4 = {
    "geffnet:tf_efficientnet_b4_ns",
    "kecam:efficientnetv1-b4-noisy_student",
    "kimm:efficientnetb4",
    "qubvel:efficientnet-b4_noisy-student",
    "qubvel:efficientnet-b4_noisy-student_notop",
    "smp:timm-efficientnet-b4.noisy-student",
    "timm:tf_efficientnet_b4.ns_jft_in1k",
    "tpu:noisystudent/noisy_student_efficientnet-b4",
    "zeromodels:tf_efficientnet_b4_ns_jft_in1k",
}


def found(words, library=None):
    return {record.reference for record in find(words, library)}


@pytest.mark.parametrize(
    "words",
    [
        "noisy student b4",
        "b4 noisy-student",
        "NoisyStudent EfficientNet B4",
        "ns b4",
        "efficientnet-b4 noisy_student weights",
        "noisy studnt b4",
        "noisy b4",
        "weights of the noisy student, b4",
    ],
)
def test_words_in_any_order_and_spelling_find_the_same(words):
    assert found(words) == NOISY_B4


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("advprop b0", "ap b0"),
        ("adv-prop b0", "ap b0"),
        ("auto augment b5", "aa b5"),
        ("AutoAug b5", "aa b5"),
        ("rand augment b7", "ra b7"),
        ("v2 s", "efficientnetv2-s"),
        ("v2 s", "EfficientNet V2 small"),
        ("v2-xl 21k", "imagenet-21k efficientnet v2 extra large"),
        ("v2 xl 21k", "in21k v2 xl"),
        ("v2 m 21k ft", "v2-m 21k fine-tuned"),
        ("edge tpu l", "edgetpu-large"),
        ("lite 3", "lite3"),
        ("xception no top", "xception headless"),
        ("keras applications b0", "keras.applications b0"),
    ],
)
def test_spellings_of_one_thing_are_one(words, same):
    assert found(words) == found(same)
    assert found(words)


@pytest.mark.parametrize(
    ("words", "among", "not_among"),
    [
        ("b4", "timm:tf_efficientnet_b4.aa_in1k", "timm:tf_efficientnet_b3.aa_in1k"),
        ("v2 b0", "kecam:efficientnetv2-b0-imagenet", "kecam:efficientnetv1-b0-imagenet"),
        ("l2", "geffnet:tf_efficientnet_l2_ns", "tpu:ckpts/efficientnet-b2"),
        ("edgetpu s", "timm:efficientnet_es.ra_in1k", "timm:tf_efficientnetv2_s.in1k"),
        ("v2 s", "torchvision:efficientnet_v2_s.imagenet1k_v1", "timm:efficientnet_es.ra_in1k"),
        (
            "noisy student",
            "timm:tf_efficientnet_l2.ns_jft_in1k_475",
            "timm:efficientnet_b0.ra_in1k",
        ),
        ("torchvision b1", "torchvision:efficientnet_b1.imagenet1k_v2", "smp:xception.imagenet"),
        ("12k", "keras-hub:efficientnet_b5_sw_imagenet", "automl:efficientnetv2-s-21k"),
    ],
)
def test_what_is_asked_for_is_found_and_nothing_else(words, among, not_among):
    assert among in found(words)
    assert not_among not in found(words)


def test_the_best_come_first_and_without_words_all_are_found():
    accuracies = [record.top1 for record in find("b4") if record.top1 is not None]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(find()) == len(list(records()))
    assert found("noisy student b4", "qubvel") == {n for n in NOISY_B4 if n.startswith("qubvel")}


@pytest.mark.parametrize(
    ("words", "library", "said"),
    [
        ("b4 noisy flamingo", None, "without 'flamingo' there are 9,"),
        ("noisy-student B4, from timm, in Keras", None, "without 'keras' there are"),
        ("xception flamingo 21k", None, "leave out some words"),
        ("xception", "qubvel", "of qubvel matches 'xception'; without 'xception' there are 32,"),
        ("b0", "tim", "unknown library 'tim'; choose from automl"),
    ],
)
def test_what_is_not_there_is_said_so(words, library, said):
    with pytest.raises(UsageError, match=said):
        find(words, library)


# ------------------------------------------------------------------ references


def test_every_record_is_found_by_its_reference_and_by_its_other_names():
    for library in libraries().values():
        for published in library.records:
            assert record(published.reference) is published
            for alias in published.aliases:
                assert record(f"{library.name}:{alias}") is published


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("timm:tf_efficientnet_b4.ns_jft_in1k", "tf_efficientnet_b4.ns_jft_in1k"),
        ("timm:tf_efficientnet_b4_ns", "tf_efficientnet_b4.ns_jft_in1k"),
        ("timm:tf_efficientnet_b4", "tf_efficientnet_b4.ns_jft_in1k"),
        ("TIMM:TF_EfficientNet_B4.aa_in1k", "tf_efficientnet_b4.aa_in1k"),
        ("torchvision:efficientnet_b0", "efficientnet_b0.imagenet1k_v1"),
        ("torchvision:efficientnet_b1", "efficientnet_b1.imagenet1k_v2"),
        ("torchvision:EfficientNet_B1_Weights.IMAGENET1K_V1", "efficientnet_b1.imagenet1k_v1"),
        ("keras.applications:EfficientNetB0", "efficientnetb0"),
        ("efficientnet_pytorch:efficientnet-b0", "efficientnet-b0"),
        ("lukemelas:adv-efficientnet-b8", "adv-efficientnet-b8"),
        ("tensorflow/tpu:efficientnet-lite0", "lite/efficientnet-lite0"),
        ("smp:timm-efficientnet-b4:noisy-student", "timm-efficientnet-b4.noisy-student"),
        ("transformers:efficientnet-b7", "google/efficientnet-b7"),
        ("keras_hub:efficientnet_lite0_ra_imagenet", "efficientnet_lite0_ra_imagenet"),
    ],
)
def test_a_reference_may_be_in_the_librarys_own_words(reference, name):
    assert record(reference).name == name


def test_a_library_may_be_called_what_others_call_it():
    assert library_called("Segmentation Models PyTorch").name == "smp"
    assert library_called("keras_efficientnet_v2").name == "kecam"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("timm:tf_efficientnet_b4.ns_jft", "did you mean timm:tf_efficientnet_b4.ns_jft_in1k"),
        ("torchvision:efficientnet_b8", "did you mean torchvision:efficientnet_b"),
        ("qubvel:zzz", "list what it has with `rosetta weights --library qubvel`"),
        ("tim:tf_efficientnet_b4", "unknown library 'tim'"),
    ],
)
def test_a_name_that_is_not_there_has_the_nearest_beside_it(reference, said):
    with pytest.raises(UsageError) as refused:
        record(reference)
    assert said in str(refused.value)


# ------------------------------------------------------------------ the command


def rosetta(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_command_counts_libraries_and_families():
    lines = rosetta("weights").stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    kinds = ["V1", "Lite", "V2", "EdgeTPU", "Xception", "other"]
    assert rows["Library"] == ["Library", "Version", *kinds, "all"]
    assert rows["torchvision"] == ["torchvision", "0.28", "9", "-", "3", "-", "-", "-", "12"]
    assert rows["all"][-1] == "499"
    assert sum(int(number) for number in rows["all"][1:-1]) == 499


def test_the_command_lists_what_matches_with_what_is_known_to_be_wrong():
    done = rosetta("weights", "noisy", "student b4")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    row = next(line.split() for line in lines if "timm:tf_efficientnet_b4.ns_jft_in1k" in line)
    assert row[0] == "timm:tf_efficientnet_b4.ns_jft_in1k"
    assert row[-6:] == ["85.16", "380", "1,000", "19.3M", "tensorflow", "apache-2.0"]
    assert any(line.startswith("finding: kimm:efficientnetb4: kimm calls") for line in lines)
    assert lines[-1] == "9 of 499 published checkpoints"


def test_the_command_prints_records_as_json():
    done = rosetta("weights", "noisy student b4", "--library", "timm", "--json")
    (only,) = json.loads(done.stdout)
    assert only["reference"] == "timm:tf_efficientnet_b4.ns_jft_in1k"
    assert only["locations"][0] == {
        "kind": "hub",
        "repository": "timm/tf_efficientnet_b4.ns_jft_in1k",
        "filename": "model.safetensors",
    }
    assert only["locations"][1]["digest"] == {
        "algorithm": "sha256",
        "value": "d6313a46",
        "is_prefix": True,
    }
    assert only["sources"]["top1"] == "results/results-imagenet.csv of timm's repository"
    assert set(only["sources"]) == set(record(only["reference"]).stated)


def test_the_command_refuses_what_is_not_there():
    done = rosetta("weights", "flamingo")
    assert isinstance(done.exception, UsageError)
    assert done.stdout == ""


def test_the_command_imports_no_framework():
    program = (
        "import sys; from efficientnet_rosetta.common.cli import app; "
        "from efficientnet_rosetta.common.catalogue.search import find; find('b4'); "
        "heavy = {'torch', 'tensorflow', 'keras', 'timm', 'h5py'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
