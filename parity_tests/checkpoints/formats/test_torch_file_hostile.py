"""Pickles that PyTorch would run, or that are no state dict, are refused in one line."""

import argparse
import os
import pickle
import struct
import tracemalloc

import pytest
import torch

from efficientnet_rosetta.common.checkpoints.formats import torch_file, torch_pickle
from parity_tests.checkpoints.formats.torch_support import (
    integer,
    legacy,
    read,
    refused,
    text,
    write_zip,
)

OBJECTS = "is damaged, or holds Python objects, which are not rebuilt because that runs code"


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("how", ["zip", "legacy", "plain"])
def test_a_pickle_is_not_executed(how, protocol, tmp_path):
    path, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    content = pickle.dumps({"x": Bomb(crater)}, protocol)
    if how == "zip":
        write_zip(path, content)
    elif how == "legacy":
        path.write_bytes(legacy(content, {}))
    else:
        path.write_bytes(content)
    refused(path, OBJECTS)
    assert not crater.exists()


@pytest.mark.parametrize(
    "call",
    [
        b"cbuiltins\neval\n" + text("1/0") + b"\x85R",
        b"cbuiltins\ngetattr\n" + text("x") + text("y") + b"\x86R",
        b"ctorch\nload\n" + text("/etc/passwd") + b"\x85R",
        b"ctorch\nFloatStorage\n)R",
        b"ctorch\nfloat32\n)R",
        b"cargparse\nNamespace.__init__\n)R",
        b"}}b" + b"}" + b"c" + b"os\nsystem\n" + text("true") + b"\x85R",
        b"(ios\nsystem\n",
        b"(cos\nsystem\no",
        text("os") + text("system") + b"\x93",
        b"\x82\x01",
        b"Punknown\n",
        b"N" * 10 + b"R",
        b"}]b",
        b"NNs",
        b"}Na",
        b"]Ns",
        b"q\x00",
        b"h\x07",
        b"t",
        b"c" + b"a" * 1000,
        b"X\xff\xff\xff\xff",
        b"\x8e" + struct.pack("<Q", 2**60),
        text("a")[:-1] + b"\xff",
    ],
)
def test_operations_that_are_not_data_are_refused(call, tmp_path):
    path = write_zip(tmp_path / "x.pth", b"\x80\x02}" + text("x") + call + b"s.")
    refused(path, "is damaged, or|cannot be read as a PyTorch file")


def test_a_frozen_program_says_what_to_ask_for(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(torch.nn.Linear(2, 2).eval()))
    frozen.save(tmp_path / "script.pt")
    refused(tmp_path / "script.pt", "is a frozen TorchScript program")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([torch.ones(1)], "list"),
        (torch.ones(1), "Tensor"),
        (torch.nn.Parameter(torch.ones(1)), "Parameter"),
        (argparse.Namespace(), "Namespace"),
        (3, "int"),
        (None, "NoneType"),
        ({1}, "set"),
    ],
)
def test_what_is_no_state_dict_is_named(value, kind, save):
    refused(save(value), f"holds a {kind} and not a state dict")


def test_tensors_that_are_no_arrays_are_named(save):
    refused(save({"x": torch.eye(3).to_sparse()}), "x is sparse")


def test_meta_and_conjugate_tensors_are_named(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"x": torch.ones(3, device="meta")}, path)
    refused(path, "x is on the meta device")
    torch.save({"x": torch.ones(3, dtype=torch.complex64).conj()}, path)
    refused(path, "x is a conjugate")


@pytest.mark.parametrize("levels", [45, 20_000])
def test_dictionaries_in_one_another_end(levels, tmp_path):
    level = b"}q\x00(" + text("a") + b"h\x01" + text("b") + b"h\x01uq\x01"
    content = b"\x80\x02}q\x01" + level * levels + b"."
    refused(write_zip(tmp_path / "dag.pth", content), "contain one another too often|deep")


def test_a_dictionary_in_itself_ends(tmp_path):
    content = b"\x80\x02}q\x00" + text("a") + b"h\x00s."
    refused(write_zip(tmp_path / "loop.pth", content), "deep")


@pytest.mark.parametrize("opening", [b"}" + text("a"), b"]", b"("])
def test_deep_nesting_ends(opening, tmp_path):
    closing = {b"}": b"s", b"]": b"a", b"(": b"t"}[opening[:1]]
    content = b"\x80\x02}" + text("x") + opening * 100_000 + b"N" + closing * 100_000 + b"s."
    path = write_zip(tmp_path / "deep.pth", content)
    if opening[:1] == b"}":
        refused(path, "deep")
    else:
        assert read(path) == {}


def test_dictionaries_that_are_shared_are_read(save):
    tensors = {str(n): torch.ones(1) for n in range(300)}
    found, _ = torch_file.read(save({f"copy{n}": tensors for n in range(20)}))
    assert all(len(copy) == 300 for copy in found.values())


def test_a_memo_is_no_larger_than_its_file(tmp_path):
    content = b"\x80\x02}" + b"".join(b"r" + struct.pack("<I", 2**32 - n) for n in range(1, 50))
    tracemalloc.start()
    assert read(write_zip(tmp_path / "memo.pth", content + b".")) == {}
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_arguments_are_not_copied_out_of_all_proportion(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_pickle, "OPERATIONS_LIMIT", 2**16)
    pairs = b"](" + b"K\x01K\x02\x86q\x01" + b"h\x01" * 9_999 + b"eq\x00"
    call = b"ccollections\nOrderedDict\nh\x00\x85R"
    content = b"\x80\x02" + pairs + call * 1_000 + b"."
    refused(write_zip(tmp_path / "copies.pth", content), "takes more than")
    content = b"\x80\x02}" + text("x") + b"cbuiltins\nbytearray\n" + integer(2**40) + b"\x85Rs."
    assert read(write_zip(tmp_path / "bytes.pth", content)) == {}


def test_keys_cannot_collide(tmp_path):
    """Numbers of one hash, which Python would compare each with all before it."""
    keys = b"".join(integer(n * (2**61 - 1)) + b"N" for n in range(1, 20_000))
    assert read(write_zip(tmp_path / "keys.pth", b"\x80\x02}(" + keys + b"u.")) == {}


def test_the_hash_of_nested_tuples_is_not_asked_for(tmp_path):
    key = b"N" + b"q\x00h\x00\x86" * 60
    assert read(write_zip(tmp_path / "hash.pth", b"\x80\x02}" + key + b"Ns.")) == {}
