"""Figures that a reader can change: their numbers, and what they do in a browser."""

from __future__ import annotations

import json
import math
import runpy
from itertools import product

import keras
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from drawings.padding import Side
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW, Layer
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.torch_impl.layers import DepthwiseConv
from facts import result
from live import LIVE, dropping, fields, padding, photographs
from parity_tests.site.browser import DESK, PHONE, WIDTHS, overflow
from parity_tests.site.conftest import ROOT

PLACES = {
    "padding": "read/mbconv.html",
    "dropping": "read/stochastic_depth.html",
    "gates": "read/squeeze_and_excitation.html",
    "evidence": "read/head.html",
    "fields": "use/features.html",
}
SIDES = [
    Side(size + more, kernel, stride)
    for size, kernel, stride in product(padding.SIZES, padding.KERNELS, padding.STRIDES)
    for more in (0, 1)
]
PIXELS = resolve("b0").resolution[0]


# ------------------------------------------------------------------ padding


def of_pytorch(side: Side, weights: list[float]) -> list[float]:
    """PyTorch's own convolution, padded as its users do."""
    row = torch.arange(1.0, side.size + 1)[None, None]
    kernel = torch.tensor(weights)[None, None]
    return (
        torch.conv1d(row, kernel, stride=side.stride, padding=side.kernel // 2).flatten().tolist()
    )


def of_keras(side: Side, weights: list[float]) -> list[float]:
    """The convolution of Keras, padded by its own rule."""
    row = np.arange(1.0, side.size + 1, dtype=np.float32)[None, :, None]
    kernel = np.array(weights, np.float32)[:, None, None]
    found = keras.ops.conv(row, kernel, strides=side.stride, padding="same")
    return keras.ops.convert_to_numpy(found).flatten().tolist()


def of_our_layer(side: Side, dialect) -> list[float]:
    """The depthwise convolution of this project, over an image of one row that is not zero."""
    layer = DepthwiseConv(1, side.kernel, side.stride, dialect)
    torch.nn.init.ones_(layer.weight)
    image = torch.zeros(1, 1, side.size, side.size)
    image[..., side.size // 2, :] = torch.arange(1.0, side.size + 1)
    with torch.no_grad():
        return layer(image).amax(2).flatten().tolist()


def test_outputs_of_the_padding_are_those_of_the_frameworks():
    for side in SIDES:
        (_, _, symmetric), (_, _, same) = side.rules
        ours, theirs = (
            [value for _, value in padding.outputs(side, zeros)] for zeros in (symmetric, same)
        )
        ones, all_different = [1.0] * side.kernel, [2.0**power for power in range(side.kernel)]
        assert ours == of_pytorch(side, ones) == of_our_layer(side, PYTORCH), side
        assert theirs == of_keras(side, ones) == of_our_layer(side, TENSORFLOW), side
        is_same = of_pytorch(side, all_different) == of_keras(side, all_different)
        assert padding.verdict(side).startswith("The same.") == is_same, side


def test_the_script_has_the_zeros_of_the_specification():
    found = padding.data()["zeros"]
    assert len(found) == len(SIDES)
    for side in SIDES:
        zeros = [pair for _, _, pair in side.rules]
        assert found[f"{side.size} {side.kernel} {side.stride}"] == zeros


# ------------------------------------------------------------------ stochastic depth


def test_batches_are_dropped_by_the_ramp():
    """As often as independent draws by these rates, to three standard deviations."""
    rates = list(resolve("b0").drop_path_rates.values())
    blocks = resolve("b0").blocks
    assert dropping.data()["rates"] == [
        rate for rate, block in zip(rates, blocks, strict=True) if block.has_skip
    ]
    drawn = np.array(dropping.batches())
    assert drawn.shape == (dropping.BATCHES, dropping.IMAGES, len(dropping.droppable()))
    draws = dropping.BATCHES * dropping.IMAGES
    for block, count in zip(dropping.droppable(), drawn.sum((0, 1)), strict=True):
        rate = block.drop_path_rate
        assert abs(count - draws * rate) < 3 * math.sqrt(draws * rate * (1 - rate)), block
        assert float(dropping.scale(block).removeprefix("×")) * (1 - rate) == pytest.approx(
            1, abs=5e-3
        )


def test_the_script_drops_what_was_drawn():
    drawn = np.zeros_like(np.array(dropping.batches()))
    for batch, images in enumerate(dropping.data()["dropped"]):
        for image, columns in enumerate(images):
            drawn[batch, image, columns] = True
    assert drawn.tolist() == np.array(dropping.batches()).tolist()


# ------------------------------------------------------------------ photographs


def test_evidence_is_of_the_words_that_another_program_has_measured():
    words = result("photographs")["words"]["lite0"]
    for name, found in photographs.seen()["evidence"].items():
        (said,) = (words[file] for file in words if file.partition(".")[0] == name)
        assert [[part["word"], part["probability"]] for part in found] == said[: len(found)]


def test_cells_add_up_to_the_logits():
    """The ratio of two probabilities is that of two logits, which are the means of their cells."""
    for first, *others in photographs.seen()["evidence"].values():
        for other in others:
            apart = np.mean(first["cells"]) - np.mean(other["cells"])
            ratio = math.log(first["probability"] / other["probability"])
            assert apart == pytest.approx(ratio, abs=0.02)


def test_shades_go_from_the_most_evidence_to_none():
    assert photographs.shade([[4.0, 0.0], [2.0, -3.0]]) == [
        [0, photographs.DARKEST],
        [photographs.DARKEST / 2, photographs.DARKEST],
    ]
    assert photographs.bounds([31.0, 63.0]) == [0, 47, PIXELS]


def test_gates_and_maps_are_those_of_the_block():
    block = photographs.gated()
    folder = ROOT / "docs" / "_static" / "seen"
    for name in photographs.NAMES:
        gates = photographs.seen()["gates"][name]
        assert len(gates) == block.expanded_channels
        assert 0 < min(gates) < max(gates) < 1
        rows = block.expanded_channels // photographs.ACROSS
        with Image.open(folder / f"{name}-maps.webp") as maps:
            height, width = block.output_size
            assert maps.size == (photographs.ACROSS * width, rows * height)
        with Image.open(folder / f"{name}.webp") as seen:
            assert seen.size == (PIXELS, PIXELS)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000


@pytest.mark.slow
def test_what_was_measured_is_measured_again(tmp_path):
    program = runpy.run_path(str(ROOT / "docs" / "seen.py"), run_name="seen")
    program["declare"]()
    program["keep"].__globals__["PICTURES"] = tmp_path
    kept = photographs.seen()
    evidence, gates = program["evidence"](), program["gates"]()
    assert gates["role"] == kept["role"]
    for name in photographs.NAMES:
        assert gates["gates"][name] == pytest.approx(kept["gates"][name], abs=2e-3)
        for found, before in zip(evidence["evidence"][name], kept["evidence"][name], strict=True):
            assert found["word"] == before["word"]
            np.testing.assert_allclose(found["cells"], before["cells"], atol=0.02)


# ------------------------------------------------------------------ receptive fields


@pytest.mark.parametrize("percent", [0, 37, fields.MIDDLE, 100])
def test_fields_are_what_a_gradient_reaches(percent):
    """Windows of ones, padded by the rule of the network, from a photograph to a value."""
    network = resolve("b0")
    image = torch.ones(1, 1, PIXELS, dtype=torch.float64, requires_grad=True)
    value = image
    for section, seen in zip(network.maps, fields.sections(), strict=True):
        for layer in section.path:
            if isinstance(layer, Layer) and layer.kernel:
                size = value.shape[-1]
                zeros = network.dialect.pad(size, layer.kernel, layer.stride, layer.kind)
                window = torch.ones(1, 1, layer.kernel, dtype=torch.float64) / layer.kernel
                value = torch.nn.functional.pad(value, zeros)
                value = torch.conv1d(value, window, stride=layer.stride)
        assert value.shape[-1] == seen.size == section.output_size[0]
        (reached,) = torch.autograd.grad(
            value[0, 0, percent * (seen.size - 1) // 100], image, retain_graph=True
        )
        pixels = reached.flatten().nonzero().flatten().tolist()
        start, end = seen.reach(percent)
        assert pixels == list(range(max(start, 0), min(end, PIXELS))), seen


# ------------------------------------------------------------------ in a browser


def figure_of(reader, name, width=DESK, javascript=True):
    """The page of a figure, and the figure in it."""
    page = reader(PLACES[name], width, javascript=javascript)
    return page, page.locator(f'figure[data-live="{name}"]')


def test_every_figure_has_a_place():
    assert PLACES.keys() == LIVE.keys()


@pytest.mark.browser
@pytest.mark.parametrize("name", PLACES)
def test_without_scripts_the_first_picture_stands_there(reader, name):
    """And it is the one that the script begins with."""
    _, still = figure_of(reader, name, javascript=False)
    _, moved = figure_of(reader, name)
    assert still.locator("form").is_hidden()
    assert moved.locator("form").is_visible()
    picture = still.locator(".live-still :is(svg, table)").first
    assert picture.bounding_box()["height"] > 100
    assert still.locator("figcaption").inner_text()
    assert moved.locator(".live-still").inner_text() == still.locator(".live-still").inner_text()
    for part in ("rect", "svg", "td"):
        attributes = (
            "parts => parts.map(part => [...part.attributes].map(({ name, value }) => [name, "
            "/^[\\d.]+$/.test(value) ? Number(value).toFixed(1) : value].join()))"
        )
        both = [f.locator(f".live-still {part}").evaluate_all(attributes) for f in (still, moved)]
        assert both[0] == both[1], part


@pytest.mark.browser
@pytest.mark.parametrize("name", PLACES)
def test_controls_have_names_and_texts_can_be_read(reader, name):
    page, figure = figure_of(reader, name, PHONE)
    controls = figure.locator("input, button")
    for control in controls.all():
        named = "e => e.ariaLabel || (e.labels[0] ?? e).textContent.trim()"
        assert control.evaluate(named)
    sizes = figure.locator(":is(p, label, td, th, button, b, span, legend)").evaluate_all(
        "all => all.map(element => parseFloat(getComputedStyle(element).fontSize))"
    )
    assert min(sizes) >= 13
    assert overflow(page) <= 0


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
def test_sliders_of_the_padding_by_keyboard(reader, width):
    page, figure = figure_of(reader, "padding", width)
    said = figure.locator(".live-said")
    expect(said.first).to_have_text(padding.verdict(Side(8, 3, 2)))
    assert said.first.get_attribute("aria-live") == "polite"
    figure.get_by_role("slider", name="stride").focus()
    page.keyboard.press("ArrowLeft")
    expect(said.first).to_have_text(padding.verdict(Side(8, 3, 1)))
    assert said.first.inner_text().startswith("The same.")
    expect(figure.get_by_role("slider", name="stride")).to_have_attribute("aria-valuetext", "1")


@pytest.mark.browser
def test_the_script_draws_what_is_drawn_here(reader):
    page, figure = figure_of(reader, "padding")
    form, parts = figure.locator("form"), figure.locator(".live-part")
    for side in SIDES[::10]:
        form.evaluate(
            "(form, values) => { for (const [name, value] of Object.entries(values)) "
            "form.elements[name].value = value; form.dispatchEvent(new Event('input')); }",
            {"n": side.size, "k": side.kernel, "s": side.stride},
        )
        for part, shown in zip(parts.all(), padding.both(side), strict=True):
            drawn = page.evaluate(
                "svg => { const box = document.createElement('div'); box.innerHTML = svg; "
                "const [one] = box.children; one.removeAttribute('style'); return one.outerHTML; }",
                padding.strips(shown).svg(),
            )
            found = part.locator("svg").evaluate(
                "svg => { const one = svg.cloneNode(true); one.removeAttribute('style'); "
                "return one.outerHTML; }"
            )
            assert found == drawn, shown
            assert part.locator(".live-said").inner_text() == padding.verdict(shown)


@pytest.mark.browser
def test_ten_batches_and_the_first_again(reader):
    _, figure = figure_of(reader, "dropping")
    drawn, button = np.array(dropping.batches()), figure.get_by_role("button")
    for batch in (*range(dropping.BATCHES), 0):
        lost = figure.locator("tbody tr:not(.live-rates)").evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('td')]"
            ".map(cell => cell.textContent === 'dropped'))"
        )
        assert lost == drawn[batch].tolist()
        counts = figure.locator("tfoot tr").first.locator("td").all_inner_texts()
        assert list(map(int, counts)) == drawn[: batch + 1].sum((0, 1)).tolist()
        said = figure.locator(".live-said").inner_text()
        assert said.startswith(f"Batch {batch + 1} of 10: {drawn[batch].sum()} of ")
        button.click()


@pytest.mark.browser
def test_another_channel_and_another_photograph(reader):
    page, figure = figure_of(reader, "gates")
    figure.get_by_role("slider").focus()
    page.keyboard.press("End")
    last = photographs.gated().expanded_channels - 1
    expect(figure.locator(".live-said")).to_have_text(photographs.strengths(last))
    figure.get_by_label(photographs.NAMES["rocket"]).check()
    gate = photographs.seen()["gates"]["rocket"][last]
    after = figure.locator(".live-maps svg").last
    assert after.get_attribute("viewBox") == photographs.crop(last)
    assert float(after.locator("image").get_attribute("opacity")) == gate
    assert after.locator("image").get_attribute("href").endswith("seen/rocket-maps.webp")
    expect(figure.locator(".live-maps span").last).to_have_text(f"times {gate:.2f}")


@pytest.mark.browser
def test_evidence_for_another_class_of_another_photograph(reader):
    page, figure = figure_of(reader, "evidence")
    figure.get_by_label(photographs.NAMES["chelsea"]).check()
    found = photographs.seen()["evidence"]["chelsea"][1]
    figure.get_by_label(found["word"]).check()
    expect(figure.locator(".live-said")).to_have_text(photographs.evidence(found))
    painted = figure.locator("rect").evaluate_all(
        "all => all.map(e => +e.getAttribute('fill-opacity'))"
    )
    shades = [shade for row in photographs.shade(found["cells"]) for shade in row]
    assert painted == pytest.approx(shades, abs=0.006)
    page.keyboard.press("ArrowUp")
    first = photographs.seen()["evidence"]["chelsea"][0]
    expect(figure.locator(".live-said")).to_have_text(photographs.evidence(first))


@pytest.mark.browser
def test_a_field_grows_with_every_block(reader):
    page, figure = figure_of(reader, "fields")
    slider = figure.get_by_role("slider", name="after")
    slider.focus()
    page.keyboard.press("Home")
    for seen in fields.sections():
        expect(figure.locator(".live-said")).to_have_text(fields.words(seen))
        expect(slider).to_have_attribute("aria-valuetext", seen.name)
        assert float(figure.locator("rect.field").get_attribute("width")) == seen.field
        page.keyboard.press("ArrowRight")


@pytest.mark.browser
def test_data_end_no_element(reader):
    """What stands in a figure as data is what the script has."""
    for name, live in LIVE.items():
        _, figure = figure_of(reader, name)
        text = figure.locator("script").evaluate("e => e.textContent")
        assert json.loads(text) == json.loads(json.dumps(live.data()))
