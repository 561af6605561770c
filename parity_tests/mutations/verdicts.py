"""How often the verdict on a port is wrong: false alarms and misses, counted.

    python -m efficientnet_rosetta.parity_tests.mutations.verdicts docs/results/verdicts.json

A part is counted again alone where it is named behind the file: heads, networks, ...

Nothing is wrong with the first two kinds of cases, heads of few classes and networks that magnify
rounding or pass on nearly nothing: each verdict but "proved" is a false alarm.  Then every mistake
that shows in inference is made in one program, at the same weights, and in a file that is written:
each verdict but "differs" is a miss.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch

from efficientnet_rosetta.common.architectures import PRESETS, changed, resolve
from efficientnet_rosetta.common.backends.agreement import (
    SIZES,
    Agreement,
    Model,
    images_for,
    judged,
    judged_batch,
)
from efficientnet_rosetta.common.backends.judgement import NOISE
from efficientnet_rosetta.common.backends.registry import KERAS, TORCH, get_backend
from efficientnet_rosetta.common.checkpoints import port as porting
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.parity.run import environment
from efficientnet_rosetta.common.spec import EfficientNetSpec
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import Weights, save
from efficientnet_rosetta.common.weights.initial import initial
from efficientnet_rosetta.common.weights.metadata import SCHEMA, SCHEMA_KEY
from efficientnet_rosetta.torch_impl.layers import BatchNorm

from . import weights as weights_mistakes
from .machine import Mutation, made

DTYPE = "float64"
CLASSES = (1, 2, 3, 5)
B0 = cast(EfficientNetSpec, resolve("b0"))
HEADS = 600
# L2 has the depth of its own, and a width of which two copies in float64 fit into memory.
NARROWER = {"l2": {"width": 1.1}}
# Where a mistake is planted in a file: one layout of each kind of keys and of axes.
WRITTEN = {
    "timm-tf": "b0.pth",
    "keras-applications": "b0.weights.h5",
    "efficientnet-jax": "b0.npz",
    "canonical": "b0.safetensors",
}


@dataclass(frozen=True)
class Case:
    """One verdict: of what, at which weights, on what it rests, and whether it is right."""

    network: str
    weights: str
    mistake: str | None
    agrees: bool
    error: float | None
    tolerance: float | None
    calibrated: bool

    @property
    def right(self) -> bool:
        """Programs that are the same agree, and others do not."""
        return self.agrees == (self.mistake is None)


def _case(network: str, weights: str, mistake: str | None, found: Agreement) -> Case:
    worst = found.judged
    error, tolerance = (
        float(value) if np.isfinite(value) else None for value in (worst.error, worst.tolerance)
    )
    agrees = worst.agrees and not found.difference
    return Case(network, weights, mistake, agrees, error, tolerance, found.calibrated)


# ------------------------------------------------------------------ weights of every kind


def _norms(network: Network) -> list[str]:
    return [layer.role for layer in network.layers if layer.kind == "batch_norm"]


def _drawn(network: Network, seed: int) -> Weights:
    """Kernels of unit gain; scales and biases that spread; statistics as if nothing were known."""
    random, weights = np.random.default_rng(seed), initial(network, seed)
    for name, array in weights.items():
        last = name.rpartition(".")[2]
        noise = random.standard_normal(array.shape, np.float32)
        if last == "weight":
            weights[name] = noise / np.float32(np.sqrt(np.prod(array.shape[1:])))
        elif last in ("scale", "bias"):
            weights[name] = np.float32(0.3) * noise + np.float32(last == "scale")
    return weights


def _woken(network: Network, weights: Weights, side: int, share: float = 1.0) -> Weights:
    """Statistics from one batch of noise of some size, or part of the way to them."""
    backend = get_backend(TORCH)
    model = backend.build(network)
    backend.load_weights(model, weights)

    def measure(module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        x = arguments[0]
        module.mean.lerp_(x.mean((0, 2, 3)), share)
        module.variance.lerp_(x.var((0, 2, 3), unbiased=False) + 1e-3, share)

    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_pre_hook(measure)
    noise = np.random.default_rng(1).standard_normal((2, network.in_channels, side, side))
    backend.run(model, noise)
    return backend.dump_weights(model)


def _pytorch(network: Network) -> Weights:
    """PyTorch's default initialisation, whose biases are not zero."""
    random, weights = np.random.default_rng(2), initial(network)
    for layer in network.layers:
        if layer.kind != "batch_norm":
            names = list(layer.tensors)
            bound = 1 / np.sqrt(np.prod(layer.tensors[names[0]][1:]))
            for name in names:
                values = random.uniform(-bound, bound, layer.tensors[name])
                weights[name] = values.astype(np.float32)
    return weights


def _with(weights: Weights, ending: str, change: Callable[[np.ndarray], np.ndarray]) -> Weights:
    return {
        name: np.asarray(change(array), np.float32) if name.endswith(ending) else array
        for name, array in weights.items()
    }


def _exploding(network: Network) -> Weights:
    """One channel a hundred million times as large as the others, half-way."""
    weights = dict(_calibrated(network))
    norms = _norms(network)
    name = f"{norms[len(norms) // 2]}.scale"
    weights[name] = weights[name].copy()
    weights[name][0] *= 1e8
    return weights


def _calibrated(network: Network) -> Weights:
    return weights_of("calibrated", network)


# Those that begin with calibrated weights stand together, which are made once for them.
KINDS: Mapping[str, Callable[[Network], Weights]] = {
    "calibrated": calibrated,
    "one channel exploding": _exploding,
    "tiny variances": lambda network: _with(_calibrated(network), ".variance", lambda a: a * 1e-6),
    "no numbers": lambda network: _with(_calibrated(network), "bn.variance", lambda a: -a),
    "woken at one pixel a map": lambda network: _woken(network, _drawn(network, 0), 32),
    "woken at the wrong size": lambda network: _woken(network, _drawn(network, 3), 75),
    # Batch norms take small differences of large numbers, one after the other.
    "biases of ten thousand": lambda network: _woken(
        network, _with(_drawn(network, 5), "bn.bias", lambda a: a + 1e4), 64
    ),
    "half-trained statistics": lambda network: _woken(network, initial(network), 64, 0.5),
    "no statistics": lambda network: _drawn(network, 4),
    "the official initialisation": initial,
    "PyTorch's initialisation": _pytorch,
}


@lru_cache(maxsize=2)
def weights_of(kind: str, network: Network) -> Weights:
    """Weights of a kind, made once."""
    return KINDS[kind](network)


# ------------------------------------------------------------------ false alarms


class Remembered(Model):
    """A program that is right, whose values are kept: they are the same for every mistake."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.values: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        self.kept: list[Any] = []  # so that what was named by its address stays there

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """What was found before, if these weights and images were run before."""
        first = next(iter(self.weights.values()))
        key = (id(first), id(images))
        if key not in self.values:
            self.kept += [first, images]
            self.values[key] = super().run(images)
        return self.values[key]


def network_of(preset: str) -> Network:
    """A preset, as wide as memory allows."""
    return resolve(preset, **NARROWER.get(preset, {}))


def model_of(backend: str, network: Network, weights: Weights, kind: type[Model] = Model) -> Model:
    """A program with weights."""
    return kind(backend, get_backend(backend), network, weights, DTYPE)


def networks(presets: tuple[str, ...] = tuple(PRESETS)) -> Iterator[Case]:
    """Every preset with weights of every kind, and one in another dialect."""
    for preset in presets:
        yield from cases_of(preset, network_of(preset))
    other = resolve("b0", dialect="pytorch")
    yield from cases_of("b0, pytorch dialect", other, ("tiny variances",))


def cases_of(name: str, network: Network, kinds: tuple[str, ...] = tuple(KINDS)) -> Iterator[Case]:
    """One network with weights of every kind."""
    images = images_for(network)
    models = [model_of(b, network, weights_of(kinds[0], network)) for b in (TORCH, KERAS)]
    for kind in kinds:
        for model in models:
            model.give(weights_of(kind, network))
        yield _case(name, kind, None, judged(models[0], models[1], images))


def heads(count: int = HEADS, network: EfficientNetSpec = B0) -> Iterator[Case]:
    """Random classifiers of few classes, on features that were computed once."""
    headless = changed(network, num_classes=None)
    images = images_for(headless)
    models = [model_of(b, headless, weights_of("calibrated", headless)) for b in (TORCH, KERAS)]
    noisy = models[0].noisy(images)
    features = [[model.run(batch)["features"] for batch in images] for model in models]
    random, last = np.random.default_rng(5), {}
    for number in range(count):
        classes = CLASSES[number * len(CLASSES) // count]
        dressed = changed(headless, num_classes=classes)
        if classes not in last:
            # Of a network with few blocks, whose classifier is the same.
            brief = resolve("b0", width=network.width, depth=0.1, num_classes=classes)
            last = {classes: [_Classifier(backend, brief) for backend in (TORCH, KERAS)]}
        ours, theirs = last[classes]
        head = _head(dressed, number, random)
        worst = []
        for batch in range(len(images)):
            values, others, moved = (
                {"features": value, "logits": classifier(value, weights)}
                for classifier, value, weights in (
                    (ours, features[0][batch], head),
                    (theirs, features[1][batch], head),
                    (ours, noisy[batch]["features"], _noisy(head, random)),
                )
            )
            found = judged_batch(values, moved, others, head)
            assert found is not None
            worst.append(found)
        agreement = Agreement(max(worst, key=lambda one: one.share))
        yield _case(f"{classes} classes", "a random head", None, agreement)


def _head(network: Network, number: int, random: np.random.Generator) -> Weights:
    """A classifier: of any size, with a bias or without, rows alike or not."""
    shape = network.tensors["classifier.weight"]
    kernel = random.standard_normal(shape) * 10.0 ** random.uniform(-4, 1)
    if number % 5 == 4:  # rows that are nearly the same, as of classes that nothing tells apart
        kernel = kernel[:1] + 1e-7 * kernel
    bias = random.standard_normal(shape[0]) * (number % 3) * 10.0 ** random.uniform(-2, 2)
    found = {"classifier.weight": kernel, "classifier.bias": bias}
    return {name: array.astype(np.float32) for name, array in found.items()}


def _noisy(weights: Weights, random: np.random.Generator) -> Weights:
    return {
        name: array * (1 + NOISE * random.choice((-1.0, 1.0), array.shape))
        for name, array in weights.items()
    }


class _Classifier:
    """The last section of a network: features and a head's weights to logits."""

    def __init__(self, backend: str, network: Network) -> None:
        self.model = model_of(backend, network, calibrated(network))

    def __call__(self, features: np.ndarray, head: Weights) -> np.ndarray:
        tensors = {**self.model.weights, **head}
        self.model.load(tensors)
        found: np.ndarray = self.model.trace("logits", features)[-1].value
        return found


# ------------------------------------------------------------------ misses


def in_programs(
    mistakes: tuple[Mutation, ...],
    kinds: tuple[str, ...] = tuple(KINDS),
    given: Mapping[str, Network] = MappingProxyType({}),
) -> Iterator[Case]:
    """Each mistake in PyTorch's program, against Keras's, which is right.

    `given` are other networks than the presets that the mistakes are made in.
    """
    for preset in dict.fromkeys(mistake.preset for mistake in mistakes):
        network = given.get(preset) or network_of(preset)
        images = images_for(network)
        right = model_of(KERAS, network, weights_of(kinds[0], network), Remembered)
        for kind in kinds:
            weights = weights_of(kind, network)
            right.give(weights)
            for mistake in mistakes:
                if mistake.preset == preset:
                    with made(mistake):
                        wrong = model_of(TORCH, network, weights)
                        found = judged(wrong, right, images)
                    yield _case(preset, kind, mistake.name, found)
                    right.give(weights)  # it may have been judged with calibrated ones


def in_files(layouts: Mapping[str, str] = WRITTEN) -> Iterator[Case]:
    """Each mistake in carrying weights, made while a file is written, and seen in that file."""
    network = resolve("b0")
    weights = weights_of("calibrated", network)
    backend = get_backend(TORCH)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source.safetensors")
        save(source, network, weights)
        for mistake in weights_mistakes.MISTAKES:
            model = backend.build(network)
            with made(mistake):
                backend.load_weights(model, weights)
            with _written(backend.dump_weights(model)):
                for layout, name in layouts.items():
                    path = Path(folder, f"{layout}-{name}")
                    done = porting.port(source, path, layout, force=True, run=False)
                    agrees = done.verdict.ending != "differs"
                    yield Case(layout, "calibrated", mistake.name, agrees, None, None, False)


@contextmanager
def _written(wrong: Weights) -> Iterator[None]:
    """What is written are other weights than what was read."""
    right = porting._arranged

    def arranged(layout: Any, form: str, network: Network, weights: Any, *others: Any) -> Any:
        given = {name: LazyTensor.of(name, wrong[name]) for name in weights}
        return right(layout, form, network, given, *others)

    with patch.object(porting, "_arranged", arranged):
        yield


# ------------------------------------------------------------------ all of it


def counted(cases: list[Case]) -> dict[str, dict[str, int]]:
    """For every kind of weights: how many cases, and how many of them are wrong."""
    number = Counter(case.weights for case in cases)
    wrong = Counter(case.weights for case in cases if not case.right)
    return {kind: {"cases": cases, "wrong": wrong[kind]} for kind, cases in number.items()}


def main() -> None:
    """Count everything, or the parts that are named, and write it down."""
    from . import MUTATIONS

    shown = tuple(mistake for mistake in MUTATIONS if mistake.claim == "forward")
    parts: dict[str, Callable[[], Iterator[Case]]] = {
        "heads": heads,
        "networks": networks,
        "mistakes in programs": lambda: in_programs(shown),
        "mistakes in files": in_files,
    }
    path, *chosen = sys.argv[1:]
    for name in chosen or parts:
        write(Path(path), name, list(_told(parts[name]())))


def write(path: Path, part: str, cases: list[Case]) -> None:
    """Put the cases of one part into the file of results."""
    found = json.loads(path.read_text()) if path.exists() else {}
    found |= {SCHEMA_KEY: SCHEMA, "environment": environment(), "sizes": SIZES}
    found[part] = {
        "cases": len(cases),
        "wrong": sum(not case.right for case in cases),
        "by weights": counted(cases),
        # Of heads, one line would say as much as all.
        "rows": [asdict(case) for case in cases if part != "heads" or not case.right],
    }
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def _told(cases: Iterator[Case]) -> Iterator[Case]:
    """The same, with a line for each on stderr."""
    for case in cases:
        sys.stderr.write(f"{'' if case.right else 'WRONG '}{case}\n")
        yield case


if __name__ == "__main__":
    main()
