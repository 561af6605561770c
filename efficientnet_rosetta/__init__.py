"""EfficientNet and Xception, described once, built in PyTorch and in Keras, and proved equal.

    import efficientnet_rosetta as rosetta

Everything in `__all__` is public, and is imported when it is first asked for: this module itself
loads neither NumPy nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .common.architectures import ARCHITECTURES, PRESETS, resolve
    from .common.checkpoints.inspect import Inspection, inspect
    from .common.checkpoints.load import LoadedWeights, load
    from .common.checkpoints.models import Exported, build, export
    from .common.checkpoints.naming import Identification, identify
    from .common.checkpoints.port import Ported, port
    from .common.checkpoints.verify import Verification, verify
    from .common.errors import (
        DamagedFileError,
        DialectUndecidedError,
        ExistsError,
        FetchError,
        FileError,
        MissingDependencyError,
        OtherContentError,
        ParityError,
        RosettaError,
        UnfaithfulError,
        UnknownLayoutError,
        UnreadableImageError,
        UnsupportedOperationError,
        UsageError,
        WeightsError,
    )
    from .common.guard.compare import compare
    from .common.guard.finding import Finding
    from .common.network import DIALECTS, Dialect, Network
    from .common.parity.check import ParityReport, parity
    from .common.training.evaluate import Evaluation, evaluate
    from .common.training.predict import Prediction, predict
    from .common.training.start import TrainingResult, train
    from .common.weights.calibration import calibrated
    from .common.weights.canonical import fingerprint, save
    from .common.weights.initial import initial

__version__ = "0.1.0"

# Where each public name is defined, below `common`.
_HOMES = {
    "architectures": ("ARCHITECTURES", "PRESETS", "resolve"),
    "checkpoints.inspect": ("Inspection", "inspect"),
    "checkpoints.load": ("LoadedWeights", "load"),
    "checkpoints.naming": ("Identification", "identify"),
    "checkpoints.models": ("Exported", "build", "export"),
    "checkpoints.port": ("Ported", "port"),
    "checkpoints.verify": ("Verification", "verify"),
    "errors": (
        "DamagedFileError",
        "DialectUndecidedError",
        "ExistsError",
        "FetchError",
        "FileError",
        "MissingDependencyError",
        "OtherContentError",
        "ParityError",
        "RosettaError",
        "UnfaithfulError",
        "UnknownLayoutError",
        "UnreadableImageError",
        "UnsupportedOperationError",
        "UsageError",
        "WeightsError",
    ),
    "guard.compare": ("compare",),
    "guard.finding": ("Finding",),
    "network": ("DIALECTS", "Dialect", "Network"),
    "parity.check": ("ParityReport", "parity"),
    "training.evaluate": ("Evaluation", "evaluate"),
    "training.predict": ("Prediction", "predict"),
    "training.start": ("TrainingResult", "train"),
    "weights.calibration": ("calibrated",),
    "weights.canonical": ("fingerprint", "save"),
    "weights.initial": ("initial",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ARCHITECTURES",
    "DIALECTS",
    "PRESETS",
    "DamagedFileError",
    "Dialect",
    "DialectUndecidedError",
    "Evaluation",
    "ExistsError",
    "Exported",
    "FetchError",
    "FileError",
    "Finding",
    "Identification",
    "Inspection",
    "LoadedWeights",
    "MissingDependencyError",
    "Network",
    "OtherContentError",
    "ParityError",
    "ParityReport",
    "Ported",
    "Prediction",
    "RosettaError",
    "TrainingResult",
    "UnfaithfulError",
    "UnknownLayoutError",
    "UnreadableImageError",
    "UnsupportedOperationError",
    "UsageError",
    "Verification",
    "WeightsError",
    "__version__",
    "build",
    "calibrated",
    "compare",
    "evaluate",
    "export",
    "fingerprint",
    "identify",
    "initial",
    "inspect",
    "load",
    "parity",
    "port",
    "predict",
    "resolve",
    "save",
    "train",
    "verify",
]

if not Path(__file__).with_name("common").is_dir():
    # In a checkout the folders of the package lie beside this one.
    __path__.append(str(Path(__file__).parent.parent))


if not TYPE_CHECKING:  # for which any name would then exist

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.common.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
