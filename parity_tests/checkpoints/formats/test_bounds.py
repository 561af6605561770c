"""What a reader takes in memory follows what the file holds, and not what the file says."""

import io
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.errors import RosettaError
from parity_tests.checkpoints import refusing

ROOM = 2**25  # bytes: far more than these files have, and far less than they claim
VALUES = np.arange(60_000, dtype="f4").reshape(300, 200)


def refused(path, match):
    """One line, whether it comes when the file is opened or when its tensors are read."""
    refusing.refused(read, path, ROOM, match)


def read(path):
    return {key: tensor.read() for key, tensor in formats.read(path).tensors.items()}


# ------------------------------------------------------------------ .npz


def npy(descr, shape, content=b"", order=False):
    header = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + content


def archive(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name.removeprefix('_')}.npy", content)
    return path


ONE = npy("<f4", (1,), bytes(4))


@pytest.mark.parametrize("descr", ["|S0", "<U0"])
@pytest.mark.parametrize("count", [3, 10**7, 10**11])
def test_names_of_no_bytes_are_counted(descr, count, tmp_path):
    path = archive(tmp_path / "x.npz", names=npy(descr, (count,)), _0=ONE)
    refused(path, f"lists {count:,} names, but has 2 arrays")


def test_a_name_is_listed_once(tmp_path):
    names = npy("<U1", (2,), "aa".encode("utf-32-le"))
    refused(archive(tmp_path / "x.npz", names=names, _0=ONE, _1=ONE), "one name in its list twice")


def test_names_have_an_end(tmp_path):
    path = archive(tmp_path / "x.npz", names=npy("<U5000000", (1,), bytes(20_000_000)), _0=ONE)
    refused(path, "its list of names is implausibly long")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (npy("<f4", (1,), bytes(4)), "no list of names"),
        (npy("<U1", (1, 1), bytes(4)), "no list of names"),
        (npy("<U1", (2,), "ab".encode("utf-32-le")), "lists b, which is not in the archive"),
        (npy("<U1", (2,), "aa".encode("utf-32-le")), "lists a, which is not in the archive"),
        (npy("|O", (1,), pickle.dumps([1])), "no list of names"),
    ],
)
def test_lists_that_are_none(names, match, tmp_path):
    refused(archive(tmp_path / "x.npz", names=names, _0=ONE), match)


@pytest.mark.parametrize("shape", [(10**12,), (2,), (0,), (-1,), (2**62, 8)])
def test_a_shape_is_held_against_the_bytes(shape, tmp_path):
    path = archive(tmp_path / "x.npz", a=npy("<f4", shape, bytes(4)))
    refused(path, r"a has more values, or fewer|cannot be read as .npz")


def test_a_member_that_unpacks_to_much_is_not_unpacked(tmp_path):
    zeros = npy("<f4", (2**25,), bytes(2**27))
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, a=zeros)
    refused(path, "bytes, of which the file keeps only")


def test_a_flipped_bit_of_an_array_is_noticed(tmp_path):
    path = archive(tmp_path / "x.npz", a=npy("<f4", (300, 200), VALUES.tobytes()))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    refused(path, "Bad CRC-32")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(save, tmp_path):
    arrays = {"a": VALUES, "b": np.asfortranarray(VALUES), "c": np.float16(3), "d": VALUES[:0]}
    save(tmp_path / "x.npz", **arrays)
    found = read(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
        assert found[name].flags.writeable


# ------------------------------------------------------------------ HDF5


def dataset(path, **options):
    with h5py.File(path, "w") as file:
        return file.create_dataset("a", dtype="f4", **options).chunks


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shape": (10, 10)}, "the values of /a are missing"),
        ({"shape": (400_000, 1280), "chunks": (1000, 1280)}, "of which the file keeps only 0"),
        ({"shape": (1000, 100), "chunks": (100, 100)}, "values of /a are missing"),
        ({"shape": (9,), "chunks": (2**25,), "maxshape": (None,)}, "the file keeps only"),
        ({"data": VALUES, "compression": "lzf"}, "packed in another way than by gzip"),
    ],
    ids=lambda value: "",
)
def test_values_that_are_not_there_are_not_made_up(options, match, tmp_path):
    dataset(tmp_path / "x.h5", **options)
    refused(tmp_path / "x.h5", match)


def test_half_of_the_chunks_are_not_all(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (1000, 100), "f4", chunks=(100, 100))[:500] = 1
    refused(tmp_path / "x.h5", "values of /a are missing")


def test_a_chunk_that_unpacks_to_much_is_not_unpacked(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        made = file.create_dataset("a", (999,), "f4", chunks=(999,), compression=9)
        made.id.write_direct_chunk((0,), zlib.compress(bytes(2**28), 1))
    refused(tmp_path / "x.h5", "a chunk of /a unpacks to more than it can hold")


def test_a_dataset_behind_the_end_of_the_file(tmp_path):
    dataset(tmp_path / "x.h5", data=VALUES)
    content = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(
        content.replace(struct.pack("<QQ", 300, 200), struct.pack("<QQ", 2**31, 200)).replace(
            struct.pack("<Q", VALUES.nbytes), struct.pack("<Q", 2**31 * 800)
        )
    )
    refused(tmp_path / "x.h5", "cannot be read as HDF5|behind the end|are missing")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7, 30)},
        {"compression": "gzip"},
        {"compression": 1, "shuffle": True, "fletcher32": True},
        {"maxshape": (None, 200)},
    ],
    ids=str,
)
def test_what_is_whole_is_read(options, tmp_path):
    dataset(tmp_path / "x.h5", data=VALUES, **options)
    assert np.array_equal(read(tmp_path / "x.h5")["a"], VALUES)


# ------------------------------------------------------------------ texts in HDF5


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"track_order": True}], ids=str)
def test_names_of_layers_are_those_that_the_library_reads(options, tmp_path):
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w", **options) as file:
        for number in range(40):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group["0"] = np.ones(3, "f4")
            for other in range(number % 8):
                group.attrs[f"other{other}"] = "x" * 100 * other
            group.attrs["name"] = f"näme{number}" * (1 + number)
        file["layers"].attrs["name"] = np.bytes_("of a fixed length")
    names = formats.read(path).layer_names
    with h5py.File(path) as file:
        wanted = {
            f"layers/{name}/vars": g["vars"].attrs["name"] for name, g in file["layers"].items()
        }
    assert names == {**wanted, "layers": "of a fixed length"}


@pytest.mark.parametrize(
    ("length", "heap", "number"),
    [(2**32 - 1, None, 1), (4, 2**62, 1), (4, 0, 1), (4, None, 77), (16, None, 1)],
)
def test_a_text_is_no_longer_than_its_heap(length, heap, number, tmp_path):
    """The library would find room for 4 GiB, and then look for them."""
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.ones(3, "f4")
        file["layers/conv2d/vars"].attrs["name"] = "stem"
    content = path.read_bytes()
    place = content.index(b"GCOL")
    sound = struct.pack("<IQI", 4, place, 1)
    assert content.count(sound) == 1
    forged = struct.pack("<IQI", length, place if heap is None else heap, number)
    path.write_bytes(content.replace(sound, forged))
    refused(path, "its texts are damaged")


def test_a_header_in_many_parts_ends(tmp_path):
    """A part of it says that it goes on in itself."""
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group["0"] = np.ones(3, "f4")
        group.attrs["name"] = "stem"
        group.attrs["other"] = "x" * 500
    content = path.read_bytes()
    place = content.rindex(struct.pack("<HH", 0x10, 16))
    start = struct.unpack_from("<Q", content, place + 8)[0]
    again = struct.pack("<HHB3xQQ", 0x10, 16, 0, start, 24)
    path.write_bytes(content[:start] + again + content[start + 24 :])
    with pytest.raises(RosettaError):
        formats.read(path)


# ------------------------------------------------------------------ archives


def test_a_compressed_part_of_a_keras_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(2**20, "f4")
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", buffer.getvalue())
        file.writestr("padding", np.random.default_rng(0).bytes(2**23))  # so that it is large
    refused(path, "its weights are compressed")


def test_members_that_exchanged_their_names_are_noticed(tmp_path):
    path = tmp_path / "x.pth"
    arrays = {key: np.full(64, value, "f4") for key, value in (("a", 1), ("b", 2))}
    content = Content({key: LazyTensor.of(key, array) for key, array in arrays.items()})
    formats.write(path, "torch", content)
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")  # of the directory: the headers stay as they are
    directory = content[start:].replace(b"data/0", b"data/-").replace(b"data/1", b"data/0")
    path.write_bytes(content[:start] + directory.replace(b"data/-", b"data/1"))
    refused(path, "has two names")
