"""The command `rosetta`: parse, call, print.  Backends are imported only by what runs them."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from common import __version__, cli_training
from common.architectures import ARCHITECTURES, PRESETS, resolve
from common.errors import RosettaError, needs_extra
from common.files import finite
from common.spec import (
    DIALECTS,
    DROP_PATH_RATE,
    TENSORFLOW,
    Activation,
    Classifier,
    Network,
    Section,
)

if TYPE_CHECKING:
    from common.claims import Claim
    from common.compare import Comparison
    from common.diagnosis import Diagnosis
    from common.outputs import NotRun, Outputs
    from common.parity import Result, Settings
    from common.porting import Ported
    from common.programs import Compared

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="EfficientNet and Xception, described once, built in PyTorch and in Keras, proved equal.",
)
TABLE_WIDTH = 106  # that of L2, and of Xception
LAYOUTS_WIDTH = 150
RECIPE_UNITS = {"every": " epochs", "batch": " images", "warmup_steps": " steps"}
OUTPUT_TOLERANCE = 1e-4  # of float32, as in common/compare.py
PARITY_PRESETS = [name for name in PRESETS if name not in ("b8", "l2")]

PresetArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(PRESETS)}.")]
DialectOption = Annotated[
    str, typer.Option(help=f"Padding, epsilon and momentum: {' or '.join(DIALECTS)}.")
]
SizeOption = Annotated[
    int | None, typer.Option(metavar="PIXELS", help="Side of the image; the preset's by default.")
]


def main() -> None:
    """Run the command; bad input is one line on stderr and exit status 2."""
    try:
        app()
    except RosettaError as error:
        typer.echo(f"rosetta: {error}", err=True)
        sys.exit(2)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"rosetta {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _resolve(preset: str, **arguments) -> Network:
    try:
        return resolve(preset, **arguments)
    except ValueError as error:
        raise RosettaError(str(error)) from None


# ------------------------------------------------------------------ rosetta table


@app.command()
def table(preset: PresetArgument = "b0", size: SizeOption = None) -> None:
    """Print the resolved stages of a preset like the table of the paper, with their cost."""
    from common.counting import count, count_stages

    network = _resolve(preset, resolution=size)
    costs = count_stages(network)
    grid = Table(
        title=f"{network.title}: {_scaling(network.scaling)}, dropout {network.dropout:g}",
        caption="Resolution: input of the stage. Parameters: trainable, 1,000 classes.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("#", "Operator"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("Resolution", "Channels", "Layers", "Stride", "Parameters", "MACs"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for number, sections in network.stages.items():
        cost = costs[number]
        grid.add_row(str(number), *_row_of(sections), f"{cost.trainable:,}", f"{cost.macs:,}")
    total = count(network)
    grid.add_section()
    grid.add_row("", "total", *[""] * 4, f"{total.trainable:,}", f"{total.macs:,}")
    Console(width=max(Console().width, TABLE_WIDTH)).print(grid)


def _row_of(sections: tuple[Section, ...]) -> tuple[str, ...]:
    """Operator, resolution, channels, layers and stride of a row of the table."""
    maps = [section for section in sections if not isinstance(section, Classifier)]
    first = maps[0]
    return (
        ", ".join(dict.fromkeys(section.operator for section in sections)),
        _pixels(first.input_size),
        str(first.out_channels),
        str(len(maps)),
        str(first.stride),
    )


def _scaling(scaling: dict[str, float]) -> str:
    """`width 1, depth 1.1`"""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in scaling.items())


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


# ------------------------------------------------------------------ rosetta recipe


@app.command()
def recipe(
    name: Annotated[str | None, typer.Argument(help="All are listed if none is named.")] = None,
) -> None:
    """Print a training recipe: every number, and where it comes from."""
    from common.recipe import NETWORK_SOURCES, RECIPES, get_recipe

    if name is None:
        for known in RECIPES.values():
            typer.echo(f"{known.name:<10}{known.summary}")
        return
    try:
        found = get_recipe(name)
    except ValueError as error:
        raise RosettaError(str(error)) from None
    grid = Table(title=found.summary, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Item", "Value", "Source"):
        grid.add_column(heading, overflow="fold", no_wrap=heading == "Item")
    for item, source in found.sources.items():
        value = _recipe_value(getattr(found, item)) + RECIPE_UNITS.get(item, "")
        grid.add_row(item.replace("_", " "), value, source)
    for row in _network_rows(found.architecture, NETWORK_SOURCES[found.architecture]):
        grid.add_row(*row)
    Console(width=max(Console().width, TABLE_WIDTH)).print(grid)


def _network_rows(architecture: str, sources: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What training needs beside a recipe: numbers that are the network's own, by default."""
    networks = [resolve(preset) for preset in ARCHITECTURES[architecture].presets]
    dropout = sorted({network.dropout for network in networks})
    functions = {
        operation.function
        for section in networks[0].sections
        for operation in section.path
        if isinstance(operation, Activation)
    }
    values = {
        "batch norm": f"{networks[0].dialect.momentum:g} of the statistics kept",
        "activation": ", ".join(sorted(functions)),
        "stochastic depth": f"survival {1 - DROP_PATH_RATE:g} of the last block",
        "dropout": " to ".join(f"{rate:g}" for rate in dict.fromkeys((dropout[0], dropout[-1]))),
    }
    for item, source in sources.items():
        yield item, values[item], f"the network's; {source}"


def _recipe_value(value: object) -> str:
    """A number as it is, and what has several of them one by one."""
    if isinstance(value, tuple):
        return "\n".join(map(_recipe_value, value))
    if not is_dataclass(value):
        return _short(value)
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    given = {name: part for name, part in parts.items() if part not in (None, False)}
    return "\n".join(f"{name.replace('_', ' ')} {_short(part)}" for name, part in given.items())


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_short, value))
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------ rosetta train and its kin

app.command()(cli_training.train)
app.command()(cli_training.evaluate)
app.command()(cli_training.predict)


# ------------------------------------------------------------------ rosetta export


@app.command()
def export(
    preset: PresetArgument,
    output: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    backend: Annotated[str, typer.Option(help="torch or keras.")],
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Canonical safetensors; calibrated ones if not given."),
    ] = None,
    endpoints: Annotated[
        bool, typer.Option("--endpoints", help="Make every endpoint an output.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX operator set.")] = None,
    dialect: Annotated[
        str | None, typer.Option(help=f"{' or '.join(DIALECTS)}; stated by the weights if given.")
    ] = None,
    size: SizeOption = None,
) -> None:
    """Write a network to ONNX, with a dynamic batch and its description in the metadata."""
    with needs_extra("onnx"):
        from common.backend import OPSET, get_backend
        from common.files import replacing

        framework = get_backend(backend)
        # Opened before the work: what cannot be written is reported at once.
        with replacing(output) as temporary:
            network, values = _weighted_network(preset, weights, dialect, size)
            model = framework.build(network)
            framework.load_weights(model, values)
            opset = OPSET if opset is None else opset
            exported = framework.export_onnx(model, network, endpoints, opset)
            temporary.write_bytes(exported.SerializeToString())
    first, last = exported.graph.output[0].name, exported.graph.output[-1].name
    outputs = f"{first} to {last}" if endpoints else last
    typer.echo(
        f"{output}: {network.title} from {backend}, {network.dialect.name} "
        f"dialect, {_pixels(network.resolution)} pixels, opset {opset}, "
        f"output {outputs}"
    )


def _weighted_network(
    preset: str, path: Path | None, dialect: str | None, size: int | None
) -> tuple[Network, dict]:
    """The network that the options ask for, with the weights of the file or calibrated ones."""
    from common.calibration import calibrated
    from common.weights import changed, load

    if path is None:
        network = _resolve(preset, resolution=size, dialect=dialect or TENSORFLOW)
        return network, calibrated(network)
    network, weights = load(path)
    if network.name != preset.lower():
        raise RosettaError(f"{path}: holds {network.name}, not {preset}; export {network.name}")
    if dialect not in (None, network.dialect.name):
        raise RosettaError(
            f"{path}: its weights are of the {network.dialect.name} dialect; leave out --dialect"
        )
    return (network if size is None else changed(network, resolution=size)), weights


# ------------------------------------------------------------------ rosetta layouts, inspect, port


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint of any layout.")]
ToldDialect = Annotated[
    str | None,
    typer.Option("--dialect", help="Where the file does not say: " + ", ".join(DIALECTS)),
]
RawOption = Annotated[
    bool, typer.Option("--raw", help="The raw weights, not their moving average.")
]


@app.command()
def layouts() -> None:
    """List the layouts: whose they are, their sizes, formats and dialects."""
    from common.layouts import LAYOUTS

    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Layout", "Library", "Sizes", "Reads", "Writes", "Dialects"):
        grid.add_column(heading, no_wrap=heading in ("Layout", "Library", "Sizes"))
    for layout in LAYOUTS:
        dialects = dict.fromkeys(d.name for ds in layout.dialects.values() for d in ds)
        grid.add_row(
            layout.name,
            layout.library,
            _sizes(layout.presets),
            ", ".join(layout.formats_read),
            ", ".join(layout.forms) or "-",
            ", ".join(dialects),
        )
    Console(width=max(Console().width, LAYOUTS_WIDTH)).print(grid)


def _sizes(presets: tuple[str, ...]) -> str:
    """`b0-b7, l2`"""
    numbered = [preset for preset in presets if preset.startswith("b")]
    ends = [f"{numbered[0]}-{numbered[-1]}"] if numbered else []
    return ", ".join([*ends, *(preset for preset in presets if preset not in numbered)])


@app.command()
def inspect(
    file: FileArgument,
    keys: Annotated[bool, typer.Option("--keys", help="List every tensor with its role.")] = False,
    dialect: ToldDialect = None,
    raw: RawOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a checkpoint file is."""
    from common.porting import inspect as look

    found = look(file, dialect, raw)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "path": str(found.path)}, indent=1))
        return
    classes = "none (headless)" if found.num_classes is None else f"{found.num_classes:,}"
    scaling = f" ({_scaling(found.scaling)})" if found.preset == "custom" else ""
    dialect = f"{_in_numbers(found.dialect)}, by {found.dialect_from}"
    if found.dialect is None:
        names = " or ".join(map(_in_numbers, found.possible_dialects))
        dialect = f"not in the file, say --dialect: {names}"
    lines = {
        "layout": " or ".join(found.layouts),
        "format": found.format,
        "preset": found.preset + scaling,
        "classes": classes,
        "channels": str(found.in_channels),
        "dtype": ", ".join(found.dtypes),
        "wrappers": ", ".join(found.wrappers) or "none",
        "dialect": dialect,
        "expects": " or ".join(found.expects),
        "parameters": f"{found.parameters:,}",
        "fingerprint": found.fingerprint,
        **({"beware": found.mark} if found.mark else {}),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<12}{value}")
    for key, role in found.keys.items() if keys else ():
        typer.echo(f"{key}  {role}")


def _in_numbers(name: str | None) -> str:
    """`tensorflow (same padding, epsilon 0.001)`"""
    if name not in DIALECTS:  # of a canonical file of somebody's own
        return str(name)
    dialect = DIALECTS[name]
    return f"{name} ({dialect.padding} padding, epsilon {dialect.epsilon:g})"


@app.command()
def port(
    source: Annotated[Path, typer.Argument(help="A checkpoint of any layout.")],
    destination: Annotated[Path, typer.Argument(help="Its suffix says the format.")],
    to: Annotated[str, typer.Option(help="A layout of `rosetta layouts`.")],
    dialect: ToldDialect = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float16.")] = None,
    drop_head: Annotated[bool, typer.Option("--drop-head", help="Without classifier.")] = False,
    classes: Annotated[
        int | None, typer.Option(help="With a new classifier, for training, of so many classes.")
    ] = None,
    raw: RawOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite, and write what the target runs differently.")
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="Read the result back, and run both files on a photograph.")
    ] = True,
) -> None:
    """Carry weights from any layout to any other, and prove that nothing changed.

    Exit status 0 if the result is proved, 1 if its outputs differ, 2 if nothing was written.
    """
    from common.outputs import Outputs
    from common.porting import port as carry

    done = carry(
        source,
        destination,
        to,
        dialect=dialect,
        dtype=dtype,
        drop_head=drop_head,
        classes=classes,
        raw=raw,
        force=force,
        verify=verify,
    )
    for line in _port_lines(done):
        typer.echo(line)
    exact = done.faithful and dtype is None
    if exact and isinstance(done.outputs, Outputs) and not done.outputs.agree:
        raise typer.Exit(1)


def _port_lines(done: Ported) -> Iterator[str]:
    """What was read, written, left out and added, and what proves it."""
    found = done.source
    yield (
        f"{found.path}: {' or '.join(found.layouts)} {found.preset}, "
        f"{done.dialect} dialect (by {found.dialect_from})"
    )
    yield f"{done.destination}: {done.layout}, {done.format}; {done.mapped} tensors mapped"
    for reason, number in Counter(done.dropped.values()).items():
        yield f"left out: {number} keys, {reason}"
    if done.written:
        yield f"added: {len(done.written)} keys that are not weights, {done.written[0]}, ..."
    yield f"feed it: {done.expects}"
    for note in done.notes:
        yield f"note: {note}"
    if not done.faithful:
        yield f"beware: {done.layout} runs another dialect; its outputs differ"
    if done.verified:
        yield f"verified: read back, fingerprint {done.fingerprint[:16]}"
    if done.outputs is not None:
        yield _outputs_line(done.outputs)


def _outputs_line(outputs: Outputs | NotRun) -> str:
    if not hasattr(outputs, "error"):
        return f"not run: {outputs.reason}"
    first, second = outputs.frameworks
    return (
        f"run: {outputs.endpoint} of source ({first}) and result ({second}) on a photograph of "
        f"{outputs.pixels} pixels {'agree' if outputs.agree else 'DIFFER'}, "
        f"error {outputs.error:.1e}, tolerance {outputs.tolerance:.0e}"
    )


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(help="A checkpoint of any layout.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    dialect: ToldDialect = None,
) -> None:
    """Do two files hold the same network?  Exit status 0 if they do, 1 if not."""
    from common.porting import verify as differences_of

    found = differences_of(first, second, dialect=dialect)
    if found.same:
        typer.echo(f"the same network, fingerprint {found.fingerprints[0][:16]}")
        return
    if found.same_weights:
        one, other = (" or ".join(names) for names in found.dialects)
        typer.echo(f"the same weights, but of other dialects: {one} against {other}")
    else:
        typer.echo(f"{len(found.differences)} tensors differ; the largest differences:")
    for difference in found.differences[:10]:
        typer.echo(f"{difference.name}  {difference.largest:.1e}")
    if found.outputs is not None:
        typer.echo(_outputs_line(found.outputs))
    raise typer.Exit(1)


# ------------------------------------------------------------------ rosetta compare


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="An ONNX file, a checkpoint, or module:function.")],
    second: Annotated[str, typer.Argument(help="Another; need not be of the same kind.")],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="An image, or a batch as .npy; a photograph by default."
        ),
    ] = None,
    dialect: ToldDialect = None,
    tolerance: Annotated[
        float, typer.Option(help="Of any output, relative to the spread of the first's.")
    ] = OUTPUT_TOLERANCE,
    after: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Run only what follows these values, from the first's."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the result there.")
    ] = None,
) -> None:
    """Run any two programs on the same images, and find the first operation that differs.

    Operations are paired by what they compute.  Exit status 0 if the outputs agree, 1 if not.
    """
    with needs_extra("all"), ExitStack() as stack:
        from common import programs
        from common.files import replacing

        if not 0 < tolerance < 1:
            raise RosettaError(f"tolerance is {tolerance}; it must be above 0 and below 1")
        report = stack.enter_context(replacing(json_file)) if json_file else None
        sides = programs.program(first, dialect), programs.program(second, dialect)
        checkpoints = all(isinstance(side, programs.CheckpointProgram) for side in sides)
        if checkpoints:
            programs.same_head(*sides)
        images = programs.images_for(sides, input_file)
        found = programs.compare_programs(*sides, images, tolerance, after)
        for line in _compare_lines(found):
            typer.echo(line)
        if checkpoints and not found.agree:
            names = programs.weight_differences(*sides)
            listed = f", {names[0]} the first of them" if names else ""
            typer.echo(f"  {len(names)} tensors of the two files differ{listed}")
        piece = programs.piece(*sides, found)
        if piece and after is None:
            options = [] if input_file is None else ["--input", str(input_file)]
            options += [] if dialect is None else ["--dialect", dialect]
            options += [] if tolerance == OUTPUT_TOLERANCE else ["--tolerance", f"{tolerance:g}"]
            again = shlex.join(["rosetta", "compare", first, second, *options, "--after", *piece])
            typer.echo(f"  again: {again}")
        if report:
            content = {"schema": 1, "agree": found.agree, **asdict(found)}
            report.write_text(_as_json(finite(content)))
    raise typer.Exit(0 if found.agree else 1)


def _compare_lines(found: Compared) -> Iterator[str]:
    """What two programs are, whether they agree, and if not, why."""
    from common.diagnosis import operation_sentences

    for name, kind in zip(found.names, found.kinds, strict=True):
        yield f"{name}: {kind}"
    verdict = "agrees" if found.agree else "DIFFERS"
    yield (
        f"{found.output} {'x'.join(map(str, found.shape))} {verdict}, error {found.error:.1e}, "
        f"tolerance {found.tolerance:.0e}; {len(found.pairs)} operations agree"
    )
    if found.divergence is not None:
        yield (
            "  a jump" if found.jump else "  a drift: the error grows bit by bit, as rounding does"
        )
        yield from (f"  {sentence}" for sentence in operation_sentences(found.divergence))


# ------------------------------------------------------------------ rosetta parity

ImageOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A photograph other than the built-in one.")
]
DtypeOption = Annotated[
    str, typer.Option(help="float32, or float64; graphs run in float32 always.")
]
BatchOption = Annotated[int, typer.Option(help="Variants of the photograph, and images of noise.")]
SeedOption = Annotated[int, typer.Option(help="Of the weights and the noise.")]


@app.command()
def parity(
    presets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PRESET]...", help="b0 to b7 and xception by default."),
    ] = None,
    image: ImageOption = None,
    dialect: DialectOption = TENSORFLOW.name,
    dtype: DtypeOption = "float32",
    size: SizeOption = None,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
    keras_backend: Annotated[
        list[str] | None,
        typer.Option(help="Run Keras on jax, or torch, too, in a process of its own; repeatable."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Gradients, batch norm, dropping, optimizers, too.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every error there.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a page to open there.")
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")
    ] = None,
) -> None:
    """Run the same weights in torch, Keras and onnxruntime on both exports, and compare.

    Exit status 0 if all agree, 1 if any does not, 2 on bad usage.
    """
    networks = [
        _resolve(preset, resolution=size, dialect=dialect) for preset in presets or PARITY_PRESETS
    ]
    with needs_extra("all"):
        from common import parity as job
        from common import report
        from common.files import replacing

        settings = _settings(networks[0], image, dtype, batch, seed, keras_backend)
        results: list[Result] = []
        held: dict[str, list[Claim]] = {}
        with ExitStack() as stack:
            # Opened before the work: a folder that is not there is reported at once.
            files = {
                written: stack.enter_context(replacing(path))
                for written, path in (
                    (_as_json, json_file),
                    (report.html, html_file),
                    (report.junit, junit_file),
                )
                if path
            }
            advance = stack.enter_context(_progress(len(networks) * job.steps(settings)))
            typer.echo(_headings(job.runners(settings)))
            for network in networks:
                result = job.run(network, settings, partial(advance, network.name))
                for line in _parity_lines(result, job.runners(settings)):
                    advance.line(line)
                results.append(result)
                if full:
                    held[network.name] = list(_checked(network, seed, advance))
            command = shlex.join(["rosetta", *sys.argv[1:]])
            found = report.content(results, settings, held, command) if files else {}
            for written, path in files.items():
                path.write_text(written(found), encoding="utf-8")
    agree = sum(result.agrees for result in results)
    typer.echo(
        f"{agree} of {len(results)} agree with {job.REFERENCE} in float64, relative to the spread "
        f"of its values; tolerance {_tolerances(results)}"
    )
    broken = [claim for found in held.values() for claim in found if not claim.holds]
    if full:
        number = sum(map(len, held.values()))
        typer.echo(f"{number - len(broken)} of {number} claims hold")
    raise typer.Exit(0 if agree == len(results) and not broken else 1)


def _as_json(found: dict) -> str:
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _settings(
    network: Network,
    image: Path | None,
    dtype: str,
    batch: int,
    seed: int,
    keras_backends: list[str] | None = None,
) -> Settings:
    """The options of a parity run, each reported at once if it is wrong."""
    from common import parity as job
    from common.compare import TOLERANCES
    from common.elsewhere import KerasOn

    if dtype not in TOLERANCES:
        raise RosettaError(f"unknown dtype {dtype!r}; choose from float32, float64")
    if batch < 1 or seed < 0:
        raise RosettaError(f"batch is {batch} and seed {seed}; at least 1 and 0 are needed")
    for name in keras_backends or ():
        KerasOn(name)
    settings = job.Settings(
        image or job.PHOTOGRAPH, dtype, batch, seed, tuple(dict.fromkeys(keras_backends or ()))
    )
    job.parity_images(network, settings)
    return settings


def _checked(network: Network, seed: int, advance: _Advance) -> Iterator[Claim]:
    """Every claim about a network, with a line for each as it is checked."""
    from common.claims import check

    for claim in check(network, seed):
        advance.line(
            f"       {claim.name:<24}{claim.backend:<8}{claim.size:>9.1e}"
            f"  limit {claim.limit:<7.0e} {'holds' if claim.holds else 'BROKEN'}  {claim.what}"
        )
        yield claim


@app.command()
def trace(
    preset: PresetArgument,
    endpoint: Annotated[str, typer.Argument(help="stem, stages.3.blocks.0, ..., logits.")],
    run: Annotated[str, typer.Option(help="torch, keras, keras-jax, onnx-keras, ...")],
    image: ImageOption = None,
    dialect: DialectOption = TENSORFLOW.name,
    dtype: DtypeOption = "float32",
    size: SizeOption = None,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
) -> None:
    """Run one section of a network alone, in torch in float64 and in another run of `parity`.

    Both get torch's value before the section.  Exit status 0 if every operation of it agrees, 1
    if not.
    """
    network = _resolve(preset, resolution=size, dialect=dialect)
    with needs_extra("all"):
        from common import parity as job
        from common.diagnosis import operation_sentences

        settings = _settings(network, image, dtype, batch, seed)
        found = job.trace(network, endpoint, run, settings)
    typer.echo(f"{'torch float64':<24}{run:<40}{'error':>8}   limit {found.limit:.0e}")
    for pair in found.pairs:
        other, error = ("-", "-") if pair.other is None else (pair.other.name, f"{pair.error:.1e}")
        typer.echo(f"{pair.step.name:<24}{other:<40}{error:>8}")
    for sentence in operation_sentences(found.divergence) if found.divergence else ():
        typer.echo(sentence)
    raise typer.Exit(1 if found.divergence else 0)


@app.command()
def mutants(
    claim: Annotated[
        str | None, typer.Option(help="Only the mistakes that this claim guards against.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the table there.")
    ] = None,
) -> None:
    """Make every known mistake in turn, and print which claim catches it.

    Exit status 0 if all are caught, 1 if any is not.
    """
    with needs_extra("all"):
        from common.claims import CLAIMS
        from common.files import replacing
        from parity_tests.mutations import MUTATIONS, study

    names = [check.__name__ for check in CLAIMS]
    if claim not in (None, *names):
        raise RosettaError(f"unknown claim {claim!r}; choose from {', '.join(names)}")
    chosen = [mutation for mutation in MUTATIONS if claim in (None, mutation.claim)]
    studied = []
    with ExitStack() as stack:
        table = stack.enter_context(replacing(json_file)) if json_file else None
        typer.echo(f"{'mistake':<58}{'caught by':<24}{'size':>8}  shapes  default initialisation")
        for mutation in chosen:
            found = study(mutation)
            studied.append(found)
            typer.echo(
                f"{mutation.name:<58}{found.by or 'NOT CAUGHT':<24}{found.size:>8.0e}  "
                f"{'see it' if found.seen_by_shapes else 'miss':<8}"
                f"{'sees it' if found.seen_on_default_initialisation else 'misses it'}"
            )
        if table:
            rows = [found.row for found in studied]
            table.write_text(_as_json(finite({"schema": 1, "mistakes": rows})))
    caught = sum(bool(found.by) for found in studied)
    typer.echo(f"{caught} of {len(studied)} caught")
    raise typer.Exit(0 if caught == len(studied) else 1)


def _tolerances(results: list[Result]) -> str:
    """The tolerance of all runs, or of each where they differ."""
    found = {
        run.runner: f"{run.tolerance.limit:.0e}" for result in results for run in result.comparisons
    }
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{runner} {tolerance}" for runner, tolerance in found.items())


def _row(*cells: str) -> str:
    """Cells in columns: a name, numbers, and a verdict."""
    name, pixels, parameters, macs, *errors, top5, seconds, verdict = cells
    numbers = "".join(f"{error:>12}" for error in errors)
    return (
        f"{name:<9}{pixels:>8}{parameters:>13}{macs:>17}{numbers}{top5:>7}{seconds:>9}  {verdict}"
    )


def _headings(runners: list[str]) -> str:
    return _row("preset", "pixels", "parameters", "MACs", *runners, "top-5", "seconds", "verdict")


def _parity_lines(result: Result, runners: list[str]) -> Iterator[str]:
    """The table row of a preset, and a line for every run that is off."""
    runs = {comparison.runner: comparison for comparison in result.comparisons}
    top5 = result.top5_agreement
    yield _row(
        result.network.name,
        _pixels(result.network.resolution),
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
    from common.diagnosis import sentences

    first, worst = run.first_divergence, run.worst
    yield (
        f"       {run.runner}: over {run.tolerance.limit:.0e} from {first.endpoint} "
        f"({run.judged(first):.1e}) on, worst at {worst.endpoint} ({run.judged(worst):.1e})"
    )
    yield from (f"         {sentence}" for sentence in sentences(found))
    yield f"         again: {found.command}"


class _Advance:
    """Moves a progress bar, and prints lines above it."""

    def __init__(self, bar: Progress, total: int):
        self.bar, self.task = bar, bar.add_task("", total=total)

    def __call__(self, preset: str, step: str) -> None:
        self.bar.update(self.task, description=f"{preset} {step}", advance=1)

    def line(self, text: str) -> None:
        self.bar.stop()  # or the line would be written across it
        typer.echo(text)
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
