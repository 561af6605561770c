"""TorchScript and torch.export: the weights are read, and nothing is run."""

import io
import json
import subprocess
import sys
import zipfile
from functools import lru_cache

import numpy as np
import pytest
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.formats import torch_programs
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.errors import DamagedFileError, FileError, RosettaError
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.graphs.exporting import (
    CLASSES,
    image,
    source,
    torch_model,
    weights_of,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@lru_cache(maxsize=1)
def exported(folder):
    model = torch_model("timm-tf", folder, CLASSES)
    program = torch.export.export(model, (image(source("timm-tf")),))
    path = folder / "x.pt2"
    torch.export.save(program, path)
    return path


@lru_cache(maxsize=1)
def traced(folder):
    model = torch_model("timm-tf", folder, CLASSES)
    torch.jit.trace(model, image(source("timm-tf"))).save(folder / "traced.pt")
    return folder / "traced.pt"


@lru_cache(maxsize=1)
def scripted(folder):
    model = torch_model("torchvision", folder, CLASSES)
    torch.jit.script(model).save(folder / "scripted.pt")
    return folder / "scripted.pt"


MAKERS = {
    exported: torch_programs.EXPORTED,
    traced: torch_programs.SCRIPTED,
    scripted: torch_programs.SCRIPTED,
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__wrapped__.__name__)
def test_weights_beside_a_program_are_those_of_the_model(folder, make):
    path = make(folder)
    library = "torchvision" if make is scripted else "timm-tf"
    found = match(path, None if make is scripted else "tensorflow")
    assert fingerprint(found.weights) == fingerprint(weights_of(source(library)))
    assert MAKERS[make] in found.wrappers
    assert found.checkpoint.format == "torch"


def test_no_framework_is_imported(folder):
    paths = [str(make(folder)) for make in (exported, traced)]
    program = f"""
import sys
import efficientnet_rosetta as rosetta
for path in {paths}:
    assert rosetta.inspect(path, dialect="tensorflow").preset == "b0"
assert not {{"torch", "tensorflow", "keras", "onnx"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_program_of_another_shape_says_what_it_lacks(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "x.pt")
    with pytest.raises(FileError, match="no layout has keys like bias, weight"):
        rosetta.inspect(tmp_path / "x.pt")


def test_a_program_in_an_ordinary_file_is_no_module(folder, tmp_path):
    """Objects of the same pickle have none of the attributes that modules have."""
    with zipfile.ZipFile(traced(folder)) as archive:
        content = archive.read("traced/data.pkl")
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", content)
    with pytest.raises(RosettaError, match=r"x\.pth: "):
        rosetta.inspect(tmp_path / "x.pth")


def archive_of(path, config, **members):
    """An archive of torch.export with a list of weights that may say what it likes."""
    with zipfile.ZipFile(path, "w") as archive:
        text = config if isinstance(config, str) else json.dumps(config)
        archive.writestr("x/data/weights/model_weights_config.json", text)
        for name, content in members.items():
            archive.writestr(f"x/data/weights/{name}", content)
    return path


def weight(**changes):
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": 2}],
        "strides": [{"as_int": 1}],
        "storage_offset": {"as_int": 0},
    }
    meta |= {key: changes.pop(key) for key in list(changes) if key in meta}
    return {"path_name": "weight_0", "use_pickle": False, "tensor_meta": meta, **changes}


def test_a_hand_made_archive_is_read(tmp_path):
    from efficientnet_rosetta.common.checkpoints.formats import read

    values = np.arange(4, dtype=np.float32)
    entry = weight(strides=[{"as_int": 2}], storage_offset={"as_int": 1})
    path = archive_of(tmp_path / "x.pt2", {"config": {"a": entry}}, weight_0=values.tobytes())
    assert read(path).tensors["a"].read().tolist() == [1, 3]


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        {"config": []},
        {"config": {"a": None}},
        {"config": {"a": weight(path_name="weight_1")}},
        {"config": {"a": weight(path_name=["weight_0"])}},
        {"config": {"a": weight(use_pickle=True)}},
        {"config": {"a": weight(dtype=99)}},
        {"config": {"a": weight(dtype=[])}},
        {"config": {"a": weight(sizes=[{"as_int": 3}])}},
        {"config": {"a": weight(sizes=[{"as_int": -1}])}},
        {"config": {"a": weight(sizes=[{"as_int": 1 << 62}])}},
        {"config": {"a": weight(sizes=[{"as_expr": "s0"}])}},
        {"config": {"a": weight(sizes=[2])}},
        {"config": {"a": weight(sizes=2)}},
        {"config": {"a": weight(strides=[])}},
        {"config": {"a": weight(strides=[{"as_int": 1 << 62}])}},
        {"config": {"a": weight(storage_offset={"as_int": 1})}},
        {"config": {"a": weight(storage_offset=None)}},
    ],
    ids=str,
)
def test_lists_that_make_no_sense_are_one_line(config, tmp_path):
    path = archive_of(tmp_path / "x.pt2", config, weight_0=bytes(8))
    with pytest.raises(DamagedFileError) as caught:
        rosetta.inspect(path)
    assert str(caught.value).isprintable()


def test_repeated_values_are_not_unrolled(tmp_path):
    entry = weight(sizes=[{"as_int": 1 << 40}], strides=[{"as_int": 0}])
    path = archive_of(tmp_path / "x.pt2", {"config": {"a": entry}}, weight_0=bytes(8))
    with pytest.raises(FileError, match="repeats its values"):
        rosetta.inspect(path)


def test_archives_of_old_versions_say_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", io.BytesIO().getvalue())
    with pytest.raises(FileError, match=r"save it again with PyTorch 2\.8 or newer"):
        rosetta.inspect(tmp_path / "x.pt2")
