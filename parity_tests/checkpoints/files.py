"""Files of weights as training code leaves them, made of keys and random arrays."""

import numpy as np
import torch

from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.spec import resolve

B0 = resolve("b0")
HEADLESS = resolve("b0", num_classes=None)


def random_weights(network, seed=0):
    """Arrays by canonical name; running variances are positive."""
    random = np.random.default_rng(seed)
    found = {}
    for name, shape in network.tensors.items():
        values = random.standard_normal(shape, np.float32)
        found[name] = np.abs(values) + 0.5 if name.endswith("variance") else values
    return found


def arrays(layout="timm", network=HEADLESS, prefix="", kind="torch", seed=0):
    """Random weights under a layout's keys."""
    form = layout_of(layout, network.name).forms_of(kind)[0]
    weights = random_weights(network, seed)
    return {prefix + k.path: weights[n].transpose(k.axes) for n, k in form.keys(network).items()}


def tensors(content):
    """The same as PyTorch has it, dictionaries in dictionaries included."""
    if isinstance(content, dict):
        return {key: tensors(value) for key, value in content.items()}
    if isinstance(content, np.ndarray):
        return torch.tensor(np.ascontiguousarray(content))
    return content


def saved(path, content):
    """A file of `torch.save`."""
    torch.save(tensors(content), path)
    return path


def zeros(*shape):
    return np.zeros(shape, np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)
