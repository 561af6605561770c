"""One published checkpoint: fetched, held against its record, ported everywhere, and run.

This module, run as a program, does so in a process of its own: what frameworks keep of one network
leaves the next no room.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from .._util.child import last_line, run_module
from .._util.result import Result
from ..backends.judgement import DIFFERS, PROVED
from ..catalogue import known, search
from ..catalogue.records import Record
from ..checkpoints.formats.detect import CHECKPOINT, SUFFIXES
from ..checkpoints.inspect import Inspection, inspect
from ..checkpoints.layouts import LAYOUT_NAMES, Layout, layout_of
from ..checkpoints.port import port
from ..checkpoints.run_files import Outputs
from ..errors import FetchError, MissingDependencyError, OtherContentError, RosettaError
from ..images.sources import sources
from ..network import DIALECTS
from ..training.evaluate import evaluate
from ..training.predict import Prediction, Predictor, prepared

Outcome = Literal[
    "proved",
    "weights proved",
    "differs",
    "not its record",
    "not fetched",
    "not read",
    "not described",
    "too large",
]
SAME_PROBABILITY = 1e-4  # of any class, in float32


@dataclass(frozen=True)
class Job:
    """What to do with a checkpoint, beside porting it."""

    reference: str
    photographs: str  # a file, or a folder of them
    data: str | None = None  # to evaluate on
    largest: int | None = None  # parameters


@dataclass(frozen=True)
class Target(Result):
    """What became of a checkpoint in one layout.

    `error` and `tolerance` are of the outputs of source and result, as `rosetta port` prints them;
    `photographs` is the largest difference of any probability of the classes that are seen in the
    photographs, and None where the weights have no classifier, or nothing could be run.
    """

    layout: str
    format: str
    ending: str
    why: str
    error: float | None = None
    tolerance: float | None = None
    photographs: float | None = None


@dataclass(frozen=True)
class Row(Result):
    """What is known of a published checkpoint after its file was seen.

    `beside_record` says where the file is not what its record says; `top1` is measured on the data
    that was given, in percent, where any was.
    """

    reference: str
    outcome: Outcome
    why: str
    preset: str | None = None
    classes: int | None = None
    parameters: int | None = None
    layouts: tuple[str, ...] = ()
    dialect: str | None = None
    dtypes: tuple[str, ...] = ()
    beside_record: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()  # of each photograph, the first class and its probability
    targets: tuple[Target, ...] = ()
    top1: float | None = None
    images: int | None = None
    marks: dict[str, str] | None = None  # fingerprints, by what they are of


def row(job: Job) -> Row:
    """Do all of a job in this process; what goes wrong with the file is in the row."""
    record = search.record(job.reference)
    reference = record.reference
    if record.preset is None or record.layout is None:
        return Row(reference, "not described", record.unported or "no layout of its library")
    if job.largest is not None and (record.parameters or 0) > job.largest:
        return Row(reference, "too large", f"{record.parameters:,} parameters", record.preset)
    try:
        found = inspect(reference)
    except OtherContentError as error:
        return Row(reference, "not its record", error.problem)
    except (FetchError, MissingDependencyError) as error:
        return Row(reference, "not fetched", str(error))
    except RosettaError as error:
        return Row(reference, "not read", str(error))
    held = Row(
        reference=reference,
        outcome="proved",
        why="",
        preset=found.preset,
        classes=found.num_classes,
        parameters=found.parameters,
        layouts=found.layouts,
        dialect=found.dialect,
        dtypes=found.dtypes,
        beside_record=_beside(record, found),
        marks=dict(known.all_known().get(reference, {})),
    )
    try:
        return _carried(held, record, job)
    except RosettaError as error:
        return replace(held, outcome="not read", why=str(error))


def _beside(record: Record, found: Inspection) -> tuple[str, ...]:
    """In what a file is not what its record says, where that does not keep it from being used."""
    said = []
    if record.parameters is not None and record.parameters != found.parameters:
        said.append(f"{found.parameters:,} parameters, and not {record.parameters:,}")
    if found.unusable:
        name, why = next(iter(found.unusable.items()))
        said.append(f"{name} {why}")
    if found.head:
        said.append(f"{len(found.head)} tensors that are not of the network")
    return tuple(said)


def _carried(held: Row, record: Record, job: Job) -> Row:
    """A row with every layout that takes the weights, the photographs and the evaluation."""
    classified = bool(record.classes)
    source = prepared(held.reference) if classified else None
    seen = [] if source is None else _looked(source, job)
    with TemporaryDirectory() as folder:
        targets = tuple(
            _target(layout, record, Path(folder), job, source, seen) for layout in _layouts(record)
        )
    worst = [one for one in targets if one.ending == DIFFERS] or [
        one for one in targets if one.ending != PROVED
    ]
    outcome: Outcome = "proved"
    if worst:
        outcome = "differs" if worst[0].ending == DIFFERS else "weights proved"
    done = replace(
        held,
        outcome=outcome,
        why=f"{worst[0].layout}: {worst[0].why}" if worst else f"{len(targets)} layouts",
        seen=tuple(f"{one.labels[0]} {one.probabilities[0]:.3f}" for one in seen),
        targets=targets,
    )
    if job.data is None or not classified:
        return done
    score = evaluate(held.reference, job.data)
    return replace(done, top1=100 * score.top1, images=score.images)


def _layouts(record: Record) -> tuple[Layout, ...]:
    """The layouts that are written, and run these weights as their own library does."""
    assert record.preset is not None
    assert record.dialect is not None
    dialect = DIALECTS[record.dialect]
    layouts = (layout_of(name, record.preset, dialect) for name in LAYOUT_NAMES)
    return tuple(
        layout
        for layout in layouts
        if layout is not None
        and layout.forms
        and layout.runs(record.preset, dialect)
        and not (layout.headless and record.classes)
    )


def _looked(predictor: Predictor, job: Job) -> list[Prediction]:
    """What a model sees in the photographs of a job."""
    return list(predictor.predictions(sources(job.photographs)))


def _target(
    layout: Layout,
    record: Record,
    folder: Path,
    job: Job,
    source: Predictor | None,
    seen: list[Prediction],
) -> Target:
    """Port to one layout, with the proof, and look at the photographs with the result."""
    name, form = layout.name, next(iter(layout.forms))
    suffix = "" if form == CHECKPOINT else next(s for s, kind in SUFFIXES.items() if kind == form)
    path = folder / name / f"result{suffix}"
    path.parent.mkdir()
    try:
        ported = port(record.reference, path, name)
    except RosettaError as error:
        return Target(name, form, DIFFERS, str(error))
    outputs = ported.outputs if isinstance(ported.outputs, Outputs) else None
    again = []
    if source is not None:
        own = record.dialect if name != "canonical" else None
        result = prepared(path, dialect=own, image_size=record.size, backend=layout.framework)
        # Whatever the library of the result does with images: these weights want this.
        again = _looked(replace(result, family=source.family), job)
    apart = max((_apart(*pair) for pair in zip(seen, again, strict=True)), default=None)
    ending, why = str(ported.verdict.ending), ported.verdict.why
    if apart is not None and apart > SAME_PROBABILITY:
        ending, why = DIFFERS, f"the probabilities of a photograph by up to {apart:.1g}"
    return Target(
        layout=name,
        format=form,
        ending=ending,
        why=why,
        error=None if outputs is None else outputs.error,
        tolerance=None if outputs is None else outputs.tolerance,
        photographs=apart,
    )


def _apart(one: Prediction, other: Prediction) -> float:
    """How far apart the probabilities are of the classes that either sees first."""
    sides = [dict(zip(side.classes, side.probabilities, strict=True)) for side in (one, other)]
    # A class that only one has among its first is at most as likely there as the last of them.
    ends = [min(side.values()) for side in sides]
    return max(
        abs(sides[0].get(number, ends[0]) - sides[1].get(number, ends[1]))
        for number in {*sides[0], *sides[1]}
    )


def row_alone(job: Job) -> Row:
    """Do a job in a process of its own, whose end by lack of memory is not that of the table."""
    done = run_module(__name__, json.dumps(vars(job)))
    if done.returncode != 0:
        return Row(job.reference, "not read", last_line(done))
    found = json.loads(done.stdout.splitlines()[-1])
    lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    targets = tuple(Target(**target) for target in found["targets"])
    return Row(**{**found, **lists, "targets": targets})


def main() -> None:
    """The process: a job as JSON in, a row as JSON out."""
    found = row(Job(**json.loads(sys.argv[1])))
    sys.stdout.write(json.dumps(found.to_dict()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
