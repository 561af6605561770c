"""What is a name of something published, and what is a path."""

import os
from pathlib import Path

import pytest

from efficientnet_rosetta.common.catalogue.location import Address, HubFile, Location
from efficientnet_rosetta.common.catalogue.reference import Name, label, parsed
from efficientnet_rosetta.common.errors import UsageError

NAMES = {
    "timm:tf_efficientnet_b4.ns_jft_in1k": Name("timm", "tf_efficientnet_b4.ns_jft_in1k"),
    "smp:efficientnet-b0:imagenet": Name("smp", "efficientnet-b0:imagenet"),
    "transformers:google/efficientnet-b0": Name("transformers", "google/efficientnet-b0"),
    "tensorflow/tpu:ckpts/efficientnet-b0": Name("tensorflow/tpu", "ckpts/efficientnet-b0"),
    "keras.applications:efficientnetb0": Name("keras.applications", "efficientnetb0"),
}
ON_HUB = {
    "hf-hub:timm/x": HubFile("timm/x"),
    "hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k": HubFile("timm/tf_efficientnet_b0.ns_jft_in1k"),
    "hf-hub:timm/x@v1.0": HubFile("timm/x", revision="v1.0"),
    "hf-hub:timm/x/model.safetensors": HubFile("timm/x", "model.safetensors"),
    "hf-hub:timm/x@main/folder/model.bin": HubFile("timm/x", "folder/model.bin", "main"),
    "hf-hub:timm/x@refs/pr/3/model.bin": HubFile("timm/x", "model.bin", "refs/pr/3"),
}
ADDRESSES = {
    "https://host/a/b.pth": Address("https://host/a/b.pth", "b.pth"),
    "https:/host/a/b.pth": Address("https://host/a/b.pth", "b.pth"),  # as a `Path` has it
    "HTTPS://host/a/b.pth?x=1#y": Address("https://host/a/b.pth?x=1#y", "b.pth"),
    "https://host/": Address("https://host/", "file"),
    "https://host/%2e%2e%2fa b": Address("https://host/%2e%2e%2fa b", "a_b"),
    "http://127.0.0.1:80/x.tar.gz": Address("http://127.0.0.1:80/x.tar.gz", "x.tar.gz"),
}
PATHS = ["b4.pth", "a/b.pth", "/a/b", "C:\\b4.pth", "C:/b4.pth", "c:b4.pth", "a::b", "", "a:", ":b"]


@pytest.mark.parametrize(("text", "meant"), NAMES.items(), ids=NAMES)
def test_a_library_and_a_name(text, meant):
    assert parsed(text) == meant
    assert str(meant) == text


@pytest.mark.parametrize(("text", "place"), [*ON_HUB.items(), *ADDRESSES.items()])
def test_places(text, place):
    assert parsed(text) == Location(place)


@pytest.mark.parametrize("text", PATHS)
def test_paths_are_paths_be_they_there_or_not(text):
    assert parsed(text) is None


@pytest.mark.skipif(os.name == "nt", reason="no file has such a name there")
@pytest.mark.parametrize("text", ["timm:x", "hf-hub:timm", "https:", "tpu:model.ckpt"])
def test_what_exists_is_a_path(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert text == "https:" or not isinstance(_parsed(text), type(None))
    Path(tmp_path, text + (".index" if text.endswith(".ckpt") else "")).write_text("")
    assert parsed(text) is None


def _parsed(text):
    try:
        return parsed(text)
    except UsageError as error:
        return error


@pytest.mark.parametrize(
    "text",
    [
        *("hf-hub:x", "hf-hub:", "hf-hub:a/b@", "hf-hub:a/../b", "hf-hub:a/b/../c"),
        *("hf-hub:a/b//etc/x", "hf-hub:a/b\\c", "https://", "https://[", "http:///x"),
    ],
)
def test_what_begins_as_a_name_and_is_none(text):
    found = _parsed(text)
    assert found is None or isinstance(found, UsageError), found
    if text.startswith("hf-hub"):
        assert "hf-hub:owner/name" in str(found)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("timm:tf_efficientnet_b4.ns_jft_in1k", "tf_efficientnet_b4.ns_jft_in1k"),
        ("smp:a/b:c", "a-b-c"),
        ("hf-hub:timm/x@v1", "timm-x"),
        ("https://host/a/b4.pth", "b4"),
        ("a/b4.safetensors", "b4"),
    ],
)
def test_a_name_for_a_folder(text, name):
    assert label(text) == name
