"""Checkpoints of tensorflow/tpu and google/automl: the lineage, and what training leaves beside it.

Nothing here runs a network, so that no framework is needed.
"""

from functools import cache

import numpy as np
import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, tensor_bundle
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.files import random_weights

# EdgeTPU's own networks have the background as a class.
NETWORKS = {"lite0": ("tpu", 1000), "edgetpu-s": ("tpu", 1001), "v2-b0": ("automl", 1000)}
SLOTS = {
    "lite0": ("RMSProp", "RMSProp_1"),
    "edgetpu-s": ("Momentum",),
    "v2-b0": ("Adam", "Adam_1"),
}
STATISTICS = ("moving_mean", "moving_variance")
NAMES, OBJECTS = 0, 1  # the numbers of the forms
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@cache
def variables_of(preset, form=NAMES):
    """A network as its library's checkpoint has it: variables, the layout, and what is seen."""
    layout, classes = NETWORKS[preset]
    network = resolve(preset, num_classes=classes)
    weights = random_weights(network)
    keys = layout_of(layout, preset).forms_of("tf-checkpoint")[form].keys(network)
    arrays = {key.path: weights[name].transpose(key.axes) for name, key in keys.items()}
    return arrays, layout, (preset, classes, fingerprint(weights))


def written(folder, content):
    tensors = {name: LazyTensor.of(name, array) for name, array in content.items()}
    tensor_bundle.write(folder / "model.ckpt", tensors)
    return folder / "model.ckpt"


def seen(found):
    return found.preset, found.num_classes, found.fingerprint


@pytest.mark.parametrize(("preset", "slots"), SLOTS.items(), ids=list(SLOTS))
def test_averages_and_slots_beside_the_variables(preset, slots, tmp_path):
    variables, layout, expected = variables_of(preset)
    content = {"global_step": np.array(218_949, np.int64)}
    if "Adam" in slots:
        content |= {f"beta{number}_power": np.array(0.5, np.float32) for number in (1, 2)}
    for name, value in variables.items():
        content[name] = value * np.float32(2)
        content[f"{name}/ExponentialMovingAverage"] = value
        if not name.endswith(STATISTICS):
            content |= {f"{name}/{slot}": value for slot in slots}
    path = written(tmp_path, content)
    found = rosetta.inspect(path)
    assert (found.layouts, found.averaged, found.head) == ((layout,), True, {})
    assert seen(found) == expected
    raw = rosetta.inspect(path, raw=True)
    assert (raw.averaged, raw.head) == (False, {})
    assert raw.fingerprint != found.fingerprint
    done = rosetta.port(path, tmp_path / "x.safetensors", "canonical", raw=True, run=False)
    assert set(done.dropped.values()) == {"state of the optimizer", "the moving average"}


@pytest.mark.parametrize("preset", NETWORKS)
@pytest.mark.parametrize(
    "numbers",
    [
        {"stem": "stem_1", "head": "head_1", "dense": "dense_1"},
        {"head": "head_12", "dense": "dense_2"},
    ],
    ids=lambda numbers: "-".join(numbers.values()),
)
def test_of_a_later_network_in_a_process(preset, numbers, tmp_path):
    """Keras numbers what the program does not name."""
    variables, layout, expected = variables_of(preset)

    def later(name):
        return "/".join(numbers.get(part, part) for part in name.split("/"))

    path = written(tmp_path, {later(name): array for name, array in variables.items()})
    found = rosetta.inspect(path)
    assert (found.layouts, found.head) == ((layout,), {})
    assert seen(found) == expected


def test_the_stem_of_another_program_is_not_taken(tmp_path):
    """A layer whose name begins alike is another layer."""
    variables, *_ = variables_of("lite0")
    content = {name.replace("/stem/", "/stem_b/"): array for name, array in variables.items()}
    with pytest.raises(rosetta.RosettaError, match="no layout"):
        rosetta.inspect(written(tmp_path, content))


@pytest.mark.parametrize("where", ["", "model/"])
@pytest.mark.parametrize("head", ["_fc", "_head/_fc"])  # it has been in both places
def test_by_objects_with_the_state_of_the_training(where, head, tmp_path):
    variables, _, expected = variables_of("v2-b0", OBJECTS)
    content = {
        f"optimizer/iter{VALUE}": np.array(7, np.int64),
        f"optimizer/learning_rate{VALUE}": np.array(0.1, np.float32),
        f"keras_api/metrics/0/total{VALUE}": np.array(1.0, np.float32),
        f"save_counter{VALUE}": np.array(3, np.int64),
    }
    for name, array in variables.items():
        name = name.replace("_fc/", f"{head}/")
        content[where + name] = array
        if not name.removesuffix(VALUE).endswith(STATISTICS):
            variable = where + name.removesuffix(VALUE)
            for slot in ("rms", "momentum"):
                content[f"{variable}/.OPTIMIZER_SLOT/optimizer/{slot}{VALUE}"] = array
    found = rosetta.inspect(written(tmp_path, content))
    assert (found.layouts, found.dialect, found.head) == (("automl",), "automl", {})
    assert seen(found) == expected
