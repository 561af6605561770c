"""The drawings of the pages, made from the numbers of the specification while they are built.

A page writes the directive {drawing} with the name of one of them (`drawing_ext.py`).  Nothing here
knows Sphinx, so that tests use it too.
"""

from drawings import blocks, lineage, networks, padding, porting, training
from drawings.registry import DRAWINGS

__all__ = ["DRAWINGS", "blocks", "lineage", "networks", "padding", "porting", "training"]
