"""Classes of unequal sizes come equally often, or weigh the more the rarer they are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.augment import INCEPTION_CROP
from efficientnet_rosetta.common.images.balance import balance, class_weights
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import Sample
from efficientnet_rosetta.common.images.tfrecord import Record

# 40 of one class, 8 of another, 3 of a third: 17 places each.
LABELS = [0] * 40 + [2] * 8 + [1] * 3
SAMPLES = [Sample(Path(f"{number}.png"), label) for number, label in enumerate(LABELS)]
RECORDS = [Record(Path("train-0-of-1"), 12, 34)]


def balanced():
    return Batches(SAMPLES, (32, 32), 4, INCEPTION_CROP, balance=balance(SAMPLES, "sampler"))


def test_all_classes_come_equally_often():
    order = balanced().order(0)
    assert len(order) == len(SAMPLES)
    assert Counter(LABELS[place] for place in order) == {0: 17, 1: 17, 2: 17}
    times = Counter(order.tolist())
    assert {times[place] for place in range(40)} == {0, 1}
    assert {times[place] for place in range(40, 48)} == {2, 3}  # 17 places of 8
    assert {times[place] for place in range(48, 51)} == {5, 6}  # 17 of 3


def test_what_is_left_over_is_for_some_classes():
    samples = SAMPLES[:-1]
    order = balance(samples, "sampler").order(0, 0)
    assert sorted(Counter(LABELS[place] for place in order).values()) == [16, 17, 17]


def test_an_order_is_a_function_of_seed_and_epoch():
    first, again, other = (balanced().order(epoch) for epoch in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    shown = {place for epoch in range(8) for place in balanced().order(epoch) if place < 40}
    assert len(shown) == 40  # none of a large class is left out for good
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_weights_are_inverse_to_the_sizes_of_classes():
    weights = class_weights(SAMPLES, 4, "class_weights")
    assert weights == pytest.approx((51 / (3 * 40), 51 / (3 * 3), 51 / (3 * 8), 1.0))
    assert np.mean([weights[label] for label in LABELS]) == pytest.approx(1)


def test_records_say_their_classes_too_late():
    for found in (
        lambda: balance(RECORDS, "sampler"),
        lambda: class_weights(RECORDS, 3, "class_weights"),
    ):
        with pytest.raises(UsageError, match="cannot be balanced for TFRecord files"):
            found()
