"""Running an ONNX file with onnxruntime, endpoint by endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime

from common.backend import check_endpoints, from_layout, to_layout
from common.errors import RosettaError

ERRORS_ONLY = 3  # onnxruntime's severity


class OnnxGraph:
    """An ONNX file written by `rosetta export`, from a path or from its bytes."""

    def __init__(self, model: str | Path | bytes):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        source = model if isinstance(model, bytes) else str(model)
        try:
            self.session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but this
            name = "the model" if isinstance(model, bytes) else model
            raise RosettaError(f"{name}: onnxruntime cannot load it ({error})") from None
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        self.channels_last = self.metadata.get("layout") == "NHWC"

    @property
    def names(self) -> list[str]:
        """The endpoints that the file was exported with, in forward order."""
        return [output.name for output in self.session.get_outputs()]

    def run(self, images: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Images (N, C, H, W) -> the named endpoints (all by default) as (N, C, H, W) or (N, C).

        Raises:
            ValueError: a name that the file has no output of.
        """
        names = check_endpoints(self.names, names)
        images = np.ascontiguousarray(to_layout(images, self.channels_last), np.float32)
        (image,) = self.session.get_inputs()
        values = self.session.run(names, {image.name: images})
        return {
            name: from_layout(value, self.channels_last)
            for name, value in zip(names, values, strict=True)
        }
