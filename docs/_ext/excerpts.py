"""Pieces of the sources, cut out where they stand.

A comment `# step: expand` begins a region, which ends at the next such comment or where the
indentation becomes smaller.  A step has several regions where a framework needs several: in PyTorch
a layer is made in `__init__` and used in `forward`.  Whole functions, classes and constants go by
their names.

What a page asks for is written

    expand                    every region of the step in the file at hand
    MBConv/expand             those in one class or function
    @swish                    a function, a class, a method (`@MBConv.forward`) or a constant
    @Block fields             a class as far as its annotated fields
    torch_impl/layers.py#pad  the same of another file: `path#step`, `path@name`

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MARKER = re.compile(r"^(?P<indent> *)# step: (?P<id>\S.*?)\s*$")
ROLES = {"__init__": "made", "forward": "used", "__call__": "used"}  # in either framework
HIDDEN = re.compile(r"^\s*# (step: \S.*|fmt: (on|off))$")  # comments that are for programs only


class ExcerptError(ValueError):
    """What a page quotes is not there, or not in a state to be quoted."""


@dataclass(frozen=True)
class Excerpt:
    """Lines of a file, dedented; `first` and `last` are what they are numbered in the file."""

    path: str
    scope: str
    first: int
    last: int
    code: str

    @property
    def lines(self) -> str:
        """How the lines are cited."""
        return f"L{self.first}" if self.first == self.last else f"L{self.first}\u2013{self.last}"


@dataclass(frozen=True)
class Region:
    """The lines that a step marker governs, from 1; `scope` is the function around them."""

    step: str
    scope: str
    marker: int
    last: int


@dataclass
class Source:
    """A Python file and what can be quoted of it; `path` is relative to `root`."""

    root: Path
    path: str
    lines: list[str] = field(init=False)
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        try:
            text = (self.root / self.path).read_text(encoding="utf-8")
        except OSError as error:
            raise ExcerptError(f"{self.path}: cannot be read: {error.strerror}") from error
        try:
            self.tree = ast.parse(text)
        except SyntaxError as error:
            raise ExcerptError(f"{self.path}:{error.lineno}: {error.msg}") from error
        self.lines = text.splitlines()

    # -------------------------------------------------------------- names

    @cached_property
    def symbols(self) -> dict[str, ast.stmt]:
        """Every function, class, method and constant by its qualified name."""
        found: dict[str, ast.stmt] = {}

        def walk(body: list[ast.stmt], prefix: str) -> None:
            for node in body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                    found[prefix + node.name] = node
                    walk(node.body, f"{prefix}{node.name}.")
                elif isinstance(node, ast.Assign | ast.AnnAssign):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    for target in targets:
                        for name in ast.walk(target):
                            if isinstance(name, ast.Name):
                                found.setdefault(prefix + name.id, node)

        walk(self.tree.body, "")
        return found

    def scope_of(self, line: int) -> str:
        """The qualified name of the innermost function or class around a line."""
        around = [
            (node.lineno, name)
            for name, node in self.symbols.items()
            if not isinstance(node, ast.Assign | ast.AnnAssign)
            and node.lineno <= line <= (node.end_lineno or line)
        ]
        return max(around)[1] if around else Path(self.path).name

    def line_of(self, name: str) -> int:
        """Where a name is defined, decorators included.

        Raises:
            ExcerptError: there is none.
        """
        if name not in self.symbols:
            raise ExcerptError(f"{self.path} has no {name}")
        return _first_line(self.symbols[name])

    # -------------------------------------------------------------- steps

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Every region of every step, in the order of the file."""
        regions: list[Region] = []
        for number, line in enumerate(self.lines, 1):
            if match := MARKER.match(line):
                indent, last = len(match["indent"]), number
                for following, text in enumerate(self.lines[number:], number + 1):
                    if MARKER.match(text) or (text.strip() and _indent(text) < indent):
                        break
                    if text.strip():
                        last = following
                region = Region(match["id"], self.scope_of(number), number, last)
                if last == number:
                    raise ExcerptError(f"{self.path}:{number}: step {region.step!r} has no lines")
                for other in regions:
                    if (other.step, other.scope) == (region.step, region.scope):
                        raise ExcerptError(
                            f"{self.path}:{number}: step {region.step!r} is already at line "
                            f"{other.marker} of {region.scope}"
                        )
                regions.append(region)
        return tuple(regions)

    @property
    def sequences(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Steps in order, by function, by the class or function at the top that it is part of."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for region in self.regions:
            functions = found.setdefault(region.scope.partition(".")[0], {})
            functions[region.scope] = (*functions.get(region.scope, ()), region.step)
        return found

    def check_steps(self) -> None:
        """Refuse a class whose functions do not go through the same steps in the same order.

        Where a class makes something and uses it, and one of these has steps, both have them.

        Raises:
            ExcerptError: naming both functions and their steps.
        """
        for symbol, functions in self.sequences.items():
            (first, steps), *others = functions.items()
            ends = [name for name in (f"{symbol}.{end}" for end in ROLES) if name in self.symbols]
            bare = [name for name in ends if name not in functions]
            if bare and bare != ends:
                raise ExcerptError(
                    f"{self.path}: {first} has the steps {', '.join(steps)}, and {bare[0]} has none"
                )
            for name, sequence in others:
                if sequence != steps:
                    raise ExcerptError(
                        f"{self.path}: {first} has the steps {', '.join(steps)}, "
                        f"and {name} has {', '.join(sequence)}"
                    )

    # -------------------------------------------------------------- excerpts

    def step(self, step: str, within: str = "") -> list[Excerpt]:
        """The regions of a step, in one class or function only where `within` names it.

        Raises:
            ExcerptError: there is none.
        """
        self.check_steps()
        found = [
            region
            for region in self.regions
            if region.step == step and (not within or f"{region.scope}.".startswith(f"{within}."))
        ]
        if not found:
            steps = ", ".join(dict.fromkeys(region.step for region in self.regions)) or "none"
            place = f" in {within}" if within else ""
            raise ExcerptError(f"{self.path}: no step {step!r}{place}; there are: {steps}")
        return [self._cut(region.scope, region.marker + 1, region.last) for region in found]

    def symbol(self, name: str) -> Excerpt:
        """A function, a class, a method or a constant, decorators included, docstring left out.

        `"Block fields"` is a class as far as its annotated fields.

        Raises:
            ExcerptError: there is none.
        """
        name, _, only = name.partition(" ")
        if name not in self.symbols or only not in ("", "fields"):
            raise ExcerptError(f"{self.path}: no {name!r}, or not of this kind: {only!r}")
        node = self.symbols[name]
        first = _first_line(node)
        last, skipped = node.end_lineno or first, range(0)
        body = getattr(node, "body", [])
        if only:
            fields = [item.end_lineno for item in body if isinstance(item, ast.AnnAssign)]
            if not fields:
                raise ExcerptError(f"{self.path}: {name} has no fields")
            last = max(fields)
        if len(body) > 1 and ast.get_docstring(node) is not None:
            # Up to what follows, and so without the empty lines after it.
            skipped = range(body[0].lineno, _first_line(body[1]))
        return self._cut(name, first, last, skipped)

    def _cut(self, scope: str, first: int, last: int, skipped: range = range(0)) -> Excerpt:
        lines = [
            self.lines[number - 1]
            for number in range(first, last + 1)
            if number not in skipped and not HIDDEN.match(self.lines[number - 1])
        ]
        margin = min(_indent(line) for line in lines if line.strip())
        return Excerpt(self.path, scope, first, last, "\n".join(line[margin:] for line in lines))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


@dataclass
class Library:
    """The sources below a root, each read once."""

    root: Path
    sources: dict[str, Source] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Source:
        if path not in self.sources:
            self.sources[path] = Source(self.root, path)
        return self.sources[path]

    def find(self, wanted: str, path: str) -> list[Excerpt]:
        """What a page asks for, of the file `path` where it names none.

        Raises:
            ExcerptError: it is not there.
        """
        wanted = wanted.strip()
        for separator in "@#":
            named, found, rest = wanted.partition(separator)
            if found:
                path, wanted = named.strip() or path, rest.strip()
                if separator == "@":
                    return [self[path].symbol(wanted)]
                break
        within, _, step = wanted.rpartition("/")
        return self[path].step(step, within)


def check_mirrors(one: Source, other: Source, called: Mapping[str, str] | None = None) -> None:
    """Refuse two programs that do not go through the same steps in the same order.

    Class by class and function by function: a layer that is made and used in one program is made
    and used with the same steps in the other.  A function stands for both, as networks of Keras are
    made while they are used.  `called` has the name in `other` where it is not that of `one`.

    Raises:
        ExcerptError: naming both and their steps.
    """
    for source in (one, other):
        source.check_steps()
    left, right = _by_role(one, called or {}), _by_role(other, {})
    for symbol in {**left, **right}:
        parts = [roles.get(symbol, {}) for roles in (left, right)]
        # `check_steps` has seen to it that all parts of a class have the same.
        steps = [next(iter(roles.values()), ()) for roles in parts]
        whole = any("whole" in roles for roles in parts)
        if steps[0] != steps[1] or not (whole or parts[0].keys() == parts[1].keys()):
            raise ExcerptError(
                f"{_told(one, symbol, parts[0])}, and {_told(other, symbol, parts[1])}"
            )
    orders = [tuple(dict.fromkeys(r.step for r in source.regions)) for source in (one, other)]
    if orders[0] != orders[1]:
        raise ExcerptError(
            f"{one.path} has the steps {', '.join(orders[0])}, "
            f"and {other.path} has {', '.join(orders[1])}"
        )


def _by_role(source: Source, called: Mapping[str, str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Steps by what a function does in its class, `"whole"` for a function of its own."""
    return {
        called.get(symbol, symbol): {
            ROLES.get(name := scope.rpartition(".")[2], name) if "." in scope else "whole": steps
            for scope, steps in functions.items()
        }
        for symbol, functions in source.sequences.items()
    }


def _told(source: Source, symbol: str, roles: dict[str, tuple[str, ...]]) -> str:
    if not roles:
        return f"{source.path} has no steps in {symbol}"
    steps = ", ".join(next(iter(roles.values())))
    return f"{source.path} has the steps {steps} in {symbol} ({', '.join(sorted(roles))})"
