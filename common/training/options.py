"""What a training run is told: the options that determine it, and where it is to run.

A run keeps its options in `run.json`, and goes on by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import DamagedFileError, FileError, UsageError
from .numbers import ARGUMENT, read_numbers, with_numbers
from .plan import Training
from .recipe import Recipe
from .recipes import get_recipe

SCALING = ("width", "depth", "middle_blocks")  # of one architecture or another
RECIPE_VERSION = "recipe_version"  # of the settings

# Options that are numbers of the recipe under a name of their own.
SHORTCUTS = {
    "patience": "patience",
    "accumulate": "accumulation",
    "class_weights": "class_weights",
    "sampler": "sampler",
}
OF_ITS_OWN = ("batch", "epochs")  # numbers of the recipe that are options too


@dataclass(frozen=True)
class Options:
    """What determines a run besides its data, as `run.json` keeps it; None is the default.

    `precision`, `seed`, `freeze` and `held_out` have their defaults here, `recipe` and `preset` are
    "official" and "b0", or the preset of the weights.  `set` has the numbers of the recipe that are
    other ones in this run, and `begun_with` the epochs that the run was to have at first, where it
    was given more of them since.  `warmup_epochs` is the length of the warm-up where the recipe's
    own did not fit the run.
    """

    preset: str | None = None
    width: float | None = None
    depth: float | None = None
    middle_blocks: int | None = None
    dialect: str | None = None
    recipe: str = "official"
    weights: str | None = None
    freeze: str = "0"
    classes: int | None = None
    image_size: int | None = None
    batch: int | None = None
    epochs: int | None = None
    precision: str = "float32"
    seed: int = 0
    held_out: float = 0.05
    family: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    begun_with: int | None = None
    warmup_epochs: float | None = None

    def as_recipe(self) -> Recipe:
        """The recipe with the run's own numbers.

        Raises:
            UsageError: there is no such recipe, or a number is outside its range.
        """
        recipe = with_numbers(get_recipe(self.recipe), self.set)
        for name in OF_ITS_OWN:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1", argument=name)
        recipe = replace(recipe, batch=self.batch or recipe.batch)
        if self.warmup_epochs is not None:
            recipe = replace(recipe, warmup_epochs=self.warmup_epochs)
        epochs = self.epochs or recipe.epochs
        if self.begun_with is None:
            return replace(recipe, epochs=epochs)
        return lengthened(replace(recipe, epochs=self.begun_with), epochs)


@dataclass(frozen=True)
class Place:
    """Where and how a run goes on, which may be another way each time; None is what it had."""

    data: Path | None = None
    backend: str | None = None
    workers: int = 2
    devices: int = 1
    compile: bool = False
    loggers: tuple[str, ...] | None = None


def lengthened(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe of more epochs, all of which are of its last phase and its last stage."""
    lengths = [len(recipe.epochs_of(number)) for number in range(len(recipe.phases))]
    lengths[-1] += epochs - recipe.epochs
    phases = tuple(
        replace(phase, share=length / epochs)
        for phase, length in zip(recipe.phases, lengths, strict=True)
    )
    return replace(recipe, epochs=epochs, phases=phases, begun_with=recipe.epochs)


# ------------------------------------------------------------------ as they are given


def given_options(
    numbers: Mapping[str, Any], lr: float | None, shortcuts: Mapping[str, Any], **options: Any
) -> dict[str, Any]:
    """The fields of `Options` that are given, with each number of the recipe in its place.

    `lr` is the rate of a batch of any size.

    Raises:
        UsageError: something is given twice.
    """
    given = {name: value for name, value in options.items() if value is not None}
    numbers = dict(numbers)
    for name in OF_ITS_OWN:
        if name in numbers:
            if name in given:
                raise _twice(name, name)
            # As an option it is checked by its recipe, which is known later.
            given[name] = read_numbers(get_recipe(given.get("recipe", Options.recipe)), numbers)[
                name
            ]
            del numbers[name]
    others = {SHORTCUTS[name]: (name, value) for name, value in shortcuts.items()}
    if lr is not None:
        others |= {"rate": ("lr", lr), "rate_images": ("lr", None)}
    recipe = get_recipe(given.get("recipe", Options.recipe))
    for number, (option, value) in others.items():
        if value is None and option != "lr":
            continue
        if number in numbers:
            raise _twice(number, option)
        try:
            numbers |= read_numbers(recipe, {number: value})
        except UsageError as error:
            raise UsageError(str(error), argument=option) from error
    if numbers:
        given["set"] = numbers
    return given


def _twice(number: str, option: str) -> UsageError:
    return UsageError(
        f"{number} is given twice; leave out one of --{option.replace('_', '-')} and --{ARGUMENT}",
    )


def assigned(texts: Iterable[str]) -> dict[str, str]:
    """Numbers as a command line has them, "name=value" each.

    Raises:
        UsageError: one is not of this form, or is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise UsageError(
                f"{text!r} sets nothing; write name=value, such as rate=0.01", argument=ARGUMENT
            )
        if name in found:
            raise UsageError(f"{name} is given twice; leave one out", argument=ARGUMENT)
        found[name] = value
    return found


# ------------------------------------------------------------------ as a run keeps them


def kept_options(path: Path, settings: Mapping[str, Any]) -> Options:
    """The options of a run, from what its file of settings says.

    Raises:
        DamagedFileError: the settings lack something, or have it as something else.
        FileError: the recipe is another version of itself by now.
    """
    # A run from before there was Xception lacks what scales that; one from before recipes had
    # versions follows the first, one from before there was more to set has set nothing, and one
    # from before warm-ups were shortened has the recipe's.
    settings = {
        **dict.fromkeys((*SCALING, "begun_with", "warmup_epochs")),
        "set": {},
        RECIPE_VERSION: 1,
        **settings,
    }
    counts = dict.fromkeys(("train", "val", RECIPE_VERSION), int)
    hints = {"backend": str, "data": str, **counts, **get_type_hints(Options)}
    for name, hint in hints.items():
        if name not in settings or not _is(settings[name], get_args(hint) or (hint,), hint):
            said = f"is {settings[name]!r}" if name in settings else "is missing"
            raise DamagedFileError(path, f"{name} {said}; correct it, or start the run again")
    _check_version(path, settings)
    options = Options(**{field.name: settings[field.name] for field in fields(Options)})
    try:
        return replace(options, set=read_numbers(get_recipe(options.recipe), options.set))
    except UsageError as error:
        raise DamagedFileError(path, f"{error}; correct it, or start the run again") from error


def _check_version(path: Path, settings: Mapping[str, Any]) -> None:
    """A run goes on by the recipe that it began with, or its batches and steps were others.

    Raises:
        FileError: the recipe is another version of itself by now.
    """
    recipe, began = get_recipe(settings["recipe"]), settings[RECIPE_VERSION]
    if recipe.version != began:
        raise FileError(
            path,
            f"began with version {began} of recipe {recipe.name}, which is version "
            f"{recipe.version} here; start another run, or continue it with the release of this "
            "program that it began with",
        )


def _is(value: object, kinds: tuple[Any, ...], hint: Any) -> bool:
    """Whether a value of JSON is of one of some types; every whole number is a float too."""
    if get_origin(hint) is dict:
        return isinstance(value, dict)
    if isinstance(value, bool):
        return False
    if float in kinds and isinstance(value, int | float):
        return math.isfinite(value)
    return isinstance(value, kinds)


def with_more_epochs(folder: Path, options: Options, epochs: int | None) -> Options:
    """The options of a run that is to have more epochs than it was to have so far.

    Raises:
        UsageError: they are not more.
    """
    before = options.as_recipe().epochs
    if epochs in (None, before):
        return options
    if epochs < before:
        raise UsageError(
            f"epochs is {epochs}, and the run in {folder} has {before}; give more of them, or "
            "leave it out",
            argument="epochs",
        )
    return replace(options, epochs=epochs, begun_with=options.begun_with or before)


def lengthening(before: Recipe, training: Training, done: int) -> str:
    """What more epochs change, in words: of the rate, if that depends on their number."""
    recipe = training.recipe
    said = f"{recipe.epochs} epochs instead of {before.epochs}"
    if recipe.factor is not None:
        return f"{said}; the rate falls on as it would have"
    steps, last = training.steps_per_epoch, len(recipe.phases) - 1
    step = done * steps - recipe.epochs_of(last).start * steps
    if step < 0:
        return f"{said}: the half cosine of the last phase ends that much later"
    old, new = (part.optimization(part.batch, steps, last).rate(step) for part in (before, recipe))
    return (
        f"{said}: the half cosine of the rate now ends with the last of them, so that the rate "
        f"goes on at {new:.2e}, where it was {old:.2e}"
    )
