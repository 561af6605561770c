"""Which backends there are, and finding one by name.

A backend is a module that keeps the `Backend` protocol and is registered under the entry-point
group `rosetta.backends`.  Nothing is imported before it is asked for.  This is the only module of
`common/` that knows the names of the frameworks.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from ..architectures import ARCHITECTURES
from ..errors import MissingDependencyError, UsageError, missing
from ..network import Network

if TYPE_CHECKING:
    from .protocol import Backend

GROUP = "rosetta.backends"
TORCH, KERAS = "torch", "keras"
PACKAGE = __name__.partition(".")[0]
# Our own two are known without being installed, as in a bare checkout.
OWN = {TORCH: f"{PACKAGE}.torch_impl", KERAS: f"{PACKAGE}.keras_impl"}
INSTALL = {TORCH: "torch", KERAS: "tensorflow keras"}  # what pip is to be given
LITE_RUNTIME = "tensorflow"  # the package that has the interpreter of TensorFlow Lite
REFERENCE = TORCH  # in float64: what every other run is compared with


def backend_names() -> list[str]:
    """The registered backends, whether their framework is installed or not."""
    return sorted({*OWN, *(entry.name for entry in entry_points(group=GROUP))})


def get_backend(name: str) -> Backend:
    """Import a backend.

    Raises:
        UsageError: there is no such backend.
        MissingDependencyError: its framework is not installed.
    """
    modules = {entry.name: entry.value for entry in entry_points(group=GROUP)} | OWN
    if name not in modules:
        raise UsageError(f"unknown backend {name!r}; choose from {', '.join(sorted(modules))}")
    try:
        backend: Any = import_module(modules[name])
    except ModuleNotFoundError as error:
        raise missing(error, f"backend {name!r}", INSTALL.get(name)) from error
    return cast("Backend", backend)


def installed_backend(preferred: str | None = None) -> tuple[str, Backend]:
    """The preferred backend, or the reference, or any other whose framework is installed.

    Raises:
        MissingDependencyError: none is.
    """
    order = (preferred, REFERENCE)
    for name in sorted(backend_names(), key=lambda name: (name != order[0], name != order[1])):
        try:
            return name, get_backend(name)
        except MissingDependencyError:
            continue
    raise MissingDependencyError(
        "no framework is installed; run: "
        + ", or: ".join(f"pip install {packages}" for packages in INSTALL.values()),
        package=INSTALL[REFERENCE],
    )


def default_backend() -> str:
    """The name of the backend whose framework is there, the reference first; none is imported."""
    modules = {TORCH: TORCH, KERAS: KERAS}
    return next((name for name, module in modules.items() if find_spec(module)), TORCH)


def model_maker(package: str, network: Network) -> Callable[[Network], Any]:
    """What makes a model of a network's architecture in a backend's package."""
    architecture = ARCHITECTURES[network.architecture]
    maker: Callable[[Network], Any] = getattr(
        import_module(f"{package}.{architecture.name}"), architecture.model
    )
    return maker
