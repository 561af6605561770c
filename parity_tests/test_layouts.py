"""Layouts as data: every key once, every array back bit for bit, between every pair."""

import itertools

import numpy as np
import pytest

from efficientnet_rosetta.common.architectures import PRESETS, resolve
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS, layout_of
from efficientnet_rosetta.common.checkpoints.layouts.schema import BY_NAME
from parity_tests.support import LARGE, LARGEST, SMALL, weights_of

# Every form that a file is read in; one layout has several of some formats.
FORMS = [
    pytest.param(layout, form, id=f"{layout.name}-{layout.presets[-1]}-{kind}-{number}")
    for layout in LAYOUTS
    for kind in (*layout.formats_read, BY_NAME)
    for number, form in enumerate(layout.forms_of(kind))
]
# Literal keys from the libraries' own files: an expanding block, a block of the first stage
# (whose numbering shifts where it has no expansion), and the ends.
KEYS = {
    ("torchvision", "torch"): {
        "stem.bn.mean": "features.0.1.running_mean",
        "stages.2.blocks.0.project_conv.weight": "features.1.0.block.2.0.weight",
        "stages.3.blocks.1.se_reduce.weight": "features.2.1.block.2.fc1.weight",
        "head.conv.weight": "features.8.0.weight",
        "classifier.bias": "classifier.1.bias",
    },
    ("timm-tf", "torch"): {
        "stem.conv.weight": "conv_stem.weight",
        "stages.2.blocks.0.project_conv.weight": "blocks.0.0.conv_pw.weight",
        "stages.3.blocks.1.expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "stages.3.blocks.1.project_bn.scale": "blocks.1.1.bn3.weight",
        "head.bn.variance": "bn2.running_var",
    },
    ("efficientnet-pytorch", "torch"): {
        "stages.2.blocks.0.depthwise_bn.bias": "_blocks.0._bn1.bias",
        "stages.8.blocks.0.se_expand.bias": "_blocks.15._se_expand.bias",
        "classifier.weight": "_fc.weight",
    },
    ("transformers", "torch"): {
        "stem.conv.weight": "efficientnet.embeddings.convolution.weight",
        "stages.3.blocks.0.depthwise_bn.mean": (
            "efficientnet.encoder.blocks.1.depthwise_conv.depthwise_norm.running_mean"
        ),
    },
    ("keras-applications", "h5"): {
        "stages.3.blocks.1.depthwise_conv.weight": (
            "block2b_dwconv/block2b_dwconv/depthwise_kernel:0"
        ),
        "stages.3.blocks.1.depthwise_bn.variance": "block2b_bn/block2b_bn/moving_variance:0",
        "classifier.weight": "predictions/predictions/kernel:0",
    },
    ("keras-applications", "weights.h5"): {
        "stem.conv.weight": "layers/conv2d/vars/0",
        "stages.2.blocks.0.se_reduce.bias": "layers/conv2d_1/vars/1",
        "stages.2.blocks.0.project_bn.variance": "layers/batch_normalization_2/vars/3",
        "classifier.bias": "layers/dense/vars/1",
    },
    ("keras-hub", "weights.h5"): {
        "stem.conv.weight": "layers/efficient_net_backbone/layers/conv2d/vars/0",
        "classifier.bias": "layers/dense/vars/1",
    },
    ("tpu", "tf-checkpoint"): {
        "stem.bn.scale": "efficientnet-b0/stem/tpu_batch_normalization/gamma",
        "stages.2.blocks.0.project_conv.weight": "efficientnet-b0/blocks_0/conv2d/kernel",
        "stages.3.blocks.0.project_conv.weight": "efficientnet-b0/blocks_1/conv2d_1/kernel",
        "stages.3.blocks.0.se_expand.bias": "efficientnet-b0/blocks_1/se/conv2d_1/bias",
    },
    ("keras-applications", "h5", 1): {"classifier.weight": "predictions/predictions/kernel"},
    ("keras-applications", "h5", 2): {"stem.conv.weight": "stem_conv/kernel:0"},
    ("keras-applications", "h5", 3): {
        "stages.3.blocks.1.depthwise_conv.weight": "block2b_dwconv/kernel"
    },
    ("keras-applications", BY_NAME): {"stem.bn.scale": "layers/stem_bn/vars/0"},
    ("keras-applications", "tf-checkpoint"): {
        "stem.conv.weight": "layer_with_weights-1/kernel/.ATTRIBUTES/VARIABLE_VALUE",
        "stages.2.blocks.0.depthwise_conv.weight": (
            "layer_with_weights-3/depthwise_kernel/.ATTRIBUTES/VARIABLE_VALUE"
        ),
    },
    ("keras-applications", "saved-model", 1): {
        "stem.conv.weight": "variables/2",
        "stem.bn.variance": "variables/6",
    },
    ("smp", "torch"): {"stem.conv.weight": "encoder._conv_stem.weight"},
    ("zeromodels", BY_NAME): {
        "stages.2.blocks.0.project_conv.weight": "layers/blocks_0_0_conv2d_2/vars/0"
    },
    ("qubvel", "h5"): {"classifier.bias": "probs/probs/bias:0"},
    ("efficientnet-jax", "npz"): {
        "stages.3.blocks.0.expand_conv.weight": "blocks.1.0.conv_exp.weight",
        "head.conv.weight": "head.conv_pw.weight",
    },
    ("kecam", "h5"): {
        "stages.3.blocks.1.expand_bn.scale": (
            "stack_1_block1_sortcut_bn/stack_1_block1_sortcut_bn/gamma:0"
        ),
    },
}


def arrange(form, network, weights):
    return {k.path: weights[n].transpose(k.axes) for n, k in form.keys(network).items()}


def canonical(form, network, arrays):
    return {
        name: arrays[key.path].transpose(np.argsort(key.axes))
        for name, key in form.keys(network).items()
    }


def form_of(name, kind, number=0):
    return layout_of(name).forms_of(kind)[number]


def round_trips(preset, weights):
    network = resolve(preset)
    forms = [form for layout, form in (one.values for one in FORMS) if preset in layout.presets]
    forms = list({id(form): form for form in forms}.values())  # some formats share one
    assert len(forms) >= 3
    for first, second in itertools.permutations(forms, 2):
        start = arrange(first, network, weights)
        middle = arrange(second, network, canonical(first, network, start))
        end = arrange(first, network, canonical(second, network, middle))
        assert start.keys() == end.keys()
        assert all(np.array_equal(start[key], end[key]) for key in start)


@pytest.mark.parametrize("preset", ["b0", "xception"])
def test_between_every_pair_and_back(preset):
    round_trips(preset, weights_of(resolve(preset)))


@pytest.mark.slow
@pytest.mark.parametrize("preset", [*SMALL[1:], *LARGE, LARGEST])
def test_between_every_pair_and_back_for_the_larger_presets(preset):
    shapes = resolve(preset).tensors
    # Every value different within a tensor, as a wrong transposition needs; one page of memory.
    weights = {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for name, shape in shapes.items()
    }
    round_trips(preset, weights)


@pytest.mark.parametrize(("layout", "form"), FORMS)
def test_every_tensor_has_a_key_of_its_own(layout, form):
    for preset in layout.presets:
        for classes in (1000, None):
            network = resolve(preset, num_classes=classes)
            keys = form.keys(network)
            assert keys.keys() == network.tensors.keys()
            assert len({key.path for key in keys.values()}) == len(keys)


@pytest.mark.parametrize("form", KEYS, ids=lambda form: "-".join(map(str, form)))
def test_keys_are_the_libraries_own(form):
    name, kind, *number = form
    keys = form_of(name, kind, *number).keys(resolve("b0"))
    for canonical_name, path in KEYS[form].items():
        assert keys[canonical_name].path == path


def test_every_layout_knows_what_its_library_runs():
    for layout in LAYOUTS:
        assert set(layout.presets) <= set(PRESETS)
        assert set(layout.dialects) == set(layout.presets)
        assert all(layout.dialects.values())


@pytest.mark.parametrize(("preset", "other"), [("b0", "xception"), ("xception", "b0")])
def test_a_layout_of_another_architecture_has_no_names(preset, other):
    with pytest.raises(TypeError, match="is no"):
        layout_of("timm", preset).forms["safetensors"].keys(resolve(other))
