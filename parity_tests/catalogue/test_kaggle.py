"""Kaggle's files by kagglehub: a signed address behind a request, gone on with, and checked."""

import base64
import hashlib
import logging

import pytest
from kagglesdk import kaggle_env

from efficientnet_rosetta.common.catalogue.fetch import fetch
from efficientnet_rosetta.common.catalogue.location import Digest, KaggleFile, Location
from efficientnet_rosetta.common.errors import FetchError

from .hosts import CONTENT, sha256
from .server import Served

NAME = "model.weights.h5"
PLACE = KaggleFile("keras/efficientnet/keras/b0/2", NAME)
ASKED = "/v1/models.ModelApiService/DownloadModelInstanceVersion"
BUCKET = f"/kaggle-bucket/{NAME}"
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
HEADERS = {"Accept-Ranges": "bytes", "X-Goog-Hash": f"md5={MD5}"}
RIGHT = Digest("sha256", sha256(CONTENT))


@pytest.fixture
def kaggle(server, monkeypatch, tmp_path):
    """The server as Kaggle, without anybody's credentials."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_API_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    # Which looks through every module there is for the name of its caller's library.
    monkeypatch.setattr("kagglehub.clients.search_lib_in_call_stack", lambda name: None)
    endpoints = kaggle_env._env_to_endpoint
    monkeypatch.setitem(endpoints, kaggle_env.KaggleEnv.PROD, server.url)
    server.files[ASKED] = Served(b"", 302, {"Location": server.url + BUCKET})
    server.files[BUCKET] = Served(CONTENT, headers=HEADERS)
    return server


@pytest.mark.parametrize("digest", [None, RIGHT], ids=["unstated", "stated"])
def test_the_right_file_arrives_once(digest, kaggle, capfd):
    found = fetch(Location(PLACE, digest))
    assert found.read_bytes() == CONTENT
    assert found.name == NAME
    assert fetch(Location(PLACE, digest)) == found
    assert len(kaggle.gets(BUCKET)) == 1
    assert capfd.readouterr() == ("", "")  # stdout is for results


def test_a_connection_that_is_cut_off_is_taken_up_again(kaggle):
    kaggle.first["GET", BUCKET] = [Served(CONTENT, cut=20_000, headers=HEADERS)]
    assert fetch(Location(PLACE)).read_bytes() == CONTENT
    assert kaggle.gets(BUCKET)[-1].startswith("bytes=")


@pytest.mark.parametrize("status", [429, 500])
def test_a_busy_kaggle_is_asked_again(status, kaggle):
    kaggle.first["POST", ASKED] = [Served(b"", status)] * 2
    assert fetch(Location(PLACE)).read_bytes() == CONTENT
    kaggle.first["POST", ASKED] = [Served(b"", status)] * 9
    with pytest.raises(FetchError, match=rf"Kaggle answers {status}, 4 times"):
        fetch(Location(KaggleFile("keras/efficientnet/keras/b1/2", NAME)))


def test_what_kaggle_does_not_have(kaggle):
    kaggle.files[ASKED] = Served(b"", 404)
    with pytest.raises(FetchError, match="Kaggle does not give it") as error:
        fetch(Location(PLACE))
    assert error.value.gone
    assert "\n" not in str(error.value)


def test_a_name_that_is_none(kaggle):
    with pytest.raises(FetchError, match="Kaggle does not give it"):
        fetch(Location(KaggleFile("keras", NAME)))


def test_another_file_than_its_hash(kaggle):
    with pytest.raises(FetchError, match="has the sha256"):
        fetch(Location(PLACE, Digest("sha256", "0" * 64)))


def test_a_damaged_cache_is_fetched_again(kaggle, caplog):
    found = fetch(Location(PLACE))
    found.write_bytes(CONTENT[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert fetch(Location(PLACE)).read_bytes() == CONTENT
    assert "damaged" in caplog.text


def test_offline_there_is_what_is_in_the_cache(kaggle, monkeypatch):
    found = fetch(Location(PLACE))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked_before = len(kaggle.asked)
    assert fetch(Location(PLACE)) == found
    with pytest.raises(FetchError, match="is not in the cache"):
        fetch(Location(KaggleFile("keras/efficientnet/keras/b1/2", NAME)))
    found.write_bytes(b"?")
    with pytest.raises(FetchError, match="is damaged"):
        fetch(Location(PLACE))
    assert len(kaggle.asked) == asked_before


def test_no_network(kaggle):
    kaggle.shutdown()
    kaggle.server_close()
    with pytest.raises(FetchError, match="Kaggle cannot be reached"):
        fetch(Location(PLACE))
