"""Folders of weights, and files that speak of others: which weights they mean."""

import io
import json
import os
import pickle
import shutil

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.numpy import save_file

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, tensor_bundle
from efficientnet_rosetta.common.checkpoints.formats import distributed as reader
from efficientnet_rosetta.common.errors import FileError, RosettaError
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.checkpoints.files import B0, arrays, ones, random_weights, saved, tensors

MARK = fingerprint(random_weights(B0))


def hugging_face(layout="transformers"):
    return arrays(layout, B0)


def sharded(folder, kind):
    """Two shards and the index of them; the index's path."""
    folder.mkdir(exist_ok=True)
    content = hugging_face()
    keys = list(content)
    stem = "model" if kind == "safetensors" else "pytorch_model"
    names = [f"{stem}-0000{number}-of-00002.{kind}" for number in (1, 2)]
    for name, some in zip(names, (keys[::2], keys[1::2]), strict=True):
        part = {key: content[key].copy() for key in some}
        if kind == "safetensors":
            save_file(part, folder / name)
        else:
            saved(folder / name, part)
    index = {"metadata": {}, "weight_map": {k: names[n % 2] for n, k in enumerate(keys)}}
    path = folder / f"{stem}.{kind}.index.json"
    path.write_text(json.dumps(index))
    return path


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_by_their_index_and_by_their_folder(kind, tmp_path):
    index = sharded(tmp_path / "model", kind)
    for path in (index, index.parent):
        found = rosetta.inspect(path)
        assert (found.layouts, found.num_classes) == (("transformers",), 1000)
        assert found.fingerprint == MARK


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "", "..", "a/b.bin"])
def test_an_index_does_not_lead_out_of_its_folder(name, tmp_path):
    index = sharded(tmp_path / "model", "safetensors")
    save_file(hugging_face(), tmp_path / "outside.safetensors")
    content = json.loads(index.read_text())
    content["weight_map"] = dict.fromkeys(content["weight_map"], name)
    index.write_text(json.dumps(content))
    with pytest.raises(FileError, match=r"which is not beside it; it is not followed"):
        rosetta.inspect(index)


def test_links_and_pipes_of_shards_are_not_followed(tmp_path):
    index = sharded(tmp_path / "model", "safetensors")
    part = index.parent / "model-00001-of-00002.safetensors"
    shutil.move(part, tmp_path / "elsewhere")
    with pytest.raises(FileError, match="which is missing"):
        rosetta.inspect(index)
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="a link out of the folder, which is not followed"):
        rosetta.inspect(index)
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(FileError, match="which is no regular file"):
        rosetta.inspect(index)


@pytest.mark.parametrize("name", ["model.safetensors", "x.pt"])
def test_folders_that_links_lead_to_are_not_entered(name, tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "model"
    elsewhere.mkdir()
    folder.mkdir()
    save_file(hugging_face(), elsewhere / "model.safetensors")
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(FileError, match="no regular file"):
        rosetta.inspect(folder)


@pytest.mark.parametrize("name", ["checkpoint", "model.safetensors.index.json"])
def test_what_may_not_be_read_is_one_line(name, tmp_path, monkeypatch):
    """Permissions do not keep out the administrator, who may run these tests."""

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    (tmp_path / name).write_text("x")
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(FileError, match=r"cannot be read \(Permission denied\)"):
        rosetta.inspect(tmp_path / name)


def test_hugging_face_keeps_links_to_its_own_cache(tmp_path):
    index = sharded(tmp_path / "blobs", "safetensors")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in index.parent.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert rosetta.inspect(snapshot).fingerprint == MARK


@pytest.mark.parametrize(
    "content", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "[" * 9999]
)
def test_an_index_that_is_none_is_one_line(content, tmp_path):
    (tmp_path / "x.safetensors.index.json").write_text(content)
    with pytest.raises(FileError, match="is no index of shards"):
        rosetta.inspect(tmp_path / "x.safetensors.index.json")


def test_a_trainers_folder_is_its_model(tmp_path):
    save_file(hugging_face(), tmp_path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        saved(tmp_path / name, {"x": ones(2)})
    (tmp_path / "config.json").write_text(
        '{"architectures": ["EfficientNetForImageClassification"]}'
    )
    assert rosetta.inspect(tmp_path).fingerprint == MARK
    above = tmp_path.parent / "above"
    above.mkdir()
    shutil.move(tmp_path, above / "checkpoint-500")
    assert rosetta.inspect(above).fingerprint == MARK
    shutil.copytree(above / "checkpoint-500", above / "checkpoint-1000")
    with pytest.raises(FileError, match="checkpoint-1000, checkpoint-500; name one of them"):
        rosetta.inspect(above)


def test_a_configuration_in_the_folder_says_the_dialect(tmp_path):
    save_file(arrays("timm", B0), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "tf_efficientnet_b0"}')
    assert rosetta.inspect(tmp_path).dialect == "tensorflow"


def test_a_folder_of_two_models_lists_them(tmp_path):
    for name in ("model.safetensors", "model_1.safetensors"):
        save_file(hugging_face(), tmp_path / name)
    with pytest.raises(FileError, match=r"with model.safetensors, model_1.safetensors; name one"):
        rosetta.inspect(tmp_path)


def test_the_file_that_a_folder_means_is_not_written_over(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(hugging_face(), path)
    before = path.read_bytes()
    with pytest.raises(FileError, match="is the source itself; name another file"):
        rosetta.port(tmp_path, path, "canonical", force=True, run=False)
    assert path.read_bytes() == before


def test_shards_are_not_written_over(tmp_path):
    index = sharded(tmp_path / "model", "safetensors")
    part = index.parent / "model-00002-of-00002.safetensors"
    before = part.read_bytes()
    with pytest.raises(FileError, match="is the source itself; name another file"):
        rosetta.port(index, part, "canonical", force=True, run=False)
    assert part.read_bytes() == before


def test_folders_without_weights_say_what_is_in_them(tmp_path):
    with pytest.raises(FileError, match="with nothing in it, but without weights"):
        rosetta.inspect(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileError, match=r"with notes.txt, but without weights"):
        rosetta.inspect(tmp_path)


def test_a_run_of_ours_is_its_best_weights(tmp_path):
    save(tmp_path / "best.safetensors", B0, random_weights(B0))
    save(tmp_path / "last.safetensors", B0, random_weights(B0, seed=1))
    (tmp_path / "run.json").write_text("{}")
    assert rosetta.inspect(tmp_path).fingerprint == MARK


def test_a_tensorflow_checkpoint_by_any_of_its_names(tmp_path):
    content = arrays("tpu", B0, kind="tf-checkpoint")
    stored = {key: LazyTensor.of(key, array) for key, array in content.items()}
    for name in ("model.ckpt-1", "model.ckpt-2"):
        tensor_bundle.write(tmp_path / name, stored)
    data = tmp_path / "model.ckpt-2.data-00000-of-00001"
    with pytest.raises(FileError, match=r"with model.ckpt-1, model.ckpt-2; name one"):
        rosetta.inspect(tmp_path)
    state = tmp_path / "checkpoint"
    state.write_text('model_checkpoint_path: "/gone/elsewhere/model.ckpt-2"\n')
    index = tmp_path / "model.ckpt-2.index"
    for path in (tmp_path, tmp_path / "model.ckpt-2", index, data, state):
        found = rosetta.inspect(path)
        assert (found.path, found.fingerprint) == (tmp_path / "model.ckpt-2", MARK)


# ------------------------------------------------------------------ PyTorch's own


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dcp") / "step-10"
    content = {"model": tensors(arrays("timm", B0)), "step": 3}
    content["optimizer"] = {"exp_avg": torch.zeros(4)}
    dcp.save(content, checkpoint_id=folder, no_dist=True)
    return folder


def test_a_distributed_checkpoint_needs_no_pytorch(distributed):
    for path in (distributed, distributed / ".metadata", distributed.parent):
        found = rosetta.inspect(path)
        assert (found.wrappers, found.num_classes) == (("model",), 1000)
        assert found.fingerprint == MARK


def pieces_of(values, starts, folder):
    """Files that each hold half of the rows of a tensor, said to begin at some row."""
    found = []
    for number, start in enumerate(starts):
        path = folder / f"__{number}_0.distcp"
        half = values[start : start + len(values) // 2]
        torch.save(torch.tensor(half), path)
        found.append(reader._Piece((start, 0, 0, 0), half.shape, path, 0, path.stat().st_size))
    return found


def test_a_tensor_in_pieces_is_put_together(distributed, tmp_path):
    """As each process of a sharded model saves its own rows."""
    values = reader.read(distributed)["model.conv_head.weight"].read()
    pieces = pieces_of(values, (0, len(values) // 2), tmp_path)
    again = reader._assembled("x", values.shape, values.dtype, pieces)
    assert (again == values).all()


def test_pieces_in_one_place_leave_no_other_to_chance(distributed, tmp_path):
    values = reader.read(distributed)["model.conv_head.weight"].read()
    pieces = pieces_of(values, (0, 0), tmp_path)
    with pytest.raises(FileError, match="holds a part of 'x' twice"):
        reader._assembled("x", values.shape, values.dtype, pieces)


def edited(folder, tmp_path, change):
    """The same checkpoint with something else in the pickle of its `.metadata`."""
    out = tmp_path / "edited"
    shutil.copytree(folder, out)
    with (out / ".metadata").open("rb") as file:
        metadata = pickle.load(file)
    change(metadata)
    (out / ".metadata").write_bytes(pickle.dumps(metadata))
    return out


def every_piece(**fields):
    def change(metadata):
        for where in metadata.storage_data.values():
            for name, value in fields.items():
                object.__setattr__(where, name, value)

    return change


def larger(metadata):
    for described in metadata.state_dict_metadata.values():
        if hasattr(described, "size"):
            described.size = torch.Size((2**40, *described.size[1:]))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("crater",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (every_piece(relative_path="../outside"), "which is not beside it"),
        (every_piece(relative_path="gone"), "which is missing"),
        (every_piece(offset=2**40), "is not in its file"),
        (every_piece(length=3), "larger than its bytes"),
        (every_piece(offset=-1), "is not in its file"),
        (larger, "not the whole of it"),
        (lambda m: m.storage_data.clear(), "not said to be anywhere"),
        (lambda m: setattr(m, "planner_data", Bomb()), "is more than the list of a checkpoint"),
    ],
)
def test_a_distributed_checkpoint_that_is_not_as_it_says(
    change, message, distributed, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RosettaError, match=message) as caught:
        rosetta.inspect(edited(distributed, tmp_path, change))
    assert str(caught.value).isprintable()
    assert not (tmp_path / "crater").exists()


def test_bytes_of_another_tensor_are_noticed(distributed, tmp_path):
    def exchanged(metadata):
        stored = {k: v for k, v in metadata.storage_data.items() if k.fqn.endswith("bn1.weight")}
        first, *_, last = stored
        metadata.storage_data[first] = metadata.storage_data[last]

    path = edited(distributed, tmp_path, exchanged)
    with pytest.raises(RosettaError, match=r"holds another tensor than|larger than its bytes"):
        rosetta.inspect(path)
