"""Which backends there are, and finding one by name.

A backend is a module that keeps the `Backend` protocol and is registered under the entry-point
group `rosetta.backends`.  Nothing is imported before it is asked for.  This is the only module of
`common/` that knows the names of the frameworks.
"""

from __future__ import annotations

import os
import sys
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
KERAS_BACKENDS = ("tensorflow", "jax", "torch")  # what Keras runs on, named as it names them
KERAS_BACKEND = "KERAS_BACKEND"  # the variable that it reads when it is imported
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


def on_keras(backend: str | None, keras_backend: str | None) -> str | None:
    """The backend to use: Keras where it is said what Keras is to run on, which is seen to.

    Raises:
        UsageError: another backend is asked for, there is no such one of Keras, or it runs on
            another one in this process already.
        MissingDependencyError: what Keras is to run on is not installed.
    """
    if keras_backend is None:
        return backend
    if backend not in (None, KERAS):
        raise _of_keras(f"is for backend keras, and not for {backend}; leave one of them out")
    if keras_backend not in KERAS_BACKENDS:
        raise _of_keras(f"is {keras_backend!r}; choose from {', '.join(KERAS_BACKENDS)}")
    if find_spec(keras_backend) is None:
        raise MissingDependencyError(
            f"keras on {keras_backend} needs {keras_backend}, which is not installed; run: "
            f"pip install {keras_backend}",
            package=keras_backend,
        )
    running = keras_runs_on()
    if running not in (None, keras_backend):
        raise _of_keras(
            f"is {keras_backend}, but Keras runs on {running} in this process already; start "
            "another process"
        )
    if running is None:
        os.environ[KERAS_BACKEND] = keras_backend
    return KERAS


def _of_keras(problem: str) -> UsageError:
    return UsageError(f"keras_backend {problem}", argument="keras_backend")


def prefer_keras_on(keras_backend: object) -> None:
    """Have Keras run on a framework, unless it runs already or the environment names another."""
    if keras_backend in KERAS_BACKENDS and keras_runs_on() is None:
        os.environ.setdefault(KERAS_BACKEND, str(keras_backend))


def keras_runs_on() -> str | None:
    """What Keras runs on in this process; None where it has not been imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


def model_maker(package: str, network: Network) -> Callable[[Network], Any]:
    """What makes a model of a network's architecture in a backend's package."""
    architecture = ARCHITECTURES[network.architecture]
    maker: Callable[[Network], Any] = getattr(
        import_module(f"{package}.{architecture.name}"), architecture.model
    )
    return maker
