"""Which of the networks in a file is meant, and what was around it."""

import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, tensor_bundle
from efficientnet_rosetta.common.errors import FileError
from efficientnet_rosetta.common.weights.canonical import fingerprint
from parity_tests.checkpoints.files import B0, HEADLESS, arrays, random_weights, saved, zeros

RAW, AVERAGE = 1, 2  # seeds
MARKS = {seed: fingerprint(random_weights(B0, seed)) for seed in (RAW, AVERAGE)}


def whole(seed, prefix=""):
    return arrays(network=B0, prefix=prefix, seed=seed)


@pytest.mark.parametrize(
    "name", ["net", "weights", "student", "params", "network", "model_state_dict", "a.b", "généré"]
)
def test_a_state_dict_under_any_key(name, tmp_path):
    path = saved(tmp_path / "mine.pth", {name: whole(RAW), "epoch": 3, "opt": {"state": {}}})
    found = rosetta.inspect(path)
    assert found.fingerprint == MARKS[RAW]
    assert found.wrappers == (name,)


@pytest.mark.parametrize(
    "prefix", ["net._orig_mod.", "module.backbone.", "model.module._orig_mod."]
)
@pytest.mark.parametrize("layout", ["timm", "torchvision", "transformers"])
def test_one_network_is_not_taken_for_two(prefix, layout, tmp_path):
    content = arrays(layout, B0, prefix)
    found = rosetta.inspect(saved(tmp_path / "mine.pth", {"state_dict": content}))
    assert found.wrappers == ("state_dict", prefix.rstrip("."))
    assert (found.num_classes, found.fingerprint) == (1000, fingerprint(random_weights(B0)))


WAYS = {
    "timm": {"state_dict": whole(RAW), "state_dict_ema": whole(AVERAGE)},
    "a dictionary": {"model": whole(RAW), "ema": {"decay": 0.9, "module": whole(AVERAGE)}},
    "another name": {"model": whole(RAW), "ema_state_dict": whole(AVERAGE)},
    "detectron": {"model": whole(RAW), "model_ema": {"module": whole(AVERAGE)}},
    "an attribute": {"state_dict": {**whole(RAW, "net."), **whole(AVERAGE, "ema.module.")}},
    "swa": {"state_dict": {**whole(RAW, "model."), **whole(AVERAGE, "swa_model.module.")}},
    "AveragedModel": {
        "model": whole(RAW),
        "smooth": {**whole(AVERAGE, "module."), "n_averaged": zeros(1).astype(int)},
    },
    "Lightning": {
        "state_dict": whole(AVERAGE, "model."),
        "current_model_state": whole(RAW, "model."),
        "averaging_state": {"n_averaged": zeros(1).astype(int)},
    },
    "with heads outside": {
        **arrays(prefix="model.backbone.", seed=RAW),
        **arrays(prefix="ema.backbone.", seed=AVERAGE),
        "model.fc.weight": zeros(5, 1280),
        "ema.fc.weight": zeros(5, 1280),
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_raw_and_average_in_every_way_of_keeping_them(way, tmp_path):
    path = saved(tmp_path / "mine.ckpt", WAYS[way])
    average, raw = (rosetta.inspect(path, raw=raw) for raw in (False, True))
    assert (average.averaged, raw.averaged) == (True, False)
    assert not average.head
    assert not raw.head
    if way == "with heads outside":
        assert (average.num_classes, raw.num_classes) == (5, 5)
        assert average.fingerprint != raw.fingerprint
    else:
        assert (average.fingerprint, raw.fingerprint) == (MARKS[AVERAGE], MARKS[RAW])
    reasons = set(average.keys.values()) | set(raw.keys.values())
    assert "the raw weights, of which the moving average was taken" in reasons
    assert "the moving average of the weights" in reasons


def test_raw_weights_that_are_not_there_are_not_made_up(tmp_path):
    path = saved(tmp_path / "mine.pth", {"state_dict_ema": whole(AVERAGE)})
    assert rosetta.inspect(path).averaged is True
    with pytest.raises(FileError, match="holds the moving average only"):
        rosetta.inspect(path, raw=True)
    path = saved(tmp_path / "plain.pth", whole(RAW))
    assert rosetta.inspect(path, raw=True).averaged is None


def test_averages_beside_the_variables_of_tensorflow(tmp_path):
    variables = arrays("tpu", B0, kind="tf-checkpoint", seed=RAW)
    averages = arrays("tpu", B0, kind="tf-checkpoint", seed=AVERAGE)
    content = variables | {f"{k}/ExponentialMovingAverage": a for k, a in averages.items()}
    stored = {key: LazyTensor.of(key, array) for key, array in content.items()}
    tensor_bundle.write(tmp_path / "ck", stored)
    average, raw = (rosetta.inspect(tmp_path / "ck", raw=raw) for raw in (False, True))
    assert (average.averaged, raw.averaged) == (True, False)
    assert (average.fingerprint, raw.fingerprint) == (MARKS[AVERAGE], MARKS[RAW])


def siamese(tmp_path):
    content = {**arrays(prefix="left.", seed=1), **arrays(prefix="right.", seed=2)}
    return saved(tmp_path / "siamese.pth", content | {"fc.weight": zeros(2, 2560)})


def test_of_several_networks_the_one_that_is_named(tmp_path):
    path = siamese(tmp_path)
    with pytest.raises(FileError, match="holds 2 networks, below left, right; name") as caught:
        rosetta.inspect(path)
    assert caught.value.argument == "network"
    for name, seed in (("left", 1), ("right.", 2)):
        found = rosetta.inspect(path, network=name)
        assert found.fingerprint == fingerprint(random_weights(HEADLESS, seed))
        assert found.head == {"fc.weight": (2, 2560)}
    with pytest.raises(FileError, match="holds no network below middle; choose from left, right"):
        rosetta.inspect(path, network="middle")
    out = tmp_path / "out.pth"
    options = {"dialect": "tensorflow", "drop_head": True, "run": False}
    done = rosetta.port(path, out, "timm-tf", network="right", **options)
    assert done.fingerprint == fingerprint(random_weights(HEADLESS, 2))
    assert "of another network, below left" in done.dropped.values()
    found = rosetta.verify(path, out, network="right", dialect="tensorflow", run=False)
    assert found.same
    assert "1 layer that is not of the network" in found.beside[0]


def test_each_of_two_networks_has_its_own_classifier(tmp_path):
    content = {**whole(1, "student."), **whole(2, "teacher.")}
    path = saved(tmp_path / "two.pth", {"state_dict": content})
    found = rosetta.inspect(path, network="state_dict.teacher")
    assert (found.num_classes, found.fingerprint) == (1000, MARKS[2])


def test_the_optimizer_is_no_head(tmp_path):
    state = {"state": {"0": {"exp_avg": zeros(32, 3, 3, 3)}}}
    path = saved(tmp_path / "mine.pth", {"model": whole(RAW), "optimizer": state})
    assert rosetta.inspect(path).num_classes == 1000
    assert "state of the training" in rosetta.inspect(path).keys.values()
