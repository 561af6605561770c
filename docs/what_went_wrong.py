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

Tutorials and public programs for these networks often contain one of five settings that the
recipe does not have. This experiment shows what each of them does to a training. Each is tried
alone, on the same images, in the same batches, from the same initial weights.

On this data {stopped} stop learning. {learned} do not. That is no proof that they are right,
since ten digits are easily told apart.

```{{generated}} wrong accuracy
```

```{{generated}} wrong rates
```

```{{generated}} wrong accuracy of xception
```

{table}

The loss is the training loss, averaged over the last {window} epochs. A run *stops* if its loss
falls by less than {stopped_loss} in the second half of the training, and its top-1 is then more
than {stopped_top1} below that of the right run.

## How the networks were trained

- **Images:** scikit-learn's handwritten digits, {train:,} to train on and {val} to validate on.
- **Network:** B0 at half its width and depth, for images of {resolution} pixels.
- **Recipe:** `official`, with batches of {batch}, for {epochs} epochs. A crop has at least half of
  the image, and none is mirrored, because a mirrored digit is no digit.
- **Once each:** a point of top-1 is {point:.1f} images, so a difference of two or three images may
  be chance.
- **Validation** uses the moving average of the weights, and batch norms keep 99 % of their
  statistics in each step. With {steps} steps in an epoch, both lag behind the weights at first, so
  the first ten epochs of the curves are unsteady.

`python docs/what_went_wrong.py` writes this page from
[`results/what_went_wrong.json`](results/what_went_wrong.json), which
[`examples/what_went_wrong.py`](../examples/what_went_wrong.py) made with PyTorch {torch}.

## epsilon=1.0

**The setting:** `RMSprop(..., epsilon=1.0)`, or `eps`.

**What is right:** 0.001, says the released code (`utils.py`); the paper does not say. The value
1.0 belongs to Inception (arXiv 1512.00567, section 8), together with a learning rate of 0.045.

**What happens.** The network {epsilon}: it has a top-1 of {epsilon_top1} at the end, where the
recipe has {recipe_top1}. But its loss falls more slowly: at the end it is {epsilon_loss:.2f},
which the recipe had reached by epoch {epsilon_epoch}.

**Why.** RMSProp divides each gradient by the root of its mean square plus epsilon. At the end of
the recipe's run, half of all weights have gradients whose root mean square is below
{gradient:.0e}, so epsilon alone decides what they are divided by: {small:.3f} in the recipe, 1
here. Most weights therefore take steps that are {ratio:.0f} times smaller. What is left is plain
gradient descent with momentum at a rate of 0.002. That is enough for ten digits, and even
steadier in the first epochs. But the recipe's rate was chosen for the other epsilon, and we have
not tried whether ImageNet can be learned with this one.

**Instead:** `epsilon=1e-3`, in an optimizer that adds it inside the root, as TensorFlow 1 does
(`torch_impl/optimizer.py`, `keras_impl/optimizer.py`). PyTorch's own adds it outside.

## decay=0.9

**The setting:** `RMSprop(..., decay=0.9)` in Keras 2, for the "decay 0.9" of the paper.

**What is right:** in the released code, 0.9 is the decay of the mean squared gradient, which
Keras calls `rho`. In the optimizers of Keras 2 up to 2.10, which are called `legacy` since,
`decay` is something else: it divides the learning rate by 1 + 0.9 x step. After 100 steps this
is 91.

**What happens.** The network {decay}, or nearly: it ends at a top-1 of {decay_top1} and a loss
of {decay_loss:.2f}. Giving all ten classes equal shares has a loss of 2.30.

**Why.** The learning rates of all {all_steps:,} steps add up to {decay_rates:.4f}. Those of the
recipe add up to {recipe_rates:.2f}, which is {decay_less:.0f} times as much. The whole training
comes to less than {decay_steps:.0f} steps of the recipe at its highest rate.

**Instead:** `rho=0.9`. Newer versions protect you: the new optimizers of Keras 2 refuse `decay`,
and those of Keras 3 ignore it with a warning.

## gamma=0.03

**The setting:** `StepLR(optimizer, step_size, gamma=0.03)`, for a rate that falls by 3 %.

**What is right:** the released code multiplies the rate by 0.97 every 2.4 epochs. The factor
says what is left of the rate, not what is taken away.

**What happens.** The network {gamma}. When the warm-up is over, the rate is {gamma_rate:.1e};
2.4 epochs later it is 3 % of that. The training loss was {gamma_before:.2f} in epoch
{gamma_epoch}, the last of the warm-up, and is {gamma_loss:.2f} at the end.

**Why does top-1 rise all the same,** from {gamma_low} to {gamma_top1}? The weights stand still,
but the running statistics of the batch norms and the moving average catch up with them. So the
validation loss falls from {gamma_val:.1f} to {gamma_end:.1f} without any learning. If you had
only looked at validation, you would have seen progress.

**Instead:** `gamma=0.97`, counted in steps and not in epochs. With `step_size=2.4`, StepLR waits
for an epoch that 2.4 divides, and in floating point none of the first thirty is one. `LambdaLR`
does it if you step it after every batch:

```python
LambdaLR(optimizer, lambda step: 0.97 ** (step // (2.4 * steps_per_epoch)))
```

## Squeeze-and-excitation after the projection

**The setting:** the gate comes after `project_bn`, and so acts on the output channels of the
block.

**What is right:** in the released code the gate is between the depthwise convolution and the
projection, and acts on the expanded channels.

**What happens.** The network {excitation}: it ends at {excitation_top1}, where the recipe has
{recipe_top1}. On this data we see no harm in it.

**Why.** There is still a gate for each channel, and batch norms follow it in either place. But
it is another network. Its gates act on fewer channels, so it has {fewer:,} fewer weights of
{weights:,}. Published weights do not fit it, and the results in the paper are not its results.
No curve shows this mistake; comparing the shapes of the weights does.

**Instead:** gate first, then project, as `MBConv.forward` in
[`torch_impl/efficientnet.py`](../torch_impl/efficientnet.py) does.

## Xception without batch norm in its separable convolutions

**The setting:** a `SeparableConv2D` is followed by the activation, with nothing between. That is
how figure 5 of the paper looks.

**What is right:** below the figure, the paper says that batch norm follows every convolution and
every separable convolution, and is left out of the diagram (arXiv 1610.02357).

**What happens.** The network {without}, but late: it reaches {behind} top-1 after epoch
{without_epoch}, and with batch norm after epoch {xception_epoch}. At the end it has
{without_top1}, and with batch norm {xception_top1}. Both are trained by the recipe `xception`,
which is the paper's: gradient descent from a rate of 0.045. They are small, with four modules in
the middle instead of eight, and have batch norm after all their other convolutions.

**Why.** A kernel as PyTorch initialises it divides the mean square of its input by three, and a
separable convolution consists of two of them. So at first the branch beside each shortcut makes
up only {start} of what its module gives; with batch norm it is {start_normalised}. Relative to
the kernels, the first gradients of the separable kernels are {gradients:,.0f} times smaller. The
network therefore learns through its shortcuts, and through the modules at its two ends. Those in
the middle are hardly used: after the training their share is {end}, and with batch norm
{end_normalised}. Ten digits do not need them. We expect that a task that needs the depth would
suffer.

**Instead:** put `nn.BatchNorm2d`, or `BatchNormalization()`, after each separable convolution,
and none between its depthwise and its pointwise part.
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
    verdicts = {
        name: "**stops learning**" if name in stopped else "**learns**" for name in MISTAKES
    }
    return PAGE.format(
        **verdicts,
        **{f"{name}_top1": f"{top1(run):.1%}" for name, run in runs.items()},
        **settings,
        **images,
        torch=results["environment"]["torch"],
        stopped=_listed(stopped),
        learned=_capital(_listed([name for name in MISTAKES if name not in stopped])),
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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
        "verdict",
        *(f"top-1 after {epoch} epochs" for epoch in places),
        f"loss after {places[0]}",
        "loss at the end",
    ]
    rows = []
    names = {**EFFICIENTNETS, **{name: f"Xception {text}" for name, text in XCEPTIONS.items()}}
    for name, text in names.items():
        run = runs[name]
        losses = [f"{loss(run, epoch):.2f}" for epoch in (places[0], epochs)]
        verdict = "**stops**" if stops(run, _right_of(name, runs)) else "learns"
        shares = [f"{top1(run, epoch):.1%}" for epoch in places]
        rows.append([text, verdict, *shares, *losses])
    lines = (f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
