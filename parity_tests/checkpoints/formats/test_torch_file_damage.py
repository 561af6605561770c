"""What a file of PyTorch's claims is held against its bytes, and damage ends in one line."""

import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.checkpoints.formats import torch_file
from efficientnet_rosetta.common.errors import RosettaError
from parity_tests.checkpoints.formats.torch_support import (
    read,
    refused,
    tensor_pickle,
    write_zip,
    written,
)


@pytest.mark.parametrize(
    ("shape", "strides", "options", "match"),
    [
        ((2**40,), (0,), {}, "x repeats its values"),
        ((7,), (0,), {}, "x repeats its values"),
        ((5, 4), (1, 0), {}, "x repeats its values"),
        ((4, 3), (1, 1), {}, "x repeats its values"),
        ((2**40,), (1,), {}, "smaller than its shape"),
        ((7,), (1,), {}, "smaller than its shape"),
        ((2,), (2**63,), {}, "smaller than its shape"),
        ((2, 3), (3, 1), {"offset": 1}, "smaller than its shape"),
        ((1,), (1,), {"offset": 2**64}, "smaller than its shape"),
        ((2**40,), (1,), {"count": 2**40}, "is not in the file"),
        ((7,), (1,), {"count": 7}, "is not in the file"),
        ((2**600, 0), (0, 0), {}, "smaller than its shape"),
        ((1,), (1,), {"key": "1"}, "is not in the file"),
        ((1,), (1,), {"count": -1}, "no size"),
        ((1,), (1,), {"storage": "torch\nTensor"}, "no type"),
        ((-1,), (1,), {}, "whole numbers"),
        ((1,), (-1,), {}, "whole numbers"),
        ((1,), (1,), {"offset": -1}, "whole numbers"),
        ((1, 1), (1,), {}, "strides"),
        ((1,) * 65, (1,) * 65, {}, "too many axes"),
    ],
)
def test_claims_are_compared_with_the_file(shape, strides, options, match, tmp_path):
    path = tmp_path / "x.pth"
    write_zip(path, tensor_pickle(shape, strides, **options), {"0": bytes(24)})
    refused(path, match)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"x": torch.full((100,), 1.5), "y": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 1.5)) + 41] ^= 1
    path.write_bytes(content)
    found, _ = torch_file.read(path)
    assert found["y"].read().tolist() == [1, 1, 1]
    for _ in range(2):
        refused(path, "x does not have the checksum that it was written with")


def test_a_compressed_archive_is_not_inflated(tmp_path):
    content = tensor_pickle((2**22,), (1,), count=2**22)
    path = tmp_path / "x.pth"
    write_zip(path, content, {"0": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    refused(path, "is compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("archive/data.pkl", "archive/data.pkl"), ("/data.pkl",), ("a/../data.pkl",), ("a",)]
)
def test_odd_members_are_refused(names, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\x02}.")
    refused(tmp_path / "x.pth", "cannot be read as a PyTorch file")


def test_keys_of_control_characters_stay_in_one_line(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"a\n\x1b[31m": torch.eye(3).to_sparse()}, path)
    refused(path, r"a\\n\\x1b\[31m")


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02}.", b"ustar", b"PK\3\4"])
def test_what_is_no_file_of_pytorch_is_one_line(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", "cannot be read as a PyTorch file|is damaged, or")


def test_a_file_that_is_gone_or_cut_when_it_is_read(save):
    path = save({"x": torch.ones(1000)})
    tensor = torch_file.read(path)[0]["x"]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RosettaError, match="cannot be read"):
        tensor.read()
    path.unlink()
    with pytest.raises(RosettaError, match="cannot be read"):
        tensor.read()


def damaged(content, random):
    """One of the ways in which files break: the ends, where the headers are, more often."""
    kind = random.integers(4)
    if kind == 0:
        return content[: random.integers(len(content))]
    flipped = bytearray(content)
    for _ in range(random.integers(1, 9)):
        position = random.integers(min(3000, len(content)))
        flipped[position if kind < 3 else -1 - position] = random.integers(256)
    return bytes(flipped)


def sound(kind, path):
    """A file, and what of it will be damaged, with the way of putting that back."""
    tensors = {f"block{n}.weight": torch.randn(3, 4) for n in range(8)}
    tensors["nested"] = OrderedDict(a=torch.nn.Parameter(torch.ones(2)))
    if kind == "ours":
        written(path, {str(n): np.ones((3, 4), np.float32) for n in range(8)}, {"a": "b"})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind != "legacy")
    if kind != "pickle":
        return path.read_bytes(), path.write_bytes
    # Otherwise the checksum of the pickle would be all that is tested.
    with zipfile.ZipFile(path) as archive:
        storages = {str(n): archive.read(f"x/data/{n}") for n in range(9)}
        return archive.read("x/data.pkl"), lambda content: write_zip(path, content, storages)


@pytest.mark.parametrize("kind", ["zip", "legacy", "ours", "pickle"])
def test_damaged_files_are_one_clean_line(kind, tmp_path):
    path = tmp_path / "x.pth"
    content, put = sound(kind, path)
    read(path)
    random, messages = np.random.default_rng(0), []
    for _ in range(300):
        put(damaged(content, random))
        try:
            read(path)
        except RosettaError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(f"{path}: ") for message in messages)
    assert all(message.isprintable() for message in messages)
