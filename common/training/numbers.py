"""The numbers of a recipe by name: listed, read from text, checked, and exchanged.

A name is that of a field of `Recipe`, or a path of such names with dots between them, where a field
has parts: "augmentation.rotation".  Parts that follow one another count from 1: "phases.2.rate".
Fields are found by their hints, so that a new one can be set as soon as it is there.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError
from ..images.policies import POLICIES, Policy, get_policy
from .recipe import Recipe

ARGUMENT = "set"  # what errors name
NONE = "none"  # how a number that may be left out is left out
PRESENT = "as above"  # the value of a part that may be left out as a whole, where it is not
# What a recipe is, and not how.
FIXED = ("name", "summary", "sources", "architecture", "version", "resolution", "begun_with")
OF_STAGES = ("augmentation", "mixing")  # each stage has its own of these, where there are stages
TRUTH = {"true": True, "false": False}
SIMILAR = 0.5  # of difflib's measure: a slip of a finger, and not another word
SHOWN = 3  # names that may have been meant

Part = TypeVar("Part")


# ------------------------------------------------------------------ ranges


@dataclass(frozen=True)
class Range:
    """From `least` to `most`; a bound that is `open` does not belong to it."""

    least: float = 0.0
    most: float = math.inf
    open: Literal["", "least", "most", "both"] = ""

    def __contains__(self, value: float) -> bool:
        above = value > self.least if self.open in ("least", "both") else value >= self.least
        below = value < self.most if self.open in ("most", "both") else value <= self.most
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        least = f"{'above' if self.open in ('least', 'both') else 'at least'} {self.least:g}"
        if self.most == math.inf:
            return least
        below = "below" if self.open in ("most", "both") else "at most"
        return f"{least} and {below} {self.most:g}"


POSITIVE = Range(open="least")
NOT_NEGATIVE = Range()
SHARE = Range(0.0, 1.0)
ALL_BUT_ONE = Range(0.0, 1.0, "most")
COUNT = Range(1.0)

# By the last part of a name; any other number is at least 0.
RANGES = {
    **dict.fromkeys(("rate", "epsilon", "every"), POSITIVE),
    **dict.fromkeys(("momentum", "decay", "label_smoothing", "average"), ALL_BUT_ONE),
    **dict.fromkeys(("batch", "epochs", "rate_images", "accumulation", "patience"), COUNT),
    **dict.fromkeys(("batch_norm", "dropout"), ALL_BUT_ONE),
    **dict.fromkeys(("image_size", "resolution"), Range(32.0)),
    "minival": Range(0.0, 1.0, "both"),
    "factor": Range(0.0, 1.0, "least"),
    "share": SHARE,
    "crop_area": Range(0.0, 1.0, "least"),
    "crop_aspect": POSITIVE,
    "rotation": Range(0.0, 180.0),
    "hue": Range(0.0, 0.5),
    "brightness": SHARE,
    "probability": SHARE,
    **dict.fromkeys(("area", "aspect"), POSITIVE),
}


# ------------------------------------------------------------------ names


class Number(NamedTuple):
    """A number that can be set: its name, what it is, and the hint of its field."""

    name: str
    value: Any
    hint: Any

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that it may be of."""
        union = get_origin(self.hint) in (Union, UnionType)
        return get_args(self.hint) if union else (self.hint,)

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        words = [_in_words(kind, self.range) for kind in self.kinds if kind is not NoneType]
        return " or ".join([*words, *([NONE] if NoneType in self.kinds else [])])

    @property
    def as_text(self) -> str:
        """Its value as a command line has it."""
        return _as_text(self.value)

    @property
    def range(self) -> Range:
        """Of the numbers, where it is one."""
        return RANGES.get(self.name.rpartition(".")[2], NOT_NEGATIVE)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_as_text, value))
    if value is None or isinstance(value, bool):
        return NONE if value is None else str(value).lower()
    return str(value).removesuffix(".0")


def _in_words(kind: Any, range_: Range) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"two numbers {range_}, with a comma between them"
    if kind is Policy:
        return f"{', '.join(POLICIES)} or randaugment-LAYERS-MAGNITUDE"
    if kind is bool:
        return "true or false"
    return f"a whole number of {range_}" if kind is int else f"a number {range_}"


def numbers(recipe: Recipe) -> dict[str, Number]:
    """All that can be set of a recipe, by name."""
    fixed = (*FIXED, *(OF_STAGES if recipe.stages else ()))
    found = _numbers(recipe, "")
    return {number.name: number for number in found if number.name.partition(".")[0] not in fixed}


def _numbers(part: Any, prefix: str) -> Iterator[Number]:
    hints = get_type_hints(type(part))
    for field in fields(part):
        name, value = prefix + field.name, getattr(part, field.name)
        number = Number(name, value, hints[field.name])
        if part_kind := _optional_part(number):
            default = part_kind() if value is None else value
            for inner in _numbers(default, f"{name}."):
                yield inner if value is not None else inner._replace(value=None)
            yield number._replace(value=None if value is None else PRESENT, hint=NoneType)
        elif Policy in number.kinds:
            yield number._replace(value=None if value is None else value.name)
        elif is_dataclass(value):
            yield from _numbers(value, f"{name}.")
        elif isinstance(value, tuple) and value and all(map(is_dataclass, value)):
            for place, element in enumerate(value, 1):
                yield from _numbers(element, f"{name}.{place}.")
        elif all(map(_is_plain, number.kinds)):
            yield number


def _optional_part(number: Number) -> Any:
    """The dataclass that a field is of, if it may also be left out."""
    kinds = [kind for kind in number.kinds if is_dataclass(kind)]
    return kinds[0] if kinds and NoneType in number.kinds else None


def _is_plain(kind: Any) -> bool:
    """Whether a value of this type can be written on a command line."""
    if get_origin(kind) is tuple:
        return get_args(kind) in ((float, float), (int, int))
    return get_origin(kind) is Literal or kind in (bool, int, float, NoneType)


# ------------------------------------------------------------------ setting them


def with_numbers(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """The recipe with other numbers, which are given as they are, as JSON has them, or as text.

    Raises:
        UsageError: the recipe has no such number, it is of another type or outside its range, or
            it contradicts another one.
    """
    known = numbers(recipe)
    for name, value in read_numbers(recipe, given).items():
        if value is not None and Policy in known[name].kinds:
            value = get_policy(value)
        recipe = _exchanged(recipe, name.split("."), value)
    _check(recipe, given)
    return recipe


def read_numbers(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, as values of the types that the recipe's fields have, a policy as its name.

    Raises:
        UsageError: the recipe has no such number, or it is of another type or outside its range.
    """
    known = numbers(recipe)
    for name in given:
        if name not in known:
            raise _unknown(recipe, name, known)
    return {name: _value(known[name], value) for name, value in given.items()}


def _unknown(recipe: Recipe, name: str, known: Mapping[str, Number]) -> UsageError:
    """What may have been meant: a slip, a part's name without its path, or any of them."""
    parts = [path for path in known if path.rpartition(".")[2] == name.rpartition(".")[2]]
    close = parts or difflib.get_close_matches(name, known, SHOWN, SIMILAR)
    choose = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}"
    return UsageError(f"recipe {recipe.name} has no number {name!r}; {choose}", argument=ARGUMENT)


def _value(number: Number, given: Any) -> Any:
    """A value of one of the types that a number may be of.

    Raises:
        UsageError: it cannot be read as one, or is outside the range.
    """
    for kind in number.kinds:
        found = _read(kind, given)
        if found is not None and _is_within(found[0], number.range):
            return found[0]
    raise UsageError(f"{number.name} is {given}; it must be {number.allowed}", argument=ARGUMENT)


def _read(kind: Any, given: Any) -> tuple[Any] | None:
    """A value as one of a type; nothing if it is none."""
    if kind is NoneType:
        return (None,) if given is None or given == NONE else None
    if get_origin(kind) is Literal:
        return (given,) if given in get_args(kind) else None
    if kind is Policy:
        return (given,) if isinstance(given, str) and _is_policy(given) else None
    if get_origin(kind) is tuple:
        parts = given.split(",") if isinstance(given, str) else given
        if not isinstance(parts, list | tuple):
            return None
        found = [_read(part, one) for part, one in zip(get_args(kind), parts, strict=False)]
        if len(parts) != len(found) or len(found) != len(get_args(kind)) or None in found:
            return None
        return (tuple(one[0] for one in found if one is not None),)
    if kind is bool:
        truth = TRUTH.get(given) if isinstance(given, str) else given
        return (truth,) if isinstance(truth, bool) else None
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        number = float(given)
    except (ValueError, OverflowError):  # the second is of a whole number that is too long
        return None
    if kind is int:
        return (int(number),) if number.is_integer() else None
    return (number,)


def _is_policy(name: str) -> bool:
    try:
        get_policy(name)
    except UsageError:
        return False
    return True


def _is_within(value: Any, range_: Range) -> bool:
    if isinstance(value, tuple):
        return list(value) == sorted(value) and all(part in range_ for part in value)
    return not isinstance(value, int | float) or isinstance(value, bool) or value in range_


def _exchanged(part: Part, path: list[str], value: Any) -> Part:
    """The same dataclass, or tuple of such, with one number of it exchanged."""
    name, *further = path
    if isinstance(part, tuple):
        place = int(name) - 1
        element = _exchanged(part[place], further, value)
        return (*part[:place], element, *part[place + 1 :])  # type: ignore[return-value]
    inner = getattr(part, name)
    if further and inner is None:
        if value is None:
            return part
        inner = _optional_part(Number(name, None, get_type_hints(type(part))[name]))()
    new = _exchanged(inner, further, value) if further else value
    return replace(part, **{name: new})  # type: ignore[type-var]


# ------------------------------------------------------------------ contradictions


def _check(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Numbers that are right each, and wrong together.

    Raises:
        UsageError: there are such.
    """
    for name in ("decay", "epsilon"):
        if recipe.rule != "rmsprop" and given.get(name) not in (None, NONE):
            raise UsageError(
                f"{name} is of rmsprop, and the rule is {recipe.rule}; leave it out, or set the "
                "rule",
                argument=ARGUMENT,
            )
    pairs = [("factor", "every")] + ([("decay", "epsilon")] if recipe.rule == "rmsprop" else [])
    for one, other in pairs:
        values = getattr(recipe, one), getattr(recipe, other)
        if (values[0] is None) != (values[1] is None) and {one, other} & set(given):
            lacking = one if values[0] is None else other
            raise UsageError(
                f"{one} and {other} go together, and {lacking} is {NONE}; set both",
                argument=ARGUMENT,
            )
    if recipe.class_weights is not None and recipe.sampler is not None:
        raise UsageError(
            "rare classes would count twice, by class_weights and by the sampler; choose one",
            argument=ARGUMENT,
        )
    total = sum(phase.share for phase in recipe.phases)
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        raise UsageError(
            f"the shares of the phases add up to {total:g}; they must add up to 1",
            argument=ARGUMENT,
        )
