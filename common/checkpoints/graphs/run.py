"""Running the graph of a file itself, beside the network that was found in it.

onnxruntime and TensorFlow's interpreter compute in float32, whatever the weights are kept in.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backends.registry import LITE_RUNTIME
from ...errors import FileError, RosettaError, needs, reason
from ..formats.protobuf_wire import shown
from .recover import Steps

Array = NDArray[Any]
ERRORS_ONLY = 3  # onnxruntime's severity
VALUES_LIMIT = 1 << 26  # of what is given to a graph at once: an image of L2's size has 2^21
LEAST = np.finfo(np.float32).tiny  # of a probability, of which the logarithm is taken


def run_graph(path: Path, format: str, steps: Steps, images: Array) -> Array:
    """What a graph makes of images: logits (N, classes), or pooled features (N, channels).

    `images` (N, C, H, W) are what the network that was found takes.  What the graph does to an
    image first is undone, and so is a softmax or a sigmoid at its end: after a softmax the logits
    of an image are right but for a constant, which `centred` takes off.

    Raises:
        MissingDependencyError: what runs such graphs is not installed.
        FileError: it does not take the graph, or the graph does not take such images.
    """
    if steps.size is not None and images.shape[2:] != steps.size:
        size = " x ".join(map(str, steps.size))
        raise FileError(path, f"was exported for images of {size} pixels, and takes no others")
    batch = steps.batch or len(images)
    if batch * math.prod(images.shape[1:]) > VALUES_LIMIT:
        raise FileError(path, f"takes {batch:,} images at once, which are too many to be run here")
    given = _turned_back(steps, images)
    runner = RUNNERS[format](path, steps)
    try:
        # What is short of a fixed batch is filled up, and dropped again.
        outputs = [
            runner(np.resize(given[first : first + batch], (batch, *given.shape[1:])))
            for first in range(0, len(given), batch)
        ]
    except RosettaError:
        raise
    except Exception as error:  # neither runtime has exceptions of its own that share a base
        raise FileError(path, f"cannot be run ({reason(error)})") from error
    return _logits(steps, np.concatenate(outputs)[: len(given)])


def centred(logits: Array) -> Array:
    """Logits of which each image's mean is 0: what a softmax keeps of them."""
    return np.asarray(logits - logits.mean(1, keepdims=True))


def nearest(steps: Steps, images: Array) -> Array:
    """What a network is given where its graph is given images, of which some take whole numbers."""
    if steps.dtype.kind not in "iu":
        return images
    factor, shift = _arithmetic(steps)
    given = _turned_back(steps, images).astype(np.float64).transpose(np.argsort(steps.turn))
    return np.asarray(given * factor + shift)


def _turned_back(steps: Steps, images: Array) -> Array:
    """Images as a graph takes them, of those that its network takes."""
    factor, shift = _arithmetic(steps)
    given = ((images - shift) / factor).transpose(steps.turn)
    if steps.dtype.kind in "iu":
        limits = np.iinfo(steps.dtype)
        given = np.clip(np.rint(given), limits.min, limits.max)
    return np.ascontiguousarray(given)


def _arithmetic(steps: Steps) -> tuple[Array, Array]:
    """Factor and shift of the channels of images (N, C, H, W)."""
    columns = (1, -1, 1, 1)
    return np.reshape(steps.factor, columns), np.reshape(steps.shift, columns)


def _logits(steps: Steps, output: Array) -> Array:
    found = output.astype(np.float64)
    if found.ndim == 4:
        # Features that the graph leaves as a map, with its channels where the image has them.
        axes = (2, 3) if steps.turn[-1] == 3 else (1, 2)
        found = found.mean(axes)
    found = found.reshape(len(found), -1)
    if steps.logarithm:
        return found
    if steps.ending == "softmax":
        return np.asarray(np.log(np.maximum(found, LEAST)))
    if steps.ending == "sigmoid":
        clipped = np.clip(found, LEAST, 1 - np.finfo(np.float64).eps)
        return np.asarray(np.log(clipped / (1 - clipped)))
    return found


def _onnx(path: Path, steps: Steps) -> Callable[[Array], Array]:
    with needs("running an ONNX graph"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # see above
        raise FileError(path, f"onnxruntime cannot load it ({reason(error)})") from error
    # Nothing depends on them, but onnxruntime wants to be given all that a graph declares.
    declared = {value.name for value in session.get_inputs()}
    unused = {
        name: _zeros(path, steps, name, shape)
        for name, shape in steps.unused.items()
        if name in declared
    }

    def run(images: Array) -> Array:
        given = {steps.image: images.astype(steps.dtype), **unused}
        return np.asarray(session.run([steps.output], given)[0])

    return run


def _zeros(path: Path, steps: Steps, name: str, shape: tuple[int | None, ...]) -> Array:
    """Something to give to an input that nothing is computed from."""
    sizes, said = [size or 1 for size in shape], shown(name.encode())
    if name not in steps.types:
        raise FileError(path, f"takes {said} beside the image, which is no array of numbers")
    if math.prod(sizes) > VALUES_LIMIT:
        raise FileError(path, f"takes {said} beside the image, which is too large to be run here")
    return np.zeros(sizes, steps.types[name])


def _tflite(path: Path, steps: Steps) -> Callable[[Array], Array]:
    with needs("running a TensorFlow Lite graph"):
        tensorflow = import_module(LITE_RUNTIME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where the interpreter will be found in years to come
        interpreter = tensorflow.lite.Interpreter(model_path=str(path), num_threads=1)
    image, output = int(steps.image), int(steps.output)

    def run(images: Array) -> Array:
        interpreter.resize_tensor_input(image, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image, images.astype(np.float32))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output))

    return run


# What runs the graphs of a format.
RUNTIMES = {"onnx": "onnxruntime", "tflite": "TensorFlow Lite"}
RUNNERS: Mapping[str, Callable[[Path, Steps], Callable[[Array], Array]]] = {
    "onnx": _onnx,
    "tflite": _tflite,
}
