"""The commands that compare our own programs: parity, trace and mutants."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import efficientnet_rosetta as rosetta

from ..architectures import PRESETS, scaled
from ..errors import UsageError, needs
from .command import app, say
from .options import (
    DIFFERS,
    DepthOption,
    DialectOption,
    JsonFile,
    MiddleBlocksOption,
    PresetArgument,
    SizeOption,
    WidthOption,
    end,
    pixels,
)

if TYPE_CHECKING:
    from ..backends.comparison import Comparison
    from ..parity.check import ParityReport
    from ..parity.claims import Claim
    from ..parity.diagnosis import Diagnosis
    from ..parity.run import NetworkResult

ImageOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Photograph to use instead of the built-in one."),
]
DtypeOption = Annotated[
    str, typer.Option(help="Arithmetic: float32 or float64. ONNX graphs always use float32.")
]
BatchOption = Annotated[
    int,
    typer.Option(help="Number of variants of the photograph, and of noise images, to run."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the random weights and of the noise.")]


@app.command()
def parity(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PRESET]...",
            help=f"Networks to compare: {', '.join(PRESETS)}. "
            "Default: b0 to b7, lite0, v2-b0, v2-s and xception.",
        ),
    ] = None,
    image: ImageOption = None,
    width: WidthOption = None,
    depth: DepthOption = None,
    middle_blocks: MiddleBlocksOption = None,
    dialect: DialectOption = None,
    dtype: DtypeOption = "float32",
    size: SizeOption = None,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
    keras_backend: Annotated[
        list[str] | None,
        typer.Option(help="Also run Keras on this: jax or torch. The option can be repeated."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Also compare gradients, batch norm, dropout, optimizers and initialisation.",
        ),
    ] = False,
    json_file: JsonFile = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a report to this file as HTML."),
    ] = None,
    junit_file: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write a report to this file as JUnit XML."),
    ] = None,
) -> None:
    """Run the same weights in PyTorch, in Keras, and both exports in onnxruntime, and compare.

    Errors are differences from PyTorch in float64, divided by the standard deviation of the values.
    The last line says what is proved.  Exit status: 0 if all agree, 1 if any differs, 2 if the
    input cannot be used.
    """
    from .._util.atomic import replacing

    with ExitStack() as stack:
        # Opened before the work: a folder that is not there is reported at once.
        files = [
            (write, stack.enter_context(replacing(path)))
            for write, path in ((_json, json_file), (_html, html_file), (_junit, junit_file))
            if path
        ]
        if html_file:
            with needs("a report"):
                import jinja2  # noqa: F401
        found = _run_parity(
            stack,
            presets,
            image=image,
            width=width,
            depth=depth,
            middle_blocks=middle_blocks,
            dialect=dialect,
            dtype=dtype,
            resolution=size,
            batch=batch,
            seed=seed,
            variants=_variants(keras_backend),
            full=full,
        )
        for write, path in files:
            path.write_text(write(found), encoding="utf-8")
    claims = [claim for held in found.claims.values() for claim in held]
    if claims:
        say(f"{sum(claim.holds for claim in claims)} of {len(claims)} claims hold")
    end(found.verdict)


def _variants(keras_backends: list[str] | None) -> list[tuple[str, str]]:
    from ..backends.registry import KERAS

    return [(KERAS, name) for name in keras_backends or ()]


def _json(found: ParityReport) -> str:
    from .._util.json_text import as_json

    return as_json(found)


def _html(found: ParityReport) -> str:
    return found.to_html()


def _junit(found: ParityReport) -> str:
    return found.to_junit()


def _run_parity(stack: ExitStack, presets: list[str] | None, **options: Any) -> ParityReport:
    """The comparison, with a table row for every network as it ends."""
    from ..parity.check import DEFAULT_PRESETS, Watcher

    console = Console(stderr=True)
    if console.is_terminal:
        console.print("Loading the frameworks ...", end="\r")
    advances: list[_Advance] = []
    names: list[str] = []

    def started(runners: list[str], steps: int) -> None:
        names.extend(runners)
        say(_headings(runners))
        advances.append(stack.enter_context(_progress(steps)))

    def finished(result: NetworkResult) -> None:
        for line in _parity_lines(result, names):
            advances[0].line(line)

    def claimed(claim: Claim) -> None:
        verdict = "holds" if claim.holds else "BROKEN"
        advances[0].line(
            f"       {claim.name:<24}{claim.backend:<8}{claim.size:>9.1e}"
            f"  limit {claim.limit:<7.0e} {verdict}  {claim.what}"
        )

    watcher = Watcher(started, lambda preset, what: advances[0](preset, what), finished, claimed)
    return rosetta.parity(
        presets or DEFAULT_PRESETS,
        watcher=watcher,
        command=shlex.join(["rosetta", *sys.argv[1:]]),
        **options,
    )


def _row(*cells: str) -> str:
    """Cells in columns: a name, numbers, and a verdict."""
    name, pixels, parameters, macs, *errors, top5, seconds, verdict = cells
    numbers = "".join(f"{error:>12}" for error in errors)
    return (
        f"{name:<9}{pixels:>8}{parameters:>13}{macs:>17}{numbers}{top5:>7}{seconds:>9}  {verdict}"
    )


def _headings(runners: list[str]) -> str:
    return _row("preset", "pixels", "parameters", "MACs", *runners, "top-5", "seconds", "verdict")


def _parity_lines(result: NetworkResult, runners: list[str]) -> Iterator[str]:
    """The table row of a preset, and a line for every run that is off."""
    runs = {comparison.runner: comparison for comparison in result.comparisons}
    top5 = result.top5_agreement
    yield _row(
        result.network.name,
        pixels(result.network.resolution),
        f"{result.count.trainable:,}",
        f"{result.count.macs:,}",
        *(_worst(runs[runner]) if runner in runs else "-" for runner in runners),
        "-" if top5 is None else f"{top5:.0%}",
        f"{result.seconds:.1f}",
        "agrees" if result.agrees else "DIFFERS",
    )
    for run in result.comparisons:
        if not run.agrees:
            yield from _diagnosis(run, result.diagnoses[run.runner])


def _worst(run: Comparison) -> str:
    return f"{run.judged(run.worst):.1e}"


def _diagnosis(run: Comparison, found: Diagnosis) -> Iterator[str]:
    """Where a run leaves the reference, and why."""
    from ..parity.diagnosis import sentences

    first, worst = run.first_divergence, run.worst
    if first is not None:
        yield (
            f"       {run.runner}: error above {run.tolerance.limit:.1e} from {first.endpoint} on "
            f"({run.judged(first):.1e}), largest at {worst.endpoint} ({run.judged(worst):.1e})"
        )
    yield from (f"         {sentence}" for sentence in sentences(found))
    yield f"         look closer: {found.command}"


class _Advance:
    """Moves a progress bar, and prints lines above it."""

    def __init__(self, bar: Progress, total: int):
        self.bar, self.task = bar, bar.add_task("", total=total)

    def __call__(self, preset: str, step: str) -> None:
        self.bar.update(self.task, description=f"{preset} {step}", advance=1)

    def line(self, text: str) -> None:
        self.bar.stop()  # or the line would be written across it
        say(text)
        self.bar.start()


@contextmanager
def _progress(total: int) -> Iterator[_Advance]:
    """A bar on stderr, nothing at all when that is not a terminal."""
    console = Console(stderr=True)
    terminal = sys.stderr.isatty()
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not terminal,
    ) as bar:
        yield _Advance(bar, total)


# ------------------------------------------------------------------ rosetta trace


@app.command()
def trace(
    preset: PresetArgument,
    endpoint: Annotated[
        str,
        typer.Argument(
            help="The part of the network to run: stem, stages.3.blocks.0, ..., logits."
        ),
    ],
    run: Annotated[
        str,
        typer.Option(
            help="What to compare with PyTorch in float64: torch, keras, keras-jax, onnx-keras, ..."
        ),
    ],
    image: ImageOption = None,
    width: WidthOption = None,
    depth: DepthOption = None,
    middle_blocks: MiddleBlocksOption = None,
    dialect: DialectOption = None,
    dtype: DtypeOption = "float32",
    size: SizeOption = None,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
) -> None:
    """Run one part of a network alone in two frameworks, and compare every operation.

    Both start from the value that PyTorch has before that part.  Exit status: 0 if every operation
    agrees, 1 if not, 2 if the input cannot be used.
    """
    said = {} if dialect is None else {"dialect": dialect}
    network = scaled(preset, width, depth, middle_blocks, resolution=size, **said)
    with needs("a comparison"):
        from ..backends.align import operation_sentences
        from ..parity.check import checked_settings, traced

        settings = checked_settings(network, image, dtype, batch, seed)
        found = traced(network, endpoint, run, settings)
    say(f"{'torch float64':<24}{run:<40}{'error':>8}   limit {found.limit:.0e}")
    for pair in found.pairs:
        other, error = ("-", "-") if pair.other is None else (pair.other.name, f"{pair.error:.1e}")
        say(f"{pair.step.name:<24}{other:<40}{error:>8}")
    for sentence in operation_sentences(found.divergence) if found.divergence else ():
        say(sentence)
    raise typer.Exit(DIFFERS if found.divergence else 0)


# ------------------------------------------------------------------ rosetta mutants


@app.command()
def mutants(
    claim: Annotated[
        str | None, typer.Option(help="Make only the mistakes that this claim must catch.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Make every known mistake in turn, and print which check catches it.

    A mistake counts as caught if the check that is meant to catch it does, and if its effect has
    the size that is known.  Exit status: 0 if all are caught, 1 if any is not.
    """
    from .._util.atomic import replacing
    from .._util.json_text import as_json
    from ..weights.metadata import SCHEMA, SCHEMA_KEY

    with needs("making mistakes"):
        from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, study

        from ..parity.claims import CLAIMS

    names = [check.__name__ for check in CLAIMS]
    if claim not in (None, *names):
        raise UsageError(f"unknown claim {claim!r}; choose from {', '.join(names)}")
    chosen = [mutation for mutation in MUTATIONS if claim in (None, mutation.claim)]
    studied = []
    with ExitStack() as stack:
        table = stack.enter_context(replacing(json_file)) if json_file else None
        say(f"{'mistake':<58}{'caught by':<24}{'size':>8}  shapes  default initialisation")
        for mutation in chosen:
            found = study(mutation)
            studied.append(found)
            say(
                f"{mutation.name:<58}{found.by or 'NOT CAUGHT':<24}{found.size:>8.0e}  "
                f"{'see it' if found.seen_by_shapes else 'miss':<8}"
                f"{'sees it' if found.seen_on_default_initialisation else 'misses it'}"
            )
            if not found.as_stated:
                say(f"       NOT by {mutation.catcher} at {mutation.size:.0e}, as stated")
        if table:
            rows = [found.row for found in studied]
            table.write_text(as_json({SCHEMA_KEY: SCHEMA, "mistakes": rows}), encoding="utf-8")
    caught = sum(found.as_stated for found in studied)
    say(f"{caught} of {len(studied)} caught")
    raise typer.Exit(0 if caught == len(studied) else DIFFERS)
