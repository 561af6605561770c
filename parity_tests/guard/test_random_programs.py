"""Programs that are random, of which the place is named where two runs of one differ first."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from efficientnet_rosetta.common.guard import judge as judging
from efficientnet_rosetta.common.guard.program import Given
from efficientnet_rosetta.common.guard.recognise import program_of

from .fixtures import images


class Dropping(nn.Module):
    """Stochastic depth that is left on in inference."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        kept = F.dropout(torch.ones(len(x), 1, 1, 1, dtype=x.dtype), 0.5, training=True)
        return (torch.relu(self.conv(x)) * kept).mean((2, 3))


@pytest.mark.parametrize("lacking", [{}, {"operation": None}, {"counterpart": None}])
def test_the_place_is_named_whichever_run_has_it(monkeypatch, lacking):
    """What is drawn may have no counterpart in the other run."""
    whole = judging.first_divergence
    monkeypatch.setattr(
        judging, "first_divergence", lambda *given: replace(whole(*given), **lacking)
    )
    program = program_of(Dropping())
    found = judging.judge(program, program, Given.of(images()))
    assert found.kind is not None
    assert found.kind.name == "randomness"
    assert found.kind.why == "two runs of Dropping differ first in mul"
