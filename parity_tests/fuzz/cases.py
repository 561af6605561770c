"""One case: a damaged file, what is done with it in a process of its own, and how that ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efficientnet_rosetta.common._util.one_line import one_line
from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.errors import RosettaError

from .damage import behind_checksums, damaged
from .hostile import HOSTILE, odd_name
from .samples import SAMPLES, Sample

SECONDS, ROOM = 20, 512 * 2**20  # of the processor, and bytes beside the size of the file
WALL = 240  # seconds, for what waits and does not work
HOSTILE_NAME = "made by hand"
CORRECT, CHANGED, REFUSED, FAULT = "correct", "changed", "refused", "fault"
LARGE_SHARE, HAND_SHARE, NAME_SHARE, BEHIND_SHARE = 0.02, 0.1, 0.05, 0.4
# Of files of small networks that the libraries do not have: looking for what comes closest to them
# takes half a second, and is the same each time.
EXPLAINED_SHARE = 0.02
READ_LIMIT = 2**26  # values of a tensor that a reader is asked for, as a network would


@dataclass(frozen=True)
class Case:
    """A file to try, and what its damage leaves to be believed."""

    format: str
    path: Path
    trusted: bool  # values may not change: there are checksums, and the damage kept them
    what: str
    explained: bool  # to be inspected and ported even where all of it could be read


class Sound:
    """The sound files of some formats, or of all, made once, and the values in them."""

    def __init__(self, folder: Path, names: Sequence[str] = tuple(SAMPLES)):
        self.folder, self.names = folder, names
        self.paths: dict[str, Path] = {}
        self.values: dict[str, dict[str, bytes]] = {}

    def path(self, name: str) -> Path:
        """A sound file."""
        if name not in self.paths:
            folder = self.folder / name.replace(" ", "-")
            folder.mkdir(parents=True)
            self.paths[name] = SAMPLES[name].make(folder)
            self.values[name] = read_all(self.paths[name], SAMPLES[name].graph)
        return self.paths[name]


def read_all(path: Path, graph: bool = False) -> dict[str, bytes]:
    """Every tensor that a network could ask for, as bytes; its shape and type are in its key."""
    found = {}
    for key, stored in (match(path).weights if graph else formats.read(path).tensors).items():
        if stored.is_float and math.prod(stored.shape) <= READ_LIMIT:
            values = np.ascontiguousarray(stored)
            found[f"{key} {stored.shape} {stored.dtype}"] = values.tobytes()
    return found


def made(sound: Sound, folder: Path, seed: int, number: int) -> Case:
    """The file of a case: the same one for the same two numbers."""
    random = np.random.default_rng([seed, number])
    folder.mkdir(parents=True)
    if random.random() < HAND_SHARE:
        make = HOSTILE[int(random.integers(len(HOSTILE)))]
        return Case(HOSTILE_NAME, make(folder, random), False, make.__name__, True)
    large = random.random() < LARGE_SHARE
    fitting = [name for name in sound.names if SAMPLES[name].large == large]
    names = fitting or sound.names
    name = names[int(random.integers(len(names)))]
    sample, source = SAMPLES[name], sound.path(name)
    path = folder / source.name
    for part in source.parent.rglob("*"):
        if part.is_file():
            copy = folder / part.relative_to(source.parent)
            copy.parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(part, copy)
    part = Path(f"{path}{sample.parts[int(random.integers(len(sample.parts)))]}")
    what, trusted = _damage(sample, part, random)
    if random.random() < NAME_SHARE and len(sample.parts) == 1:
        with contextlib.suppress(OSError):
            path = path.rename(path.with_name(odd_name(random) + "".join(path.suffixes)))
    explained = sample.known or random.random() < EXPLAINED_SHARE
    return Case(name, path, trusted, what, explained)


def _damage(sample: Sample, part: Path, random: np.random.Generator) -> tuple[str, bool]:
    """Damage a file in place; what was done, and whether checksums still speak of the values."""
    content = part.read_bytes()
    apart = sample.members is not None and not part.name.endswith(".data-00000-of-00001")
    if apart and random.random() < BEHIND_SHARE:
        pieces = behind_checksums(sample.members(content), random)
        part.write_bytes(sample.joined(pieces))
        return "behind its checksums", False
    part.write_bytes(damaged(content, random))
    return "anywhere", sample.checksummed


# ------------------------------------------------------------------ what is done with it


def tried(sound: Sound, case: Case) -> tuple[str, str]:
    """What became of a case, and what there is to say about it."""
    size = sum(p.lstat().st_size for p in case.path.parent.rglob("*") if p.is_file())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _in_child(write, sound, case)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    if not os.WIFEXITED(status):
        number = signal.Signals(os.WTERMSIG(status)).name
        slow = number in ("SIGXCPU", "SIGALRM")
        return FAULT, f"takes more than {SECONDS} s" if slow else f"ended by {number}"
    verdict, text, before = json.loads(said)
    grown = used.ru_maxrss * 1024 - before
    if verdict != FAULT and grown > size + ROOM:
        return FAULT, f"takes {grown / 2**20:,.0f} MiB for a file of {size / 2**20:,.1f}"
    return verdict, text


def _in_child(write: int, sound: Sound, case: Case) -> None:
    """Try a file, and say how it went; nothing of this process goes on behind it."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(WALL)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        verdict, text = _steps(sound, case)
    except BaseException as error:
        verdict, text = FAULT, f"{type(error).__name__}: {error}"
    os.write(write, json.dumps([verdict, one_line(text)[:400], before]).encode())
    os._exit(0)


def _steps(sound: Sound, case: Case) -> tuple[str, str]:
    """Read, inspect and port a file."""
    folder = case.path.parent
    before = {path.name for path in folder.iterdir()}
    verdict, text = _step(lambda: _compared(sound, case))
    if verdict == FAULT:
        return verdict, text
    if verdict != REFUSED and not case.explained:
        return verdict, text
    ported = folder / "ported.safetensors"
    for name, step in (
        ("inspect", lambda: (CORRECT, inspect(case.path).fingerprint)),
        ("port", lambda: (CORRECT, port(case.path, ported, "canonical", run=False).fingerprint)),
    ):
        how, said = _step(step)
        if how == FAULT:
            return how, f"{name}: {said}"
        if how == REFUSED and name == "port" and ported.exists():
            return FAULT, "port refuses a file, but writes one"
        if how == CORRECT and name == "port" and inspect(ported).fingerprint != said:
            return FAULT, "port writes other weights than it says"
        if how == REFUSED and case.format == HOSTILE_NAME:
            verdict, text = how, said
    left = {path.name for path in folder.iterdir()} - before - {ported.name}
    if left:
        return FAULT, f"leaves {sorted(left)} behind"
    return verdict, text


def _compared(sound: Sound, case: Case) -> tuple[str, str]:
    """Whether the values are those that the file was made of."""
    found = read_all(case.path, case.format in SAMPLES and SAMPLES[case.format].graph)
    if case.format == HOSTILE_NAME:
        return CORRECT, ""
    truth = sound.values[case.format]
    if found == truth:
        return CORRECT, ""
    if case.trusted:
        names = sorted(truth.keys() ^ found.keys()) or [k for k in truth if truth[k] != found[k]]
        return FAULT, f"{names[0]} was changed, in spite of its checksum"
    return CHANGED, ""


def _step(step: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """How one call ended: in a value, in one line, or otherwise."""
    try:
        return step()
    except RosettaError as error:
        text = str(error)
        if not text.isprintable() or not text:
            return FAULT, f"not one line: {text}"
        return REFUSED, text
    except BaseException as error:
        trace = sys.exc_info()[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        return FAULT, f"{type(error).__name__}: {error}{where}"
