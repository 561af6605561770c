"""A training in several processes, or on several devices, is that of one."""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module

import numpy as np
import pytest

from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.processes import check_shares, process
from efficientnet_rosetta.common.training.run import EPOCHS, VAL, read_table
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.loops.support import (
    ENVIRONMENT,
    ROOT,
    arguments,
    finished,
    fitted,
    losses,
    network,
    rosetta,
    training,
    with_minival,
)

AGAIN = """
from parity_tests.loops.short import declare, shorten
declare()
shorten()
"""


def two_processes(launcher, folder, out, site):
    """Two processes of a training in which nothing is random but the images."""
    backend = "keras" if launcher == "TF_CONFIG" else "torch"
    start = folder.parent / "start.safetensors"
    options = arguments(folder, backend, out, "--weights", str(start), epochs=2)
    options = [option for option in options if option not in ("--width", "0.25")]
    options += ["--precision", "float64", "--set", "warmup_epochs=5"]
    if launcher == "torchrun":
        torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
        return [rosetta(*options, prefix=torchrun)]
    if launcher == "Lightning":
        # It starts the command once more, which is to be of the same short network.
        site.mkdir()
        (site / "sitecustomize.py").write_text(AGAIN)
        found = f"{site}{os.pathsep}{ROOT}"
        return [rosetta(*options, "--devices", "2", PYTHONPATH=found)]
    workers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return [
        rosetta(
            *options,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("torchrun", marks=pytest.mark.slow),
        "Lightning",
        pytest.param("TF_CONFIG", marks=pytest.mark.slow),
    ],
)
def test_two_processes_give_the_losses_of_one(launcher, folder, tmp_path):
    """For the same global batch: batch norms see all of it, gradients are the mean of both."""
    net = network()
    save(folder.parent / "start.safetensors", net, calibrated(net))
    plan = training(folder, net, epochs=2)
    fitted("keras" if launcher == "TF_CONFIG" else "torch", plan, tmp_path / "one")
    processes = two_processes(launcher, folder, tmp_path / "two", tmp_path / "site")
    printed = [finished(process) for process in processes]
    assert sum(text.count("best: ") for text in printed) == 1  # the first process speaks
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-8)
    one, two = (read_table(tmp_path / name / EPOCHS)[-1] for name in ("one", "two"))
    for column in ("loss", "top1", "val_loss", "val_top1"):
        assert one[column] == pytest.approx(two[column], rel=1e-5), column


MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from efficientnet_rosetta.keras_impl import devices
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
devices._strategy = lambda training: strategy
from parity_tests.loops.short import shorten
from parity_tests.loops.support import fitted, training, with_minival
shorten()
fitted("keras", with_minival(training(Path(sys.argv[1]), epochs=2)), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_devices_of_one_process_give_the_losses_of_one(folder, tmp_path):
    """Keras's way with several GPUs, here with two halves of a CPU."""
    one = fitted("keras", with_minival(training(folder, epochs=2)), tmp_path / "one")
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(folder), str(tmp_path / "two")],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-8)
    said = json.loads((tmp_path / "two" / VAL).read_text())
    assert said == pytest.approx(one.val._asdict(), rel=1e-6)


def test_processes_are_counted(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert process() == (0, 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert process() == (1, 2)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert process() == (3, 4)
    cluster = {"worker": ["a:1", "b:1"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert process() == (1, 2)
    cluster["chief"] = ["c:1"]
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(RosettaError, match="TF_CONFIG has other tasks than workers"):
        process()
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(RosettaError, match="TF_CONFIG is not as TensorFlow wants it"):
        process()


def test_a_batch_must_come_out_even(folder):
    with pytest.raises(RosettaError, match="8 images cannot be shared evenly by 3 devices"):
        check_shares(training(folder).train, 3)
    with pytest.raises(RosettaError, match="by 2 devices, each of which goes through 8 "):
        check_shares(training(folder).train, 2, 8)
    check_shares(training(folder).train, 2, 4)


def test_a_batch_norm_needs_more_than_one_value(folder, whole):
    one = {"accumulation": 8}  # image at a time, which has one pixel at the end
    with pytest.raises(RosettaError, match="one image of 32 x 32 pixels at a time leaves"):
        training(folder, changes=one)
    training(folder, changes=one, freeze="backbone")  # whose batch norms run as in inference
    training(folder, network(64), changes=one)


@pytest.mark.slow
def test_keras_wants_parts_of_shares_to_come_out_even(folder, tmp_path, monkeypatch):
    loop = import_module("efficientnet_rosetta.keras_impl.loop")
    two = loop.Devices(2, nullcontext)
    monkeypatch.setattr(loop, "devices", lambda training: two)
    with pytest.raises(RosettaError, match="by 2 devices, each of which goes through 8 "):
        fitted("keras", training(folder, changes={"accumulation": 8}), tmp_path)
