"""Both frameworks report the same epochs to every logger, without a network."""

import csv
from dataclasses import replace

import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.loggers import PROJECT
from efficientnet_rosetta.common.training.run import EPOCHS, TENSORBOARD, Run, read_table
from efficientnet_rosetta.common.weights.calibration import calibrated
from parity_tests.loops.support import BACKENDS, network, training

REPORTED = ("loss", "val_loss", "val_top1", "learning_rate")  # Lightning keeps "step" to itself

# What Lightning 2.6 has W&B 0.31 say before anything is silent.
DEPRECATED = (
    "wandb: WARNING The anonymous setting has no effect and will be removed in a future version."
)


def reported(backend, folder, out, *loggers):
    """The rows of the epochs of a short training, which these loggers were told of."""
    plan = training(folder, network(depth=0.1), epochs=2, precision="float32")
    few = replace(plan, train=replace(plan.train, samples=plan.train.samples[:16]))
    run = Run(out)
    run.loggers = loggers
    out.mkdir()
    get_backend(backend).fit(few, calibrated(plan.network), run)
    return read_table(out / EPOCHS)


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_table_has_every_epoch(backend, folder, tmp_path):
    rows = reported(backend, folder, tmp_path / "run", "csv")
    (path,) = (tmp_path / "run" / "csv").rglob("metrics.csv")
    with path.open(newline="") as file:
        told = list(csv.DictReader(file))
    assert len(told) == len(rows) == 2
    for row, said in zip(rows, told, strict=True):
        for name in REPORTED:
            assert float(said[name]) == pytest.approx(row[name], rel=1e-5)
    assert not (tmp_path / "run" / TENSORBOARD).exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_mlflow_has_every_epoch(backend, folder, tmp_path, monkeypatch):
    from mlflow import tracking  # takes seconds to import

    tracking.set_tracking_uri((tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    rows = reported(backend, folder, tmp_path / "run", "mlflow")
    client = tracking.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name(PROJECT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"
    for name in REPORTED:
        values = [point.value for point in client.get_metric_history(found.info.run_id, name)]
        assert values == pytest.approx([row[name] for row in rows], rel=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_logger_that_cannot_begin_is_one_line(backend, folder, tmp_path, monkeypatch):
    from mlflow import tracking  # takes seconds to import

    tracking.set_tracking_uri((tmp_path / "mlruns").as_uri())
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)  # it is out of use
    with pytest.raises(RosettaError, match=r"^logger mlflow cannot begin \(") as caught:
        reported(backend, folder, tmp_path / "run", "mlflow")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_wandb_works_without_a_network(backend, folder, tmp_path, monkeypatch, capfd):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    told = []
    log = wandb.Run.log
    monkeypatch.setattr(
        wandb.Run,
        "log",
        lambda run, values, **more: (told.append(values), log(run, values, **more)),
    )
    rows = reported(backend, folder, tmp_path / "run", "wandb")
    assert wandb.run is None  # it has ended
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    for name in REPORTED:
        values = [values[name] for values in told if name in values]
        assert values == pytest.approx([row[name] for row in rows], rel=1e-5), name
    said = capfd.readouterr().err.replace(DEPRECATED, "")
    assert "wandb" not in said
