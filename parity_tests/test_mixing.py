"""mixup and CutMix: pairs, shares and boxes, the loss of both labels, and parts of a batch."""

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.augment import INCEPTION_CROP
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import Sample
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.images.mixing import Mixing, drawn, mixed

BOTH = Mixing(mixup=0.5, cutmix=1.0)
SIZE = (24, 36)


def images_of(count, size=SIZE):
    """Every value of a batch is another one."""
    return np.linspace(0, 1, count * 3 * size[0] * size[1], dtype=np.float32).reshape(
        count, 3, *size
    )


def one_by_one(mixing, count, seed=0):
    """A batch with a class for every image, before and after."""
    images, labels = images_of(count), np.arange(count)
    return images, *mixed(images, labels, mixing, np.random.default_rng(seed))


# ------------------------------------------------------------------ pairs and shares


@pytest.mark.parametrize(
    ("mixing", "count", "expected"),
    [
        (Mixing(mixup=0.3), 4, [3, 2, 1, 0]),
        (Mixing(cutmix=0.3), 5, [4, 3, 2, 1, 0]),
        (BOTH, 8, [3, 2, 1, 0, 7, 6, 5, 4]),
        (BOTH, 7, [2, 1, 0, 6, 5, 4, 3]),
        (BOTH, 1, [0]),
        (Mixing(), 3, [0, 1, 2]),
    ],
)
def test_partners_are_those_of_the_reversed_batch_or_half(mixing, count, expected):
    pairs = drawn(mixing, count, SIZE, np.random.default_rng(0))
    assert pairs.partners.tolist() == expected
    for place in np.flatnonzero(pairs.partners == np.arange(count)):
        assert pairs.weights[place] == 1
        assert not pairs.boxes[place].any()


@pytest.mark.parametrize("alpha", [0.067, 0.2, 0.5, 1.0])
def test_mixup_is_the_sum_by_shares_of_which_its_own_is_the_larger(alpha):
    images, found, partners, shares = one_by_one(Mixing(mixup=alpha), 8)
    weights = np.random.default_rng(0).beta(alpha, alpha, 8)
    np.testing.assert_array_equal(shares, np.maximum(weights, 1 - weights).astype(np.float32))
    by = shares.astype(float)[:, None, None, None]
    np.testing.assert_allclose(found, by * images + (1 - by) * images[::-1], rtol=1e-6)
    assert len(set(shares.tolist())) > 5  # each image has its own, most of them near 1 for a low a
    assert found.dtype == shares.dtype == np.float32
    assert (partners[shares < 1] == np.arange(8)[::-1][shares < 1]).all()


def test_the_share_of_an_image_that_was_cut_is_that_of_its_own_pixels():
    """Counted: every value says which image it is from."""
    images, found, partners, shares = one_by_one(Mixing(cutmix=1.0), 16)
    own = found == images
    assert ((found == images[::-1]) | own).all()
    np.testing.assert_array_equal(own.mean((1, 2, 3)).astype(np.float32), shares)
    assert len(set(shares.tolist())) > 12
    assert (partners[shares < 1] == np.arange(16)[::-1][shares < 1]).all()


def test_a_box_has_the_sides_of_the_released_code():
    """By hand: the root of what beta draws, whole, half of it each way, cut off at the borders."""
    pairs = drawn(Mixing(cutmix=1.0), 16, SIZE, np.random.default_rng(5))
    random = np.random.default_rng(5)
    for ratio, box in zip(np.sqrt(1 - random.beta(1.0, 1.0, 16)), pairs.boxes, strict=True):
        half = [int(ratio * side) // 2 for side in SIZE]
        middle = random.random(2) * SIZE
        for axis in (0, 1):
            centre = int(middle[axis])
            assert box[axis] == max(centre - half[axis], 0)
            assert box[axis + 2] == min(centre + half[axis], SIZE[axis])


def test_the_first_half_is_mixed_up_and_the_second_cut():
    images, found, partners, shares = one_by_one(BOTH, 8, seed=2)
    opposite = np.array([3, 2, 1, 0, 7, 6, 5, 4])
    summed = (found != images) & (found != images[opposite])
    assert summed[:4].all((1, 2, 3)).all()
    assert not summed[4:].any()
    assert (shares[:4] >= 0.5).all()
    assert partners.tolist() == np.where(shares < 1, opposite, np.arange(8)).tolist()


def test_what_is_not_mixed_is_left_as_it_was():
    images, found, partners, shares = one_by_one(Mixing(), 3)
    assert found.tobytes() == images.tobytes()
    assert partners.tolist() == [0, 1, 2]
    assert shares.tolist() == [1, 1, 1]
    images, found, partners, shares = one_by_one(Mixing(mixup=0.5), 3)
    assert (partners[1], shares[1]) == (1, 1)  # the middle has no partner
    assert found[1].tobytes() == images[1].tobytes()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_what_is_no_parameter_is_one_line(name, alpha):
    with pytest.raises(UsageError, match=f"{name} is {alpha}"):
        Mixing(**{name: alpha})


# ------------------------------------------------------------------ loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_the_loss_is_that_of_soft_labels(framework, smoothing):
    """PyTorch's own cross-entropy of probabilities is what both are compared with."""
    count, classes = 8, 5
    random = np.random.default_rng(1)
    labels, logits = random.integers(classes, size=count), random.normal(size=(count, classes))
    _, partners, shares = mixed(images_of(count), labels, BOTH, np.random.default_rng(0))
    own, other = np.eye(classes)[labels], np.eye(classes)[partners]
    by = shares.astype(float)[:, None]
    soft = torch.from_numpy(by * own + (1 - by) * other)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), soft, label_smoothing=smoothing
    )
    loss = import_module(f"efficientnet_rosetta.{framework}_impl.optimizer").cross_entropy
    tensor = torch.tensor if framework == "torch" else keras.ops.convert_to_tensor
    found = loss(tensor(logits), tensor(labels), smoothing, (tensor(partners), tensor(shares)))
    assert float(found) == pytest.approx(expected.item(), rel=1e-12)
    assert (labels != partners).sum() > 3


# ------------------------------------------------------------------ batches


@pytest.fixture(scope="module")
def batches():
    """A class for every image, all of which are the same photograph."""
    samples = [Sample(PHOTOGRAPH, label) for label in range(24)]
    return Batches(samples, (16, 16), 12, INCEPTION_CROP, mixing=BOTH)


@pytest.fixture(scope="module")
def whole(batches):
    return batches.read(1, 1)


def rows(*found):
    """What is in parts of a batch, in the order of labels."""
    together = [
        np.concatenate(field) for field in zip(*(b[:2] + b[3:] for b in found), strict=True)
    ]
    order = np.argsort(together[1])
    return [field[order].tobytes() for field in together]


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 12])
def test_what_is_mixed_with_what_does_not_depend_on_the_number_of_processes(batches, whole, parts):
    found = [batches.read(1, 1, part, parts) for part in range(parts)]
    assert {len(batch.images) for batch in found} == {12 // parts}
    assert rows(*found) == rows(whole)


@pytest.mark.parametrize(("count", "parts"), [(8, 4), (14, 7), (10, 5), (22, 11), (15, 5), (7, 7)])
@pytest.mark.parametrize("mixing", [Mixing(), Mixing(mixup=0.5), BOTH])
def test_a_part_has_whole_pairs_but_for_one_if_its_share_is_odd(mixing, count, parts):
    """Also where the halves of a batch are odd, whose middles have no partner."""
    pairs = drawn(mixing, count, SIZE, np.random.default_rng(0))
    share, seen = count // parts, []
    for part in range(parts):
        places = pairs.part(part, parts)
        seen += places.tolist()
        assert len(places) == share
        assert len(np.union1d(places, pairs.partners[places])) <= share + share % 2
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize(("parts", "extra"), [(1, 0), (2, 0), (3, 0), (6, 0), (4, 1), (12, 1)])
def test_a_part_reads_no_more_than_its_pairs(batches, monkeypatch, parts, extra):
    """A partner of another part is read where the share of a part is odd, and only there."""
    read, noted = Sample.read, []

    def note(self):
        noted.append(self.label)
        return read(self)

    monkeypatch.setattr(Sample, "read", note)
    counts, batch = [], set(batches.order(0)[12:].tolist())
    for part in range(parts):
        noted.clear()
        batches.read(0, 1, part, parts)
        counts.append(len(noted))
        assert set(noted) <= batch
    assert max(counts) == 12 // parts + extra


def test_a_mixed_batch_is_the_same_in_any_order_of_reading(batches, whole):
    jobs = [(epoch, number) for epoch in (0, 1) for number in (0, 1)]
    with ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda job: batches.read(*job), jobs[::-1])
        found = dict(zip(jobs[::-1], read, strict=True))
    assert rows(found[1, 1]) == rows(whole)
    assert len({batch.shares.tobytes() for batch in found.values()}) == 4


def test_images_are_mixed_as_they_are_read(batches, whole):
    """The same as mixing what the same batches are without it."""
    plain = Batches(batches.samples, batches.size, batches.batch, batches.augmentation)
    images, labels, *_ = plain.read(1, 1)
    random = np.random.default_rng([0, 1, 1, 1])
    images, partners, shares = mixed(images, labels, BOTH, random)
    for found, expected in zip(
        (whole.images, whole.labels, whole.partners, whole.shares),
        (images, labels, partners, shares),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
