"""What the options of a run come to: the network, the recipe, the batches and the first weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..architectures import changed, resolve
from ..backends.registry import KERAS
from ..checkpoints.heads import WEIGHT
from ..checkpoints.load import load, refuse_other, with_classes
from ..checkpoints.named import folder_names
from ..errors import FileError, UsageError
from ..images.balance import balance
from ..images.batches import Batches
from ..images.datasets import read_data
from ..images.families import FAMILIES
from ..images.family import Family
from ..images.transparency import transparency
from ..images.usual import OFFICIAL
from ..network import Network
from ..weights.canonical import Weights
from ..weights.initial import initial
from ..weights.metadata import CLASS_NAMES, FAMILY, NORMALIZATION
from .memory import fitting_batch, free_bytes
from .options import SCALING, Options, Place
from .plan import Training, check_precision
from .processes import process
from .recipe import Recipe

CHANNELS = 3  # of images: red, green and blue
FEW = 100  # images, below which the best epoch is one by chance


@dataclass(frozen=True)
class Plan:
    """What the options of a run come to: the training, its first weights and its classes.

    `warmup_epochs` is the length of the warm-up where the recipe's own does not fit the run.
    """

    training: Training
    weights: Weights
    class_indices: dict[str, int]
    notes: tuple[str, ...]
    warmup_epochs: float | None = None


def planned(options: Options, data: Path, place: Place, new: bool = False) -> Plan:
    """What the options of a run come to.

    A new one has a batch and a warm-up that fit, where none is given.
    """
    recipe = options.as_recipe()
    if recipe.name == "finetune" and not options.weights:
        raise UsageError(
            "recipe finetune starts from trained weights; name them", argument="weights"
        )
    seed, workers, devices = options.seed, place.workers, place.devices
    for name, given, least in (("seed", seed, 0), ("workers", workers, 0), ("devices", devices, 1)):
        if given < least:
            raise UsageError(f"{name} is {given}; it must be at least {least}", argument=name)
    check_precision(options.precision)
    found = read_data(data, options.held_out, seed, options.classes, recipe.minival)
    if not found.val:
        raise FileError(
            data, "has no images to validate on; hold out a larger share", argument="held_out"
        )
    network, start, family = _start(options, recipe, found.classes)
    if recipe.batch_norm is not None:
        dialect = replace(network.dialect, momentum=recipe.batch_norm)
        network = changed(network, dialect=asdict(dialect))
    notes = []
    if new and options.batch is None:
        parts = max(devices, process()[1])
        free = free_bytes() if parts == 1 else None
        images = len(found.train)
        batch, why = fitting_batch(recipe, network, images, options.precision, parts, free)
        recipe = replace(recipe, batch=batch)
        if why:
            notes.append(f"a batch of {batch} images: {why} (--batch chooses another)")
    if 0 < len(found.minival) < FEW:
        notes.append(
            f"the best epoch is chosen by {len(found.minival)} images that are held out of train; "
            "--set minival=0.1 holds out more of them, and --set minival=none has val choose"
        )
    if new and (said := transparency(found.train)):
        notes.append(said)
    batches = partial(Batches, seed=seed, family=family, classes=len(found.classes))
    unchanged = partial(batches, size=network.resolution, batch=recipe.batch)
    train = replace(
        unchanged(found.train, augmentation=recipe.augmentation),
        mixing=recipe.mixing,
        balance=balance(found.train, "sampler") if recipe.sampler else None,
    )
    warmup_epochs = options.warmup_epochs
    if new and "warmup_epochs" not in options.set:
        warmup_epochs = fitting_warmup(recipe)
        if warmup_epochs is not None:
            recipe = replace(recipe, warmup_epochs=warmup_epochs)
    training = Training(
        network,
        recipe,
        train,
        unchanged(found.val),
        minival=unchanged(found.minival) if found.minival else None,
        freeze=options.freeze,
        seed=seed,
        precision=options.precision,
        workers=workers,
        devices=devices,
        compile=place.compile,
    )
    return Plan(training, start, found.class_indices, tuple(notes), warmup_epochs)


def fitting_warmup(recipe: Recipe) -> int | None:
    """The epochs of a warm-up that fits the run, where the recipe's does not.

    It takes half of the epochs at most, as that of a cosine takes half of the steps.  Otherwise
    three epochs of a recipe that warms up for five would end at a fraction of its rate.  A single
    epoch has no half, and keeps what it has.
    """
    longest = recipe.epochs // 2
    return longest if 0 < longest < recipe.warmup_epochs else None


def check_compiled(compiled: bool, backend: str) -> None:
    """Only PyTorch is compiled because somebody says so.

    Raises:
        UsageError: it is for Keras, which compiles its steps by itself.
    """
    if compiled and backend == KERAS:
        raise UsageError(
            "Keras compiles its steps by itself; leave it out, or choose backend torch",
            argument="compile",
        )


def _start(
    options: Options, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[Network, Weights, Family]:
    """The network to train, its first weights, and how it is to see images."""
    scaling = {name: value for name in SCALING if (value := getattr(options, name)) is not None}
    if not options.weights:
        given = {**scaling, **({"dialect": options.dialect} if options.dialect else {})}
        network = resolve(
            options.preset or "b0",
            resolution=options.image_size,
            num_classes=len(classes),
            **given,
        )
        return network, initial(network, options.seed), named_family(options.family) or OFFICIAL
    found = load(options.weights, dialect=options.dialect, resolution=options.image_size)
    if found.network.in_channels != CHANNELS:
        raise FileError(found.path, f"takes {found.network.in_channels} channels, and not RGB")
    refuse_other(found, options.preset, **scaling)
    family = named_family(options.family) or found.preprocessing
    # A new classifier where the weights have none, or one of other classes, as far as is known.
    names = folder_names(found.path, found.metadata) or classes
    if found.network.num_classes == len(classes) and names == classes:
        return found.network, found.weights, family
    head = with_classes(found.network, found.weights, len(classes), options.seed)
    weights = head.weights
    if recipe.new_classifier == "zeros":
        weights = {**weights, WEIGHT: np.zeros_like(weights[WEIGHT])}
    return head.network, weights, family


def named_family(name: str | None) -> Family | None:
    """A family of preprocessing by its name; None if none is named.

    Raises:
        UsageError: there is no such family.
    """
    if name is not None and name not in FAMILIES:
        raise UsageError(f"unknown preprocessing {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES[name] if name is not None else None


def seen(family: Family, class_indices: dict[str, int]) -> dict[str, str]:
    """What files of weights say of the images that they were trained on, and of their classes."""
    names = in_order(class_indices)
    said = {NORMALIZATION: family.normalization.to_json(), FAMILY: family.name}
    if names == tuple(map(str, range(len(names)))):  # as of shards, which name none
        return said
    return {**said, CLASS_NAMES: json.dumps(names)}


def in_order(class_indices: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(class_indices, key=class_indices.__getitem__))
