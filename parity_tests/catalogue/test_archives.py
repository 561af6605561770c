"""Archives by somebody else: unpacked once and whole, or refused by what is wrong with them."""

import gzip
import io
import os
import tarfile

import pytest

from efficientnet_rosetta.common.catalogue import archives
from efficientnet_rosetta.common.catalogue.archives import checkpoint_in
from efficientnet_rosetta.common.errors import FetchError

FILES = {
    "b0/checkpoint": b'model_checkpoint_path: "model.ckpt"\n',
    "b0/model.ckpt.index": b"index",
    "b0/model.ckpt.data-00000-of-00001": b"data" * 1000,
    "b0/model.ckpt.meta": b"graph",
}


def packed(path, files=FILES, *members):
    """An archive of files, and of members that are no files."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return path


def member(name, kind=tarfile.REGTYPE, **fields):
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in fields.items():
        setattr(found, field, value)
    return found


@pytest.fixture
def unpacked(tmp_path):
    """Unpacks an archive beside it, and looks whether anything went elsewhere."""
    folder = tmp_path / "room" / "b0.unpacked"
    folder.parent.mkdir()

    def unpack(archive):
        return checkpoint_in(archive, folder, "tpu:b0")

    yield unpack
    assert sorted(path.name for path in tmp_path.iterdir()) in (["room"], ["b0.tgz", "room"])
    assert [path.name for path in folder.parent.iterdir()] in ([], [folder.name])


def test_the_checkpoint_of_an_archive(unpacked, tmp_path):
    archive = packed(tmp_path / "b0.tgz")
    prefix = unpacked(archive)
    assert prefix.name == "model.ckpt"
    for name, content in FILES.items():
        assert (prefix.parents[1] / name).read_bytes() == content


def test_an_archive_is_unpacked_once(unpacked, tmp_path, monkeypatch):
    archive = packed(tmp_path / "b0.tgz")
    prefix = unpacked(archive)
    monkeypatch.setattr(archives, "_unpack", None)
    assert unpacked(archive) == prefix


@pytest.mark.parametrize("change", ["shorter", "missing", "newer"])
def test_a_folder_that_is_not_what_was_unpacked_is_made_again(change, unpacked, tmp_path):
    archive = packed(tmp_path / "b0.tgz")
    data = unpacked(archive).with_name("model.ckpt.data-00000-of-00001")
    if change == "shorter":
        data.write_bytes(b"dat")
    elif change == "missing":
        data.unlink()
    else:
        packed(archive, {**FILES, "b0/model.ckpt.data-00000-of-00001": b"new" * 2000})
    unpacked(archive)
    assert data.read_bytes() == (b"new" * 2000 if change == "newer" else b"data" * 1000)


def test_of_several_checkpoints_the_newest(unpacked, tmp_path):
    more = {name.replace("model.ckpt", "model.ckpt-9"): data for name, data in FILES.items()}
    state = {"b0/checkpoint": b'model_checkpoint_path: "/home/them/b0/model.ckpt-9"\n'}
    assert unpacked(packed(tmp_path / "b0.tgz", {**FILES, **more, **state})).name == "model.ckpt-9"


def test_of_several_networks_none_is_taken(unpacked, tmp_path):
    more = {name.replace("b0/", "b1/"): data for name, data in FILES.items()}
    archive = packed(tmp_path / "b0.tgz", {**FILES, **more})
    with pytest.raises(FetchError, match=r"has b0/model.ckpt, b1/model.ckpt; name one"):
        unpacked(archive)


def test_what_a_mac_leaves_in_archives_is_no_checkpoint(unpacked, tmp_path):
    more = {name.replace("b0/", "b0/._"): b"x" for name in FILES}
    assert unpacked(packed(tmp_path / "b0.tgz", {**FILES, **more})).name == "model.ckpt"


def test_an_archive_without_a_checkpoint(unpacked, tmp_path):
    with pytest.raises(FetchError, match="there is no checkpoint"):
        unpacked(packed(tmp_path / "b0.tgz", {"b0/readme": b"x"}))


HOSTILE = {
    "above": (member("../evil"), "leads out of its folder"),
    "above, inside": (member("b0/../../evil"), "leads out of its folder"),
    "absolute": (member("/evil"), "leads out of its folder"),
    "drive": (member("C:evil"), "leads out of its folder"),
    "backslash": (member("..\\evil"), "leads out of its folder"),
    "link": (member("b0/evil", tarfile.SYMTYPE, linkname="/etc/passwd"), "has a link"),
    "link above": (member("b0/evil", tarfile.SYMTYPE, linkname="../.."), "has a link"),
    "hard link": (member("b0/evil", tarfile.LNKTYPE, linkname="../../evil"), "has a link"),
    "device": (member("b0/evil", tarfile.CHRTYPE), "no regular file"),
    "pipe": (member("b0/evil", tarfile.FIFOTYPE), "no regular file"),
}


@pytest.mark.parametrize(("bad", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused_by_name(bad, words, unpacked, tmp_path):
    archive = packed(tmp_path / "b0.tgz", FILES, bad)
    with pytest.raises(FetchError, match=words) as error:
        unpacked(archive)
    assert ascii(bad.name)[1:-1] in str(error.value)
    assert str(error.value).startswith("tpu:b0: ")


def test_a_file_through_a_link_of_the_archive_itself(unpacked, tmp_path):
    link = member("b0/out", tarfile.SYMTYPE, linkname=str(tmp_path))
    with tarfile.open(tmp_path / "b0.tgz", "w:gz") as tar:
        tar.addfile(link)
        tar.addfile(member("b0/out/evil", size=4), io.BytesIO(b"evil"))
    with pytest.raises(FetchError, match="has a link"):
        unpacked(tmp_path / "b0.tgz")


def test_a_bomb_is_not_unpacked(unpacked, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_GROWTH", 2**16)
    archive = packed(tmp_path / "b0.tgz", {**FILES, "b0/zeros": bytes(2**21)})
    with pytest.raises(FetchError, match="unpacks to more than"):
        unpacked(archive)


def test_a_length_that_is_claimed_is_not_believed(unpacked, tmp_path):
    claimed = member("b0/huge", size=2**50)
    with gzip.open(tmp_path / "b0.tgz", "wb") as file:
        file.write(claimed.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(FetchError, match="unpacks to more than"):
        unpacked(tmp_path / "b0.tgz")


def test_a_header_of_gigabytes_is_not_read(unpacked, tmp_path):
    header = member("././@PaxHeader", tarfile.XHDTYPE, size=2**25)
    with gzip.open(tmp_path / "b0.tgz", "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(2**25))
    with pytest.raises(FetchError, match="header of over a million bytes"):
        unpacked(tmp_path / "b0.tgz")


def test_too_many_files(unpacked, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(FetchError, match="more than 3 files"):
        unpacked(packed(tmp_path / "b0.tgz"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive", "empty"])
def test_a_damaged_archive_is_one_line(damage, unpacked, tmp_path):
    archive = packed(tmp_path / "b0.tgz", {**FILES, "b0/noise": os.urandom(50_000)})
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        content = content[:20_000]
    elif damage == "flipped":
        content[30_000] ^= 0xFF
    else:
        content = b"" if damage == "empty" else b"no archive"
    archive.write_bytes(content)
    with pytest.raises(FetchError, match="damaged archive") as error:
        unpacked(archive)
    assert "\n" not in str(error.value)
