"""One wheel for all tests of the packaging."""

import pytest

from .environments import built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of the checkout."""
    return built("wheel", tmp_path_factory.mktemp("wheel"))
