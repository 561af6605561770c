"""The numbers of the explorer against counting, and the lines of code that it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from check_site import HEAVIEST
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.counting import Count, count_layer
from explored import COLUMNS, by, short
from explorer import PARTS, data, opened, part_script, steps
from inline import compact
from lines_of_code import FOLDERS, Place
from receptive import receptive_fields

ROOT = Path(__file__).resolve().parents[2]
# One of each architecture, and one whose blocks are very many.
SOME = (*(found.presets[0] for found in architectures.ARCHITECTURES.values()), "v2-xl")


def operations_of(block):
    return [operation for group in block.groups for operation in group.operations]


@pytest.mark.parametrize("preset", SOME)
def test_operations_cost_what_the_layers_of_their_section_cost(preset):
    network = architectures.resolve(preset)
    found = [block for stage in opened()[preset].values() for block in stage]
    assert [block.role for block in found] == [section.role for section in network.sections]
    for block, section in zip(found, network.sections, strict=True):
        layers = [count_layer(layer) for layer in section.layers]
        assert [line.cost for line in operations_of(block) if line.cost != Count()] == layers
        assert block.cost == sum(layers, Count())


@pytest.mark.parametrize("preset", SOME)
def test_a_block_says_what_its_section_is(preset):
    network = architectures.resolve(preset)
    fields = receptive_fields(network)
    for stage, blocks in opened()[preset].items():
        for block, section in zip(blocks, network.stages[stage], strict=True):
            assert block.operator == section.operator
            assert block.field == (fields[section.role].size if section.role in fields else None)
            rate = network.drop_path_rates.get(section.role)
            assert block.dropped == (rate if section.shortcut is not None else None)
            if section in network.maps:
                assert block.size.split(" → ")[-1] == by(section.output_size)
                assert block.channels.split(" → ")[-1] == str(section.out_channels)


def test_the_first_block_of_stage_4_of_b0_by_hand():
    """k = 5, s = 2, from 24 channels to 40, six times as many between them, at 56 pixels."""
    first, second = opened()["b0"][4]
    assert [
        (group.step.name, line.label, line.channels, line.size, line.cost.trainable, line.cost.macs)
        for group in first.groups
        for line in group.operations
    ] == [
        ("expand", "convolution 1×1", "24 → 144", "56×56", 24 * 144, 24 * 144 * 56 * 56),
        ("expand", "batch norm", "", "", 2 * 144, 0),
        ("expand", "swish", "", "", 0, 0),
        (
            *("depthwise", "depthwise convolution 5×5, stride 2", "144", "28×28"),
            *(25 * 144, 25 * 144 * 28 * 28),
        ),
        ("depthwise", "batch norm", "", "", 2 * 144, 0),
        ("depthwise", "swish", "", "", 0, 0),
        ("se", "squeeze: convolution 1×1", "144 → 6", "1×1", 144 * 6 + 6, 144 * 6),
        ("se", "excite: convolution 1×1", "6 → 144", "1×1", 6 * 144 + 144, 6 * 144),
        ("project", "convolution 1×1", "144 → 40", "28×28", 144 * 40, 144 * 40 * 28 * 28),
        ("project", "batch norm", "", "", 2 * 40, 0),
    ]
    # 19 pixels before it; 4 more cells that are 4 pixels apart, and then 8.
    assert [line.field for line in operations_of(first)][:4] == [19, 19, 19, 19 + 4 * 4]
    assert (first.field, second.field) == (35, 35 + 4 * 8)
    # The network has 16 blocks, and these are the fourth and the fifth.
    assert first.dropped is None
    assert second.dropped == pytest.approx(0.2 * 4 / 16)
    assert [group.step.name for group in second.groups][-1] == "skip"


def test_a_relu_before_a_separable_convolution_belongs_to_it():
    names = [
        [line.label.split()[0] for line in group.operations]
        for group in opened()["xception"][6][0].groups
    ]
    assert names == [["relu", "depthwise", "pointwise", "batch"]] * 3 + [["the"]]
    first, *_ = opened()["xception"][3][0].groups  # after a ReLU of the stem
    assert first.operations[0].label == "depthwise convolution 3×3"


# ------------------------------------------------------------------ lines of code


def text_of(place: Place) -> str:
    lines = (ROOT / place.path).read_text().splitlines()
    return "\n".join(lines[place.first - 1 : place.last])


@pytest.mark.parametrize("step", steps(), ids=lambda step: f"{step.program}-{step.name}")
def test_the_lines_of_a_step_name_its_layers(step):
    names = {
        name
        for stages in opened().values()
        for stage in stages.values()
        for block in stage
        for group in block.groups
        if group.step == step
        for name in group.names
    }
    for folder, places in zip(FOLDERS, step.places, strict=True):
        assert places
        assert all(place.path.startswith(f"{folder}/") for place in places)
        told = "\n".join(map(text_of, places))
        assert any(name in told for name in names) or (
            # The classifier is a section of one layer, and has its name.
            (folder, step.name) == ("common", "classifier") and '"dense"' in told
        )


def test_both_programs_call_a_step_the_same():
    """Where there are markers, those around the lines; the classes have one name in both."""
    marked = 0
    for step in steps():
        for place in (place for places in step.places[1:] for place in places):
            lines = (ROOT / place.path).read_text().splitlines()
            marker = lines[place.first - 2].strip()
            if marker.startswith("# step:"):
                assert marker == f"# step: {step.name}"
                marked += 1
    assert marked > 30
    for _, torch, keras in (step.places for step in steps()):
        assert [Path(place.path).name for place in torch[:1]] == [
            Path(place.path).name for place in keras[:1]
        ]


def test_steps_stand_in_the_order_of_a_pass():
    found = [step.name for step in steps() if step.program == "MBConv"]
    assert found == ["expand", "depthwise", "se", "project", "skip"]


# ------------------------------------------------------------------ the page's own data


def test_what_the_script_reads_is_small():
    """The page has what it first shows, and what is loaded later is no heavier than a page."""
    assert len(compact(data()).encode()) < 40_000
    assert sum(len(part_script(name).encode()) for name in PARTS) < HEAVIEST


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (928, "928"),
        (999.6, "1.00K"),
        (1125, "1.13K"),
        (5288548, "5.29M"),
        (9996000, "10.0M"),
        (1.6e12, "1600G"),
    ],
)
def test_three_digits_and_a_letter(value, text):
    assert short(value) == text


def test_columns_are_those_of_a_row():
    assert len(COLUMNS) == 7
