"""The trace of any section is the way to its own value, in both frameworks."""

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from parity_tests.support import BACKENDS, LITTLE, images_for, small, weights_of

NETWORKS = {
    "efficientnet": small(size=(97, 64), width=0.25, depth=0.5),
    "xception": small("xception", (97, 64), width=0.25, middle_blocks=1, dialect="pytorch"),
    "lite": small("lite0", (97, 64), **LITTLE),
}
SLOW_ONES = {
    "v2": small("v2-b0", (97, 64), **LITTLE),
    "edgetpu": small("edgetpu-s", (97, 64), **LITTLE),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "network",
    [
        *(pytest.param(network, id=name) for name, network in NETWORKS.items()),
        *(
            pytest.param(network, id=name, marks=pytest.mark.slow)
            for name, network in SLOW_ONES.items()
        ),
    ],
)
def test_every_trace_ends_in_the_value_of_its_endpoint(network, backend):
    """Of the last ones too, which lie on vectors, and of which one is a single operation."""
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    before = images_for(network)
    for endpoint, expected in module.endpoints(model, before).items():
        if endpoint in network.computed_endpoints:
            steps = module.trace(model, endpoint, before)
            assert len({step.name for step in steps}) == len(steps)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(steps[-1].value, expected, rtol=0, atol=1e-5 * scale)
        before = expected
    assert [step.name for step in steps] == ["classifier"]
