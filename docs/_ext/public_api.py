"""What `import efficientnet_rosetta as rosetta` gives: signatures, results and errors, as MyST.

Signatures and texts are those of the code; what a field of a result means is in docs/fields.toml.
Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import efficientnet_rosetta as rosetta
from generating import table

WIDTH = 80
FIELDS: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).parents[1] / "fields.toml").read_text(encoding="utf-8")
)
ATTRIBUTES = FIELDS.pop("errors")


def is_error(value: object) -> bool:
    """Whether a public name is an exception."""
    return isinstance(value, type) and issubclass(value, BaseException)


def documented() -> dict[str, Callable[[], str]]:
    """What the page can ask for: functions and results by their names, and the errors."""
    found: dict[str, Callable[[], str]] = {"errors": errors}
    for name in rosetta.__all__:
        value = getattr(rosetta, name)
        if inspect.isfunction(value):
            found[name] = lambda name=name, value=value: _function(name, value)
        elif inspect.isclass(value) and not is_error(value):
            found[name] = lambda name=name, value=value: _result(name, value)
    return found


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"```python\n{signature(name, function)}\n```\n\n{_text(function)}"


def signature(name: str, function: Callable[..., Any]) -> str:
    """How it is called, an argument a line where one line does not hold them."""
    found = inspect.signature(function)
    returned = found.return_annotation
    arguments, is_named = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_named:
            arguments.append("*")
            is_named = True
        arguments.append(_argument(parameter))
    line = f"def {name}({', '.join(arguments)}) -> {returned}: ..."
    if len(line) <= WIDTH:
        return line
    return "\n".join(
        [f"def {name}(", *(f"    {argument}," for argument in arguments), f") -> {returned}: ..."]
    )


def _argument(parameter: inspect.Parameter) -> str:
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}: {parameter.annotation}"
    if parameter.default is parameter.empty:
        return text
    default = parameter.default
    plain = default is None or isinstance(default, bool | int | float | str | tuple)
    return f"{text} = {_quoted(default) if plain else '...'}"


def _quoted(value: object) -> str:
    return re.sub(r"'([^']*)'", r'"\1"', repr(value))


def _text(value: Any) -> str:
    """A docstring as Markdown, what it raises as a list."""
    text = inspect.getdoc(value) or ""
    text, _, raises = text.partition("\n\nRaises:\n")
    if not raises:
        return text
    lines = re.sub(r"\n {8,}", " ", raises.rstrip()).splitlines()
    rows = (re.fullmatch(r" +(\w+): (.*)", line).groups() for line in lines)
    return "\n".join([text, "", "Raises", *(f": `{error}`: {when}\n" for error, when in rows)])


def _result(name: str, kind: type) -> str:
    fields = dataclasses.fields(kind)
    meanings = FIELDS[name]
    if [field.name for field in fields] != list(meanings):
        raise ValueError(f"docs/fields.toml does not have the fields of {name} as they are")
    stated = [(f"`{one.name}`", f"`{one.type}`", meanings[one.name]) for one in fields]
    parts = [_text(kind), table(("Field", "Type", "What it is"), stated)]
    if more := [(f"`{member}`", what) for member, what in _members(kind).items()]:
        parts.append(table(("Property or method", "What it is"), more))
    return "\n\n".join(parts)


def _members(kind: type) -> dict[str, str]:
    """Public properties and methods, and what each says of itself in its first line."""
    found = {}
    for name, _ in inspect.getmembers(kind):
        value = inspect.getattr_static(kind, name)
        text = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        if name.startswith("_") or not text or name in FIELDS[kind.__name__]:
            continue
        if inspect.isfunction(value):
            found[f"{name}({_parameters(value)})"] = text
        elif isinstance(value, property) or hasattr(value, "func"):  # or a cached one
            found[name] = text
    return found


def _parameters(method: Callable[..., Any]) -> str:
    return ", ".join(list(inspect.signature(method).parameters)[1:])


def errors() -> str:
    """Every error, each below its base, with what it has beside its message."""
    kinds = [getattr(rosetta, name) for name in rosetta.__all__]
    rows = []

    def below(base: type, depth: int) -> None:
        name = base.__name__
        indent = "\u2003" * depth
        meaning = inspect.getdoc(base).split(";")[0].split("\n")[0].rstrip(".")
        rows.append((f"{indent}`{name}`", meaning, ATTRIBUTES.get(name, "")))
        for kind in kinds:
            if is_error(kind) and kind.__bases__[0] is base:
                below(kind, depth + 1)

    below(rosetta.RosettaError, 0)
    below(rosetta.ParityError, 0)  # of a test, and no error of a call
    return table(("Error", "When", "What it has"), rows)
