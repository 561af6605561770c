"""The commands for files of weights: inspect, port, verify and export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efficientnet_rosetta as rosetta

from .._util import json_text
from ..network import DIALECTS
from . import tables
from .command import app, say
from .options import (
    REFERENCES,
    BackendOption,
    DepthOption,
    FromOption,
    GivenDialect,
    JsonFlag,
    MiddleBlocksOption,
    NetworkOption,
    PresetArgument,
    RunFlag,
    SizeOption,
    Steps,
    WidthOption,
    end,
    pixels,
)

if TYPE_CHECKING:
    from ..checkpoints.inspect import Inspection
    from ..checkpoints.port import Ported
    from ..checkpoints.run_files import NotRun, Outputs

SHOWN = 10  # tensors that differ, or that nothing can be computed with
LAYERS_SHOWN = 12  # of a head

FileArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help=f"A checkpoint of any layout and format, {REFERENCES}."),
]
RawOption = Annotated[
    bool,
    typer.Option("--raw", help="Use the raw weights of a file that also has a moving average."),
]


@app.command()
def inspect(
    file: FileArgument,
    keys: Annotated[
        bool, typer.Option("--keys", help="Also list every tensor, and what it is in the network.")
    ] = False,
    dialect: GivenDialect = None,
    raw: RawOption = False,
    network: NetworkOption = None,
    from_folder: FromOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a checkpoint file is: the library, the network, its classes and its images."""
    found = rosetta.inspect(file, dialect=dialect, raw=raw, network=network)
    if as_json:
        typer.echo(json_text.as_json(found), nl=False)
        return
    for name, value in _inspection_lines(found).items():
        say(f"{name:<12}{value}")
    for note in found.notes:
        say(f"{'note':<12}{note}")
    for name, why in list(found.unusable.items())[:SHOWN]:
        say(f"{'warning':<12}{name} {why}")
    for key, role in found.keys.items() if keys else ():
        say(f"{key}  {role}")


def _inspection_lines(found: Inspection) -> dict[str, str]:
    from ..checkpoints.heads import counted, listed

    scaling = f" ({tables.scaling(found.scaling)})" if found.preset == "custom" else ""
    if found.dialect is None:
        names = " or ".join(map(_rules, found.possible_dialects))
        dialect = f"not in the file; give --dialect: {names}"
    else:
        dialect = f"{_rules(found.dialect)}, according to {found.dialect_from}"
    classes = "none (no classifier)"
    if found.num_classes is not None:
        activation = "" if found.activation is None else f" ({found.activation})"
        classes = f"{found.num_classes:,}{activation}"
    lines = {
        **({} if found.record is None else {"record": found.record, "file": str(found.path)}),
        "layout": " or ".join(found.layouts),
        "format": found.format,
        "preset": found.preset + scaling + (f", {found.ending}" if found.ending else ""),
        "classes": classes,
        "channels": str(found.in_channels),
        "dtype": ", ".join(found.dtypes),
        "wrappers": ", ".join(found.wrappers) or "none",
        **_averaged_line(found),
        "dialect": dialect,
        "expects": " or ".join(found.expects),
        "parameters": f"{found.parameters:,}",
        "fingerprint": found.fingerprint,
    }
    if found.head:
        problem = f" ({found.head_problem})" if found.head_problem else ""
        shown = "; ".join(listed(found.head, LAYERS_SHOWN))
        lines["head"] = f"{counted(found.head)}{problem}: {shown}"
    return {**lines, "warning": found.mark} if found.mark else lines


def _averaged_line(found: Inspection) -> dict[str, str]:
    """Which of raw and averaged weights was taken, where there is a choice."""
    if found.averaged is None:
        return {}
    return {"weights": "the moving average" if found.averaged else "raw, not the moving average"}


def _rules(name: str) -> str:
    """`tensorflow (same padding, epsilon 0.001)`"""
    if name not in DIALECTS:  # of a canonical file of somebody's own
        return name
    dialect = DIALECTS[name]
    return f"{name} ({dialect.padding} padding, epsilon {dialect.epsilon:g})"


@app.command()
def port(
    source: Annotated[
        str, typer.Argument(help=f"A checkpoint of any layout and format, {REFERENCES}.")
    ],
    destination: Annotated[
        Path, typer.Argument(help="The file to write. Its suffix decides the format.")
    ],
    to: Annotated[str, typer.Option(help="Layout to write: one that `rosetta layouts` lists.")],
    dialect: GivenDialect = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Convert the weights to float32 or float16. Default: as in the source."),
    ] = None,
    drop_head: Annotated[
        bool,
        typer.Option(
            "--drop-head", help="Leave out the classifier, or whatever else follows the network."
        ),
    ] = False,
    classes: Annotated[
        int | None,
        typer.Option(help="Replace the classifier by a new, untrained one with this many classes."),
    ] = None,
    raw: RawOption = False,
    network: NetworkOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Overwrite the destination, and write weights even where the target library "
            "would compute different outputs with them.",
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            help="Run both files on the same images, and compare the outputs in float64. The "
            "weights are read back and compared in any case."
        ),
    ] = True,
    from_folder: FromOption = None,
) -> None:
    """Move weights from any layout to any other, and prove that nothing changed.

    A conversion that would change the outputs is refused.  The last line says what is proved.  Exit
    status: 0 if weights and outputs are proved to be the same, 1 if anything differs, 3 if the
    weights are the same but the outputs were not run, 2 if nothing was written.
    """
    with Steps() as steps:
        done = rosetta.port(
            source,
            destination,
            to,
            dialect=dialect,
            dtype=dtype,
            drop_head=drop_head,
            classes=classes,
            raw=raw,
            network=network,
            force=force,
            verify=verify,
            progress=steps,
        )
    for line in _port_lines(done):
        say(line)
    end(done.verdict)


def _port_lines(done: Ported) -> Iterator[str]:
    """What was read, written, left out and added, and what proves it."""
    from ..checkpoints.heads import counted, listed

    found = done.source
    yield (
        f"{found.record or found.path}: {' or '.join(found.layouts)} {found.preset}, "
        f"{done.dialect} dialect (according to {found.dialect_from})"
    )
    yield f"{done.destination}: {done.layout}, {done.format}; {done.mapped} tensors written"
    for name, value in _averaged_line(found).items():
        yield f"{name}: {value}"
    for reason, number in Counter(done.dropped.values()).items():
        yield f"left out: {number} entries, {reason}"
    if found.head:
        yield f"left out: {counted(found.head)}: {'; '.join(listed(found.head, LAYERS_SHOWN))}"
    if found.ending:
        yield f"note: the network {found.ending}, in both files"
    if done.written:
        yield f"added: {len(done.written)} entries that are not weights: {done.written[0]}, ..."
    yield f"expects: {done.expects}"
    for note in done.notes:
        yield f"note: {note}"
    if not done.faithful:
        yield f"warning: {done.layout} uses other rules than these weights need; its outputs differ"
    if done.verified:
        yield f"verified: read back, fingerprint {done.fingerprint[:16]}"
    yield from _outputs_lines(done.outputs, ("source", "result"))


def _outputs_lines(outputs: Outputs | NotRun, sides: tuple[str, str]) -> Iterator[str]:
    """What was run, and how far apart it is; nothing where nothing was, which the verdict says."""
    from ..checkpoints.run_files import NotRun

    if isinstance(outputs, NotRun):
        return
    both = " and ".join(
        f"{side} ({name})" for side, name in zip(sides, outputs.frameworks, strict=True)
    )
    weights = ", with calibrated weights, as these magnify rounding," if outputs.calibrated else ""
    yield (
        f"run: {outputs.endpoint} of {both} on {outputs.images} images in "
        f"{outputs.precision}{weights} {'agree' if outputs.agree else 'DIFFER'}: largest "
        f"error {outputs.error:.1e} of their size, of which rounding explains "
        f"{outputs.tolerance:.0e}"
    )
    if outputs.graph is not None and not outputs.graph.reason:
        graph = outputs.graph
        yield (
            f"graph: {graph.endpoint} of the graph ({graph.runtime}) and of the network found in "
            f"it on {graph.images} images of {graph.pixels} pixels in float32 "
            f"{'DIFFER' if graph.difference else 'agree'}: largest error {graph.error:.1e} of "
            f"their size, of which rounding explains {graph.tolerance:.0e}"
        )
    if outputs.narrowing:
        yield (
            "note: rounding the weights changes the outputs by up to "
            f"{outputs.narrowing:.1e} of their size"
        )


@app.command()
def verify(
    first: Annotated[
        str, typer.Argument(help=f"A checkpoint of any layout and format, {REFERENCES}.")
    ],
    second: Annotated[str, typer.Argument(help="The checkpoint to compare it with.")],
    dialect: GivenDialect = None,
    network: NetworkOption = None,
    run: RunFlag = True,
    from_folder: FromOption = None,
) -> None:
    """Say whether two files hold the same network, whatever their layouts.

    The last line says what is proved.  Exit status: 0 if both hold the same weights, and their
    libraries compute the same, 1 if anything differs, 3 if the weights are the same but the outputs
    were not run, 2 if a file cannot be used.
    """
    with Steps() as steps:
        found = rosetta.verify(
            first, second, dialect=dialect, network=network, run=run, progress=steps
        )
    for line in found.beside:
        say(f"not compared: {line}")
    if found.same:
        say(f"the same network, fingerprint {found.fingerprints[0][:16]}")
    elif found.same_weights:
        one, other = (" or ".join(names) for names in found.dialects)
        say(f"the same weights, but they need different dialects: {one} against {other}")
    else:
        say(f"{len(found.differences)} tensors differ; the largest differences are:")
    for difference in found.differences[:SHOWN]:
        say(f"{difference.name}  {difference.largest:.1e}")
    for line in _outputs_lines(found.outputs, ("first", "second")):
        say(line)
    end(found.verdict)


@app.command()
def export(
    preset: PresetArgument,
    output: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    backend: BackendOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=f"Checkpoint of any layout, {REFERENCES}. Without it, the weights are random and "
            "calibrated.",
        ),
    ] = None,
    endpoints: Annotated[
        bool,
        typer.Option("--endpoints", help="Make the value of every block an output of the graph."),
    ] = False,
    opset: Annotated[
        int | None, typer.Option(help="Version of ONNX's operator set. Default: 18.")
    ] = None,
    width: WidthOption = None,
    depth: DepthOption = None,
    middle_blocks: MiddleBlocksOption = None,
    dialect: GivenDialect = None,
    size: SizeOption = None,
    from_folder: FromOption = None,
) -> None:
    """Write a network to an ONNX file, for batches of any size.

    If the weights are of a width or depth that no preset has, give "custom" as the preset.
    """
    given = {} if opset is None else {"opset": opset}
    done = rosetta.export(
        preset,
        output,
        backend,
        weights=weights,
        endpoints=endpoints,
        width=width,
        depth=depth,
        middle_blocks=middle_blocks,
        dialect=dialect,
        resolution=size,
        **given,
    )
    network = done.network
    outputs = f"{done.outputs[0]} to {done.outputs[-1]}" if endpoints else done.outputs[-1]
    say(
        f"{done.path}: {network.title} from {done.backend}, {network.dialect.name} dialect, "
        f"{pixels(network.resolution)} pixels, opset {done.opset}, output {outputs}"
    )
