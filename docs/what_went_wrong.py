"""Writes docs/what_went_wrong.md from the results that are kept beside it.

python examples/digits.py DIGITS
OMP_NUM_THREADS=1 python examples/what_went_wrong.py DIGITS docs/results/what_went_wrong.json
python docs/what_went_wrong.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "what_went_wrong.json"

EFFICIENTNETS = {
    "recipe": "the recipe",
    "epsilon": "epsilon 1.0",
    "decay": "decay=0.9",
    "gamma": "gamma=0.03",
    "excitation": "late excitation",
}
XCEPTIONS = {"xception": "with batch norm", "xception without": "without"}
MISTAKES = {
    "epsilon": "epsilon 1.0",
    "decay": "`decay=0.9`",
    "gamma": "`gamma=0.03`",
    "excitation": "the late excitation",
    "xception without": "the Xception without batch norm",
}
# A run has stopped if its loss falls by less in the second half, this far below the right top-1.
STOPPED_LOSS, STOPPED_TOP1 = 0.1, 0.05
WINDOW = 5  # epochs, of which the mean loss is taken
BEHIND = 0.95  # top-1, to say when a run came there
WARMUP = 5  # epochs of the recipe
MIDDLE = slice(2, 6)  # modules of the Xception whose shortcut is the identity


def main() -> None:
    """Write the page."""
    (HERE / "what_went_wrong.md").write_text(page(json.loads(RESULTS.read_text())))


# ------------------------------------------------------------------ numbers


def top1(run: dict, epoch: int = 0) -> float:
    """After an epoch, counted from 1; 0 for the last."""
    return run["epochs"][epoch - 1]["val_top1"]


def loss(run: dict, epoch: int) -> float:
    """Mean training loss of some epochs up to this one, counted from 1."""
    rows = run["epochs"][max(0, epoch - WINDOW) : epoch]
    return sum(row["loss"] for row in rows) / len(rows)


def stops(run: dict, right: dict) -> bool:
    """Whether a run no longer learned in its second half, though there was much to learn."""
    epochs = len(run["epochs"])
    fallen = 1 - loss(run, epochs) / loss(run, max(1, epochs // 2))
    return fallen < STOPPED_LOSS and top1(run) < top1(right) - STOPPED_TOP1


def first_at(run: dict, share: float) -> int | None:
    """The first epoch after which this share was right."""
    return next((int(row["epoch"]) for row in run["epochs"] if row["val_top1"] >= share), None)


# ------------------------------------------------------------------ the page

PAGE = """# Experiment: five wrong settings, trained

Public notes on these networks tend to have some of five settings that are not the recipe's.
Here each is tried alone, on the same images, in the same batches, from the same initial weights.
On this data {stopped} stop learning;
{learned} do not,
which is no proof that they are right.

```{{generated}} wrong accuracy
```

```{{generated}} wrong rates
```

```{{generated}} wrong accuracy of xception
```

{table}

The loss is that of training, a mean over the last {window} epochs. A run *stops* if its loss
falls by less than {stopped_loss} in the second half, with the top-1 more than {stopped_top1}
below that of the run that is right.

The images are scikit-learn's handwritten digits, {train:,} to train on and {val} to validate
on. The network is B0 at half its width and depth and {resolution} pixels, the recipe `official`
at a batch of {batch} for {epochs} epochs, with crops of half an image or more and no mirror
images, which are no digits. It was one run each, so that a difference of two or three images (a
point is {point:.1f} images) may be chance. Validation is of the moving average, and batch norms
keep 99 % of their statistics at a step: with {steps} steps an epoch both are behind the weights
at first, and the curves of the first ten epochs unsteady.

This page is written by `python docs/what_went_wrong.py` from
[`results/what_went_wrong.json`](results/what_went_wrong.json), with PyTorch {torch}.
The program is [`examples/what_went_wrong.py`](../examples/what_went_wrong.py).

## epsilon=1.0

**The setting:** `RMSprop(..., epsilon=1.0)`, or `eps`.

**The code says** 0.001 (`utils.py` of the released code; the paper does not say). 1.0 is
Inception's (arXiv 1512.00567, section 8), where it goes with a rate of 0.045.

**What happens.** It {epsilon}: {epsilon_top1} at the end, where the recipe has {recipe_top1}.
The loss is slower to fall: it is {epsilon_loss:.2f} at the end, where the recipe's was by epoch
{epsilon_epoch}.

**Why.** RMSProp divides by the root of the mean squared gradient plus epsilon. Half of all
weights have gradients whose root mean square is below {gradient:.0e} at the end of the recipe's
run, so that it is epsilon that divides: by {small:.3f} in the recipe, by 1 here. The steps of
most weights are {ratio:.0f} times smaller. What is left is plain gradient descent with momentum
at a rate of 0.002, which is enough for ten digits. The first epochs are even steadier. But the
rate of the recipe was chosen for the other epsilon; whether ImageNet leaves as much to spare,
we have not tried.

**Instead:** `epsilon=1e-3`, in an optimizer that has it inside the root as TensorFlow 1 has
(`torch_impl/optimizer.py`, `keras_impl/optimizer.py`); PyTorch's own has it outside.

## decay=0.9

**The setting:** `RMSprop(..., decay=0.9)` in Keras 2, for the paper's "decay 0.9".

**The code says** that 0.9 is the decay of the mean squared gradient, which Keras calls `rho`.
In the optimizers of Keras 2 up to 2.10, `legacy` since, `decay` divides the learning rate by
1 + 0.9 x step: by 91 after 100 steps.

**What happens.** It {decay}, or nearly: {decay_top1}, and a loss of {decay_loss:.2f}. Ten equal
shares have 2.30.

**Why.** The rates of all {all_steps:,} steps add up to {decay_rates:.4f}. The recipe's come to
{recipe_rates:.2f}, {decay_less:.0f} times as much. It is less than {decay_steps:.0f} steps of
the recipe at its highest.

**Instead:** `rho=0.9`. Newer versions are safe in their own ways: the new optimizers of Keras 2
refuse `decay`, and those of Keras 3 ignore it with a warning.

## gamma=0.03

**The setting:** `StepLR(optimizer, step_size, gamma=0.03)`, for a rate that falls by 3 %.

**The code says** 0.97 every 2.4 epochs: what is left, not what is taken.

**What happens.** It {gamma}. Once the warm-up is over the rate is {gamma_rate:.1e}, and 2.4
epochs later 3 % of that. The loss falls no more: it was {gamma_before:.2f} in epoch
{gamma_epoch}, the last of the warm-up, and is {gamma_loss:.2f} at the end.

**Why** top-1 rises all the same, from {gamma_low} to {gamma_top1}: the weights stand still, and
the running statistics of the batch norms and the moving average come up to them. The validation
loss falls from {gamma_val:.1f} to {gamma_end:.1f} without any learning. A curve of validation
alone would have looked like progress.

**Instead:** `gamma=0.97`, by step and not by epoch: with `step_size=2.4`, StepLR waits for an
epoch that 2.4 divides, and in floating point none of the first thirty is one. `LambdaLR` does
it, stepped after every batch:

```python
LambdaLR(optimizer, lambda step: 0.97 ** (step // (2.4 * steps_per_epoch)))
```

## Squeeze-and-excitation after the projection

**The setting:** the gate comes after `project_bn`, and has the block's output channels.

**The code says** between the depthwise convolution and the projection, with the expanded
channels.

**What happens.** It {excitation}: {excitation_top1}, where the recipe has {recipe_top1}. On
this data we see no harm in it.

**Why.** It is still a gate on each channel, and batch norms follow it wherever it is. But it is
another network: its gates are of fewer channels, with {fewer:,} fewer weights of {weights:,}.
Published weights do not fit it, and what the paper reports is not of it. No curve shows this
mistake; comparing the shapes of the weights does.

**Instead:** gate first, then project; `MBConv.forward` in
[`torch_impl/efficientnet.py`](../torch_impl/efficientnet.py).

## Xception without batch norm in its separable convolutions

**The setting:** `SeparableConv2D` and the activation after it, with nothing between. Figure 5
of the paper looks like that.

**The paper says**, below the figure, that batch norm follows every convolution and every
separable convolution and is left out of the diagram (arXiv 1610.02357).

**What happens.** It {without}, late: {behind} top-1 after epoch {without_epoch}, where the
other has it after epoch {xception_epoch}. At the end it is {without_top1} and {xception_top1}.
Both have the recipe `xception`, which is the paper's: gradient descent from a rate of 0.045.
They are small, with four modules in the middle for eight, and batch norm in all their other
convolutions.

**Why.** PyTorch draws kernels that divide the mean square by three, each time; a separable
convolution is two of them. So the branch beside every shortcut begins as {start} of what its
module gives, where batch norm makes it {start_normalised}. The first gradients of the separable
kernels, against the size of the kernels, are {gradients:,.0f} times smaller. The network learns
through its shortcuts and the modules at its ends. Those in the middle are hardly used: their
share is {end} after the training ({end_normalised} with batch norm). Ten digits do not need
them. In a task that needs the depth we expect it to be missed.

**Instead:** `nn.BatchNorm2d` after each separable convolution, or `BatchNormalization()` after
each `SeparableConv2D`; none between depthwise and pointwise.
"""


def page(results: dict) -> str:
    """The page, from the kept results."""
    runs, settings, images = results["runs"], results["settings"], results["images"]
    right, normalised, without = runs["recipe"], runs["xception"], runs["xception without"]
    decay, gamma, epsilon = runs["decay"], runs["gamma"], runs["epsilon"]
    epochs = settings["epochs"]
    steps = images["train"] // settings["batch"]
    warm = gamma["epochs"][min(WARMUP, epochs) - 1]
    after = gamma["epochs"][min(WARMUP, epochs - 1)]
    highest = max(row["learning_rate"] for row in right["epochs"])
    small, large = ((right["gradient"] ** 2 + number) ** 0.5 for number in (1e-3, 1.0))
    stopped = [name for name in MISTAKES if stops(runs[name], _right_of(name, runs))]
    verdicts = {name: "**stops**" if name in stopped else "**learns**" for name in MISTAKES}
    return PAGE.format(
        **verdicts,
        **{f"{name}_top1": f"{top1(run):.1%}" for name, run in runs.items()},
        **settings,
        **images,
        torch=results["environment"]["torch"],
        stopped=_listed(stopped),
        learned=_listed([name for name in MISTAKES if name not in stopped]),
        table=_table(runs, epochs),
        window=WINDOW,
        stopped_loss=f"{STOPPED_LOSS:.0%}",
        stopped_top1=f"{STOPPED_TOP1 * 100:.0f} points",
        point=images["val"] / 100,
        steps=steps,
        epsilon_loss=loss(epsilon, epochs),
        epsilon_epoch=_below(right, loss(epsilon, epochs)),
        gradient=right["gradient"],
        small=small,
        ratio=large / small,
        decay_loss=loss(decay, epochs),
        all_steps=steps * epochs,
        decay_rates=decay["rates"],
        recipe_rates=right["rates"],
        decay_less=_over(right["rates"], decay["rates"]),
        decay_steps=math.ceil(_over(decay["rates"], highest)),
        gamma_rate=after["learning_rate"],
        gamma_before=warm["loss"],
        gamma_epoch=min(WARMUP, epochs),
        gamma_loss=loss(gamma, epochs),
        gamma_low=f"{warm['val_top1']:.1%}",
        gamma_val=warm["val_loss"],
        gamma_end=gamma["epochs"][-1]["val_loss"],
        fewer=right["weights"] - runs["excitation"]["weights"],
        weights=right["weights"],
        without=verdicts["xception without"],
        behind=f"{BEHIND:.0%}",
        without_epoch=first_at(without, BEHIND),
        xception_epoch=first_at(normalised, BEHIND),
        without_top1=f"{top1(without):.1%}",
        start=_range(without["shares"][0]),
        start_normalised=_range(normalised["shares"][0]),
        gradients=normalised["gradient"] / without["gradient"],
        end=_range(without["shares"][1][MIDDLE]),
        end_normalised=_range(normalised["shares"][1][MIDDLE]),
    )


def _listed(names: list[str]) -> str:
    *others, last = [MISTAKES[name] for name in names] or ["none"]
    return f"{', '.join(others)} and {last}" if others else last


def _right_of(name: str, runs: dict[str, dict]) -> dict:
    return runs["xception" if name in XCEPTIONS else "recipe"]


def _over(one: float, other: float) -> float:
    """A ratio; the rates of a run of one step are all zero."""
    return one / other if other else 0.0


def _below(run: dict, value: float) -> int | None:
    """The first epoch at which the loss, as `loss` has it, is below a value."""
    epochs = len(run["epochs"])
    return next((epoch for epoch in range(1, epochs + 1) if loss(run, epoch) < value), None)


def _range(shares: list[float]) -> str:
    low, high = (f"{share * 100:.0f}" for share in (min(shares), max(shares)))
    return f"{high} %" if low == high else f"{low} to {high} %"


def _table(runs: dict[str, dict], epochs: int) -> str:
    places = [max(1, epochs * part // 3) for part in (1, 2, 3)]
    head = [
        "run",
        *(f"top-1 after {epoch}" for epoch in places),
        f"loss after {places[0]}",
        "at the end",
        "verdict",
    ]
    rows = []
    names = {**EFFICIENTNETS, **{name: f"Xception {text}" for name, text in XCEPTIONS.items()}}
    for name, text in names.items():
        run = runs[name]
        losses = [f"{loss(run, epoch):.2f}" for epoch in (places[0], epochs)]
        verdict = "**stops**" if stops(run, _right_of(name, runs)) else "learns"
        rows.append([text, *(f"{top1(run, epoch):.1%}" for epoch in places), *losses, verdict])
    lines = (f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
