"""Encoders of segmentation_models_pytorch: which of its two kinds weights are written for."""

import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.formats import read
from efficientnet_rosetta.common.errors import FileError, UnfaithfulError
from parity_tests.checkpoints.files import arrays, saved
from parity_tests.test_zeromodels_layouts import random_file


@pytest.mark.parametrize(
    ("preset", "dialect", "stem", "others"),
    [
        ("b0", "tensorflow", "_conv_stem.weight", "efficientnet-pytorch"),
        ("b0", "pytorch", "conv_stem.weight", "timm"),
        ("lite0", "pytorch", "conv_stem.weight", "timm"),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_encoder_has_the_keys_of_its_own_kind(preset, dialect, stem, others, suffix, tmp_path):
    source = random_file(preset, tmp_path, dialect=dialect)
    path = tmp_path / f"encoder.{suffix}"
    done = rosetta.port(source, path, "smp", drop_head=True, run=False)
    assert (done.layout, done.dialect, done.verified, done.faithful) == ("smp", dialect, True, True)
    assert list(done.dropped.values()) == ["the classifier"] * 2
    assert any("model.encoder.load_state_dict" in note for note in done.notes)
    plain = tmp_path / f"plain.{suffix}"
    rosetta.port(source, plain, others, drop_head=True, run=False)
    keys = set(read(path).tensors)
    assert stem in keys
    assert keys == set(read(plain).tensors)


@pytest.mark.parametrize("options", [{}, {"classes": 5}])
def test_it_has_no_place_for_a_classifier(options, tmp_path):
    source = random_file("lite0", tmp_path, dialect="pytorch")
    with pytest.raises(FileError, match="smp keeps networks without a classifier") as caught:
        rosetta.port(source, tmp_path / "x.pth", "smp", run=False, **options)
    assert caught.value.argument == "drop_head"
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize("preset", ["lite0", "b8"])
def test_encoders_of_the_tensorflow_dialect_are_b0_to_b7_alone(preset, tmp_path):
    """Those called `timm-tf_efficientnet_lite*` pad symmetrically too."""
    source = random_file(preset, tmp_path, num_classes=None)
    with pytest.raises(UnfaithfulError, match=f"smp|pytorch.*runs {preset} with symmetric"):
        rosetta.port(source, tmp_path / "x.pth", "smp", run=False)


def test_a_network_that_ends_early_has_not_all_that_an_encoder_loads(tmp_path):
    content = {k: a for k, a in arrays("timm").items() if not k.startswith(("conv_head", "bn2"))}
    path = saved(tmp_path / "features.pth", content)
    with pytest.raises(FileError, match="smp has whole networks only"):
        rosetta.port(path, tmp_path / "x.pth", "smp", dialect="pytorch", run=False)
