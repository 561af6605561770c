"""Random erasing, mixup and CutMix of timm and torchvision beside ours, of the same draws."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.images.erasing import ATTEMPTS, Erasing, erase
from efficientnet_rosetta.common.images.mixing import Mixing, mixed
from parity_tests.given import give
from parity_tests.peers import operators

operators.declare()

from timm.data import random_erasing as timm_erasing  # noqa: E402
from timm.data.mixup import mixup_target, rand_bbox  # noqa: E402
from torchvision.transforms import RandomErasing, v2  # noqa: E402


@pytest.mark.parametrize("seed", range(8))
def test_erasing_is_timms(seed, monkeypatch):
    """The same part of the same draws; an image of 60 x 20 makes it try again."""
    random = np.random.default_rng(seed)
    image = random.normal(size=(3, 60, 20)).astype(np.float32)
    ours = image.copy()
    erase(ours, Erasing(1.0), np.random.default_rng(seed))
    again = np.random.default_rng(seed)
    chance, draws = again.random(), again.random((ATTEMPTS, 4))
    fits = next(place for place, draw in enumerate(draws) if is_smaller(draw, (60, 20)))
    # timm draws a place only for the part that fits.
    flat = [chance, *(value for draw in draws[:fits] for value in draw[:2]), *draws[fits]]
    give(monkeypatch, timm_erasing, *flat)
    theirs = timm_erasing.RandomErasing(1.0, device="cpu")(torch.from_numpy(image.copy()))
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert (ours == 0).any()


def is_smaller(draw, size):
    area = (0.02 + draw[0] * (1 / 3 - 0.02)) * size[0] * size[1]
    aspect = np.exp(np.log(0.3) * (1 - 2 * draw[1]))
    return round(np.sqrt(area * aspect)) < size[0] and round(np.sqrt(area / aspect)) < size[1]


def test_torchvision_erases_a_little_less():
    theirs = RandomErasing()
    assert (theirs.p, theirs.scale, theirs.ratio) == (0.5, (0.02, 0.33), (0.3, 3.3))
    ours = Erasing()
    assert ours.probability == theirs.p
    assert ours.area == (0.02, 1 / 3)
    assert ours.aspect == (0.3, 1 / 0.3)


def test_mixup_of_one_share_is_timms():
    """timm draws one share for a whole batch, and here each image has its own."""
    images = np.linspace(0, 1, 4 * 3 * 8 * 8, dtype=np.float32).reshape(4, 3, 8, 8)
    labels = np.array([1, 0, 2, 2])
    found, partners, shares = mixed(images, labels, Mixing(mixup=0.5), np.random.default_rng(0))
    for place, share in enumerate(shares.tolist()):
        batch = torch.from_numpy(images)
        theirs = batch * share + batch.flip(0) * (1 - share)
        np.testing.assert_allclose(found[place], theirs[place], rtol=1e-6)
        soft = mixup_target(torch.from_numpy(labels), 3, share, smoothing=0.1)[place]
        own, other = (torch.eye(3)[labels[place]], torch.eye(3)[partners[place]])
        ours = 0.9 * (share * own + (1 - share) * other) + 0.1 / 3
        torch.testing.assert_close(ours, soft)


def test_a_box_of_cutmix_is_torchvisions_and_the_share_is_counted(monkeypatch):
    """Of the same ratio and middle; timm's of an odd side is a pixel longer."""
    size, images = (40, 25), np.zeros((2, 3, 40, 25), np.float32)
    images[1] = 1
    seeded = np.random.default_rng(3)
    area, places = seeded.beta(1.0, 1.0, (2, 1)), seeded.random((2, 2))
    found, _, shares = mixed(images, np.arange(2), Mixing(cutmix=1.0), np.random.default_rng(3))
    for place in (0, 1):
        middle = (places[place] * size).astype(int)
        cut = v2.CutMix(num_classes=2)
        cut._dist = SimpleNamespace(sample=lambda _, lam=area[place, 0]: torch.tensor([lam]))
        answers = [torch.tensor([int(middle[axis])]) for axis in (0, 1)]  # across comes first
        monkeypatch.setattr(torch, "randint", lambda *_, left=answers, **__: left.pop())
        params = cut.make_params([torch.from_numpy(images)])
        x1, y1, x2, y2 = params["box"]
        expected = np.full((3, *size), place, np.float32)
        expected[:, y1:y2, x1:x2] = 1 - place
        np.testing.assert_array_equal(found[place], expected)
        assert shares[place] == pytest.approx(params["lam_adjusted"], rel=1e-6)
    monkeypatch.setattr(np.random, "randint", lambda low, high, size: (low + high) // 2)
    assert rand_bbox((2, 3, 32, 30), 0.75) == (8, 24, 8, 23)  # 16 and 15 of 32 and 30
