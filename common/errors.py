"""The errors that a person, not a programmer, is meant to read.

Every message is one line: which file, what is wrong, and what to do about it.

    RosettaError                    bad input of any kind
        UsageError                  an argument that is unknown or outside its range
        MissingDependencyError      a library that is not installed
        FileError                   a file that cannot be used; `path` names it
            DamagedFileError        its bytes are not what its format says
            UnknownLayoutError      no layout explains its tensors; `closest` is the nearest one
            DialectUndecidedError   it does not say which dialect it needs; `possible` are those
            UnfaithfulError         the target computes something else; `cost` says how much
            ExistsError             it is there already
            UnreadableImageError    it is not an image, or a damaged one
            FetchError              a published file cannot be fetched
            OtherContentError       a published file is not what its record says
        WeightsError                weights and network do not fit
        UnsupportedOperationError   an exporter does not know an operation
    ParityError                     programs of a test do not agree; an AssertionError
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._util.one_line import one_line

# What our own code raises where it is wrong, and not the file: never told as somebody's damage.
OWN_FAULTS = (AttributeError, NameError, NotImplementedError, TypeError)
BOLD = re.compile("\x1b\\[[0-9;]*m")  # and whatever else a terminal is told
OURS = __name__.partition(".")[0]


class RosettaError(ValueError):
    """Bad input.  The message is one line: what is wrong, with which file, and what to do.

    `argument` is the argument of the called function that changes the outcome, if there is one;
    the command line names its option.
    """

    def __init__(self, message: str, *, argument: str | None = None):
        super().__init__(one_line(message))
        self.argument = argument

    def __reduce__(self) -> tuple[Any, ...]:
        # Processes that read images hand their errors on; the constructors take other arguments.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[RosettaError], args: tuple[Any, ...], state: dict[str, Any]) -> RosettaError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(RosettaError):
    """An argument is unknown, outside its range, or excludes another."""


class MissingDependencyError(RosettaError, ImportError):
    """A library is not installed; `package` is what to install."""

    def __init__(self, message: str, *, package: str):
        super().__init__(message)
        self.package = package


class FileError(RosettaError):
    """A file, or a folder, cannot be used; `path` is its name, and `problem` what is wrong."""

    def __init__(self, path: str | Path, problem: str, *, argument: str | None = None):
        super().__init__(f"{path}: {problem}", argument=argument)
        self.path, self.problem = Path(path), problem


class DamagedFileError(FileError):
    """A file's bytes are not what its format says; the cause is chained."""


class ExistsError(FileError):
    """A file that was to be written is there already."""


class UnreadableImageError(FileError):
    """A file is no image, or is damaged: one to leave out, and not a reason to stop."""


class UnknownLayoutError(FileError):
    """No layout explains every tensor of a file; `closest` says what comes nearest, if anything."""

    def __init__(self, path: str | Path, problem: str, *, closest: str | None = None):
        super().__init__(path, problem)
        self.closest = closest


class DialectUndecidedError(FileError):
    """A file does not say which dialect its weights need; `possible` names those it may be."""

    def __init__(self, path: str | Path, problem: str, *, possible: Sequence[str]):
        super().__init__(path, problem, argument="dialect")
        self.possible = tuple(possible)


class UnfaithfulError(FileError):
    """The target library would compute something else with these weights.

    `cost` is the largest change of the features or logits on test images, in units of their size;
    None where the networks could not be run.
    """

    def __init__(self, path: str | Path, problem: str, *, cost: float | None):
        super().__init__(path, problem, argument="force")
        self.cost = cost


class FetchError(FileError):
    """A published file cannot be fetched; `gone` is whether its server says that there is none."""

    def __init__(
        self, path: str | Path, problem: str, *, gone: bool = False, argument: str | None = None
    ):
        super().__init__(path, problem, argument=argument)
        self.gone = gone


class OtherContentError(FileError):
    """A published file holds something else than its record in the catalogue says."""


class WeightsError(RosettaError):
    """Weights and network do not fit; the message lists the tensors."""


class UnsupportedOperationError(RosettaError):
    """An exporter met an operation that it has no emitter for."""


class ParityError(AssertionError):
    """Programs of a test do not agree, or nothing can be said of them; the text is for a person."""

    __module__ = OURS  # pytest shows it before every message


# What to install for a module, where the two have different names.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "google": "protobuf",
}


def missing(
    error: ModuleNotFoundError, what: str = "this", package: str | None = None
) -> MissingDependencyError:
    """The line that installs what an import did not find, or a package that brings it along."""
    module = (error.name or "a module").partition(".")[0]
    if module == OURS:
        raise error  # a mistake of ours, and nothing to install
    package = package or DISTRIBUTIONS.get(module, module)
    return MissingDependencyError(
        f"{what} needs {module}, which is not installed; run: pip install {package}",
        package=package,
    )


@contextmanager
def needs(what: str = "this") -> Iterator[None]:
    """Turn a library that is not installed into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(error, what) from error


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Report what a parser raises on a damaged file, which is nearly anything, as one line.

    Raises:
        DamagedFileError: the block raised what damage can cause; that is chained as its cause.
    """
    try:
        yield
    except RosettaError:
        raise
    except Exception as error:
        if not is_damage(error):
            raise
        raise DamagedFileError(path, f"cannot be read as {what} ({reason(error)})") from error


def is_damage(error: Exception) -> bool:
    """Whether a damaged file can be what an exception of a parser is about.

    It is not where memory has run out, nor where code of ours fails as only wrong code does.
    """
    if isinstance(error, MemoryError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return not (isinstance(error, OWN_FAULTS) and where.partition(".")[0] == OURS)


def reason(error: BaseException) -> str:
    """The message of an exception of another library, which may have many lines, or bold type."""
    return " ".join(BOLD.sub("", str(error)).split())[:200] or type(error).__name__
