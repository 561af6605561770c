"""ONNX from Keras: walk the functional graph, one emitter per layer or operation.

Keras keeps channels last and ONNX first.  A map is carried in either order, whichever the last
operation left it in, and turned around only where an operation needs the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import onnx
from keras import KerasTensor, layers, ops

from common.backend import OPSET
from common.onnx_builder import BATCH, OnnxBuilder, UnsupportedOperationError

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(frozen=True)
class Value:
    """An ONNX value that stands for a Keras tensor, and whether its channels were put first."""

    name: str
    rank: int
    channels_first: bool = False


Emitter = Callable[..., Value]
EMITTERS: dict[str, Emitter] = {}


def export(
    model: keras.Model,
    metadata: dict[str, str],
    opset: int = OPSET,
    image_size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """Export a functional model in inference, for any batch.

    Its outputs keep their names if it has a dictionary of them; those of other models are
    named by the layers that made them.  `image_size` fills in what the model leaves open.

    Raises:
        UnsupportedOperationError: the model does something that no emitter knows.
    """
    return _Walk(model, opset).run(metadata, image_size)


class _Walk:
    def __init__(self, model: keras.Model, opset: int):
        self.model = model
        self.builder = OnnxBuilder(model.input.dtype, opset)
        self.turned: dict[tuple[str, bool], Value] = {}

    def run(self, metadata: dict[str, str], image_size: tuple[int, int] | None) -> onnx.ModelProto:
        _, *sides, channels = self.model.input.shape
        size = [given or side for given, side in zip(sides, image_size or sides, strict=True)]
        image = Value(self.builder.input([BATCH, *size, channels]), rank=4)
        results = self.model._run_through_graph([image], call_fn=self.emit)
        if not isinstance(results, dict):
            results = {t._keras_history.operation.name: v for t, v in self.pairs(results)}
        return None
