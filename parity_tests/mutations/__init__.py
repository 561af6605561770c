"""Mistakes, each made in PyTorch only, and the claim that must catch it.

They are the ones that public implementations and tutorials of these networks make.  `study` makes
them one at a time and says which claim noticed, how large the effect was, and whether comparing
shapes, or comparing outputs on default initialisation, would have noticed as well.
"""

from __future__ import annotations

from . import forward, initialisation, lineage, specification, training, weights, xception
from .machine import Caught, Mutation, made, study

__all__ = ["MUTATIONS", "Caught", "Mutation", "made", "study"]

# In the order of docs/results/mutants.json.
MUTATIONS: tuple[Mutation, ...] = (
    *specification.MISTAKES,
    *forward.MISTAKES,
    *xception.MISTAKES,
    *lineage.MISTAKES,
    *weights.MISTAKES,
    *training.MISTAKES,
    *initialisation.MISTAKES,
)
