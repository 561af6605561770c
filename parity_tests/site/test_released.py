"""The page of released checkpoints, of which there may be no run yet."""

import released


def row(reference, outcome, **known):
    return {
        "reference": reference,
        "outcome": outcome,
        "why": "",
        "preset": "b0",
        "beside_record": [],
        "targets": [],
        "seen": [],
        "top1": None,
        **known,
    }


def test_without_a_run_the_page_says_so():
    assert released.text(None) == released.NOTHING_YET == released.text({"rows": []})


def test_what_differs_is_counted_first_and_said_in_full():
    targets = [{"ending": "proved", "error": 3e-14}, {"ending": "differs", "error": 0.2}]
    rows = [
        row("smp:a", "proved", targets=targets[:1], seen=["espresso 0.951"], top1=77.123),
        row("timm:b|c", "differs", why="tpu: `x` | y", targets=targets),
        row("timm:d", "not its record", why="b1", beside_record=["7 parameters"]),
    ]
    said = released.text({"rows": rows})
    assert said.startswith("Of 3 checkpoints: 1 differs, 1 not its record, 1 proved.\n\n### smp")
    assert "| `a` | b0 | proved | 1 of 1 | 3e-14 | 77.12 | espresso 0.951 |" in said
    assert r"differs: tpu: \`x\` \| y | 1 of 2 | 2e-01 | - | - |" in said
    assert "not its record: b1; 7 parameters | - | - | - | - |" in said
