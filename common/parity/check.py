"""Running presets in every backend, and what came of it.  The answer of `rosetta.parity`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._util.result import Result
from ..architectures import PRESETS, scaled
from ..backends.align import operation_sentences
from ..backends.comparison import TOLERANCES
from ..backends.judgement import DIFFERS, PROVED, Verdict
from ..backends.process import ProcessBackend
from ..backends.registry import REFERENCE
from ..errors import UsageError
from ..images.decode import PHOTOGRAPH
from ..network import Network
from ..spec import EFFICIENTNET
from . import report
from .claims import Claim, check
from .junit import junit
from .run import NetworkResult, Settings, parity_images, run, runners, steps, traced

__all__ = ["DEFAULT_PRESETS", "ParityReport", "Watcher", "checked_settings", "parity", "traced"]

LARGE = ("b8", "l2")  # too large for most machines to be run by default
# All of the first, and of each of the others that has another kind of block one.
DEFAULT_PRESETS = tuple(
    name
    for name, architecture in PRESETS.items()
    if (architecture is EFFICIENTNET and name not in LARGE)
    or name in ("lite0", "v2-b0", "v2-s", "xception")
)


@dataclass(frozen=True)
class Watcher:
    """Who is told how a comparison goes on.

    `started` is given the names of the runs and the number of steps to come, `step` the preset and
    what is done next, `finished` each network's result and `claimed` each claim about it.
    """

    started: Callable[[list[str], int], None] = lambda names, steps: None
    step: Callable[[str, str], None] = lambda preset, what: None
    finished: Callable[[NetworkResult], None] = lambda result: None
    claimed: Callable[[Claim], None] = lambda claim: None


@dataclass(frozen=True)
class ParityReport(Result):
    """Every run of every network against the reference, and the claims where they were checked."""

    results: tuple[NetworkResult, ...] = field(repr=False)
    settings: Settings
    claims: dict[str, tuple[Claim, ...]] = field(repr=False)
    command: str

    @property
    def agrees(self) -> bool:
        """All runs are within their tolerance, and all claims hold."""
        held = all(claim.holds for found in self.claims.values() for claim in found)
        return held and all(result.agrees for result in self.results)

    @property
    def verdict(self) -> Verdict:
        """What the runs ended in: they all agree, or which of them differs first, and where."""
        agree = sum(result.agrees for result in self.results)
        said = (
            f"{agree} of {len(self.results)} agree with {REFERENCE} in float64; errors are in "
            f"standard deviations of the values, and {_tolerances(self.results)}"
        )
        if self.agrees:
            return Verdict(PROVED, said)
        return Verdict(DIFFERS, f"{said}; {next(self._wrong())}")

    def _wrong(self) -> Iterator[str]:
        """The runs that differ, and where, and the claims that are broken."""
        for result in self.results:
            for compared in result.comparisons:
                if not compared.agrees:
                    found = result.diagnoses[compared.runner]
                    where = found.growth.endpoint
                    if found.divergence is not None:
                        where = operation_sentences(found.divergence)[0]
                    yield f"first in {compared.runner} of {result.network.name}: {where}"
        for preset, claims in self.claims.items():
            for claim in claims:
                if not claim.holds:
                    yield f"first in {claim.backend} of {preset}: {claim.name}, {claim.what}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, as `rosetta parity --json` writes it."""
        return report.content(self.results, self.settings, self.claims, self.command)

    def to_html(self) -> str:
        """A page to open, in one file.  `MissingDependencyError` where jinja2 is not installed."""
        return report.html(self.to_dict())

    def to_junit(self) -> str:
        """JUnit XML, for CI services."""
        return junit(self.to_dict())


def parity(
    presets: str | Sequence[str] = DEFAULT_PRESETS,
    *,
    image: str | Path | None = None,
    width: float | None = None,
    depth: float | None = None,
    middle_blocks: int | None = None,
    dialect: str | None = None,
    dtype: str = "float32",
    resolution: int | None = None,
    batch: int = 1,
    seed: int = 0,
    variants: Sequence[tuple[str, str]] = (),
    full: bool = False,
    watcher: Watcher = Watcher(),
    command: str = "",
) -> ParityReport:
    """Run the same weights in every backend, and in onnxruntime on its export, and compare.

    `presets` is one name or several.  `image` is a photograph other than the built-in one,
    `resolution` a side in pixels other than the presets', and `dialect` one other than that of
    their own code; `width`, `depth` and `middle_blocks` are another scaling.  `batch` is how many
    variants of the photograph are run, and how many images of noise.  `variants` are other ways
    to run a backend, such as ("keras", "jax").  `full` also checks gradients, batch norm, dropping,
    optimizers and initialisation.  `command` is what the report says was run.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the image cannot be read.
        MissingDependencyError: a framework, or onnxruntime, is not installed.
    """
    names = [presets] if isinstance(presets, str) else list(presets)
    said = {} if dialect is None else {"dialect": dialect}
    networks = [
        scaled(name, width, depth, middle_blocks, resolution=resolution, **said) for name in names
    ]
    settings = checked_settings(networks[0], image, dtype, batch, seed, variants)
    watcher.started(runners(settings), len(networks) * steps(settings))
    results: list[NetworkResult] = []
    claims: dict[str, tuple[Claim, ...]] = {}
    for network in networks:

        def tell(what: str, preset: str = network.name) -> None:
            watcher.step(preset, what)

        result = run(network, settings, tell)
        watcher.finished(result)
        results.append(result)
        if full:
            claims[network.name] = tuple(_told(network, seed, watcher))
    return ParityReport(tuple(results), settings, claims, command)


def _tolerances(results: Sequence[NetworkResult]) -> str:
    """What is allowed of all runs, or of each, and of the networks whose rounding explains more."""
    found, explained = {}, {}
    for result in results:
        for compared in result.comparisons:
            limit = compared.tolerance.limit
            fixed = min(limit, TOLERANCES["float32"].limit)
            found[compared.runner] = f"{fixed:.0e}"
            if limit > fixed:
                explained[result.network.name] = f"{limit:.1e}"
    each = [f"{tolerance} for {runner}" for runner, tolerance in found.items()]
    said = next(iter(found.values())) if len(set(found.values())) == 1 else ", ".join(each)
    more = [
        f", of {name} {limit}, which its rounding explains" for name, limit in explained.items()
    ]
    return f"{said} is allowed{''.join(more)}"


def _told(network: Network, seed: int, watcher: Watcher) -> list[Claim]:
    found = []
    for claim in check(network, seed):
        watcher.claimed(claim)
        found.append(claim)
    return found


def checked_settings(
    network: Network,
    image: str | Path | None = None,
    dtype: str = "float32",
    batch: int = 1,
    seed: int = 0,
    variants: Sequence[tuple[str, str]] = (),
) -> Settings:
    """The settings of a parity run, each reported at once if it is wrong.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the image cannot be read.
        MissingDependencyError: what a variant runs on is not installed.
    """
    if dtype not in TOLERANCES:
        raise UsageError(f"unknown dtype {dtype!r}; choose from {', '.join(sorted(TOLERANCES))}")
    for name, value, least in (("batch", batch, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"{name} is {value}; it must be at least {least}", argument=name)
    unique = tuple(dict.fromkeys(variants))
    for backend, variant in unique:
        ProcessBackend(backend, variant)
    settings = Settings(Path(image or PHOTOGRAPH), dtype, batch, seed, unique)
    parity_images(network, settings)
    return settings
