"""Reading a file is reading data: nothing in it is run, followed, or believed about its size."""

import os
import pickle
import struct
import zipfile

import h5py
import keras
import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import save_file

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.layouts.keras_graph import config
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.spec import resolve
from parity_tests.support import small, weights_of

SUFFIX = {
    "safetensors": ".safetensors",
    "torch": ".pth",
    "h5": ".h5",
    "weights.h5": ".weights.h5",
    "keras": ".keras",
    "npz": ".npz",
    "onnx": ".onnx",
    "tf-checkpoint": "",
}


def graph_of(network):
    """Our own ONNX file of a network."""
    backend = get_backend("torch")
    model = backend.build(network)
    return backend.export_onnx(model, network)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_is_not_executed(how, tmp_path):
    path, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(crater)))
    else:
        torch.save({"x": Bomb(crater)}, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(RosettaError, match=r"bomb.pth: "):
        inspect(path)
    assert not crater.exists()


def test_a_frozen_program_says_what_to_ask_for(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(torch.nn.Linear(2, 2).eval()))
    frozen.save(tmp_path / "script.pt")
    with pytest.raises(RosettaError, match="is a frozen TorchScript program"):
        inspect(tmp_path / "script.pt")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/nowhere")])
def test_links_in_hdf5_are_not_followed(link, tmp_path):
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["here"] = link
    with pytest.raises(RosettaError, match="here is a link, which is not followed"):
        inspect(tmp_path / "link.h5")


def test_external_storage_in_hdf5_is_not_followed(tmp_path):
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("x", (8,), "f4", external=[("/etc/passwd", 0, 32)])
    with pytest.raises(RosettaError, match="x lies in another file"):
        inspect(tmp_path / "external.h5")


def test_an_object_array_in_npz_is_not_unpickled(tmp_path):
    crater = tmp_path / "crater"
    np.savez(tmp_path / "bomb.npz", x=np.array([Bomb(crater)], dtype=object))
    with pytest.raises(RosettaError, match=r"bomb.npz: no layout has keys like x"):
        inspect(tmp_path / "bomb.npz")
    (stored,) = formats.read(tmp_path / "bomb.npz").tensors.values()
    with pytest.raises(RosettaError, match=r"cannot be read as .npz"):
        stored.read()
    assert not crater.exists()


def test_a_compressed_keras_archive_is_not_inflated(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\0" * 10_000_000)
    with pytest.raises(RosettaError, match="its weights are compressed"):
        inspect(tmp_path / "bomb.keras")


def test_a_zip_with_absolute_paths_is_not_extracted(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.pth", "w") as archive:
        archive.writestr(str(tmp_path / "crater"), "x")
    with pytest.raises(RosettaError, match="is a zip archive, but of neither"):
        inspect(tmp_path / "evil.pth")
    assert not (tmp_path / "crater").exists()


def test_a_lambda_in_a_keras_archive_is_not_built(tmp_path):
    crater = tmp_path / "crater"
    folder = str(crater)
    layer = keras.layers.Lambda(lambda x: __import__("os").mkdir(folder) or x)
    keras.Sequential([keras.Input((4,)), layer]).save(tmp_path / "bomb.keras")
    crater.rmdir()
    keras.saving.load_model(tmp_path / "bomb.keras", safe_mode=False)
    crater.rmdir()  # Keras, when told to trust the file, does run it
    with pytest.raises(RosettaError, match="no layout has keys like"):
        inspect(tmp_path / "bomb.keras")
    assert not crater.exists()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../outside.bin", "which is not a file beside the model"),
        ("/etc/passwd", "which is not a file beside the model"),
        ("beside.bin", "which is not beside it"),
    ],
)
def test_external_data_of_onnx_is_not_followed_out_of_its_folder(location, message, tmp_path):
    model = graph_of(small())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = tmp_path / "inside" / "external.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    (tmp_path / "outside.bin").write_bytes(bytes(4096))
    with pytest.raises(RosettaError, match=message):
        inspect(path)


def test_a_name_of_onnx_that_is_no_text_is_one_line(tmp_path):
    model = graph_of(small())
    name = model.graph.initializer[0].name.encode()
    content = model.SerializeToString()
    (tmp_path / "name.onnx").write_bytes(content.replace(name, b"\xff\n\x1b" + name[3:]))
    with pytest.raises(RosettaError, match=r"name.onnx: .*\(the name of .* is not UTF-8") as caught:
        inspect(tmp_path / "name.onnx")
    assert str(caught.value).isprintable()


def test_a_graph_without_metadata_is_known_by_what_it_computes(tmp_path):
    model = graph_of(small())
    del model.metadata_props[:]
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    found = inspect(tmp_path / "other.onnx")
    assert found.layouts[0].startswith("graph of efficientnet-rosetta")
    assert found.preset == "b0"


def test_a_header_that_claims_a_terabyte_is_not_allocated(tmp_path):
    claim = (
        b'{"conv_stem.weight":{"dtype":"F32","shape":[274877906944],'
        b'"data_offsets":[0,1099511627776]}}'
    )
    (tmp_path / "huge.safetensors").write_bytes(len(claim).to_bytes(8, "little") + claim)
    (tmp_path / "long.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    for name in ("huge", "long"):
        with pytest.raises(RosettaError, match="cannot be read as safetensors"):
            inspect(tmp_path / f"{name}.safetensors")


def test_a_header_as_long_as_a_pickle_begins_is_no_pickle(tmp_path):
    """Its length, a multiple of 8, ends in the byte 0x80."""
    path, tensors = tmp_path / "x.safetensors", {"a": np.zeros(1, np.float32)}
    for padding in range(0, 256, 8):
        save_file(tensors, path, metadata={"format": "pt", "padding": "x" * (100 + padding)})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[:8] == struct.pack("<Q", 0x80 + 256 * path.read_bytes()[1])
    assert formats.read(path).format == "safetensors"


def test_a_dataset_that_claims_a_terabyte_is_not_allocated(tmp_path):
    """HDF5 keeps no bytes for what was never written, and would make them up."""
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("stem_conv/stem_conv/kernel:0", (1 << 38,), "f4", chunks=(1 << 20,))
    with pytest.raises(RosettaError, match="no layout has keys like"):
        inspect(tmp_path / "huge.h5")


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 2**64 - 16), (1, 2**64 - 9), (0, 8)])
def test_a_heap_without_end_is_not_entered(number, size, tmp_path):
    """The HDF5 library itself would go round in it for ever."""
    path = tmp_path / "heap.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", data=np.zeros(3, np.float32))
        file["layers/conv2d/vars"].attrs["name"] = "stem_conv"
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    content[place : place + 16] = struct.pack("<HH4xQ", number, 1, size)
    path.write_bytes(content)
    with pytest.raises(RosettaError, match=r"heap.weights.h5: its texts are damaged"):
        inspect(path)


def test_a_group_that_contains_itself_ends(tmp_path):
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        group = file.create_group("group")
        group["again"] = group
    with pytest.raises(RosettaError, match="is in the file twice, through a link"):
        inspect(tmp_path / "loop.h5")


def damaged(content, random):
    """One of the ways in which files break."""
    kind = random.integers(5)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        return random.bytes(random.integers(1, 4096))
    flipped = bytearray(content)
    # The headers are at the ends; the middle is weights, where a flip is another weight.
    for _ in range(random.integers(1, 9)):
        position = random.integers(min(4096, len(content)))
        flipped[position if kind < 4 else -1 - position] = random.integers(256)
    return bytes(flipped)


def sound(kind, folder):
    """A file of a format, and the part of it that will be damaged."""
    network = resolve(width=0.25, depth=0.25, resolution=32)  # headers are what is damaged
    if kind == "onnx":
        path = folder / "good.onnx"
        path.write_bytes(graph_of(network).SerializeToString())
        return path, path
    layout = {"npz": "efficientnet-jax", "tf-checkpoint": "tpu"}
    layout |= dict.fromkeys(("h5", "weights.h5", "keras"), "keras-applications")
    form = layout_of(layout.get(kind, "timm-tf")).forms[kind]
    weights = weights_of(network)
    tensors = {
        k.path: LazyTensor.of(k.path, weights[n].transpose(k.axes))
        for n, k in form.keys(network).items()
    }
    path = folder / f"good{SUFFIX[kind]}"
    graph = config(network) if kind == "keras" else None
    names = layer_names(form, network)
    formats.write(path, kind, Content(tensors, {"format": "pt"}, names, graph))
    return path, formats.index_of(path) if kind == "tf-checkpoint" else path


def values_beside(path):
    """The other file of a TensorFlow checkpoint, in which all is values with checksums."""
    return path.with_name(f"{path.name}.data-00000-of-00001")


def layer_names(form, network):
    """What Keras writes beside its counters, as texts of variable length."""
    if form.layer_names is None:
        return {}
    groups, names = form.names.layers(network), form.layer_names.layers(network)
    return {f"{groups[role]}/vars": names[role] for role in names}


def read_all(path):
    """What a port would do: the list of tensors, then those of a plausible size."""
    for stored in formats.read(path).tensors.values():
        if np.prod(stored.shape, dtype=float) < 1e6:
            stored.read()


@pytest.mark.parametrize("tries", [100, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [*SUFFIX, "values of tf-checkpoint"])
def test_damaged_files_are_one_clean_line(kind, tries, tmp_path):
    path, part = sound(kind.rpartition(" ")[2], tmp_path)
    if kind.startswith("values"):
        part = values_beside(path)
    read_all(path)
    content, random = part.read_bytes(), np.random.default_rng(0)
    reported = 0
    for content_now in [b"", *(damaged(content, random) for _ in range(tries))]:
        part.write_bytes(content_now)
        message = None
        try:
            read_all(path)
        except RosettaError as error:
            message = str(error)
        if message is not None:
            reported += 1
            assert message.startswith(f"{path}: ")
            assert message.isprintable()
    assert reported > tries / 3
