"""The situations: what people have, by the threads in which they ask, and how each must end.

docs/reference/files.md shows this table with what was found; test_situations.py holds both to it.
"""

from __future__ import annotations

from parity_tests.situations.rows import exported, keras, others, timm, torchvision

GROUPS = {
    "torchvision": torchvision.TORCHVISION,
    "timm": timm.TIMM,
    "Other libraries for PyTorch": others.LIBRARIES,
    "Keras 3": keras.KERAS_3,
    "Keras 2": keras.KERAS_2,
    "Exported models": exported.EXPORTED,
    "Other networks": others.NETWORKS,
}

SITUATIONS = tuple(one for group in GROUPS.values() for one in group)
