"""Counts against golden totals, torch's own flop counter, and both built models."""

import numpy as np
import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.spec import PRESETS, resolve

# Trainable parameters with 1,000 classes, and multiply-accumulates at the preset's resolution
# (torch's flop counter on timm's tf_efficientnet_*, halved).
GOLDEN = {
    "b0": (5_288_548, 385_814_752),
    "b1": (7_794_184, 686_802_832),
    "b2": (9_109_994, 993_561_872),
    "b3": (12_233_232, 1_827_141_392),
    "b4": (19_341_616, 4_393_771_024),
    "b5": (30_389_784, 10_266_384_752),
    "b6": (43_040_704, 19_067_593_536),
    "b7": (66_347_960, 37_745_884_192),
    "b8": (87_413_142, 62_597_461_568),
    "l2": (480_309_308, 475_703_653_280),
}
# Table 2 of the paper, in millions and billions; B4 is printed as 4.2 and counts as 4.4.
PAPER = {
    "b0": (5.3, 0.39),
    "b1": (7.8, 0.70),
    "b2": (9.2, 1.0),
    "b3": (12, 1.8),
    "b5": (30, 9.9),
    "b6": (43, 19),
    "b7": (66, 37),
}
B0_WITH_STATISTICS = 5_330_564


@pytest.mark.parametrize("preset", PRESETS)
def test_totals(preset):
    total = count(resolve(preset))
    assert (total.trainable, total.macs) == GOLDEN[preset]


@pytest.mark.parametrize("preset", PAPER)
def test_totals_are_within_five_percent_of_the_papers(preset):
    parameters, macs = GOLDEN[preset]
    assert (parameters / 1e6, macs / 1e9) == pytest.approx(PAPER[preset], rel=0.05)


@pytest.mark.parametrize("preset", PRESETS)
def test_stages_add_up(preset):
    network = resolve(preset)
    stages = count_stages(network)
    assert list(stages) == list(range(1, 10))
    assert sum(stage.macs for stage in stages.values()) == count(network).macs
    assert sum(stage.parameters for stage in stages.values()) == count(network).parameters


def test_stages_of_b0():
    """By hand: 864 weights and 64 of the batch norm, each weight at 112 x 112 places; and so on."""
    stages = count_stages(resolve("b0"))
    assert (stages[1].trainable, stages[1].macs) == (928, 864 * 112 * 112)
    # Depthwise 288, squeeze-and-excitation 256 + 8 and 256 + 32, projection 512, batch norms 96.
    assert stages[2].trainable == 288 + 264 + 288 + 512 + 64 + 32
    assert stages[2].macs == (288 + 512) * 112 * 112 + 256 + 256
    assert stages[9].trainable == 320 * 1280 + 2560 + 1_281_000
    assert stages[9].macs == 320 * 1280 * 49 + 1_280_000


def test_statistics_are_not_trainable():
    total = count(resolve("b0"))
    assert total.parameters == B0_WITH_STATISTICS
    assert total.non_trainable == B0_WITH_STATISTICS - GOLDEN["b0"][0]


def test_headless_and_other_classes():
    head = 1280
    assert count(resolve(num_classes=None)).trainable == GOLDEN["b0"][0] - 1000 * (head + 1)
    assert count(resolve(num_classes=10)).trainable == GOLDEN["b0"][0] - 990 * (head + 1)


def test_torch_model_and_flop_counter_report_the_same():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = resolve("b0")
    model = get_backend("torch").build(network)
    trainable = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() for buffer in model.buffers())
    assert (trainable, trainable + buffers) == (GOLDEN["b0"][0], B0_WITH_STATISTICS)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, *network.resolution))
    assert counter.get_total_flops() == 2 * GOLDEN["b0"][1]


def test_keras_model_reports_the_same():
    model = get_backend("keras").build(resolve("b0"))
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert (trainable, model.count_params()) == (GOLDEN["b0"][0], B0_WITH_STATISTICS)
