"""In inference PyTorch overwrites maps that nothing reads again, and only these."""

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity.onnx_program import OnnxGraph
from efficientnet_rosetta.torch_impl import efficientnet, layers
from parity_tests.support import FAMILIES, LITTLE, images_for, small, weights_of

SIZE = (49, 32)
SCALINGS = dict.fromkeys(ARCHITECTURES, LITTLE) | {"xception": {"width": 0.25, "middle_blocks": 2}}
NETWORKS = {
    **{
        name: small(architecture.presets[0], SIZE, **SCALINGS[name])
        for name, architecture in ARCHITECTURES.items()
    },
    "symmetric": small(size=SIZE, dialect="pytorch", **LITTLE),
}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
backend = get_backend("torch")


def model_of(network, folded=False):
    model = backend.build(network, folded=folded)
    backend.load_weights(model, weights_of(network))
    return model


def tensor(network):
    return torch.tensor(images_for(network), dtype=torch.float32)


@pytest.fixture
def never(monkeypatch):
    """A function from which on nothing is overwritten."""

    def start():
        for module in (layers, efficientnet):
            monkeypatch.setattr(module, "overwrites", lambda: False)

    return start


def seen_by_hooks(model, images):
    """What a forward hook of every module is given, looked at when the model is through."""
    kept = {}
    hooks = [
        module.register_forward_hook(
            lambda module, given, output, name=name: kept.update({name: output})
        )
        for name, module in model.named_modules()
    ]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.parametrize("folded", [False, True])
@networks
def test_every_value_has_the_bits_that_it_has_without(network, folded, never):
    """Those that are returned, and those that any hook has seen; and the images are left alone."""
    model, images = model_of(network, folded), tensor(network)
    before = images.clone()
    endpoints = backend.endpoints(model, images.numpy())
    with torch.inference_mode():
        logits = model(images)
        again = model(images)
    kept = seen_by_hooks(model, images)
    assert torch.equal(images, before)
    never()
    with torch.inference_mode():
        assert torch.equal(logits, model(images))
    assert torch.equal(logits, again)
    for name, value in backend.endpoints(model, images.numpy()).items():
        np.testing.assert_array_equal(endpoints[name], value)
    for name, value in seen_by_hooks(model, images).items():
        assert torch.equal(kept[name], value), name


@networks
def test_feature_maps_stay_as_they_were_returned(network):
    model, images = backend.build_features(network, weights_of(network)).eval(), tensor(network)
    with torch.no_grad():
        maps = model(images)
        copies = [x.clone() for x in maps]
        model(images + 1)
    assert all(torch.equal(one, other) for one, other in zip(maps, copies, strict=True))


def test_it_is_done_where_no_gradient_is_asked_for_and_nowhere_else():
    """Without this test the others would hold for a program that overwrites nothing."""
    x = torch.ones(1, 1, 2, 2)
    assert efficientnet.swish(x) is not x
    with torch.no_grad():
        assert efficientnet.swish(x) is x
    with torch.inference_mode():
        assert layers.activation(x, NETWORKS["lite"].stem.activation) is x


def test_a_hook_can_still_change_what_is_handed_on():
    network = NETWORKS["efficientnet"]
    model, images = model_of(network), tensor(network)
    with torch.no_grad():
        logits = model(images)
        with model.stem.bn.register_forward_hook(lambda module, given, output: output.zero_()):
            in_place = model(images)
        with model.stem.bn.register_forward_hook(lambda module, given, output: 0 * output):
            returned = model(images)
        assert torch.equal(model(images), logits)
    assert torch.equal(in_place, returned)
    assert not torch.equal(in_place, logits)


def test_hooks_of_the_backward_pass_work_as_ever():
    """PyTorch stops where what such a hook belongs to is overwritten."""
    network = NETWORKS["efficientnet"]
    model, images = model_of(network).train(), tensor(network)
    seen = []
    for module in (model.stem.bn, model.stem.conv):
        module.register_full_backward_hook(lambda module, inputs, outputs: seen.append(module))
    model.stem.bn.register_forward_hook(lambda module, given, output: output.retain_grad())
    model(images).sum().backward()
    assert seen == [model.stem.bn, model.stem.conv]


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_program_that_overwrites_is_exported_to_onnx(dialect):
    network = small(size=SIZE, dialect=dialect, **LITTLE)
    model, images = model_of(network), tensor(network)
    with torch.no_grad():
        exported = backend.export_onnx(model, network)
    logits = OnnxGraph(exported.SerializeToString()).run(images.numpy())["logits"]
    np.testing.assert_allclose(logits, backend.run(model, images.numpy()), rtol=1e-4, atol=1e-4)
