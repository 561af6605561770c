"""Batches are the same for whoever asks, and no image file stops a training."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.errors import RosettaError, UnreadableImageError
from efficientnet_rosetta.common.images.augment import Augmentation
from efficientnet_rosetta.common.images.batches import NO_IMAGE, Batches
from efficientnet_rosetta.common.images.datasets import (
    Sample,
    read_data,
    read_folder,
    read_to_evaluate,
)
from efficientnet_rosetta.common.images.decode import decode
from efficientnet_rosetta.common.images.mixing import Mixing
from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from efficientnet_rosetta.common.images.tfrecord import Record, crc32c, example, read_records
from efficientnet_rosetta.common.images.transforms import evaluation_image, training_image
from efficientnet_rosetta.common.training.recipes import RECIPES, get_recipe
from parity_tests.test_decoding import gradient

SIZE = (32, 40)
EVERYTHING = get_recipe("cosine").augmentation
PARTS = ("crop_area", "flip", "rotation", "hue", "saturation", "brightness", "pca_noise")


@pytest.fixture
def folder(tmp_path):
    for name, count in (("cat", 40), ("ant", 20), ("bee", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.fromarray(gradient() // (number + 1)).save(tmp_path / name / f"{number}.png")
    return tmp_path


# ------------------------------------------------------------------ folders


def test_a_folder_is_split_by_class_and_always_alike(folder):
    found = read_folder(folder, 0.1)
    assert found.classes == ("ant", "bee", "cat")
    assert found.class_indices == {"ant": 0, "bee": 1, "cat": 2}
    assert [sum(s.label == label for s in found.val) for label in range(3)] == [2, 0, 4]
    assert len(found.train) + len(found.val) == 61
    assert not set(found.train) & set(found.val)
    assert read_folder(folder, 0.1) == found
    assert read_folder(folder, 0.1, seed=1).val != found.val
    assert read_folder(folder, 0.0).val == ()


def test_a_new_image_moves_few_others_across_the_split(folder):
    before = set(read_folder(folder, 0.1).val)
    Image.fromarray(gradient()).save(folder / "cat" / "new.png")
    assert len(before ^ set(read_folder(folder, 0.1).val)) <= 2


def test_a_split_of_its_own_is_taken(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "b")):
        (tmp_path / split / name).mkdir(parents=True)
        Image.fromarray(gradient()).save(tmp_path / split / name / "x.jpg")
    found = read_folder(tmp_path)
    assert [(sample.path.parent.name, sample.label) for sample in found.val] == [("b", 1)]
    assert len(found.train) == 2


def test_what_is_no_data_set_is_one_line(tmp_path):
    with pytest.raises(RosettaError, match="nowhere: is no folder; name one with a folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(RosettaError, match="has no folders, of which one for each class"):
        read_folder(tmp_path)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "val" / "dog").mkdir(parents=True)
    with pytest.raises(RosettaError, match="dog: is a class that train does not have"):
        read_folder(tmp_path)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "cat")
    with pytest.raises(RosettaError, match="cat: has no images; remove it, or fill it"):
        read_folder(tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")
    with pytest.raises(RosettaError, match="has train but no val; name both parts so"):
        read_folder(tmp_path)


# ------------------------------------------------------------------ what is done to it


def test_evaluation_takes_the_centre():
    """Of 64 x 64 at 56 pixels, 0.875 is exactly the middle 56."""
    pixels = gradient(64, 64)
    found = evaluation_image(pixels, (56, 56))
    middle = (pixels[4:60, 4:60] / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(found, middle.transpose(2, 0, 1), rtol=1e-6)
    assert found.dtype == np.float32
    assert evaluation_image(gradient(30, 90), SIZE).shape == (3, *SIZE)


def test_an_image_that_nothing_is_done_to_is_resized_only():
    random = np.random.default_rng(0)
    found = training_image(gradient(*SIZE), SIZE, Augmentation(), random)
    expected = (gradient(*SIZE) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=1e-6)


def restored(image):
    return (image.transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN) * 255


@pytest.mark.parametrize("part", PARTS)
def test_each_augmentation_does_something_and_stays_in_range(part):
    default = {"crop_area": (0.08, 1.0), "flip": True}.get(part, getattr(EVERYTHING, part))
    augmentation = Augmentation(**{part: default})
    variants = [
        restored(training_image(gradient(), SIZE, augmentation, np.random.default_rng(seed)))
        for seed in range(8)
    ]
    assert len({variant.round(3).tobytes() for variant in variants}) >= 2
    assert min(map(np.min, variants)) > -0.01
    assert max(map(np.max, variants)) < 255.01


def test_crops_have_the_area_and_aspect_that_were_asked_for():
    """Red rises by 3 a column and green by 4 a row, so a crop's corners tell its sides."""
    augmentation = Augmentation(crop_area=(0.25, 0.25), crop_aspect=(1.0, 1.0))
    for seed in range(20):
        random = np.random.default_rng(seed)
        image = restored(training_image(gradient(), (64, 64), augmentation, random))
        width = (image[32, 60, 0] - image[32, 4, 0]) / 3 * 64 / 56
        height = (image[60, 32, 1] - image[4, 32, 1]) / 4 * 64 / 56
        side = np.sqrt(48 * 64 / 4)
        assert (width, height) == (pytest.approx(side, abs=1), pytest.approx(side, abs=1))


def test_a_crop_that_cannot_fit_is_the_largest_centre():
    augmentation = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(3 / 4, 4 / 3))
    thin = gradient(8, 64)
    image = training_image(thin, (8, 8), augmentation, np.random.default_rng(0))
    assert restored(image)[4, :, 0].mean() == pytest.approx(thin[4, :, 0].mean(), abs=3)


def test_turning_the_hue_keeps_luminance_and_saturation_zero_is_grey():
    pixels = np.full((8, 8, 3), (120, 100, 110), np.uint8)
    random = np.random.default_rng(3)
    turned = restored(training_image(pixels, (8, 8), Augmentation(hue=0.3), random))
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(turned - pixels).max() > 3
    np.testing.assert_allclose(turned @ weights, pixels @ weights, atol=1e-3)
    grey = restored(training_image(pixels, (8, 8), Augmentation(saturation=(0, 0)), random))
    assert np.ptp(grey, axis=2).max() < 1e-3


# ------------------------------------------------------------------ batches


def batches(folder, augmentation=EVERYTHING, **options):
    return Batches(read_folder(folder).train, SIZE, 8, augmentation, **options)


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_is_a_pure_function(folder, name):
    augmentation = get_recipe(name).augmentation
    first, second = batches(folder, augmentation), batches(folder, augmentation)
    jobs = [(epoch, number) for epoch in (0, 1) for number in range(len(first))]
    alone = [first.read(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:  # in any order, on any number of workers
        together = list(pool.map(lambda job: second.read(*job), reversed(jobs)))[::-1]
    for one, other in zip(alone, together, strict=True):
        assert one.images.tobytes() == other.images.tobytes()
        assert one.labels.tolist() == other.labels.tolist()
    assert alone[0][0].shape == (8, 3, *SIZE)
    assert alone[0][0].tobytes() != alone[len(first)][0].tobytes()


def test_an_epoch_has_every_image_once_and_seeds_differ(folder):
    found = batches(folder)
    assert sorted(found.order(0)) == list(range(len(found.samples)))
    assert found.order(0).tolist() != found.order(1).tolist()
    assert found.order(0).tolist() != batches(folder, seed=1).order(0).tolist()
    evaluation = batches(folder, None)
    read = [evaluation.read(0, number) for number in range(len(evaluation))]
    assert all(len(batch.labels) == 8 for batch in read)
    labels = np.concatenate([batch.labels for batch in read])
    assert labels[labels != NO_IMAGE].tolist() == [sample.label for sample in found.samples]
    assert not read[-1].images[read[-1].labels == NO_IMAGE].any()


def test_the_order_of_an_epoch_is_computed_once(folder, monkeypatch):
    """Not for every batch of it, in whatever order batches of two epochs are read."""
    found, drawn = batches(folder, seed=99), []
    generator = np.random.default_rng

    def default_rng(entropy):
        drawn.append(tuple(entropy))
        return generator(entropy)

    monkeypatch.setattr(np.random, "default_rng", default_rng)
    for number in range(len(found)):
        for epoch in (0, 1):
            found.read(epoch, number)
    orders = [entropy for entropy in drawn if len(entropy) == 2]  # images have a place as well
    assert len(drawn) > len(orders)
    assert orders == [(99, 0), (99, 1)]
    assert set(vars(found)) == {field.name for field in fields(found)}  # what workers are sent
    expected = generator([99, 1]).permutation(len(found.samples))
    np.testing.assert_array_equal(found.order(1), expected)
    with pytest.raises(ValueError, match="read-only"):
        found.order(1)[0] = 0


@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_the_parts_of_a_batch_are_the_batch(folder, augmentation):
    found = batches(folder, augmentation)
    for number in (0, len(found) - 1):
        whole = found.read(3, number)
        parts = [found.read(3, number, part, 4) for part in range(4)]
        for name in ("images", "labels", "partners", "shares"):
            together = np.concatenate([getattr(part, name) for part in parts])
            assert together.tobytes() == getattr(whole, name).tobytes(), name


def test_a_batch_says_what_is_mixed(folder):
    plain, found = batches(folder), batches(folder, mixing=Mixing(0.5))
    before, after = plain.read(1, 0), found.read(1, 0)
    assert before.partners.tolist() == before.labels.tolist() == after.labels.tolist()
    assert (before.shares == 1).all()
    assert before.shares.dtype == after.shares.dtype == np.float32
    assert ((after.shares >= 0.5) & (after.shares < 1)).all()
    assert after.images.dtype == np.float32
    assert (after.images != before.images).any((1, 2, 3)).all()
    assert after.images.tobytes() != found.read(2, 0).images.tobytes()
    with pytest.raises(RosettaError, match="images are mixed in training only"):
        batches(folder, None, mixing=Mixing(0.5))


def test_a_batch_that_cannot_be_filled_and_a_label_of_no_class_are_one_line(folder):
    with pytest.raises(RosettaError, match="the batch is 99, but there are 58 images to train on"):
        Batches(read_folder(folder).train, SIZE, 99, EVERYTHING)
    with pytest.raises(RosettaError, match="the batch is 0; it must have at least 1 image"):
        Batches(read_folder(folder).train, SIZE, 0)
    with pytest.raises(RosettaError, match="is of class 2, counted from 0, but there are 2"):
        _ = [batches(folder, classes=2).read(0, number) for number in range(7)]


def test_a_broken_image_is_replaced_in_training_and_left_out_in_evaluation(folder):
    found = batches(folder)
    victim = found.samples[found.order(0)[2]]
    clean = found.read(0, 0)
    victim.path.write_bytes(b"gone")
    read = found.read(0, 0)
    assert list(read.skipped) == [str(victim)]
    assert "cannot be read" in read.skipped[str(victim)]
    kept = [place for place in range(8) if place != 2]
    assert read.images[kept].tobytes() == clean.images[kept].tobytes()
    assert (read.labels != NO_IMAGE).all()
    evaluation = batches(folder, None)
    number, place = divmod(evaluation.samples.index(victim), 8)
    read = evaluation.read(0, number)
    assert np.flatnonzero(read.labels == NO_IMAGE).tolist() == [place]
    assert list(read.skipped) == [str(victim)]


def test_nothing_readable_is_one_line(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(RosettaError, match="no image can be read"):
        Batches((Sample(tmp_path / "x.png", 0),), SIZE, 1, EVERYTHING).read(0, 0)
    with pytest.raises(RosettaError, match="no images to make batches of"):
        Batches((), SIZE, 1)


# ------------------------------------------------------------------ what is evaluated


def test_what_is_evaluated_is_val_or_everything(folder, tmp_path):
    assert len(read_to_evaluate(folder, 3)) == 61
    for split in ("train", "val"):
        (folder / split).mkdir()
        for name in ("ant", "bee", "cat"):
            (folder / split / name).mkdir()
            Image.fromarray(gradient()).save(folder / split / name / "x.png")
    assert [sample.label for sample in read_to_evaluate(folder, 3)] == [0, 1, 2]


def test_what_a_training_held_out_is_evaluated_alone(folder):
    held_out = read_to_evaluate(folder, 3, held_out=0.1, seed=4)
    assert held_out == read_folder(folder, 0.1, 4).val
    assert len(held_out) == 6


def test_classes_are_numbered_as_the_network_was_trained(folder):
    found = read_to_evaluate(folder, 4, ["cat", "dog", "bee", "ant"])
    assert {sample.path.parent.name: sample.label for sample in found} == {
        "cat": 0,
        "bee": 2,
        "ant": 3,
    }
    with pytest.raises(RosettaError, match="cat: is no class of the network; remove it"):
        read_to_evaluate(folder, 3, ["ant", "bee", "dog"])
    with pytest.raises(RosettaError, match="has 3 classes, but the network 1000; put class_indi"):
        read_to_evaluate(folder, 1000)


def test_the_classes_asked_for_are_those_of_the_folder(folder):
    assert read_data(folder, classes=3).classes == ("ant", "bee", "cat")
    with pytest.raises(RosettaError, match="has 3 classes, not 4"):
        read_data(folder, classes=4)


# ------------------------------------------------------------------ TFRecord shards


def write_shard(path, labels, names=("image/encoded", "image/class/label"), content=None):
    """As TensorFlow itself writes it, with what else ImageNet's records hold."""
    import tensorflow as tf

    def feature(**values):
        return tf.train.Feature(**values)

    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, label in enumerate(labels):
            file = BytesIO()
            Image.fromarray(gradient() // (number + 1)).save(file, "PNG")
            image = file.getvalue() if content is None else content
            features = {
                names[0]: feature(bytes_list=tf.train.BytesList(value=[image])),
                names[1]: feature(int64_list=tf.train.Int64List(value=[label])),
                "image/class/text": feature(bytes_list=tf.train.BytesList(value=[b"tabby"])),
                "image/object/bbox/xmin": feature(float_list=tf.train.FloatList(value=[0.25, 0.5])),
            }
            record = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(record.SerializeToString())


def test_a_shard_gives_what_tensorflow_wrote(tmp_path):
    path = tmp_path / "train-00000-of-00001"
    write_shard(path, [1, 1000, 3])
    found = list(read_records(path))
    assert [record.read()[1] for record in found] == [0, 999, 2]
    for number, record in enumerate(found):
        assert np.array_equal(decode(record.read()[0], str(record)), gradient() // (number + 1))
    with path.open("rb") as file:
        file.seek(found[0].offset)
        features = example(file.read(found[0].length), "x")
    assert features["image/class/text"] == [b"tabby"]
    assert features["image/object/bbox/xmin"] == [0.25, 0.5]
    images, labels, *_ = Batches(found, SIZE, 3).read(0, 0)
    assert (images.shape, labels.tolist()) == ((3, 3, *SIZE), [0, 999, 2])


def test_a_folder_of_shards_is_a_data_set(tmp_path):
    shards = {"train-0-of-2": [1, 2], "train-1-of-2": [3], "validation-0-of-1": [1000]}
    for name, labels in shards.items():
        write_shard(tmp_path / name, labels)
    found = read_data(tmp_path)
    assert len(found.classes) == 1000
    assert [record.read()[1] for record in found.train] == [0, 1, 2]
    assert [record.read()[1] for record in read_to_evaluate(tmp_path, 1000)] == [999]
    assert [record.read()[1] for record in read_data(tmp_path, classes=1001).val] == [1000]
    for path in tmp_path.glob("train-*"):
        path.unlink()
    assert len(read_to_evaluate(tmp_path, 1000)) == 1
    with pytest.raises(RosettaError, match=r"has no shards named train-\*-of-\*"):
        read_data(tmp_path)


def test_labels_of_1001_classes_keep_the_background(tmp_path):
    write_shard(tmp_path / "x", [0, 1000], ("image", "label"))
    assert [record.read()[1] for record in read_records(tmp_path / "x", True)] == [0, 1000]
    first, _ = read_records(tmp_path / "x")
    with pytest.raises(RosettaError, match="is of the background class, 0; give 1001 classes"):
        first.read()
    # It is no damaged image, which would be left out.
    with pytest.raises(RosettaError, match="is of the background class"):
        Batches([first], SIZE, 1).read(0, 0)
    vanished = Record(tmp_path / "gone", 0, 1)
    with pytest.raises(UnreadableImageError, match="gone at byte 0: cannot be read"):
        vanished.read()


def test_damaged_shards_are_one_line(tmp_path):
    path = tmp_path / "x"
    write_shard(path, [1, 2])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(RosettaError, match=r"x: is cut off in the record at byte \d+"):
        list(read_records(path))
    path.write_bytes(b"\xff" * 8 + whole[8:])
    with pytest.raises(RosettaError, match="x: is no TFRecord file, or damaged, at byte 0"):
        list(read_records(path))
    with pytest.raises(RosettaError, match="nothing: cannot be read"):
        list(read_records(tmp_path / "nothing"))
    write_shard(path, [1], ("picture", "label"))
    (record,) = read_records(path)
    with pytest.raises(RosettaError, match="has neither image/encoded nor image, but"):
        record.read()
    record = Record(path, record.offset + 3, record.length - 3)
    with pytest.raises(RosettaError, match=r"at byte 15: does not fit its checksum"):
        record.read()


def test_a_damaged_image_in_a_shard_is_named(tmp_path):
    write_shard(tmp_path / "x", [1, 2], content=b"no image")
    records = list(read_records(tmp_path / "x"))
    with pytest.raises(RosettaError, match="no image can be read"):
        Batches(records, SIZE, 2, EVERYTHING).read(0, 0)
    read = Batches(records, SIZE, 2).read(0, 0)
    assert len(read.skipped) == 2
    assert all("x at byte" in name for name in read.skipped)
    assert read.labels.tolist() == [NO_IMAGE, NO_IMAGE]


def test_the_checksum_is_crc_32c():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the standard
