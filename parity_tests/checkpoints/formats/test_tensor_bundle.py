"""Checkpoints of TensorFlow are read and written without it, and it agrees with both."""

import os

import ml_dtypes
import numpy as np
import pytest

from efficientnet_rosetta.common.checkpoints.formats import bundle_index, sstable, tensor_bundle
from efficientnet_rosetta.common.checkpoints.formats.lazy import LazyTensor
from parity_tests.checkpoints.formats.bundle_support import (
    assert_same,
    filled,
    lazy,
    line,
    save,
    tf,
)

DTYPES = sorted(dtype.name for dtype in bundle_index.NUMBERS)

# ------------------ what TensorFlow wrote


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_is_read(dtype, tmp_path):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    arrays = {"a/matrix": filled(kind, (3, 5)), "scalar": filled(kind, ())}
    arrays |= {"empty": filled(kind, (0, 4)), "z": filled(kind, (1, 1, 2, 1))}
    save(tmp_path / "x", arrays)
    assert_same(tensor_bundle.read(tmp_path / "x"), arrays)


def test_what_is_no_number_is_left_out(tmp_path):
    save(tmp_path / "x", {"a": filled("f4", (3,)), "text": np.array(["some", "words"])})
    assert list(tensor_bundle.read(tmp_path / "x")) == ["a"]


def test_many_and_large_tensors_are_read(tmp_path):
    arrays = {f"block_{i}/kernel:{i % 7}": filled("f4", (i % 5, 3), i) for i in range(500)}
    arrays["large"] = filled("f4", (3, 250_000))
    save(tmp_path / "x", arrays)
    assert_same(tensor_bundle.read(tmp_path / "x"), arrays)


def test_an_object_based_checkpoint_is_read(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
    prefix = tmp_path / tf.train.Checkpoint(model=model).save(tmp_path / "ckpt").split("/")[-1]
    tensors = tensor_bundle.read(prefix)
    assert set(tensors) == set(
        tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    ) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    (name,) = (name for name, tensor in tensors.items() if tensor.shape == (4, 3))
    assert np.array_equal(tensors[name].read(), model.layers[0].kernel.numpy())


@pytest.mark.parametrize("sharded", [False, True])
def test_a_graph_s_saver_is_read(sharded, tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with tf.device("/cpu:0"):
            tf.compat.v1.get_variable("a/kernel", (3, 3))
        whole = tf.compat.v1.get_variable(
            "b/kernel", (10, 4), partitioner=tf.compat.v1.fixed_size_partitioner(3)
        )
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(sharded=sharded)
        saver.save(session, str(tmp_path / "x"), global_step=7)
        expected = session.run(tf.convert_to_tensor(whole))
    tensors = tensor_bundle.read(tmp_path / "x-7")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "a/kernel": (3, 3),
        "b/kernel": (10, 4),
    }
    assert np.array_equal(tensors["b/kernel"].read(), expected)


@pytest.mark.parametrize("size", [8, 64, 65, 20_000, 3_000_000])
def test_a_partitioned_tensor_is_put_together(size, tmp_path):
    """Starts and lengths of all sizes, since their encoding depends on it."""
    array = filled("i1", (2, size, 2))
    at = size * 3 // 4
    parts = [f"2 {size} 2 -:0,{at}:-", f"2 {size} 2 -:{at},{size - at}:-"]
    for number, (text, piece) in enumerate(zip(parts, np.split(array, [at], 1), strict=True)):
        save(tmp_path / f"part{number}", {"a": piece}, [text])
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"part{number}") for number in range(2)],
        destination_prefix=str(tmp_path / "x"),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x.data-00000-of-00002",
        "x.data-00001-of-00002",
        "x.index",
    ]
    assert_same(tensor_bundle.read(tmp_path / "x"), {"a": array})
    (tmp_path / "x.data-00001-of-00002").unlink()
    message = line(tmp_path / "x", lambda: tensor_bundle.read(tmp_path / "x"))
    assert "x.data-00001-of-00002 is missing; put it beside the index" in message


@pytest.mark.parametrize("value", [0, 1, 63, 64, 8191, 8192, 2**55, 2**62, 2**63 - 1])
def test_ordered_numbers_are_ordered_and_as_long_as_they_should_be(value):
    """TensorFlow's own are met above; these are the edges that no small file has."""
    encoded = [bundle_index._ordered(number) for number in (-value - 1, value)]
    assert encoded == sorted(encoded)
    assert {len(content) for content in encoded} == {value.bit_length() // 7 + 1}


# ------------------ what TensorFlow reads


@pytest.fixture
def written(tmp_path):
    """A checkpoint of ours, and what is in it; the index of it has several blocks."""
    arrays = {f"{dtype}/x": filled(getattr(ml_dtypes, dtype, dtype), (2, 3)) for dtype in DTYPES}
    arrays |= {"scalar": filled("f4", ()), "empty": filled("f4", (0, 3)), "ä/ö": filled("f4", 2)}
    arrays["transposed"] = filled("f4", (4, 3, 2)).transpose(1, 2, 0)
    arrays |= {f"block_{i}/{'long' * 40}/{i * i}": filled("f4", (i % 3,), i) for i in range(9000)}
    tensor_bundle.write(tmp_path / "ours", lazy(arrays))
    return tmp_path / "ours", arrays


def test_what_was_written_is_read_by_all(written):
    prefix, arrays = written
    assert_same(tensor_bundle.read(prefix), arrays)
    assert (prefix.parent / "ours.index").stat().st_size > 1.2 * sstable.BLOCK_SIZE
    reader = tf.train.load_checkpoint(str(prefix))
    assert {k: tuple(v) for k, v in reader.get_variable_to_shape_map().items()} == {
        name: array.shape for name, array in arrays.items()
    }
    for name in [name for number, name in enumerate(arrays) if number % 97 == 0 or number < 20]:
        values = reader.get_tensor(name)
        assert values.dtype == arrays[name].dtype
        assert np.array_equal(values, arrays[name])


def test_a_big_endian_array_is_written_as_the_file_has_it(tmp_path):
    tensor_bundle.write(tmp_path / "x", lazy({"a": np.arange(3, dtype=">f4")}))
    assert tf.train.load_checkpoint(str(tmp_path / "x")).get_tensor("a").tolist() == [0, 1, 2]


def test_a_graph_s_saver_reads_ours(tmp_path):
    arrays = {"a/kernel": filled("f4", (3, 4)), "a/bias": filled("f4", (4,))}
    tensor_bundle.write(tmp_path / "x", lazy(arrays))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {k: tf.compat.v1.get_variable(k, array.shape) for k, array in arrays.items()}
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "x"))
        for name, values in session.run(variables).items():
            assert np.array_equal(values, arrays[name])


def test_a_checkpoint_reads_ours(tmp_path):
    """By the names of the variables, since there is no graph of objects in it."""
    arrays = {"a/kernel": filled("f4", (3, 4)), "a/bias": filled("f4", (4,))}
    tensor_bundle.write(tmp_path / "x", lazy(arrays))
    variables = [tf.Variable(tf.zeros(array.shape), name=k) for k, array in arrays.items()]
    checkpoint = tf.train.Checkpoint(variables=variables)
    checkpoint.restore(str(tmp_path / "x")).assert_consumed()
    for variable, array in zip(variables, arrays.values(), strict=True):
        assert np.array_equal(variable.numpy(), array)


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    asked = []

    def values(name):
        asked.append(name)
        return np.zeros(3, np.float32)

    names = ["b", "a", "c"]
    tensors = {k: LazyTensor(k, (3,), np.dtype(np.float32), lambda k=k: values(k)) for k in names}
    tensor_bundle.write(tmp_path / "x", tensors)
    assert asked == ["a", "b", "c"]
    assert list(tensor_bundle.read(tmp_path / "x")) == ["a", "b", "c"]
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["", "\ud800", "x" * 5000])
def test_names_that_no_checkpoint_can_hold_are_refused(name, tmp_path):
    tensors = lazy({name: filled("f4", 1)})
    assert "rename it" in line(tmp_path / "x", lambda: tensor_bundle.write(tmp_path / "x", tensors))


def test_types_that_no_checkpoint_can_hold_are_refused(tmp_path):
    tensors = lazy({"a": np.array(["text"])})
    message = line(tmp_path / "x", lambda: tensor_bundle.write(tmp_path / "x", tensors))
    assert "cannot hold a, which is in <U4" in message


def test_a_folder_that_is_not_there_is_named(tmp_path):
    prefix = tmp_path / "nowhere" / "x"
    message = line(prefix, lambda: tensor_bundle.write(prefix, lazy({"a": filled("f4", 1)})))
    assert "cannot be written (No such file or directory)" in message


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_no_space_left_is_one_line(tmp_path):
    prefix = tmp_path / "x"
    (tmp_path / "x.data-00000-of-00001").symlink_to("/dev/full")
    message = line(prefix, lambda: tensor_bundle.write(prefix, lazy({"a": filled("f4", 99_999)})))
    assert "No space left on device" in message
    assert not (tmp_path / "x.index").exists()
