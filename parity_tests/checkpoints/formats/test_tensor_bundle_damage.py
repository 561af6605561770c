"""A damaged checkpoint, or one that is made of links and devices, ends in one line."""

import os

import numpy as np
import pytest

from efficientnet_rosetta.common._util.crc32c import crc32c, masked
from efficientnet_rosetta.common.checkpoints.formats import sstable, tensor_bundle
from parity_tests.checkpoints.formats.bundle_support import (
    entry,
    forge,
    line,
    read_all,
    reported,
    sound,
)

# ------------------ damage


def test_a_flipped_bit_in_the_values_is_noticed(tmp_path):
    prefix = tmp_path / "x"
    _, data = sound(prefix)
    content = bytearray(data.read_bytes())
    content[30] ^= 4
    data.write_bytes(content)
    tensors = tensor_bundle.read(prefix)
    message = line(prefix, tensors["layer_1/kernel"].read)
    assert "the values of layer_1/kernel do not fit their checksum" in message
    tensors["layer_0/kernel"].read()


def test_a_flipped_bit_in_the_index_is_noticed(tmp_path):
    prefix = tmp_path / "x"
    index, _ = sound(prefix)
    content = index.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        index.write_bytes(flipped)
        line(prefix, lambda: read_all(prefix))


def damaged(content, random):
    """One of the ways in which files break."""
    kind = random.integers(5)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        return random.bytes(random.integers(1, 4096))
    flipped = bytearray(content)
    for _ in range(random.integers(1, 9)):
        flipped[random.integers(len(content))] = random.integers(256)
    return bytes(flipped)


def test_damaged_indices_end_in_one_line(tmp_path):
    prefix = tmp_path / "x"
    index, _ = sound(prefix)
    content, random = index.read_bytes(), np.random.default_rng(0)
    count = 0
    for content_now in [b"", *(damaged(content, random) for _ in range(300))]:
        index.write_bytes(content_now)
        count += reported(prefix)
    assert count > 250


def test_damage_behind_valid_checksums_ends_in_one_line(tmp_path):
    """The table is sound, and so are its checksums; the messages in it are not."""
    prefix = tmp_path / "x"
    index, _ = sound(prefix)
    rows, random = list(sstable.read_table(index.read_bytes())), np.random.default_rng(0)
    count = 0
    for _ in range(300):
        changed, place = list(rows), random.integers(len(rows))
        key, value = changed[place]
        changed[place] = key, damaged(value, random) if value else random.bytes(9)
        index.write_bytes(sstable.write_table(changed))
        count += reported(prefix)
    assert count > 200


def test_damage_within_blocks_of_valid_checksums_ends_in_one_line(tmp_path):
    prefix = tmp_path / "x"
    index, _ = sound(prefix)
    content, random = index.read_bytes(), np.random.default_rng(0)
    end = content.index(b"\0\0\0\0\1\0\0\0\0", 1000)  # the block of properties, which is empty
    block = content[: end - sstable.TRAILER]
    for _ in range(300):
        changed = bytearray(block)
        for _ in range(random.integers(1, 5)):
            changed[random.integers(len(block))] = random.integers(256)
        changed += b"\0"
        trailer = masked(crc32c(bytes(changed))).to_bytes(4, "little")
        index.write_bytes(bytes(changed) + trailer + content[end:])
        reported(prefix)


# ------------------ hostile files


def test_a_missing_index_is_named(tmp_path):
    prefix = tmp_path / "x"
    assert "there is no file x.index" in line(prefix, lambda: tensor_bundle.read(prefix))


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
@pytest.mark.parametrize("name", ["x.index", "x.data-00000-of-00001"])
def test_only_files_are_opened(name, kind, tmp_path):
    """Neither waited for nor read for ever."""
    prefix, place = tmp_path / "x", tmp_path / name
    forge(prefix, {b"a": entry()})
    place.unlink()
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    assert "x." in line(prefix, lambda: tensor_bundle.read(prefix))


def test_a_link_of_a_data_file_is_not_followed_out_of_the_folder(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    prefix, data = folder / "x", folder / "x.data-00000-of-00001"
    forge(prefix, {b"a": entry()})
    tensors = tensor_bundle.read(prefix)
    data.rename(tmp_path / "outside")
    data.symlink_to("../outside")
    for call in (lambda: tensor_bundle.read(prefix), tensors["a"].read):
        assert "is a link out of the folder, which is not followed" in line(prefix, call)
    data.unlink()
    data.symlink_to(data.name)
    line(prefix, lambda: tensor_bundle.read(prefix))  # Python 3.13 on says that it is a circle


def test_a_link_within_the_folder_is_followed(tmp_path):
    prefix, data = tmp_path / "x", tmp_path / "x.data-00000-of-00001"
    forge(prefix, {b"a": entry()})
    data.rename(tmp_path / "blob")
    data.symlink_to("blob")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert tensor_bundle.read(tmp_path / "link" / "x")["a"].read().shape == (2, 3)


def test_a_data_file_that_shrank_is_noticed(tmp_path):
    prefix, data = tmp_path / "x", tmp_path / "x.data-00000-of-00001"
    forge(prefix, {b"a": entry()})
    tensors = tensor_bundle.read(prefix)
    data.write_bytes(bytes(20))
    line(prefix, tensors["a"].read)
    line(prefix, lambda: tensor_bundle.read(prefix))
