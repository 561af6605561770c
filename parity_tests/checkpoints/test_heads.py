"""What stands beside a network: its only dense layer is the classifier, and the rest is named."""

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.formats.keras_config import parsed
from efficientnet_rosetta.common.checkpoints.identify import match
from efficientnet_rosetta.common.checkpoints.keras_model import classifier_of
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import FileError
from efficientnet_rosetta.common.training.evaluate import two_classes
from efficientnet_rosetta.common.training.predict import probabilities
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.files import (
    B0,
    HEADLESS,
    arrays,
    ones,
    random_weights,
    saved,
    zeros,
)

KERNEL = np.random.default_rng(5).standard_normal((5, 1280), np.float32)
BIAS = np.arange(5, dtype=np.float32)


def beside(prefix, extra, layout="timm"):
    return arrays(layout, prefix=prefix) | extra


# ------------------------------------------------------------------ the classifier


@pytest.mark.parametrize(
    ("prefix", "layer"),
    [
        ("", "classifier"),
        ("", "classifier.0"),
        ("", "fc"),
        ("backbone.", "backbone.last_linear.1"),
        ("model.backbone.", "model.head.linear"),
        ("0.model.", "1.4"),
    ],
)
@pytest.mark.parametrize("layout", ["timm", "torchvision", "efficientnet-pytorch"])
def test_the_only_dense_layer_is_the_classifier_whatever_it_is_called(
    prefix, layer, layout, tmp_path
):
    content = beside(prefix, {f"{layer}.weight": KERNEL, f"{layer}.bias": BIAS}, layout)
    found = match(saved(tmp_path / "mine.pth", content))
    assert (found.network.num_classes, found.head.rest) == (5, {})
    np.testing.assert_array_equal(found.weights["classifier.weight"].read(), KERNEL)
    np.testing.assert_array_equal(found.weights["classifier.bias"].read(), BIAS)


def test_a_classifier_without_bias_gets_zeros_and_says_so(tmp_path):
    found = match(saved(tmp_path / "mine.pth", beside("", {"fc.weight": KERNEL})))
    assert not found.weights["classifier.bias"].read().any()
    assert "has no bias" in rosetta.inspect(tmp_path / "mine.pth").notes[0]


def test_a_convolution_of_one_pixel_is_a_classifier_too(tmp_path):
    content = beside("net.", {"fc.weight": KERNEL[:, :, None, None], "fc.bias": BIAS})
    found = match(saved(tmp_path / "mine.pth", content))
    np.testing.assert_array_equal(found.weights["classifier.weight"].read(), KERNEL)


def test_what_has_no_weights_does_not_count(tmp_path):
    content = beside("net.", {"net.fc.weight": KERNEL, "net.fc.bias": BIAS}) | {
        "criterion.weight": ones(5),
        "net.mean": zeros(1, 3, 1, 1),
        "net.std": ones(1, 3, 1, 1),
        "seen": np.array(3),
        "net.bn1.num_batches_tracked": np.array(3),
    }
    found = match(saved(tmp_path / "mine.pth", content))
    assert found.network.num_classes == 5
    assert {found.dropped[key] for key in ("criterion.weight", "net.mean", "seen")} == {
        "state of a loss or a metric",
        "constants of a normalization",
        "counters and seeds",
    }


def test_a_layer_that_is_called_as_a_state_of_training_is_a_layer(tmp_path):
    """It is a state in a dictionary of its own, but not beside the layers of a module."""
    head, scaler = {"fc.weight": KERNEL}, {"scaler.weight": ones(1)}
    layer = match(saved(tmp_path / "layer.pth", beside("net.", head | scaler)))
    assert (layer.network.num_classes, set(layer.head.rest)) == (None, {*head, *scaler})
    content = {"net": beside("", head), "scaler": {"weight": ones(1)}, "optimizer_rate": ones(1)}
    state = match(saved(tmp_path / "state.pth", content))
    assert (state.network.num_classes, state.head.rest) == (5, {})
    assert state.dropped["scaler.weight"] == state.dropped["optimizer_rate"]


# ------------------------------------------------------------------ other heads


OTHER_HEADS = {
    "two dense layers": {"fc1.weight": zeros(64, 1280), "fc2.weight": zeros(5, 64)},
    "two outputs": {"a.weight": KERNEL, "b.weight": KERNEL},
    "a batch norm": {"bn.weight": ones(1280), "bn.bias": zeros(1280), "fc.weight": KERNEL},
    "another number of features": {"fc.weight": zeros(5, 1281)},
    "a transposed kernel": {"fc.weight": zeros(1280, 5)},
    "a bias of another size": {"fc.weight": KERNEL, "fc.bias": zeros(4)},
    "a kernel of three pixels": {"fc.weight": zeros(5, 1280, 3, 3)},
    "a decoder": {"decoder.conv.weight": zeros(8, 1280, 3, 3), "out.weight": zeros(1, 8, 1, 1)},
    "a scale beside the kernel": {"fc.weight": KERNEL, "fc.scale": ones(1)},
}


@pytest.mark.parametrize("name", OTHER_HEADS)
def test_any_other_head_is_listed_and_never_dropped_in_silence(name, tmp_path):
    path = saved(tmp_path / "mine.pth", beside("net.", OTHER_HEADS[name]))
    found = rosetta.inspect(path)
    assert found.head == {key: array.shape for key, array in OTHER_HEADS[name].items()}
    assert found.num_classes is None
    out = tmp_path / "out.pth"
    with pytest.raises(FileError, match="not of the network") as caught:
        rosetta.port(path, out, "timm-tf", dialect="tensorflow", run=False)
    assert caught.value.argument == "drop_head"
    assert not out.exists()
    with pytest.raises(FileError, match="port it without all that"):
        rosetta.load(path, dialect="tensorflow")
    done = rosetta.port(path, out, "timm-tf", dialect="tensorflow", run=False, drop_head=True)
    assert done.fingerprint == fingerprint(random_weights(HEADLESS))
    assert {key for key, why in done.dropped.items() if why == "not of the network"} == set(
        OTHER_HEADS[name]
    )


def test_the_commands_print_the_head(tmp_path):
    path = saved(tmp_path / "mine.pth", beside("net.", OTHER_HEADS["two dense layers"]))
    run = CliRunner().invoke
    shown = run(app, ["inspect", str(path)]).stdout
    assert "2 layers that are not of the network: fc1 (64, 1280); fc2 (5, 64)" in shown
    port = ["port", str(path), str(tmp_path / "o.pth"), "--to", "timm", "--dialect", "pytorch"]
    assert "leave all that out" in str(run(app, port).exception)
    shown = run(app, [*port, "--drop-head", "--no-verify"]).stdout
    assert "left out: 2 layers that are not of the network: fc1 (64, 1280); fc2 (5, 64)" in shown


def test_a_new_classifier_takes_the_place_of_any_head(tmp_path):
    path = saved(tmp_path / "mine.pth", beside("net.", OTHER_HEADS["two dense layers"]))
    out = tmp_path / "out.pth"
    rosetta.port(path, out, "timm-tf", dialect="tensorflow", run=False, classes=7)
    assert rosetta.inspect(out).num_classes == 7


# ------------------------------------------------------------------ what Keras says of it


def keras_layers(*between, activation="softmax", dense="pred", after=()):
    """A functional model's configuration: a layer of the network, and what follows it."""
    layers = [("Conv2D", "top_conv", {"filters": 1280}), ("Activation", "top_activation", {})]
    layers += [(kind, f"layer_{n}", {}) for n, kind in enumerate(between)]
    layers.append(("Dense", dense, {"units": 5, "activation": activation}))
    layers += [(kind, f"after_{n}", config) for n, (kind, config) in enumerate(after)]
    found, last = [], None
    for kind, name, config in layers:
        nodes = [] if last is None else [[[last, 0, 0, {}]]]  # as Keras 2 has it
        if last is not None and len(found) % 2:  # and as Keras 3
            history = {"keras_history": [last, 0, 0]}
            node = {"class_name": "__keras_tensor__", "config": history}
            nodes = [{"args": [node], "kwargs": {}}]
        found.append(
            {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": nodes}
        )
        last = name
    return {"class_name": "Functional", "config": {"name": "m", "layers": found}}


class Said:
    def __init__(self, model):
        self.model = model


@pytest.mark.parametrize(
    ("model", "activation", "problem"),
    [
        (keras_layers("GlobalAveragePooling2D", "Dropout"), "softmax", None),
        (keras_layers("GlobalAveragePooling2D", "Flatten", activation="sigmoid"), "sigmoid", None),
        (keras_layers("GlobalAveragePooling2D", activation=None), "linear", None),
        (keras_layers("GlobalAveragePooling2D", activation="tanh"), None, "ends in tanh"),
        (keras_layers("GlobalMaxPooling2D"), "softmax", "pooled by GlobalMaxPooling2D"),
        (keras_layers("GlobalAveragePooling2D", "Lambda"), "softmax", "Lambda precedes"),
        (
            keras_layers(
                "GlobalAveragePooling2D",
                activation="linear",
                after=[("Activation", {"activation": "softmax"})],
            ),
            "softmax",
            None,
        ),
        (
            keras_layers("GlobalAveragePooling2D", after=[("Lambda", {})]),
            None,
            "Lambda follows",
        ),
    ],
)
def test_the_way_to_and_from_the_classifier_is_walked(model, activation, problem):
    said = classifier_of(Said(model), "pred/pred/kernel:0", 5)
    assert said.activation == activation
    assert (said.problem is None) if problem is None else (problem in said.problem)


def test_a_configuration_that_is_none_is_nothing():
    assert parsed("[" * 100_000) is None
    assert parsed("[]") is None
    assert (
        classifier_of(Said({"config": {"layers": [{"config": 3}, 4]}}), "x/kernel", 5) is not None
    )


def keras_file(path, model=None):
    """A whole model in Keras's legacy .h5, its classifier called `pred`."""
    content = arrays("keras-applications", kind="h5")
    content |= {"normalization/normalization/mean:0": zeros(3)}
    content |= {"normalization/normalization/variance:0": ones(3)}
    content |= {"pred/pred/kernel:0": KERNEL.T, "pred/pred/bias:0": BIAS}
    with h5py.File(path, "w") as file:
        for key, array in content.items():
            file[f"model_weights/{key}"] = array
        if model is not None:
            file.attrs["model_config"] = json.dumps(model)
    return path


def test_max_pooling_is_not_taken_for_the_mean(tmp_path):
    path = keras_file(tmp_path / "max.h5", keras_layers("GlobalMaxPooling2D"))
    found = rosetta.inspect(path)
    assert (found.num_classes, len(found.head)) == (None, 2)
    assert found.head_problem == "the features are pooled by GlobalMaxPooling2D"
    with pytest.raises(FileError, match="pooled by GlobalMaxPooling2D"):
        rosetta.port(path, tmp_path / "out.pth", "timm-tf", run=False)


def test_what_the_outputs_go_through_is_carried_along(tmp_path):
    config = keras_layers("GlobalAveragePooling2D", activation="sigmoid")
    path = keras_file(tmp_path / "sigmoid.h5", config)
    assert rosetta.inspect(path).activation == "sigmoid"
    done = rosetta.port(path, tmp_path / "out.safetensors", "canonical", run=False)
    assert any("go through a sigmoid" in note for note in done.notes)
    assert rosetta.load(done.destination).activation == "sigmoid"
    done = rosetta.port(path, tmp_path / "out.keras", "keras-applications", run=False)
    assert any("classifier_activation='sigmoid'" in note for note in done.notes)
    assert rosetta.inspect(done.destination).activation == "sigmoid"
    assert rosetta.inspect(keras_file(tmp_path / "silent.h5")).activation is None


def test_one_class_with_a_sigmoid_is_two_with_softmax(tmp_path):
    network = rosetta.resolve("b0", num_classes=1)
    path = saved(tmp_path / "one.pth", arrays(network=network))
    loaded = rosetta.load(path, dialect="tensorflow")
    assert two_classes(loaded) is loaded  # nothing says that it is a sigmoid
    object.__setattr__(loaded, "activation", "sigmoid")
    doubled = two_classes(loaded)
    features = np.random.default_rng(1).standard_normal(1280)
    rows, bias = (doubled.weights[f"classifier.{name}"] for name in ("weight", "bias"))
    logits = rows.astype(float) @ features + bias
    single = loaded.weights["classifier.weight"].astype(float) @ features
    single = single + loaded.weights["classifier.bias"]
    assert probabilities(logits, False)[1] == pytest.approx(probabilities(single, True)[0])


def test_probabilities_of_independent_classes_do_not_overflow():
    found = probabilities(np.array([-1000.0, 0.0, 1000.0]), True)
    np.testing.assert_allclose(found, [0, 0.5, 1], atol=1e-12)


# ------------------------------------------------------------------ channels, and two axes


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
@pytest.mark.parametrize(
    ("layout", "kind", "suffix"),
    [
        ("timm", "torch", ".pth"),
        ("keras-applications", "h5", ".h5"),
        ("keras-applications", "weights.h5", ".weights.h5"),
        ("transformers", "torch", ".pth"),
    ],
)
def test_any_number_of_channels(channels, layout, kind, suffix, tmp_path):
    network = rosetta.resolve("b0", num_classes=3, in_channels=channels)
    source = saved(tmp_path / "source.pth", arrays(network=network))
    out = tmp_path / f"out{suffix}"
    rosetta.port(source, out, layout, dialect="tensorflow", run=False, force=True)
    found = rosetta.inspect(out, dialect="tensorflow")
    assert (found.in_channels, found.num_classes) == (channels, 3)
    assert found.fingerprint == fingerprint(random_weights(network))


def test_pointwise_kernels_of_two_axes(tmp_path):
    network = rosetta.resolve("xception", num_classes=2)
    content = arrays("timm", network)
    flat = {k: a[:, :, 0, 0] if "pointwise" in k else a for k, a in content.items()}
    assert content.keys() == flat.keys()
    four, two = (
        rosetta.inspect(saved(tmp_path / f"{n}.pth", c)) for n, c in enumerate((content, flat))
    )
    assert four.fingerprint == two.fingerprint == fingerprint(random_weights(network))


def test_the_classifier_of_a_whole_file_is_as_before(tmp_path):
    found = rosetta.inspect(saved(tmp_path / "b0.pth", arrays(network=B0)))
    assert (found.num_classes, found.head, found.averaged, found.ending) == (1000, {}, None, None)
