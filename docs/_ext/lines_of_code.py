"""The lines where an operation of a network stands: in the specification, in PyTorch and in Keras.

Nothing has to be listed for that.  A network is built by what its architecture's program reaches,
a section by the class that takes one of its kind, and an operation where its layer is named.
Nothing here knows Sphinx, so that tests use it too.
"""

# ruff: noqa: B019  (what methods keep lives as long as a build, and so do the programs)

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.network import Network, Section
from excerpts import Excerpt, ExcerptError, Library

SPECIFICATION = "common"
FOLDERS = (SPECIFICATION, "torch_impl", "keras_impl")
PACKAGE = "efficientnet_rosetta."
# What says of a section how it is computed; other methods say other things with the same words.
METHODS = {"path", "shortcut", "__init__", "forward", "__call__"}


@dataclass(frozen=True)
class Definition:
    """A function, a class or a constant at the top of a file."""

    path: str
    name: str


@dataclass(frozen=True)
class Place:
    """Lines of a file."""

    path: str
    first: int
    last: int

    @property
    def lines(self) -> str:
        """How the lines are cited."""
        return Excerpt(self.path, "", self.first, self.last, "").lines


@dataclass(frozen=True)
class Step:
    """A step of a class in PyTorch, and of its mirror; `places` are those of each of `FOLDERS`."""

    program: str
    name: str
    places: tuple[tuple[Place, ...], ...]


@dataclass(eq=False)
class Programs:
    """The specification and both programs, as they refer to one another."""

    library: Library

    # -------------------------------------------------------------- what refers to what

    def resolve(self, path: str, name: str, of: str = "") -> Definition | None:
        """What a name means in a file, or the name `of` a module means, if it is this project's."""
        source = self.library[path]
        if not of and name in source.symbols:
            return Definition(path, name)
        for node in source.tree.body:
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) != (of or name):
                    continue
                module = self._module(path, node, alias.name if of else "")
                wanted = name if of else alias.name
                if module is not None and wanted in self.library[module].symbols:
                    return Definition(module, wanted)
        return None

    def _module(self, path: str, node: ast.ImportFrom, inner: str) -> str | None:
        parts = [*(node.module or "").removeprefix(PACKAGE).split("."), inner]
        folder = Path(path).parent if node.level == 1 else Path()
        found = (folder / "/".join(filter(None, parts))).with_suffix(".py")
        return found.as_posix() if (self.library.root / found).is_file() else None

    @cache
    def uses(self, definition: Definition) -> tuple[Definition, ...]:
        """What the lines of a definition name."""
        node = self.library[definition.path].symbols[definition.name]
        found = (self._named(definition.path, part) for part in ast.walk(node))
        return tuple(dict.fromkeys(filter(None, found)))

    def _named(self, path: str, node: ast.AST) -> Definition | None:
        if isinstance(node, ast.Name):
            return self.resolve(path, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.resolve(path, node.attr, of=node.value.id)
        return None

    @cache
    def reached(self, root: Definition) -> tuple[Definition, ...]:
        """All that is used by a definition in the files of its folder, what is nearest first."""
        folder = Path(root.path).parent
        found = [root]
        for definition in found:
            near = (used for used in self.uses(definition) if Path(used.path).parent == folder)
            found += [used for used in dict.fromkeys(near) if used not in found]
        return tuple(found)

    # -------------------------------------------------------------- who builds what

    @cache
    def program(self, folder: str, architecture: str, kind: type[Section]) -> Definition:
        """The class that builds sections of a kind; the network itself, if it has none for them."""
        if folder == SPECIFICATION:
            return _definition(kind)
        root = Definition(f"{folder}/{architecture}.py", ARCHITECTURES[architecture].model)
        for ancestor in kind.__mro__:
            if issubclass(ancestor, Section):
                wanted = _definition(ancestor)
                for candidate in self.reached(root):
                    if wanted in self._taken(candidate):
                        return candidate
        return root

    def _taken(self, definition: Definition) -> Iterator[Definition | None]:
        """What a class is made from."""
        made = self.library[definition.path].symbols.get(f"{definition.name}.__init__")
        for argument in made.args.args if isinstance(made, ast.FunctionDef) else ():
            if argument.annotation is not None:
                yield self._named(definition.path, argument.annotation)

    # -------------------------------------------------------------- where it stands

    def step(self, network: Network, section: Section, names: Collection[str]) -> Step:
        """The step of a section in which there are layers, values or a method of some names.

        Without step markers it is called after the first name.

        Raises:
            ExcerptError: one of the programs names none of them.
        """
        return self._step(network.architecture, type(section), tuple(names))

    @cache
    def _step(self, architecture: str, kind: type[Section], names: tuple[str, ...]) -> Step:
        found = [self._found(folder, architecture, kind, names) for folder in FOLDERS]
        _, (program, step, _), _ = found
        return Step(
            program.name,
            step or names[0].removesuffix("_conv"),
            tuple(last for _, _, last in found),
        )

    def _found(
        self, folder: str, architecture: str, kind: type[Section], names: tuple[str, ...]
    ) -> tuple[Definition, str, tuple[Place, ...]]:
        """What has the names, the step that pages quote it by, if any, and the lines."""
        root = self.program(folder, architecture, kind)
        for definition in self.reached(root):
            source = self.library[definition.path]
            lines = list(self._lines(definition, names))
            if not lines:
                continue
            for region in source.regions:
                if region.marker < max(lines)[0] <= region.last:
                    places = (Place(e.path, e.first, e.last) for e in source.step(region.step))
                    return definition, region.step, tuple(places)
            return definition, "", tuple(_joined(definition.path, lines))
        raise ExcerptError(f"{root.path}: {root.name} names none of {', '.join(names)}")

    def _lines(self, definition: Definition, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        """The calls and statements in which a name occurs, or the method that has it."""
        symbols = self.library[definition.path].symbols
        node = symbols[definition.name]
        bodies: list[ast.stmt] = [node]
        if isinstance(node, ast.ClassDef):
            bodies = [item for item in node.body if getattr(item, "name", "") in METHODS]
        for body in bodies:
            if getattr(body, "name", "") in names:
                yield body.lineno, body.end_lineno or body.lineno
            yield from _occurrences(body, names, (0, 0))


def _occurrences(
    node: ast.AST, names: tuple[str, ...], around: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    if isinstance(node, ast.stmt | ast.Call):
        around = node.lineno, node.end_lineno or node.lineno
    if _says(node, names):
        yield around
    for child in ast.iter_child_nodes(node):
        is_argument = isinstance(node, ast.Call) and isinstance(child, ast.Constant)
        if is_argument and child.value in names:
            yield around
        yield from _occurrences(child, names, around)


def _says(node: ast.AST, names: tuple[str, ...]) -> bool:
    """Whether an expression is `self.NAME`, NAME, or a text that ends in it."""
    if isinstance(node, ast.Attribute):
        return node.attr in names and isinstance(node.value, ast.Name) and node.value.id == "self"
    if isinstance(node, ast.JoinedStr):
        last = node.values[-1]
        return isinstance(last, ast.Constant) and last.value.removeprefix(".") in names
    return isinstance(node, ast.Name) and node.id in names


def _joined(path: str, lines: list[tuple[int, int]]) -> Iterator[Place]:
    """Lines that follow one another, as one place."""
    (first, last), *others = sorted(set(lines))
    for begin, end in others:
        if begin > last + 1:
            yield Place(path, first, last)
            first = begin
        last = max(last, end)
    yield Place(path, first, last)


def _definition(kind: type) -> Definition:
    module = kind.__module__.removeprefix(PACKAGE)
    return Definition(f"{module.replace('.', '/')}.py", kind.__name__)
