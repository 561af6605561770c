"""A server on loopback in place of every host, caches in a folder of the test, and no waiting."""

import pytest

from efficientnet_rosetta.common.catalogue import transfer

from . import server as servers
from .hosts import HOSTS


@pytest.fixture
def server(monkeypatch, tmp_path):
    """What plays the hub and every other host; caches are empty, and nobody waits between tries."""
    monkeypatch.setattr(transfer, "PATIENCE", transfer.Patience(read=20, waits=(0, 0, 0)))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ROSETTA_WEIGHTS_DIR", "ROSETTA_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "caches" / "hub"))
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "caches" / "rosetta"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "caches" / "kaggle"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with servers.running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


@pytest.fixture(params=HOSTS)
def host(request, server):
    """One file, on each kind of host in turn."""
    return HOSTS[request.param](server)
