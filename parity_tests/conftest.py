"""Settings that must stand before a framework is imported, and room for large networks."""

import gc
import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_finish():
    """Leave what is imported by now to itself: it stays to the end.

    To look through the frameworks' half a million objects in every collection of garbage takes a
    fifth of the time of the tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _free_large_networks(request):
    """The sweeps end in L2, of which there is room for one at a time."""
    yield
    if request.node.get_closest_marker("slow"):
        from efficientnet_rosetta.common._util.memory import release
        from parity_tests import support

        for cached in (support.calibrated_once, support.reference, support.exported):
            cached.cache_clear()
        release()


@pytest.fixture(scope="module", autouse=True)
def _no_module_of_another_file():
    """Tests of `rosetta compare` write modules of these names, and import them in this process."""
    yield
    for name in ("mine", "theirs"):
        sys.modules.pop(name, None)
