"""Where PyTorch's epochs are reported: Lightning's own loggers.

The same program as `keras_impl/loggers.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from efficientnet_rosetta.common.training.loggers import CSV, PROJECT, beginning
from efficientnet_rosetta.common.training.run import TENSORBOARD, Run


@contextmanager
def loggers(run: Run) -> Iterator[list[Logger]]:
    """The loggers that a run names, for as long as it is trained; it goes by its folder's name.

    Raises:
        RosettaError: one cannot begin.
    """
    makers = {"tensorboard": _tensorboard, "csv": _csv, "wandb": _wandb, "mlflow": _mlflow}
    with ExitStack() as stack:
        yield [makers[name](run, stack) for name in run.loggers]


def _tensorboard(run: Run, stack: ExitStack) -> Logger:
    return TensorBoardLogger(run.folder, name=None, version=TENSORBOARD)


def _csv(run: Run, stack: ExitStack) -> Logger:
    return CSVLogger(run.folder, CSV)  # a version each time: it would empty the table there was


def _wandb(run: Run, stack: ExitStack) -> Logger:
    import wandb

    settings = wandb.Settings(silent=True)
    with beginning("wandb"):
        logger = WandbLogger(
            run.folder.resolve().name, run.folder, project=PROJECT, settings=settings
        )
        if run.first:
            stack.callback(logger.experiment.finish)  # begun by being asked for
    return logger


def _mlflow(run: Run, stack: ExitStack) -> Logger:
    import mlflow

    with beginning("mlflow"):
        # Lightning's own default is not MLflow's.
        logger = MLFlowLogger(PROJECT, run.folder.resolve().name, mlflow.get_tracking_uri())
        if run.first:
            _ = logger.experiment  # begun by being asked for
    return logger
