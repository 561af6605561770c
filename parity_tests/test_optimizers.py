"""Claim 5: ten steps of each optimizer end in the same place, and their rules are the paper's."""

from importlib import import_module

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Optimization,
    average_decay,
    is_decayed,
    scaled_rate,
)
from efficientnet_rosetta.keras_impl.weights import variables
from efficientnet_rosetta.torch_impl.optimizer import (
    MovingAverage,
    RMSProp,
    dump_slots,
    make_optimizer,
)
from efficientnet_rosetta.torch_impl.weights import dump_weights, load_weights
from parity_tests.claiming import caught, holds, mistakes


def test_the_claim_holds():
    holds(claims.optimizers)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", mistakes(claims.optimizers), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_losses_are_weighed_by_shares_and_by_classes(framework):
    """Each class's cross-entropy, with its smoothing, by its share and weight: by hand, float64."""
    module = import_module(f"efficientnet_rosetta.{framework}_impl.optimizer")
    tensor = torch.tensor if framework == "torch" else keras.ops.convert_to_tensor
    random = np.random.default_rng(0)
    logits, shares = random.normal(size=(6, 5)), np.float32([1, 0.9, 0.8, 0.7, 0.6, 0.5])
    labels, partners = random.integers(5, size=(2, 6))
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smoothing, rows = 0.1, np.arange(6)
    own, other = (
        -(1 - smoothing) * logs[rows, classes] - smoothing * logs.mean(1)
        for classes in (labels, partners)
    )

    def loss(*mixed, weights=None):
        given = tuple(map(tensor, mixed)) or None
        weights = None if weights is None else tensor(weights)
        found = module.cross_entropy(tensor(logits), tensor(labels), smoothing, given, weights)
        return float(found)

    weights, kept = random.uniform(0.5, 2, 5), shares.astype(float)
    assert loss() == pytest.approx(own.mean(), rel=1e-12)
    assert loss(weights=weights) == pytest.approx((weights[labels] * own).mean(), rel=1e-12)
    own, other = (weights[labels] * own, weights[partners] * other)
    expected = np.mean(kept * own + (1 - kept) * other)
    assert loss(partners, shares, weights=weights) == pytest.approx(expected, rel=1e-12)
    ones = np.ones(6, np.float32)
    assert loss(partners, ones) == pytest.approx(loss(), rel=1e-12)


def test_the_official_schedule_falls_where_the_warm_up_ends():
    steps = 1000  # of an epoch
    rate = Exponential(scaled_rate(0.016, 2048), 0.97, 2.4 * steps, warmup=5 * steps)
    assert rate(0) == 0
    assert rate(2500) == pytest.approx(0.064)
    assert rate(4999) == pytest.approx(0.128, rel=1e-3)
    assert rate(5000) == pytest.approx(0.128 * 0.97**2)  # 0.1204: decay counts from step 0
    assert rate(7199) == rate(5000)
    assert rate(7200) == pytest.approx(0.128 * 0.97**3)


def test_the_cosine_starts_at_its_base_and_ends_at_nothing():
    rate = Cosine(0.1, steps=11_000, warmup=1000)
    assert [rate(step) for step in (0, 500, 1000, 6000, 11_000, 12_000)] == pytest.approx(
        [0, 0.05, 0.1, 0.05, 0, 0]
    )


def test_the_average_warms_up():
    assert average_decay(0) == pytest.approx(0.1)
    assert average_decay(90) == pytest.approx(0.91)
    assert average_decay(10**6) == 0.9999


def test_l2_covers_all_but_batch_norm():
    network = resolve("b0")
    left = [name for name in network.tensors if not is_decayed(name)]
    assert all(name.rpartition(".")[0].endswith("bn") for name in left)
    assert len(left) == 4 * 49
    assert is_decayed("stages.3.blocks.0.se_reduce.bias")
    assert is_decayed("classifier.bias")


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_biases_are_covered_unless_a_recipe_leaves_them_out(framework):
    """As the code of EfficientNetV2 does (hparams.py, weight_decay_exclude)."""
    network = resolve("b0", width=0.1, depth=0.1, resolution=32, num_classes=2)
    backend = get_backend(framework)
    module = import_module(f"efficientnet_rosetta.{framework}_impl.optimizer")
    for decays_biases in (True, False):
        model = backend.build(network)
        optimization = Optimization(Constant(0.1), decays_biases=decays_biases)
        optimizer = module.make_optimizer(model, optimization)
        if framework == "torch":
            covered = {id(p) for p in optimizer.param_groups[0]["params"]}
            found = {n for n, p in model.named_parameters() if id(p) in covered}
        else:
            found = {n for n, v, _ in variables(model) if v.path in optimizer.decayed}
        kernels = {name for name in network.tensors if name.endswith(".weight")}
        biases = {n for n in network.tensors if n.endswith(".bias") and is_decayed(n)}
        assert found == (kernels | biases if decays_biases else kernels)


def test_one_step_of_rmsprop_is_that_of_the_released_code():
    """P-16's scalar example, by hand: five steps, the learning rate halved at the third."""
    parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    rate = Exponential(0.1, 0.5, 2)
    optimizer = RMSProp([{"params": [parameter]}], rate, 0.9, 0.9, 1e-3)
    value, square, momentum = 1.0, 1.0, 0.0
    for step in range(5):
        parameter.grad = 2 * parameter.detach()
        gradient = 2 * value
        square = 0.9 * square + 0.1 * gradient**2
        momentum = 0.9 * momentum + rate(step) * gradient / np.sqrt(square + 1e-3)
        value -= momentum
        optimizer.step()
        assert parameter.item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("rule", ["rmsprop", "sgd"])
def test_all_parameters_at_once_are_one_after_the_other(rule):
    """The rule that is read and the one that trains, to rounding; some have no gradient."""
    optimization = Optimization(Exponential(0.1, 0.5, 3), rule, weight_decay=1e-2)
    random, models = torch.Generator().manual_seed(0), []
    for foreach in (True, False):
        model = torch.nn.ModuleDict({"conv": torch.nn.Linear(3, 4), "bn": torch.nn.Linear(2, 5)})
        models.append((model.double(), make_optimizer(model, optimization, foreach)))
    models[1][0].load_state_dict(models[0][0].state_dict())
    before = models[0][0].state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    for _ in range(5):
        for one, other in zip(*(model.parameters() for model, _ in models), strict=True):
            one.grad = torch.randn(one.shape, dtype=one.dtype, generator=random)
            other.grad = one.grad.clone()
        for model, optimizer in models:
            model["bn"].bias.grad = None
            optimizer.step()
    (model, optimizer), (other, others) = models
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=1e-12, atol=1e-14)
        assert torch.equal(tensor, before[name]) == (name == "bn.bias")
    slots, expected = dump_slots(model, optimizer), dump_slots(other, others)
    assert slots.keys() == expected.keys()
    for slot, arrays in slots.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, expected[slot][name], rtol=1e-12, atol=1e-14)


def test_an_average_follows_the_tensors_whatever_is_done_with_them():
    """Weights are loaded, exchanged with the averages and laid out otherwise, in place."""
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).double()
    del model[1].num_batches_tracked
    average = MovingAverage(model, 0.5)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(4):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor += 1
        if step == 1:
            model.to(memory_format=torch.channels_last)
        if step == 2:
            load_weights(model, {name: 2 * array for name, array in dump_weights(model).items()})
        average.update()
        taken = 1 - average_decay(step, 0.5)
        for name, tensor in model.state_dict().items():
            expected[name] += taken * (tensor - expected[name])
        average.swap()
        torch.testing.assert_close(dict(model.state_dict()), expected, rtol=1e-12, atol=1e-12)
        average.swap()
    for name, array in average.dump().items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-12)
