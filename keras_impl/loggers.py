"""Where Keras's epochs are reported: by its own callbacks, and to W&B and MLflow by one of ours.

The callbacks that those two have for Keras ask for an optimizer of Keras's own.  The same program
as `torch_impl/loggers.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from keras import callbacks

from efficientnet_rosetta.common.errors import needs
from efficientnet_rosetta.common.training.loggers import CSV, PROJECT, beginning
from efficientnet_rosetta.common.training.run import TENSORBOARD, Run

Values = dict[str, float]


@contextmanager
def loggers(run: Run) -> Iterator[list[callbacks.Callback]]:
    """The loggers that a run names, for as long as it is trained; it goes by its folder's name.

    Raises:
        RosettaError: one cannot begin.
    """
    makers = {"tensorboard": _tensorboard, "csv": _csv, "wandb": _wandb, "mlflow": _mlflow}
    with ExitStack() as stack:
        yield [makers[name](run, stack) for name in run.loggers] if run.first else []


def _tensorboard(run: Run, stack: ExitStack) -> callbacks.Callback:
    with needs("training in Keras"):
        import tensorboard  # noqa: F401 - or Keras's callback would say so after an epoch
    return callbacks.TensorBoard(run.folder / TENSORBOARD)


def _csv(run: Run, stack: ExitStack) -> callbacks.Callback:
    folder = run.folder / CSV
    folder.mkdir(exist_ok=True)
    return callbacks.CSVLogger(folder / "metrics.csv", append=True)


def _wandb(run: Run, stack: ExitStack) -> callbacks.Callback:
    import wandb

    settings = wandb.Settings(silent=True)
    with beginning("wandb"):
        begun = wandb.init(
            project=PROJECT, name=run.folder.resolve().name, dir=run.folder, settings=settings
        )
    stack.callback(begun.finish)
    return _reporting(lambda epoch, values: begun.log({"epoch": epoch, **values}))


def _mlflow(run: Run, stack: ExitStack) -> callbacks.Callback:
    from mlflow.tracking import MlflowClient

    with beginning("mlflow"):
        client = MlflowClient()
        found = client.get_experiment_by_name(PROJECT)
        experiment = client.create_experiment(PROJECT) if found is None else found.experiment_id
        begun = client.create_run(experiment, run_name=run.folder.resolve().name).info.run_id
    stack.callback(client.set_terminated, begun)

    def report(epoch: int, values: Values) -> None:
        for name, value in values.items():
            client.log_metric(begun, name, value, step=epoch)

    return _reporting(report)


def _reporting(report: Callable[[int, Values], None]) -> callbacks.Callback:
    def ended(epoch: int, logs: dict[str, Any]) -> None:
        report(epoch, {name: float(value) for name, value in logs.items()})

    return callbacks.LambdaCallback(on_epoch_end=ended)
