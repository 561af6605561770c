"""Without a network: what is in the cache, what lies in a folder, and one line for the rest."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from efficientnet_rosetta.common.catalogue import asked
from efficientnet_rosetta.common.catalogue.fetch import fetch
from efficientnet_rosetta.common.catalogue.location import (
    Address,
    Digest,
    HubFile,
    KaggleFile,
    Location,
)
from efficientnet_rosetta.common.errors import FetchError, FileError, MissingDependencyError

from .hosts import CONTENT, NAME, REPOSITORY, HubHost, sha256
from .server import COMMIT, Served

RIGHT = Digest("sha256", sha256(CONTENT))


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_there_is_what_is_in_the_cache(value, host, monkeypatch):
    kept = host.fetch(RIGHT)
    asked_before = len(host.server.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert host.fetch(RIGHT) == kept
    host.place = type(host.place)(**{**vars(host.place), _address(host): "other/name"})
    with pytest.raises(FetchError, match=r"HF_HUB_OFFLINE says that there is no network"):
        host.fetch()
    assert len(host.server.asked) == asked_before


def _address(host):
    return "repository" if isinstance(host, HubHost) else "url"


def test_a_hub_that_does_not_answer_leaves_what_is_in_the_cache(server, caplog):
    host = HubHost(server)
    kept = host.fetch()
    host.first(*[Served(b"", 503)] * 20, method="HEAD")
    assert host.fetch() == kept
    assert "the hub does not answer" in caplog.text


def test_a_new_version_on_the_hub_is_fetched(server):
    host = HubHost(server)
    host.fetch()
    newer = "f" * 40
    host.serve(b"new" * 1000)
    headers = {"X-Repo-Commit": newer}
    host.first(*[Served(b"new" * 1000, headers=headers) for _ in range(4)], method="HEAD")
    found = host.fetch()
    assert found.read_bytes() == b"new" * 1000
    assert found.parent.name == newer


def test_a_server_that_stands_for_all_hosts(server, monkeypatch):
    monkeypatch.setenv("ROSETTA_MIRROR", f"{server.url}/mirror/")
    server.files["/mirror/host.example/releases/v1/b0.pth"] = Served(CONTENT)
    found = fetch(Location(Address(URL, "b0.pth"), RIGHT))
    assert found.read_bytes() == CONTENT
    monkeypatch.delenv("ROSETTA_MIRROR")
    assert fetch(Location(Address(URL, "b0.pth"), RIGHT)) == found  # the same file, from wherever


# ------------------------------------------------------------------ which file of a repository

CHOICES = {
    "safetensors first": ({"model.safetensors", "pytorch_model.bin", "x.h5"}, "model.safetensors"),
    "then the old name": ({"pytorch_model.bin", "x.h5", "tf_model.h5"}, "pytorch_model.bin"),
    "the only one": ({"README.md", "config.json", "b0.keras"}, "b0.keras"),
    "the only one below": ({"README.md", "weights/b0.h5"}, "weights/b0.h5"),
    "the one at the top": ({"b0.pth", "old/b0.pth", "optimizer.pt"}, "b0.pth"),
    "Keras's task": ({"model.weights.h5", "task.weights.h5"}, "task.weights.h5"),
}


@pytest.mark.parametrize("way", ["network", "offline", "folder"])
@pytest.mark.parametrize(("names", "chosen"), CHOICES.values(), ids=CHOICES)
def test_the_file_of_weights_of_a_repository(names, chosen, way, server, monkeypatch, tmp_path):
    server.on_hub[REPOSITORY] = {name: name.encode() for name in sorted(names)}
    folder = None
    if way == "folder":
        folder = tmp_path / "offered"
        for name in names:
            path = folder / REPOSITORY / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    elif way == "offline":
        for name in names:
            fetch(Location(HubFile(REPOSITORY, name)))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = fetch(Location(HubFile(REPOSITORY)), folder=folder)
    assert found.read_bytes() == chosen.encode()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"a.h5", "b.h5"}, "a.h5, b.h5; add the one that is meant, as hf-hub:timm/some_b0/FILE"),
        ({"README.md", "config.json"}, "has no file of weights"),
        ({"README.md", "../../b0.pth", "/b0.pth"}, "has no file of weights"),
    ],
)
def test_no_file_or_several(names, words, server):
    server.on_hub[REPOSITORY] = dict.fromkeys(sorted(names), b"x")
    with pytest.raises(FetchError, match=words):
        fetch(Location(HubFile(REPOSITORY)))


def test_the_configuration_comes_along(server):
    server.on_hub[REPOSITORY] = {"model.safetensors": CONTENT, "config.json": b"{}"}
    found = fetch(Location(HubFile(REPOSITORY)))
    assert (found.parent / "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (HubFile("timm/other"), "no such repository"),
        (HubFile(REPOSITORY, "none.bin"), "no such file"),
        (HubFile(REPOSITORY, NAME, "v9"), "no such revision"),
        (HubFile(REPOSITORY, None, "v9"), "no such revision"),
    ],
)
def test_what_the_hub_does_not_have(place, words, server):
    HubHost(server)
    with pytest.raises(FetchError, match=words) as error:
        fetch(Location(place))
    assert error.value.gone


# ------------------------------------------------------------------ a folder of files

URL = "https://host.example/releases/v1/b0.pth"
PLACES = {
    "name": (Address(URL, "b0-12345678.pth"), "b0-12345678.pth"),
    "wget": (Address(URL, "b0-12345678.pth"), "host.example/releases/v1/b0.pth"),
    "clone": (HubFile("timm/b0", "model.safetensors"), "timm/b0/model.safetensors"),
    "clone of one": (HubFile("timm/b0", "model.safetensors"), "b0/model.safetensors"),
    "in it": (HubFile("timm/b0", "model.safetensors"), "model.safetensors"),
    "cache": (
        HubFile("timm/b0", "model.safetensors", COMMIT),
        f"models--timm--b0/snapshots/{COMMIT}/model.safetensors",
    ),
    "whole cache": (
        HubFile("timm/b0", "model.safetensors", COMMIT),
        f"hub/models--timm--b0/snapshots/{COMMIT}/model.safetensors",
    ),
    "kaggle": (KaggleFile("keras/e/keras/b0/2", "model.weights.h5"), "b0/model.weights.h5"),
    "kaggle's cache": (
        KaggleFile("keras/e/keras/b0/2", "model.weights.h5"),
        "models/keras/e/keras/b0/2/model.weights.h5",
    ),
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def offered(request, server, tmp_path):
    """A location, a folder that has it, and where in it."""
    place, name = request.param
    path = tmp_path / "offered" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return place, tmp_path / "offered", path


@pytest.mark.parametrize("digest", [None, RIGHT], ids=["unstated", "stated"])
def test_a_folder_takes_the_place_of_the_network(digest, offered, server):
    place, folder, path = offered
    assert fetch(Location(place, digest), folder=folder) == path
    assert server.asked == []


@pytest.mark.parametrize("up", ["..", "%2e%2e", "%2E%2e"])
def test_an_address_does_not_lead_out_of_a_folder(up, tmp_path):
    folder = tmp_path / "offered"
    (folder / "host.example").mkdir(parents=True)
    (tmp_path / "secret.pth").write_bytes(CONTENT)
    address = Address(f"https://host.example/{up}/{up}/secret.pth", "b0.pth")
    with pytest.raises(FetchError, match=r"put it there as b0\.pth"):
        fetch(Location(address), folder=folder)


def test_a_folder_in_the_environment(offered, monkeypatch):
    place, folder, path = offered
    monkeypatch.setenv("ROSETTA_WEIGHTS_DIR", str(folder))
    assert fetch(Location(place)) == path


def test_a_damaged_file_of_a_folder_is_refused(offered):
    place, folder, path = offered
    path.write_bytes(b"x")
    with pytest.raises(FetchError, match="is damaged, or another file; replace it"):
        fetch(Location(place, RIGHT), folder=folder)
    assert path.read_bytes() == b"x"


def test_a_folder_that_has_it_not(offered, server):
    place, folder, path = offered
    path.unlink()
    with pytest.raises(FetchError, match=r"is not in .*; put it there as \S+$"):
        fetch(Location(place), folder=folder)
    assert server.asked == []


def test_a_folder_that_is_none(server, tmp_path):
    with pytest.raises(FileError, match="is no folder"):
        fetch(Location(Address(URL, "b0.pth")), folder=tmp_path / "none")


def test_a_cache_of_a_branch_in_a_folder(server, tmp_path):
    host = HubHost(server)
    host.fetch()
    shutil.copytree(os.environ["HF_HUB_CACHE"], tmp_path / "stick", symlinks=True)
    found = fetch(Location(HubFile(REPOSITORY)), folder=tmp_path / "stick")
    assert found.read_bytes() == CONTENT
    assert tmp_path / "stick" in found.parents


# ------------------------------------------------------------------ what is not installed


@pytest.mark.parametrize(
    ("module", "place"),
    [
        ("pooch", Address(URL, "b0.pth")),
        ("huggingface_hub", HubFile("timm/b0")),
        ("kagglehub", KaggleFile("keras/e/keras/b0/2")),
    ],
)
def test_what_fetches_is_an_extra(module, place, server, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'efficientnet-rosetta\[hub\]'"):
        fetch(Location(place))


def test_a_folder_needs_none_of_it(offered, monkeypatch):
    for module in ("pooch", "huggingface_hub", "kagglehub", "filelock", "requests"):
        monkeypatch.setitem(sys.modules, module, None)
    place, folder, path = offered
    assert fetch(Location(place), folder=folder) == path


def test_the_extra_is_the_one_of_the_project():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"\n{asked.EXTRA} = [" in project
