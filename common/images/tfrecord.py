"""Shards of TFRecords in the layout of ImageNet, without TensorFlow.

A record is its length, a checksum of that, the bytes and their checksum; the bytes are a
`tf.train.Example`, a map from names to lists.  Shards are indexed by their headers only, so that
any record can be read at any time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .._util.crc32c import crc32c, masked
from .._util.files import opened
from ..errors import FileError, UnreadableImageError

HEADER, FOOTER = 12, 4  # bytes: length and its checksum, checksum of the content
# The released code's names of the features, and plain ones.
IMAGE_KEYS = ("image/encoded", "image")
LABEL_KEYS = ("image/class/label", "label")


@dataclass(frozen=True, order=True)
class Record:
    """One image of a shard, read when it is asked for.

    Labels of ImageNet's shards count from 1, because 0 is a background class that no image has;
    `background` keeps it, for networks of 1,001 classes (imagenet_input.py of the released code).
    """

    path: Path
    offset: int
    length: int
    background: bool = False

    def read(self) -> tuple[bytes, int]:
        """The encoded image, and its label from 0.

        Raises:
            UnreadableImageError: the record is damaged or gone, or has no image or label.
            RosettaError: the label is that of the background class.
        """
        try:
            with opened(self.path) as file:
                file.seek(self.offset)
                content, footer = file.read(self.length), file.read(FOOTER)
        except FileError as error:
            raise UnreadableImageError(str(self), error.problem) from error
        except OSError as error:
            raise UnreadableImageError(str(self), f"cannot be read ({error.strerror})") from error
        if footer != struct.pack("<I", masked(crc32c(content))):
            raise UnreadableImageError(str(self), "does not fit its checksum")
        features = example(content, str(self))
        image, label = (_first(features, keys, str(self)) for keys in (IMAGE_KEYS, LABEL_KEYS))
        if not isinstance(image, bytes) or not isinstance(label, int):
            raise UnreadableImageError(str(self), "has no image of bytes, or no whole label")
        if not self.background:
            label -= 1
        if label < 0:
            raise FileError(
                str(self),
                "is of the background class, 0; give 1001 classes if the shards have it, or number "
                "their classes from 1",
                argument="classes",
            )
        return image, label

    def __str__(self) -> str:
        return f"{self.path} at byte {self.offset}"


def read_records(path: str | Path, background: bool = False) -> Iterator[Record]:
    """Every record of a shard.

    Raises:
        RosettaError: it is no TFRecord file, or is cut off.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            size, position = os.fstat(file.fileno()).st_size, 0
            while position < size:
                header = file.read(HEADER)
                length = _length(header, path, position)
                if position + HEADER + length + FOOTER > size:
                    raise FileError(path, f"is cut off in the record at byte {position}")
                yield Record(path, position + HEADER, length, background)
                position = file.seek(length + FOOTER, 1)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error


def _length(header: bytes, path: Path, position: int) -> int:
    if len(header) == HEADER:
        stored: tuple[int, int] = struct.unpack("<QI", header)
        length, checksum = stored
        if checksum == masked(crc32c(header[:8])):
            return length
    raise FileError(path, f"is no TFRecord file, or damaged, at byte {position}")


def example(content: bytes, name: str) -> dict[str, list[Any]]:
    """The features of a serialised `tf.train.Example`: lists of bytes, floats or integers.

    `name` stands for it in messages.

    Raises:
        UnreadableImageError: it is none.
    """
    from google.protobuf.message import DecodeError

    try:
        parsed = _message().FromString(content)
    except DecodeError as error:
        raise UnreadableImageError(name, f"is no tf.train.Example ({error})") from error
    features = {}
    for key, feature in parsed.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[key] = [] if kind is None else list(getattr(feature, kind).value)
    return features


def _first(features: dict[str, list[Any]], keys: tuple[str, ...], name: str) -> Any:
    for key in keys:
        if features.get(key):
            return features[key][0]
    raise UnreadableImageError(name, f"has neither {' nor '.join(keys)}, but {', '.join(features)}")


REPEATED = ("value", "feature")  # the fields of lists, and the map


@cache
def _message() -> Any:
    """`tf.train.Example` (example.proto, feature.proto), declared here: TensorFlow need not be."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="rosetta/example.proto", package="rosetta", syntax="proto3"
    )

    def message(name: str, *fields: tuple[str, int, str | None]) -> descriptor_pb2.DescriptorProto:
        added = file.message_type.add(name=name)
        for number, (label, kind, other) in enumerate(fields, 1):
            added.field.add(
                name=label,
                number=number,
                type=kind,
                label=field.LABEL_OPTIONAL if label not in REPEATED else field.LABEL_REPEATED,
                type_name=f".rosetta.{other}" if other else None,
            )
        return added

    message("BytesList", ("value", field.TYPE_BYTES, None))
    message("FloatList", ("value", field.TYPE_FLOAT, None))
    message("Int64List", ("value", field.TYPE_INT64, None))
    feature = message(
        "Feature",
        ("bytes_list", field.TYPE_MESSAGE, "BytesList"),
        ("float_list", field.TYPE_MESSAGE, "FloatList"),
        ("int64_list", field.TYPE_MESSAGE, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for entry in feature.field:
        entry.oneof_index = 0
    features = message("Features", ("feature", field.TYPE_MESSAGE, "Features.Entry"))
    entry = features.nested_type.add(name="Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=field.TYPE_MESSAGE,
        type_name=".rosetta.Feature",
        label=field.LABEL_OPTIONAL,
    )
    message("Example", ("features", field.TYPE_MESSAGE, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rosetta.Example"))
