"""Every situation of the table, made by the libraries themselves; docs/use/port.md shows them."""

import pytest

from parity_tests.situations.judge import judged
from parity_tests.situations.table import SITUATIONS

MARKED = [
    pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else [])
    for one in SITUATIONS
]


@pytest.mark.parametrize("situation", MARKED)
def test_a_situation_ends_as_it_must(situation, tmp_path):
    judged(situation, tmp_path)
