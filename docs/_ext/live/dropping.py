"""Stochastic depth at work: which blocks of B0 are dropped for which image, batch after batch.

What is drawn at random is drawn here, with a seed, so that every reader sees the same ten batches.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from efficientnet_rosetta.common.spec import MBConvBlock, resolve
from live.registry import Live, button, register, said, slider

BATCHES, IMAGES, SEED = 10, 8, 0
SAID = (
    "Batch {batch} of {batches}: {dropped} of {draws} branches are dropped. Over all batches so "
    "far it was {so_far}, where {expected} are expected."
)


@cache
def droppable() -> tuple[MBConvBlock, ...]:
    """The blocks of B0 that have a shortcut."""
    return tuple(block for block in resolve("b0").blocks if block.has_skip)


@cache
def batches() -> tuple[tuple[tuple[bool, ...], ...], ...]:
    """For each batch and image, whether the branch of each of these blocks is dropped."""
    random = Random(SEED)
    return tuple(
        tuple(
            tuple(random.random() < block.drop_path_rate for block in droppable())
            for _ in range(IMAGES)
        )
        for _ in range(BATCHES)
    )


def scale(block: MBConvBlock) -> str:
    """The factor of a branch that is kept."""
    return f"×{1 / (1 - block.drop_path_rate):.2f}"


def still(_: str) -> str:
    """The first batch as a table: a row for each image, a column for each block."""
    blocks = droppable()
    heads = "".join(f'<th scope="col">{block.index}</th>' for block in blocks)
    rates = "".join(f"<td>{block.drop_path_rate:.3g}</td>" for block in blocks)
    rows = "".join(
        f'<tr><th scope="row">image {number}</th>{"".join(map(_cell, dropped, blocks))}</tr>'
        for number, dropped in enumerate(batches()[0], 1)
    )
    counts = "".join(f"<td>{sum(column)}</td>" for column in zip(*batches()[0], strict=True))
    expected = "".join(f"<td>{IMAGES * block.drop_path_rate:.1f}</td>" for block in blocks)
    return (
        '<div class="table-wrapper"><table class="live-drops">'
        f'<thead><tr><th scope="col">block</th>{heads}</tr></thead>'
        f'<tbody><tr class="live-rates"><th scope="row">probability</th>{rates}</tr>{rows}</tbody>'
        f'<tfoot><tr><th scope="row">dropped so far</th>{counts}</tr>'
        f'<tr><th scope="row">expected</th>{expected}</tr></tfoot></table></div>{said(words())}'
    )


def _cell(is_dropped: bool, block: MBConvBlock) -> str:
    return '<td class="dropped">dropped</td>' if is_dropped else f"<td>{scale(block)}</td>"


def words() -> str:
    """What the first batch shows, as the script says it of any."""
    dropped = sum(map(sum, batches()[0]))
    return SAID.format(
        batch=1,
        batches=BATCHES,
        dropped=dropped,
        draws=IMAGES * len(droppable()),
        so_far=dropped,
        expected=f"{IMAGES * sum(block.drop_path_rate for block in droppable()):.1f}",
    )


def data() -> dict[str, Any]:
    """For each batch and image the columns that are dropped; of each column its rate and factor."""
    return {
        "dropped": [
            [[column for column, is_dropped in enumerate(image) if is_dropped] for image in batch]
            for batch in batches()
        ],
        "rates": [block.drop_path_rate for block in droppable()],
        "kept": [scale(block) for block in droppable()],
        "said": SAID,
    }


register(
    Live(
        "dropping",
        slider("batch", "batch", range(1, BATCHES + 1), 1) + button("next", "Drop the next batch"),
        still,
        data,
    )
)
