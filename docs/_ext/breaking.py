"""A box at the end of a page: choose a mistake, guess how large its effect is, see what it is.

    ```{break}
    symmetric for SAME padding
    : Every convolution with a stride has zeros on both sides, as by `padding=kernel // 2`.
    ```

Each entry is the name of a mistake of parity_tests/mutations, and one sentence of what somebody
would have written.  What it does is read from docs/results/mutants.json; a name that is not there,
or a mistake without a number, is an error.  Without a script the box is a table, which says all of
it; breaking.js makes the questions of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import facts
from efficientnet_rosetta.common.parity.claims import BATCH, FORWARD_SIZE, SAMPLES, SIDE, TINY
from generating import table
from inline import as_json

HEAD = ("Mistake", "Measured effect", "Would also show in", "Caught by")
ALSO = {
    (False, False): "nothing else",
    (False, True): "untrained networks",
    (True, False): "shapes",
    (True, True): "shapes, and untrained networks",
}
NOTE = (
    "Each of these mistakes was made on purpose in the PyTorch program, which was then compared "
    "with the Keras program. The images are generated, so an effect has another size here than "
    "where the page states it for the photograph. Untrained networks are two with the same "
    "initial weights, whose outputs are compared. `rosetta mutants` makes all mistakes again."
)
SIZES = ("Hardly at all", "A little", "Clearly", "Much", "More still")
ENTRY = re.compile(r"(?P<name>\S.*)\n: +(?P<told>.+(?:\n +\S.*)*)")


@dataclass(frozen=True)
class Measure:
    """What the effect of a mistake is measured by: the question, and its five answers.

    The answers part at `edges[1:-1]`; the scale is drawn between the first edge and the last.
    """

    question: str
    unit: str
    where: str  # on which weights and images
    caught: str  # by comparing what
    edges: tuple[float, ...]
    sizes: tuple[str, ...] = SIZES

    @property
    def answers(self) -> tuple[str, ...]:
        """The five ranges in words, the smallest first."""
        bounds = [_plain(edge) for edge in self.edges[1:-1]]
        between = (f"{low} to {high}" for low, high in pairwise(bounds))
        ranges = f"below {bounds[0]}", *between, f"{bounds[-1]} or more"
        return tuple(f"{size}: {of}" for size, of in zip(self.sizes, ranges, strict=True))


def _plain(value: float) -> str:
    """0.000001, and not 1e-06."""
    return f"{value:,.9f}".rstrip("0").rstrip(".")


CALIBRATED = "with {term}`calibrated weights`, on generated images"
IN_STEPS = f"{CALIBRATED} of {SIDE} x {SIDE} pixels, in batches of {BATCH}"
OF_LARGEST = (1e-8, 1e-6, 1e-4, 0.01, 1.0, 100.0)
OF_CHANCE = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
OF_SPREAD = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)

LOGITS = Measure(
    "How far do the logits move?",
    "{term}`standard deviations <spread>` of the right logits",
    f"{CALIBRATED} of {' x '.join(map(str, FORWARD_SIZE))} pixels",
    "comparing the output of every part of the network",
    OF_SPREAD,
    (
        "Hardly at all",
        "Less than their spread",
        "By several times their spread",
        "By many times their spread",
        "More still",
    ),
)
STATISTICS = Measure(
    "How far are the running statistics off after a few batches?",
    "times the largest of the right statistics",
    IN_STEPS,
    "comparing running statistics",
    OF_LARGEST,
)
GRADIENTS = Measure(
    "How far off are the gradients, or the loss?",
    "times the largest of the right gradients",
    IN_STEPS,
    "comparing the loss and every gradient",
    OF_LARGEST,
)
STEPS = Measure(
    "How far off are the weights, or their averages, after ten steps?",
    "times the largest value of the same tensor",
    IN_STEPS,
    "comparing the weights after ten steps of an optimizer",
    OF_LARGEST,
)
FREQUENCY = Measure(
    "How far off is the number of dropped blocks?",
    "standard deviations of what chance alone gives",
    f"{CALIBRATED} of {TINY} x {TINY} pixels, {SAMPLES} of them",
    "counting how often each block is dropped",
    OF_CHANCE,
)
INITIAL = Measure(
    "How far off are the initial weights?",
    "standard deviations of what chance alone gives",
    "as it is drawn, without any image",
    "comparing mean and spread of every kernel with what they should be",
    OF_CHANCE,
)
RATE = Measure(
    "How far off is the probability of dropping, where it is furthest off?",
    "too much or too little, for a probability between 0 and 1",
    f"{CALIBRATED} of {TINY} x {TINY} pixels",
    "comparing what is kept with what it is divided by",
    (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
)
PARAMETERS = Measure(
    "By how many percent is the number of parameters off?",
    "percent more parameters than there should be",
    "which is counted, without any image",
    "loading the right weights, which do not fit",
    OF_SPREAD,
)
# By the name of what caught a mistake, or by the function of all claims of a kind.
BY_CLAIM = {
    "batch_norm": STATISTICS,
    "gradients": GRADIENTS,
    "optimizers": STEPS,
    "initialisation": INITIAL,
    "dropping, frequency": FREQUENCY,
    "dropping, given masks": GRADIENTS,
}


def measured(name: str) -> tuple[Measure, float]:
    """What the effect of a mistake is measured by, and how large it is.

    Raises:
        ValueError: there is no such mistake, or no number for it.
    """
    row = facts.mistake(name)
    if row["logits"] is not None:
        return LOGITS, row["logits"]
    if row["size"] is not None:
        return BY_CLAIM.get(row["caught_by"]) or BY_CLAIM[row["claim"]], row["size"]
    if row["rate"] is not None:
        return RATE, row["rate"]
    if row["parameters"] is not None:
        return PARAMETERS, 100 * row["parameters"]
    raise ValueError(f"docs/results/mutants.json has no number for the mistake {name!r}")


def entries(text: str) -> Iterator[tuple[str, str]]:
    """The mistakes of a box, and what is said of each.

    Raises:
        ValueError: an entry is written in another way.
    """
    for paragraph in re.split(r"\n(?=\S)(?!:)", text.strip()):
        found = ENTRY.fullmatch(paragraph.strip())
        if not found:
            raise ValueError(f"{paragraph!r} is no name of a mistake with a line `: ...` below it")
        yield found["name"], " ".join(found["told"].split())


def row(name: str, told: str) -> tuple[str, ...]:
    """A mistake as a row of the table."""
    measure, value = measured(name)
    result = facts.mistake(name)
    made_in = facts.made_in(result)
    unit = measure.unit if value > 0 else measure.unit.replace("more", "fewer")
    also = ALSO[result["seen_by_shapes"], result["seen_on_default_initialisation"]]
    test = f"parity_tests/test_{result['claim']}.py::test_a_mistake_is_caught"
    return (
        f"{{mistake}}`{name}` [{told}]{{.told}}",
        f"**{facts.number(abs(value))}** {unit} [{made_in}, {measure.where}]{{.where}}",
        also,
        f"{measure.caught}: {{pin}}`{test}`",
    )


def questions(names: list[str]) -> str:
    """What the script needs besides the table, as JSON."""
    found = []
    for name in names:
        measure, value = measured(name)
        result = facts.mistake(name)
        found.append(
            {
                "question": measure.question,
                "answers": measure.answers,
                "edges": measure.edges,
                "value": abs(value),
                "shapes": result["seen_by_shapes"],
                "untrained": result["seen_on_default_initialisation"],
            }
        )
    return as_json(found)


class BreakDirective(SphinxDirective):
    """The box."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """A note, the table, and what the script makes questions of."""
        self.assert_has_content()
        for path in (facts.RESULTS / "mutants.json", __file__):
            self.env.note_dependency(str(path))
        try:
            told = dict(entries("\n".join(self.content)))
            rows = [row(*entry) for entry in told.items()]
            data = questions(list(told))
        except ValueError as error:
            raise self.error(str(error)) from error
        box = nodes.container(classes=["break"])
        box += self.parse_text_to_nodes(f"{NOTE}\n\n{table(HEAD, rows, 'breaks')}")
        script = f'<script type="application/json">{data}</script>'
        box += nodes.raw("", script, format="html")
        return [box]


def _add_files(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Only pages with a box have its script and its style."""
    boxes = doctree.findall(nodes.container) if doctree else ()
    if any("break" in box["classes"] for box in boxes):
        app.add_css_file("breaking.css")
        app.add_js_file("breaking.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and its files."""
    app.add_directive("break", BreakDirective)
    app.connect("html-page-context", _add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
