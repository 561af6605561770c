"""Programs of NumPy whose steps are known, so that what a judgement should say is known as well."""

from collections.abc import Mapping

import numpy as np

from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, rest_of


class Arithmetic:
    """A chain of functions, each of the value of the one before; the last is the output.

    The last may return several values by name, which are then the outputs.
    """

    kind = "arithmetic"
    inputs = None

    def __init__(self, *steps, name="arithmetic", precisions=(FLOAT32, FLOAT64), sees_inside=True):
        self.steps = steps
        self.name, self.precisions, self.sees_inside = name, precisions, sees_inside
        self.runs = 0

    def goes_on_from(self, step):
        return self.sees_inside

    def _values(self, given, precision, instead: Mapping[str, np.ndarray] = {}):
        self.runs += 1
        arrays = given.in_precision(precision).arrays
        value = arrays[0] if len(arrays) == 1 else arrays
        for number, step in enumerate(self.steps):
            value = step(value)
            if not isinstance(value, dict):
                name = f"{number}"
                if name in instead:
                    value = instead[name]
                yield name, value
        if not isinstance(value, dict):
            value = {"output": value}
        yield from ((f"{name}!", np.asarray(v)) for name, v in value.items())

    def run(self, given, precision=FLOAT32):
        return {
            name[:-1]: value for name, value in self._values(given, precision) if name[-1] == "!"
        }

    def trace(self, given, precision=FLOAT32, instead: Mapping[str, np.ndarray] = {}):
        if instead and not self.sees_inside:
            raise UsageError(f"{self.name} cannot be run from the middle", argument="after")
        found, inner = Trace(), ()
        for name, value in self._values(given, precision, instead):
            if name[-1] != "!":
                found.keep(name, value, inner)
                inner = (found[-1].name,)
            else:
                found.keep(name[:-1], value, inner)
        return rest_of(found, instead, self.name)
