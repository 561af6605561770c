"""What all tests of training share."""

import pytest

from efficientnet_rosetta.common import spec
from parity_tests.loops.short import WHOLE, shorten
from parity_tests.loops.support import IMAGES, scans
from parity_tests.peers.operators import declare


@pytest.fixture(scope="module", autouse=True)
def _lightning():
    """Lightning's metrics import torchvision."""
    declare()


@pytest.fixture(scope="module", autouse=True)
def _short():
    """Networks are of four blocks."""
    shorten()
    yield
    spec.TABLE_1 = WHOLE


@pytest.fixture
def whole(monkeypatch):
    """Networks are of all blocks of Table 1."""
    monkeypatch.setattr(spec, "TABLE_1", WHOLE)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Real scans of three digits: 100 to train on and 20 to validate on."""
    root = tmp_path_factory.mktemp("digits")
    scans(root, IMAGES)
    return root
