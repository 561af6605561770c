"""Checksums that fit make no entry true: what cannot be is refused in one line."""

import numpy as np
import pytest

from efficientnet_rosetta.common._util.crc32c import crc32c, masked
from efficientnet_rosetta.common.checkpoints.formats import bundle_index, sstable, tensor_bundle
from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire
from parity_tests.checkpoints.formats.bundle_support import (
    HEADER,
    assert_same,
    entry,
    forge,
    line,
    number,
    part,
    sound,
    tf,
)

# ------------------ hostile entries


def test_a_forged_entry_that_is_sound_is_read(tmp_path):
    """What follows is refused for what it says, and not for how it was made."""
    prefix = tmp_path / "x"
    forge(prefix, {b"a": entry()})
    assert_same(tensor_bundle.read(prefix), {"a": np.zeros((2, 3), np.float32)})
    assert tf.train.load_checkpoint(str(prefix)).get_tensor("a").shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (entry(shape=(-2, 3)), "a has an axis of -2 places"),
        (entry(shape=(-2, -3)), "a has an axis of -3 places"),
        (entry(shape=(2**62, 2**62), size=24), "more values than can be counted"),
        (entry(shape=(2**63 - 1,), size=24), "more values than can be counted"),
        (entry(shape=(2**62, 0), size=0), "more values than can be counted"),
        (entry(shape=(1,) * 300, size=4), "a has 300 axes, more than an array can have"),
        (entry(size=20), "is to have 20 bytes, but its shape takes 24"),
        (entry(size=-24), "is to have -24 bytes"),
        (entry(offset=1), "ends behind the end of x.data-00000-of-00001"),
        (entry(offset=-1), "lies in data file 0 of 1, at -1"),
        (entry(offset=2**63 - 1), "ends behind the end of"),
        (entry(shape=(2**38,)), "ends behind the end of"),
        (entry(shard=1), "lies in data file 1 of 1"),
        (entry(shard=-1), "lies in data file -1 of 1"),
        (entry(dtype=0), "has the type 0, which does not exist"),
        (entry(dtype=101), "has the type 101, which does not exist"),
        (entry(dtype=-1), "has the type -1, which does not exist"),
        (number(1, 1) + wire.message_field(2, number(3, 1)), "a has no shape"),
        (wire.message_field(1, b"x"), "field 1 of a message is no number"),
        (number(1, 1) + number(2, 1), "field 2 of a message is a number"),
        (b"\x0b", "a field has the wire type 3"),
        (b"\x12\xff\xff\xff\xff\x0f", "a field is longer than what holds it"),
        (b"\x08" + b"\xff" * 20, "a number in it does not end"),
        (entry(slices=part((0, 2))), "a has 2 axes, but a part of 1"),
        (entry(slices=part((-1, 3), ())), "a part of a tensor lies outside it"),
        (entry(slices=part((1, 2), ())), "a part of a tensor lies outside it"),
        (entry(slices=part((1, -1), ())), "a part of a tensor lies outside it"),
        (entry(slices=part((1,), ())), "a part of a tensor lies outside it"),
        (entry(slices=part((2**63 - 1, 2**63 - 1), ())), "a part of a tensor lies outside it"),
        (entry(slices=part((0, 1), ())), "a part of a is missing"),
        (entry(slices=part(*[(0, 1)] * 300)), "a has 2 axes, but a part of 300"),
    ],
)
def test_entries_that_cannot_be_are_refused(content, reason, tmp_path):
    prefix = tmp_path / "x"
    forge(prefix, {b"a": content})
    assert reason in line(prefix, lambda: tensor_bundle.read(prefix))


HALF = (bundle_index.Span(0, 1), bundle_index.Span(0, None))


@pytest.mark.parametrize(
    ("inner", "spans", "reason"),
    [
        (entry((1, 3)), [HALF], "the parts of a are not the whole of it"),
        (entry((3, 1)), [HALF, HALF], "a part of a has another shape or type than it should"),
        (entry((1, 3), 3), [HALF, HALF], "a part of a has another shape or type than it should"),
        (entry((1, 3), slices=part((), ())), [HALF, HALF], "is missing"),
    ],
)
def test_parts_that_cannot_be_are_refused(inner, spans, reason, tmp_path):
    prefix = tmp_path / "x"
    whole = entry(slices=b"".join(part((0, 1), ()) for _ in spans))
    forge(prefix, {b"a": whole, bundle_index.part_key(b"a", HALF): inner})
    assert reason in line(prefix, lambda: tensor_bundle.read(prefix))


def test_parts_that_overlap_are_refused(tmp_path):
    prefix = tmp_path / "x"
    forge(
        prefix,
        {
            b"a": entry(slices=part((0, 1), ()) * 2),
            bundle_index.part_key(b"a", HALF): entry((1, 3), checksum=masked(crc32c(bytes(12)))),
        },
    )
    assert "overlap" in line(prefix, tensor_bundle.read(prefix)["a"].read)


def test_parts_do_not_claim_more_than_there_is(tmp_path):
    """A thousand parts may all be the same bytes."""
    prefix = tmp_path / "x"
    spans = [(bundle_index.Span(at, 1), bundle_index.Span(0, None)) for at in range(1000)]
    slices = b"".join(part((at, 1), ()) for at in range(1000))
    rows = {bundle_index.part_key(b"a", span): entry((1, 6)) for span in spans}
    forge(prefix, rows | {b"a": entry((1000, 6), slices=slices)})
    message = line(prefix, lambda: tensor_bundle.read(prefix))
    assert "a is larger than all data files" in message


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER + number(2, 1), "its numbers are big-endian, which is not read"),
        (number(1, 1) + wire.message_field(3, number(2, 2)), "it is of a newer format"),
        (number(1, 0), "it counts 0 data files"),
        (number(1, -1), "it counts -1 data files"),
        (number(1, 2**40), "it counts 1099511627776 data files"),
        (number(1, 2**31 - 1), "x.data-00000-of-2147483647 is missing"),
    ],
)
def test_headers_that_cannot_be_are_refused(header, reason, tmp_path):
    prefix = tmp_path / "x"
    forge(prefix, {b"a": entry()}, header)
    assert reason in line(prefix, lambda: tensor_bundle.read(prefix))


def test_names_are_one_clean_line(tmp_path):
    prefix = tmp_path / "x"
    forge(prefix, {b"a\n\x1b[31m" + b"x" * 3000: entry(size=1)})
    assert r"a\n\x1b[31mxxx" in line(prefix, lambda: tensor_bundle.read(prefix))
    forge(prefix, {b"\xff\n": entry()})
    assert "is not UTF-8" in line(prefix, lambda: tensor_bundle.read(prefix))


# ------------------ hostile tables


def table(blocks, index=None):
    """A table of blocks as they are; `index` are the handles to write instead of theirs."""
    content, handles = bytearray(), sstable._Block(1)
    for place, block in enumerate(blocks):
        handles.add(bytes([place]), sstable._append(content, block))
    if index is not None:
        handles = sstable._Block(1)
        for place, (offset, size) in enumerate(index):
            handle = wire.encoded_varint(offset) + wire.encoded_varint(size)
            handles.add(place.to_bytes(2, "big"), handle)
    footer = sstable._append(content, sstable._Block(1)) + sstable._append(content, handles)
    return bytes(content) + footer.ljust(40, b"\0") + sstable.MAGIC.to_bytes(8, "little")


class Raw:
    """A block with these bytes."""

    key = b""

    def __init__(self, content):
        self._content = content

    def finished(self):
        return self._content


def growing(count, step):
    """Names each of which repeats the whole of the one before it: few bytes, long names."""
    content, length = b"\0\0\x04" + number(1, 1) + b"\x1a\0", 0
    for _ in range(count):
        content += wire.encoded_varint(length) + wire.encoded_varint(step) + b"\0" + b"x" * step
        length += step
    return content + b"\0\0\0\0\1\0\0\0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it does not end as one does"),
        (bytes(48), "it does not end as one does"),
        (table([Raw(b"")]), "a block of it has no end"),
        (table([Raw(b"\xff\xff\xff\xff")]), "a block of it has no end"),
        (table([Raw(b"\1\0\0\0\0\0\0\1\0\0\0")]), "longer than its block"),
        (table([Raw(b"\0\x7f\0\0\0\0\0\1\0\0\0")]), "longer than its block"),
        (table([Raw(b"\0\0\0\0\0\0\0\1\0\0\0")]), "it counts 0 data files"),
        (table([]), "it has no header"),
        (table([Raw(b"\0\1\0a\0\0\0\0\1\0\0\0")]), "it has no header"),
        (table([], [(2**63, 2**63)]), "a block of it lies behind its end"),
        (table([Raw(b"\0\0\0\0\1\0\0\0")], [(0, 8), (0, 8)]), "its blocks overlap"),
        (
            table([Raw(b"\0\0\2\x08\1\0\0\2\x08\1\0\0\0\0\1\0\0\0")]),
            "its names are not in order",
        ),
    ],
)
def test_tables_that_cannot_be_are_refused(content, reason, tmp_path):
    prefix = tmp_path / "x"
    (tmp_path / "x.index").write_bytes(content)
    assert reason in line(prefix, lambda: tensor_bundle.read(prefix))


def test_names_do_not_outgrow_the_file():
    rows = sstable.read_table(table([Raw(growing(20, 500))]))
    with pytest.raises(sstable.BundleError, match="it has a name of 4500 bytes"):
        list(rows)


def test_an_index_of_too_many_tensors_is_refused(tmp_path, monkeypatch):
    prefix = tmp_path / "x"
    sound(prefix)
    monkeypatch.setattr(sstable, "ENTRY_LIMIT", 20)
    message = line(prefix, lambda: tensor_bundle.read(prefix))
    assert "it lists more than 20 tensors" in message


def test_a_compressed_index_is_refused(tmp_path, monkeypatch):
    prefix = tmp_path / "x"
    monkeypatch.setattr(sstable, "PLAIN", 1)
    forge(prefix, {b"a": entry()})
    monkeypatch.undo()
    assert "its index is compressed" in line(prefix, lambda: tensor_bundle.read(prefix))


def test_an_index_of_any_size_is_not_read(tmp_path):
    prefix = tmp_path / "x"
    with (tmp_path / "x.index").open("wb") as file:
        file.truncate(1 << 40)
    assert f"more than {tensor_bundle.INDEX_LIMIT} bytes" in line(
        prefix, lambda: tensor_bundle.read(prefix)
    )
