"""Checkpoints of this package's networks, in any layout, as programs: what they mean is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..architectures import changed
from ..backends.protocol import Tracer, loaded, require
from ..backends.registry import installed_backend
from ..backends.trace import Trace
from ..checkpoints.identify import Match, match_with
from ..checkpoints.published import Source
from ..errors import UnknownLayoutError, UsageError
from ..network import Network
from .arranging import Arranger, bound
from .program import FLOAT32, FLOAT64, NCHW, NOTHING, Given, Input, Outputs, told_as_errors_of

# What weights of a network that is not this package's are told.
WEIGHTS_ALONE = (
    "weights alone can be run if they are of this package's networks; give the model itself as "
    "module:name, or compare weights with parity.weights in a test"
)


class CheckpointProgram:
    """A weight file of any layout, run in the framework and dialect of its library.

    `network` may be changed, to compare it without its classifier for example.
    """

    precisions = (FLOAT32, FLOAT64)
    sees_inside = True

    def __init__(
        self,
        path: str | Source,
        name: str | None = None,
        layout: str | None = None,
        dialect: str | None = None,
    ):
        self.match = _match(path, dialect)
        found = self.match.dialect or self.match.possible[0]
        self.network: Network = changed(self.match.network, dialect=asdict(found))
        framework, backend = installed_backend(self.match.layouts[0].framework)
        self.backend = require(backend, Tracer, framework)
        self.name = name or (path.given if isinstance(path, Source) else path)
        self.kind = f"{self.network.name}, {found.name} dialect, in {framework}"
        # This package's backends take (N, C, H, W), whatever the framework has.
        self.arranger = Arranger(self.name, NCHW, NCHW)
        self.made: dict[tuple[Network, str], Any] = {}
        self.ends: dict[str, str] = {}  # the endpoint whose value the last step of a section is

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Images, as the network takes them."""
        shape = (None, self.network.in_channels, *self.network.resolution)
        return (Input("images", shape, FLOAT32, NCHW),)

    def goes_on_from(self, step: str) -> bool:
        """From the ends of sections, by the names of their last steps or of their endpoints."""
        return step in self.ends or step in self.network.computed_endpoints

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """The logits, or the features of a network without a classifier."""
        images = self._images(given, precision)
        return {self.network.output: self._safely(self.backend.run, self._in(precision), images)}

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Every operation, section by section."""
        model = self._in(precision)
        known: Sequence[str] = self.network.computed_endpoints
        value = self._images(given, precision)
        if instead:
            value, known = self._resumed(instead, known, precision)
        found = Trace()
        layers = {layer.role: layer for layer in self.network.layers}
        for endpoint in known:
            steps = self._safely(self.backend.trace, model, endpoint, value)
            for step in steps:
                output = step is steps[-1] and endpoint == self.network.output
                name = f"{endpoint}.{step.name}"
                layer = layers.get("classifier" if output else name)
                read = () if layer is None else tuple(map(self._stored, layer.tensors))
                kind = "" if layer is None else layer.kind
                found.keep(endpoint if output else name, step.value, None, kind, read)
            self.ends[found[-1].name] = endpoint
            value = steps[-1].value
        return found

    def _in(self, precision: str) -> Any:
        key = self.network, precision
        if key not in self.made:
            weights = {name: self._stored(name) for name in self.network.tensors}
            self.made[key] = loaded(self.backend, self.network, weights, precision)
        return self.made[key]

    def _stored(self, tensor: str) -> np.ndarray:
        return np.asarray(self.match.weights[tensor], FLOAT32)

    def _images(self, given: Given, precision: str) -> np.ndarray:
        shape = (None, self.network.in_channels, None, None)
        declared = (Input("images", shape, precision, NCHW),)

        def run(arranged: Given) -> np.ndarray:
            return bound(self.name, arranged, declared)["images"]

        return self.arranger.call(given, declared, run)

    def _safely(self, verb: Any, *arguments: Any) -> Any:
        with told_as_errors_of(self.name):  # of a framework, which is given images of any shape
            return verb(*arguments)

    def _resumed(
        self, instead: Mapping[str, np.ndarray], known: Sequence[str], precision: str
    ) -> tuple[np.ndarray, Sequence[str]]:
        """The value to go on from, and the endpoints that follow it.

        Raises:
            UsageError: it is not at the end of a section.
        """
        for step in instead:
            if not self.goes_on_from(step):
                raise UsageError(
                    f"{self.name} cannot be run from {step!r}; choose from {', '.join(known)}",
                    argument="after",
                )
        ends = {self.ends.get(step, step): value for step, value in instead.items()}
        last = max(ends, key=list(known).index)
        return ends[last].astype(precision), known[list(known).index(last) + 1 :]


def _match(path: str | Source, dialect: str | None) -> Match:
    """What the file holds.

    Raises:
        UnknownLayoutError: it is of no network of this package.
        FileError: it cannot be read.
    """
    try:
        return match_with(path, dialect)
    except UnknownLayoutError as error:
        said = f"{error.problem}; {WEIGHTS_ALONE}"
        raise UnknownLayoutError(error.path, said, closest=error.closest) from error
