"""Curves of training: stochastic depth by block, batch-norm statistics and rates by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drawings.canvas import COLUMN, Canvas, Plot, Point
from drawings.registry import drawing
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW, Dialect
from efficientnet_rosetta.common.spec import EfficientNetSpec, resolve
from efficientnet_rosetta.common.training.recipes import RECIPES, Recipe
from efficientnet_rosetta.common.training.schedules import Exponential

# ------------------------------------------------------------------ stochastic depth


def smallest_and_deepest() -> tuple[EfficientNetSpec, EfficientNetSpec]:
    """B0, and B7, in which a ramp over the blocks of B0 goes furthest astray."""
    return resolve("b0"), resolve("b7")


@drawing("stochastic depth", of=smallest_and_deepest)
def stochastic_depth(networks: tuple[EfficientNetSpec, EfficientNetSpec]) -> Canvas:
    """The rate of every block, and four other ramps."""
    network, deepest = networks
    full, last = network.drop_path_rate, network.blocks[-1]
    canvas = Canvas(
        COLUMN,
        436,
        f"The rate rises from 0 to {last.drop_path_rate:g} over the {len(network.blocks)} blocks "
        f"of {network.title}. Wrong ramps: up to {full:g}, over the blocks of another network, "
        f"{full:g} everywhere, {1 - full:g} everywhere",
    )
    canvas.text(4, 16, "{p} of each block of " + network.name.upper(), kind="strong")
    plot = Plot(36, 30, 316, 110, len(network.blocks), full)
    canvas.axes(plot, (), (0, full / 2, full))
    step = plot.width / len(network.blocks)
    for block in network.blocks:
        x, y = plot.place(block.index, block.drop_path_rate)
        height = plot.top + plot.height - y
        kind = "filled" if block.has_skip else "ghost"
        canvas.rect(x + 2, y, step - 4, max(height, 1), kind)
    canvas.text(plot.left + step / 2, 158, "{i} = 0", "middle")
    canvas.text(plot.left + plot.width - step / 2, 158, f"{last.index}", "middle")
    canvas.text(36, 178, "dashed: no shortcut, so never dropped", kind="quiet")
    canvas.text(4, 208, "Four wrong ramps, dashed, over the right one", kind="strong")
    blocks = len(network.blocks)
    wrong = (
        ("to the full rate", network, [full * i / (blocks - 1) for i in range(blocks)]),
        (
            f"{deepest.name.upper()} by {network.name.upper()}'s blocks",
            deepest,
            [full * i / blocks for i in range(len(deepest.blocks))],
        ),
        ("one rate for all", network, [full] * blocks),
        ("survival for rate", network, [1 - full] * blocks),
    )
    for number, (name, of, rates) in enumerate(wrong):
        left, top = 30 + 182 * (number % 2), 226 + 108 * (number // 2)
        _ramp(canvas, name, of, rates, (left, top))
    return canvas


def _ramp(
    canvas: Canvas,
    name: str,
    network: EfficientNetSpec,
    rates: Sequence[float],
    at: tuple[float, float],
) -> None:
    high = max(1.0 if rates[-1] > 0.5 else 0.3, rates[-1])
    plot = Plot(at[0], at[1] + 20, 140, 56, len(rates) - 1, high)
    right = [block.drop_path_rate for block in network.blocks]
    canvas.text(at[0], at[1] + 10, name)
    canvas.axes(plot, (), (0, high))
    canvas.path(plot.points(list(enumerate(right))), "of-paper")
    canvas.path(plot.points(list(enumerate(rates))), "of-other")
    canvas.text(
        at[0] + 140,
        at[1] + 94,
        f"last {rates[-1]:.3g}, right {right[-1]:.3g}",
        "end",
        "quiet",
    )


# ------------------------------------------------------------------ batch norm


def both_momenta() -> tuple[Dialect, Dialect]:
    """The paper's code, and PyTorch's habit."""
    return TENSORFLOW, PYTORCH


@drawing("batch norm", of=both_momenta)
def batch_norm(dialects: tuple[Dialect, Dialect]) -> Canvas:
    """A running mean that goes from 0 to the 1 of the batches, under three shares kept."""
    steps = 500
    kept = [dialect.momentum for dialect in dialects]
    misread = 1 - kept[0]
    canvas = Canvas(
        COLUMN,
        258,
        f"A running mean over {steps} steps: with {kept[0]:g} kept a step it is slow and smooth, "
        f"with {kept[1]:g} it is faster, and read the wrong way round, with {misread:.2g} kept, it "
        "is the mean of the last batch",
    )
    plot = Plot(34, 42, 306, 150, steps, 1.5)
    canvas.text(4, 16, "running mean, where batches have 1 ± 0.3", kind="strong")
    canvas.axes(plot, (0, steps / 2, steps), (0, 0.5, 1, 1.5))
    canvas.path(plot.points(_running(misread, steps)), "of-noise")
    canvas.path(plot.points(_running(kept[1], steps)), "of-other")
    canvas.path(plot.points(_running(kept[0], steps)), "of-paper")
    canvas.text(plot.left + plot.width / 2, 226, "steps", "middle", "quiet")
    x, y = plot.place(95, 0.42)
    canvas.text(x + 10, y, f"kept {kept[0]:g} (replaced {1 - kept[0]:.2g})", kind="paper")
    canvas.text(4, 250, f"dashed: kept {kept[1]:g}. Thin: read the wrong way round.", kind="quiet")
    return canvas


def _running(kept: float, steps: int) -> list[Point]:
    """A running mean from 0; batches go around 1 by a sequence that only looks like chance."""
    mean, found = 0.0, [(0.0, 0.0)]
    for step in range(1, steps + 1):
        batch = 1 + 0.6 * (step * 0.6180339887 % 1 - 0.5)
        mean = kept * mean + (1 - kept) * batch
        found.append((float(step), mean))
    return found


# ------------------------------------------------------------------ learning rate


@dataclass(frozen=True)
class Rates:
    """A schedule in epochs, and the same if it were counted from the end of the warm-up."""

    recipe: Recipe
    epochs: float

    def rate(self, epoch: float) -> float:
        """Of the base rate, which is 1."""
        recipe = self.recipe
        return Exponential(1.0, recipe.factor, recipe.every, recipe.warmup_epochs)(epoch)

    def from_the_end(self, epoch: float) -> float:
        """The mistake: no jump."""
        recipe = self.recipe
        if epoch < recipe.warmup_epochs:
            return self.rate(epoch)
        return Exponential(1.0, recipe.factor, recipe.every)(epoch - recipe.warmup_epochs)


def official() -> Rates:
    """The first epochs of the released code's recipe."""
    return Rates(RECIPES["official"], 20)


@drawing("schedule", of=official)
def schedule(rates: Rates) -> Canvas:
    """The warm-up, the jump at its end, and the steps after it."""
    recipe = rates.recipe
    end = recipe.warmup_epochs
    after = rates.rate(end)
    canvas = Canvas(
        COLUMN,
        232,
        f"The rate rises for {end:g} epochs, jumps from 1 to {after:.3f} of its base, and then "
        f"falls by a factor of {recipe.factor:g} every {recipe.every:g} epochs",
    )
    plot = Plot(36, 34, 312, 140, rates.epochs, 1.05)
    canvas.text(4, 16, "{eta} as a share of its base", kind="strong")
    canvas.axes(plot, (0, end, 2 * end, 3 * end, rates.epochs), (0, 0.5, 1))
    ticks = [rates.epochs * number / 800 for number in range(801)]
    up = [(0.0, 0.0), (float(end), 1.0)]
    wrong = [(epoch, rates.from_the_end(epoch)) for epoch in ticks if epoch >= end]
    canvas.path(plot.points(wrong), "of-other")
    right = [(epoch, rates.rate(epoch)) for epoch in ticks if epoch > end]
    canvas.path(plot.points([*up, (float(end), after), *right]), "of-paper")
    x, y = plot.place(end, after)
    canvas.text(x + 12, y + 44, f"jump to {after:.3f}", kind="paper")
    canvas.arrow((x + 30, y + 30), (x + 4, y + 30), (x + 4, y + 6))
    canvas.text(plot.left + plot.width / 2, 208, "epochs", "middle", "quiet")
    canvas.text(4, 226, "dashed: counted from the end of the warm-up", kind="quiet")
    return canvas
