"""How much of what is allowed equal programs need, as `allowance` says that it was measured."""

import numpy as np
import onnx
import pytest

from efficientnet_rosetta.common.backends.judgement import NARROW_SHARE
from efficientnet_rosetta.common.backends.protocol import loaded
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.guard.allowance import NARROW_OPERATIONS
from efficientnet_rosetta.common.guard.apart import apart
from efficientnet_rosetta.common.guard.measure import FINER, Run
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, Given
from efficientnet_rosetta.common.guard.recognise import program_of
from parity_tests.support import BACKENDS, exported, images_for, small, weights_of

SIZES = {"b0": 64, "lite0": 64, "v2-test": 64, "xception": 71}
LEFT = 8  # times what equal programs were seen to need: the least that is allowed more


def programs(preset):
    """The same network in both frameworks, and as the ONNX graph of each."""
    network = small(preset, SIZES[preset])
    for backend, layout in zip(BACKENDS, ("NCHW", "NHWC"), strict=True):
        model = loaded(get_backend(backend), network, weights_of(network))
        yield program_of(model, backend, layout=layout)
        yield program_of(onnx.load_from_string(exported(backend, network, False).source))


@pytest.mark.slow
@pytest.mark.parametrize("preset", SIZES)
def test_equal_programs_need_little_of_what_is_allowed(preset):
    given = Given.of(images_for(small(preset, SIZES[preset]), 1).astype(np.float32))
    torch, graph, keras, other_graph = (Run(program, given) for program in programs(preset))
    assert (torch.precision, keras.precision, graph.precision) == (FLOAT64, FLOAT64, FLOAT32)

    def error(first, second):
        return apart(*(next(iter(run.outputs.values())) for run in (first, second)))

    def worst(*shares):
        return max(value for share in shares for value in share.values())

    noise, narrow = worst(torch.moved, keras.moved), worst(torch.narrowed, keras.narrowed)
    assert 0 < error(torch, keras) < min(noise, NARROW_SHARE * FINER * narrow) / LEFT
    for run in (graph, other_graph):
        assert 0 < error(torch, run) < NARROW_SHARE * worst(torch.narrowed) / LEFT
    moved = worst(graph.moved, other_graph.moved)
    assert 0 < error(graph, other_graph) < NARROW_OPERATIONS * moved / LEFT
