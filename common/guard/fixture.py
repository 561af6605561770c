"""What the fixture `parity` is: it runs a test's programs, and fails the test if they differ."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.quiet import silent_libraries
from ..errors import ParityError, RosettaError, UsageError
from . import golden
from .arrays import array_of
from .finding import Finding
from .golden import Golden, GoldenProgram
from .inputs import inputs_for
from .judge import judge_all
from .message import headline, message
from .naming import file_name
from .origin import origin
from .program import NCHW, NHWC, Given, GuardedProgram
from .recognise import program_of
from .weights import WeightsFinding, weights

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
ARRAYS = {".npy", ".npz"}
ENDING = ".safetensors"
SAVED_MODEL = "saved_model.pb"  # what makes a folder a program

# What a call says it by, where an error is about an argument of a program.
ARGUMENTS = {"layout": f' (by layouts=["{NCHW}", "{NHWC}"], one for each program, or None)'}


@dataclass(frozen=True)
class Asked:
    """What the command line asks of every comparison of a session."""

    report: Path | None = None  # the folder for pages
    update: bool = False
    after: tuple[str, str] | None = None
    call: int = 1  # which comparison of a test `after` is about


@dataclass(frozen=True)
class Settings:
    """How a comparison is made: what the mark says of a test, and a call of itself.

    `tolerance` is in standard deviations of the first program's output, `atol` in the output's own
    unit; without either it is what rounding explains.  `layout` is the order of the axes of the
    images that are given, `layouts` that which each program takes.  `seed`, `batch` and `size`, in
    pixels, are for inputs that are made from what the programs declare.
    """

    tolerance: float | None = None
    atol: float | None = None
    layout: str = NCHW
    layouts: Sequence[str | None] | None = None
    seed: int = 0
    batch: int = 2
    size: int | None = None

    @classmethod
    def of(cls, marked: Mapping[str, Any], said: Mapping[str, Any]) -> Settings:
        """From the mark of a test, and from what a call says, which wins.

        Raises:
            UsageError: there is no such setting, or its value is outside its range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in marked:
            if name not in known:
                raise UsageError(f"the mark parity has no {name!r}; it takes {', '.join(known)}")
        found = cls(**{**marked, **{name: v for name, v in said.items() if v is not None}})
        if found.tolerance is not None and found.atol is not None:
            raise UsageError("give a tolerance or an atol, not both")
        if found.tolerance is not None and not 0 < found.tolerance < 1:
            raise UsageError(f"tolerance is {found.tolerance}; it must be above 0 and below 1")
        if found.atol is not None and not 0 < found.atol < float("inf"):
            raise UsageError(f"atol is {found.atol}; it must be above 0")
        for layout in (found.layout, *(found.layouts or ())):
            if layout not in (NCHW, NHWC, None):
                raise UsageError(f"layout is {layout!r}; choose {NCHW} or {NHWC}")
        return found


class Parity:
    """The fixture of one test.

    `note` is told what became of every comparison, for the index of the reports.
    """

    def __init__(
        self,
        test: str,
        path: Path,
        asked: Asked,
        marked: Mapping[str, Any],
        note: Callable[[dict[str, Any]], None],
    ):
        self.test, self.path, self.asked, self.marked, self.note = test, path, asked, marked, note
        self.calls = self.calls_of_weights = 0

    def __call__(
        self,
        first: Any,
        second: Any,
        *others: Any,
        inputs: Any = None,
        names: Sequence[str | None] | None = None,
        tolerance: float | None = None,
        atol: float | None = None,
        layout: str | None = None,
        layouts: Sequence[str | None] | None = None,
        seed: int | None = None,
        batch: int | None = None,
        size: int | None = None,
    ) -> tuple[Finding, ...]:
        """Fail the test unless all programs compute what the first one does.

        `others` are further programs, and then the inputs, unless these are given by name: an
        array, several in a list or by name in a dictionary, tensors of any framework, an image, a
        folder of images, or an .npy or .npz file.  Without inputs they are made from what the
        programs declare.  `names` are what the programs are called in messages.  The settings are
        those of `Settings`, and may be given by the mark `parity` of a test as well.

        Returns what was found, the worst first.

        Raises:
            ParityError: they differ, or nothing can be said of one of them.
        """
        __tracebackhide__ = True
        self.calls += 1
        try:
            own = {
                "tolerance": tolerance,
                "atol": atol,
                "layout": layout,
                "layouts": layouts,
                "seed": seed,
                "batch": batch,
                "size": size,
            }
            settings = Settings.of(self.marked, own)
            with silent_libraries():
                found = self._compared((first, second, *others), inputs, names, settings)
        except RosettaError as error:
            said = f"{error}{ARGUMENTS.get(error.argument or '', '')}{origin(error)}"
            self._noted((), said)
            raise ParityError(said) from None
        if (failure := self._reported(found)) is not None:
            raise ParityError(failure)
        return tuple(found)

    def golden(self, name: str | None = None, *, write: bool = True) -> Golden:
        """What another program computed earlier, in place of that program.

        With `--parity-update` the first program of the comparison writes it, into the folder
        `golden` beside the test.  `name` is that of its file, which tests of a folder may share;
        by default it is that of the test.  One test writes a file; the others, for other
        frameworks, say `write=False`.
        """
        test = f"{self.path.stem}.{self._within}"
        # Of the comparison that it is given to, which comes next.
        number = "" if self.calls == 0 else f".{self.calls + 1}"
        file = file_name(test) + number if name is None else file_name(name)
        return Golden(self.path.parent / golden.FOLDER / f"{file}{ENDING}", write)

    def weights(self, first: Any, second: Any) -> WeightsFinding:
        """Fail the test unless two models have the same weights, under whatever names and orders.

        Each is a model, a dictionary of arrays, or a checkpoint file.

        Raises:
            ParityError: they differ, or one cannot be read.
        """
        __tracebackhide__ = True
        try:
            with silent_libraries():
                found = weights(first, second)
        except RosettaError as error:
            self._noted_weights((), str(error))
            raise ParityError(str(error)) from None
        self._noted_weights(found.names, None if found.agree else str(found))
        if not found.agree:
            raise ParityError(str(found))
        return found

    def _compared(
        self,
        given: Sequence[Any],
        inputs: Any,
        names: Sequence[str | None] | None,
        settings: Settings,
    ) -> list[Finding]:
        whats, values = _parted(given, inputs)
        names = _of_each("names", names, whats)
        layouts = _of_each("layouts", settings.layouts, whats)
        goldens = [what for what in whats if isinstance(what, Golden)]
        programs = [
            None if isinstance(what, Golden) else program_of(what, name, layout=order)
            for what, name, order in zip(whats, names, layouts, strict=True)
        ]
        live = [program for program in programs if program is not None]
        if not live:
            raise UsageError("golden outputs alone say nothing; give a program beside them")
        givens = self._inputs(values, live, goldens, settings)
        if self.asked.update:
            for one in goldens:
                if one.write:
                    golden.write(one.path, live[0], givens, f"{self.path.name}::{self._within}")
        kept = iter([GoldenProgram(one.path) for one in goldens])
        whole = [next(kept) if program is None else program for program in programs]
        return self._judged(_told_apart(whole), givens, settings)

    def _inputs(
        self,
        values: Any,
        programs: Sequence[GuardedProgram],
        goldens: Sequence[Golden],
        settings: Settings,
    ) -> list[Given]:
        """What all programs are given: by the test, by golden outputs, or from signatures."""
        path = values if isinstance(values, str | Path) else None
        if values is not None and path is None:
            return _givens(values, settings.layout)
        if values is None and goldens and not (self.asked.update and goldens[0].write):
            return GoldenProgram(goldens[0].path).givens
        return inputs_for(
            programs, seed=settings.seed, batch=settings.batch, size=settings.size, path=path
        )

    def _judged(
        self, programs: Sequence[GuardedProgram], givens: Sequence[Given], settings: Settings
    ) -> list[Finding]:
        tolerance, atol = settings.tolerance, settings.atol
        after = self.asked.after if self.calls == self.asked.call else None
        if after is None:
            return judge_all(programs, givens, tolerance, atol=atol)
        found: list[Finding] = []
        refused = None
        for other in programs[1:]:
            try:
                found += judge_all((programs[0], other), givens, tolerance, after, atol=atol)
            except UsageError as error:  # the values are those of another pair
                refused = error
        if refused is not None and not found:
            raise refused
        return found

    def _reported(self, found: Sequence[Finding]) -> str | None:
        """What the test is to fail with, if it is to; the page is written, and the index told."""
        failed = [one for one in found if not one.agree]
        if not failed:
            self._page((), None)
            self._noted(found, None)
            return None
        command = self._command(failed[0])
        page = self._page(failed, command)
        self._noted(found, headline(failed[0]), page)
        return message(failed[0], command, None if page is None else str(page))

    def _noted(
        self, found: Sequence[Finding], failure: str | None, page: Path | None = None
    ) -> None:
        """Tell the index of the reports what became of this comparison."""
        names = dict.fromkeys(name for one in found for name in one.names)
        self._note("outputs", self.calls, names, failure, page)

    def _noted_weights(self, names: Iterable[str], failure: str | None) -> None:
        """The same of a comparison of weights, which are counted by themselves: no page has them.

        `--parity-call` is about the others.
        """
        self.calls_of_weights += 1
        self._note("weights", self.calls_of_weights, names, failure, None)

    def _note(
        self, what: str, call: int, names: Iterable[str], failure: str | None, page: Path | None
    ) -> None:
        if self.asked.report is None:
            return
        self.note(
            {
                "what": what,
                "call": call,
                "agree": failure is None,
                "programs": list(names),
                "says": failure or "",
                "page": None if page is None else page.name,
            }
        )

    def _page(self, failed: Sequence[Finding], command: str | None) -> Path | None:
        """The page of this comparison; one of an earlier session is gone where it agrees now."""
        if self.asked.report is None:
            return None
        number = "" if self.calls == 1 else f".{self.calls}"
        path = self.asked.report / f"{file_name(self.test)}{number}.html"
        if not failed:
            path.unlink(missing_ok=True)
            return None
        from .report import html

        self.asked.report.mkdir(parents=True, exist_ok=True)
        path.write_text(html(failed, self._call_name, command), encoding="utf-8")
        return path

    def _command(self, found: Finding) -> str | None:
        """What runs both programs again from where they part."""
        if found.resume is None:
            return None
        options = ["--parity-after", *found.resume]
        if self.calls > 1:
            options += ["--parity-call", str(self.calls)]
        return shlex.join(["pytest", self.test, *options])

    @property
    def _within(self) -> str:
        """The name of the test within its file."""
        return self.test.partition("::")[2]

    @property
    def _call_name(self) -> str:
        """The name of the test, and behind it which of its comparisons this is, from the second."""
        return self.test if self.calls == 1 else f"{self.test} ({self.calls})"


def _parted(given: Sequence[Any], inputs: Any) -> tuple[list[Any], Any]:
    """The programs, and the inputs that come after them.

    Raises:
        UsageError: there is one program only, or inputs come before a program, or twice.
    """
    place = next((i for i, one in enumerate(given) if _is_input(one, i)), len(given))
    programs, values = list(given[:place]), list(given[place:])
    if len(programs) < 2:
        raise UsageError(
            "two programs are compared, and there is one before the inputs; give another, or "
            "parity.golden() for what the first computed earlier"
        )
    if not values:
        return programs, inputs
    if inputs is not None:
        raise UsageError("inputs are given twice, by their place and as inputs=")
    for value in values:
        if not _is_input(value, len(given)):
            raise UsageError(f"{type(value).__qualname__} comes after the inputs; give it before")
    return programs, values[0] if len(values) == 1 else values


def _is_input(one: Any, place: int) -> bool:
    """Whether an argument is given to programs, and is none itself."""
    if isinstance(one, str | Path):
        path = Path(one)
        # A checkpoint may be an .npz too, and comes first.
        if path.suffix.lower() in PICTURES or (path.suffix.lower() in ARRAYS and place > 1):
            return True
        if not path.is_dir() or (path / SAVED_MODEL).exists():
            return False
        return any(inner.suffix.lower() in PICTURES for inner in path.rglob("*"))
    return isinstance(one, Given | Mapping | list | tuple | int | float) or hasattr(
        one, "__array__"
    )


def _givens(values: Any, layout: str) -> list[Given]:
    """Inputs as a test has them, as NumPy's arrays."""
    if isinstance(values, Given):
        return [values]
    if isinstance(values, Mapping):
        return [Given.of({name: array_of(value) for name, value in values.items()}, layout)]
    if isinstance(values, list | tuple):
        if values and all(isinstance(value, Given) for value in values):
            return list(values)
        return [Given.of([array_of(value) for value in values], layout)]
    return [Given.of(array_of(values), layout)]


def _of_each(
    what: str, said: Sequence[str | None] | None, programs: Sequence[Any]
) -> Sequence[str | None]:
    if said is None:
        return [None] * len(programs)
    if isinstance(said, str) or len(said) != len(programs):
        raise UsageError(f"{what} is {said!r}; give one for each of the {len(programs)} programs")
    return said


def _told_apart(programs: list[Any]) -> list[Any]:
    """The programs, those that share a name with a number behind it."""
    names = [program.name for program in programs]
    for number, program in enumerate(programs, 1):
        if names.count(program.name) > 1:
            program.name = f"{program.name} ({number})"
    return programs
