"""Fetching from hosts that misbehave: the right file arrives, or one line says what is wrong."""

import errno
import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from efficientnet_rosetta.common.catalogue import transfer
from efficientnet_rosetta.common.catalogue.location import Digest
from efficientnet_rosetta.common.errors import FetchError

from .hosts import CONTENT, NAME, AddressHost, HubHost, sha256
from .server import Served

RIGHT = Digest("sha256", sha256(CONTENT))
DIGESTS = {
    "none": None,
    "sha256": RIGHT,
    "prefix": Digest("sha256", RIGHT.value[:8], is_prefix=True),
    "md5": Digest("md5", hashlib.md5(CONTENT).hexdigest()),
    "capitals": Digest("sha256", RIGHT.value.upper()),
}
WRONG = {
    "sha256": Digest("sha256", sha256(b"another")),
    "prefix": Digest("sha256", sha256(b"another")[:8], is_prefix=True),
    "md5": Digest("md5", hashlib.md5(b"another").hexdigest()),
}


def refused(host, *words, digest=None, **options):
    """The only line that is said of a file that does not arrive."""
    with pytest.raises(FetchError) as error:
        host.fetch(digest, **options)
    line = str(error.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
    assert not host.cached.exists()
    return error.value


@pytest.mark.parametrize("digest", DIGESTS.values(), ids=DIGESTS)
def test_the_right_file_arrives_once(host, digest):
    seen = []
    found = host.fetch(digest, progress=lambda done, total: seen.append((done, total)))
    assert found.read_bytes() == CONTENT
    assert found == host.cached
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert host.fetch(digest) == found
    assert len(host.ranges) == 1
    assert not host.partial.exists()


@pytest.mark.parametrize("digest", WRONG.values(), ids=WRONG)
def test_a_file_of_another_hash_is_not_kept(host, digest):
    refused(host, digest.value, digest=digest)
    assert not host.partial.exists()


def test_a_hub_that_gives_another_file_than_it_says(server):
    host = HubHost(server)
    host.first(Served(b"x" * len(CONTENT)))
    refused(host, "sha256", RIGHT.value)


def test_a_bar_is_for_terminals_and_never_on_stdout(server, monkeypatch, capsys):
    host = AddressHost(server)
    host.fetch(name="timm:some_b0")
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(host.cached.parent)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    host.fetch(name="timm:some_b0")
    said = capsys.readouterr()
    assert said.out == ""
    assert "timm:some_b0" in said.err


# ------------------------------------------------------------------ interruptions


def test_a_connection_that_is_cut_off_is_taken_up_again(host):
    host.first(
        Served(CONTENT, cut=20_000, headers=host.tag(CONTENT)),
        Served(CONTENT, cut=5_000, headers=host.tag(CONTENT)),
    )
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert host.ranges == [None, "bytes=20000-", "bytes=25000-"]


def test_pieces_that_tell_their_length(host):
    tag = host.tag(CONTENT)
    host.first(
        Served(CONTENT, chunked=True, cut=20_000, headers=tag),
        Served(CONTENT, chunked=True, headers=tag),
    )
    assert host.fetch().read_bytes() == CONTENT
    assert host.ranges[0] is None
    assert host.ranges[1].startswith("bytes=")


def test_what_arrived_is_there_for_the_next_time(host):
    tag = host.tag(CONTENT)
    host.first(Served(CONTENT, cut=20_000, headers=tag), *[Served(CONTENT, cut=0, headers=tag)] * 3)
    refused(host, "cut off", "try again later")
    assert host.partial.stat().st_size == 20_000
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert host.ranges[-1] == "bytes=20000-"


def test_a_process_that_is_killed_leaves_what_it_has(host):
    released = threading.Event()
    host.first(Served(CONTENT, cut=30_000, held=released, headers=host.tag(CONTENT)))
    process = _fetching(host)
    _until(process, lambda: host.partial.exists() and host.partial.stat().st_size == 30_000)
    process.kill()
    process.communicate()
    released.set()
    assert not host.cached.exists()
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert host.ranges == [None, "bytes=30000-"]


def test_a_server_that_knows_no_parts_gives_the_whole(host):
    host.first(
        Served(CONTENT, cut=20_000, headers=host.tag(CONTENT)),
        Served(CONTENT, ranges=False, headers=host.tag(CONTENT)),
    )
    assert host.fetch(RIGHT).read_bytes() == CONTENT


def test_a_part_that_is_compressed_is_not_put_behind_one_that_is_not(server):
    host = AddressHost(server)
    packed = {**host.tag(CONTENT), "Content-Encoding": "gzip"}
    host.first(
        Served(CONTENT, cut=20_000, headers=host.tag(CONTENT)),
        Served(gzip.compress(CONTENT) + bytes(20_000), headers=packed),
        Served(gzip.compress(CONTENT), headers=packed),
    )
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert host.ranges == [None, "bytes=20000-", None]


def test_a_body_of_unknown_length_that_is_cut_off_is_noticed_by_its_hash(server):
    host = AddressHost(server)
    host.first(Served(CONTENT, cut=20_000, length=False))
    refused(host, "has the sha256", digest=RIGHT)


def test_parts_of_two_versions_are_not_put_together(server):
    host = AddressHost(server)
    old = b"old" * 20_000
    answers = [Served(old, cut=20_000, headers=host.tag(old))]
    answers += [Served(old, cut=0, headers=host.tag(old))] * 3
    host.first(*answers)
    refused(host, "cut off")
    assert host.fetch().read_bytes() == CONTENT  # without a hash, by the server's tag
    assert host.ranges[-2:] == ["bytes=20000-", None]


def test_a_part_of_another_file_is_noticed_by_the_hash(server):
    host = AddressHost(server)
    host.partial.parent.mkdir(parents=True)
    host.partial.write_bytes(b"x" * 10_000)
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert host.ranges == ["bytes=10000-", None]


def test_a_part_that_is_the_whole_needs_nothing_more(server):
    host = AddressHost(server)
    host.partial.parent.mkdir(parents=True)
    host.partial.write_bytes(CONTENT)
    assert host.fetch(RIGHT).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_forgotten(server):
    host = AddressHost(server)
    host.partial.parent.mkdir(parents=True)
    host.partial.write_bytes(CONTENT + b"x")
    assert host.fetch(RIGHT).read_bytes() == CONTENT


# ------------------------------------------------------------------ what servers say


def test_no_such_file(host):
    host.first(Served(b"", 404), method="GET")
    host.first(Served(b"", 404, {"X-Error-Code": "EntryNotFound"}), method="HEAD")
    assert refused(host, "no such file").gone


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status, host):
    host.first(*[Served(b"", status)] * 3)
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert len(host.ranges) == 4


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize(
    ("kind", "method"), [(AddressHost, "GET"), (HubHost, "GET"), (HubHost, "HEAD")]
)
def test_a_server_that_stays_busy_is_given_up(status, kind, method, server):
    host = kind(server)
    host.first(*[Served(b"", status)] * 4, method=method)
    assert not refused(host, str(status), "4 times", "try again later").gone


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_a_server_says_how_long_to_wait(as_date, host, monkeypatch):
    waited = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    host.first(Served(b"", 429, {"Retry-After": at if as_date else "30"}))
    assert host.fetch(RIGHT).read_bytes() == CONTENT
    assert len(waited) == 1
    assert 0 <= waited[0] <= 30
    assert as_date or waited == [30]


def test_nobody_waits_for_an_hour(host):
    host.first(Served(b"", 429, {"Retry-After": "3600"}))
    refused(host, "3,600 seconds")


@pytest.mark.parametrize("status", [401, 403])
def test_a_file_for_others(status, server):
    host = AddressHost(server)
    host.first(Served(b"", status))
    refused(host, "does not let us read it", str(status))


def test_redirects_are_followed(host):
    elsewhere = f"/cdn/{NAME}"
    host.server.files[elsewhere] = Served(CONTENT)
    host.first(Served(b"", 302, {"Location": host.server.url + elsewhere}))
    assert host.fetch(RIGHT).read_bytes() == CONTENT


def test_redirects_in_a_circle(server):
    host = AddressHost(server)
    server.files[host.path] = Served(b"", 302, {"Location": host.place.url})
    refused(host, "redirects in a circle")


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_no_file(kind, host):
    page = b"<!DOCTYPE html>\n<html><body>Log in</body></html>" + b" " * 59_000
    host.serve(page)
    host.first(Served(page, headers={"Content-Type": kind}))
    refused(host, "web page")
    assert not host.partial.exists()


def test_a_slow_server_is_asked_again(host, monkeypatch):
    times = iter([0.05])
    monkeypatch.setattr(transfer, "read_timeout", lambda: next(times, 60.0))
    released = threading.Event()
    host.first(Served(CONTENT, cut=0, held=released, headers=host.tag(CONTENT)))
    try:
        assert host.fetch(RIGHT).read_bytes() == CONTENT
    finally:
        released.set()
    assert len(host.ranges) == 2


def test_a_server_that_stays_silent_is_given_up(server, monkeypatch):
    monkeypatch.setenv(transfer.READ_TIMEOUT, "0.05")
    released = threading.Event()
    host = AddressHost(server)
    host.first(*[Served(CONTENT, cut=0, held=released)] * 4)
    try:
        refused(host, "sent nothing for 0.05 seconds", "4 times")
    finally:
        released.set()


def test_no_network(host, monkeypatch):
    host.server.shutdown()
    host.server.server_close()
    refused(host, "cannot be reached", "is there a network?")


# ------------------------------------------------------------------ the cache


def test_two_processes_fetch_one_file_once(host):
    released = threading.Event()
    host.first(Served(CONTENT, cut=30_000, held=released, headers=host.tag(CONTENT)))
    first = _fetching(host)
    _until(first, lambda: host.ranges)
    second = _fetching(host)
    assert any("waiting for another process" in line for line in second.stderr)
    released.set()
    for process in (first, second):
        said, complaints = process.communicate()
        assert process.returncode == 0, complaints
        assert said.strip() == str(host.cached)
    assert host.cached.read_bytes() == CONTENT
    assert host.ranges == [None, "bytes=30000-"]


def _until(process, happened):
    """Wait for something that a process that goes on must bring about."""
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def _fetching(host):
    """A process that fetches the file, and prints where it is."""
    code = (
        "from efficientnet_rosetta.common.catalogue import transfer\n"
        "from efficientnet_rosetta.common.catalogue.fetch import fetch\n"
        "from efficientnet_rosetta.common.catalogue.location import *\n"
        "transfer.PATIENCE = transfer.Patience(waits=(0, 0, 0))\n"
        f"print(fetch(Location({host.place!r})))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


@pytest.mark.parametrize("digest", [None, RIGHT], ids=["unstated", "stated"])
def test_a_damaged_cache_is_fetched_again(digest, host, caplog):
    found = host.fetch(digest)
    found.write_bytes(CONTENT[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert host.fetch(digest).read_bytes() == CONTENT
    assert "damaged" in caplog.text
    assert len(host.ranges) == 2


def test_a_damaged_cache_is_refused_offline(host, monkeypatch):
    found = host.fetch(RIGHT)
    found.write_bytes(CONTENT[:-1] + b"?")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"is damaged.*offline; remove it"):
        host.fetch(RIGHT)


def test_no_room_is_noticed_before_anything_is_written(host, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    refused(host, "needs 0.1 MB more", "make room")


def test_no_room_in_the_middle(host, monkeypatch):
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(path, mode="r", *arguments, **options):
        file = opened(path, mode, *arguments, **options)
        return Full(file) if path == host.partial and "r" not in mode else file

    monkeypatch.setattr(Path, "open", full)
    refused(host, "No space left on device", "make room")


def test_a_folder_that_may_not_be_written_to(host, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(FetchError, match="cannot be kept"):
        host.fetch(RIGHT)
