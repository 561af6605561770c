"""What pages take from docs/results: what was measured, as tables and curves."""

from __future__ import annotations

import augmenting
import fields
import photographs
import released
import situations
from charts import Axis, Curve, decades, lines
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.training.run import read_table
from facts import REACHED, RESULTS, TRAINED_IN, mean_loss, result
from generating import FRAMEWORKS, generated, table

RUNNERS = {
    "torch": "PyTorch",
    "keras": "Keras",
    "onnx-torch": "ONNX of PyTorch",
    "onnx-keras": "ONNX of Keras",
}


@generated("parity")
def parity() -> str:
    """The largest error of the logits of every preset, in every run."""
    found = result("parity")["presets"]
    runners = [run["runner"] for run in found[0]["runs"]]
    rows = []
    for preset in found:
        errors = [f"{run['endpoints'][-1]['largest']:.1e}" for run in preset["runs"]]
        same = min(run["top5_agreement"] for run in preset["runs"])
        size = str(preset["resolution"][0])
        verdict = "agrees" if preset["agrees"] else "**differs**"
        name = resolve(preset["preset"]).title.removeprefix("EfficientNet-")
        rows.append((name, size, *errors, f"{same:.0%}", verdict))
    return table(
        ("Network", "Pixels", *map(RUNNERS.get, runners), "Top-5", "Verdict"), rows, "numbers"
    )


@generated("released")
def released_checkpoints() -> str:
    """What became of every published checkpoint, where a run is recorded."""
    return released.text(result("released") if (RESULTS / "released.json").exists() else None)


@generated("situations")
def table_of_situations() -> str:
    """Every kind of file that was tried, below the library that it comes from."""
    parts = []
    for group, rows in situations.rows_of(result("situations")).items():
        parts += [f"### {group}", table(situations.HEAD, rows, "situations")]
    return "\n\n".join(parts)


@generated("receptive fields")
def receptive_fields() -> str:
    """Stride, channels and receptive field of the maps of B0 that features are read from."""
    rows = [
        [f"`{name}`", str(stride), str(channels), f"{field} x {field}"]
        for name, stride, channels, field in fields.fields(resolve("b0"))
    ]
    return table(("map", "stride", "channels", "receptive field in pixels"), rows)


@generated("photograph words")
def photograph_words() -> str:
    """What the published EfficientNet-Lite says of photographs."""
    rows = photographs.rows_of_words(result("photographs"))
    return table(("Photograph", *photographs.NETWORKS.values()), rows, "numbers")


@generated("photograph effects")
def photograph_effects() -> str:
    """What one wrong thing does to what Lite0 says of them."""
    return photographs.bars_of_effects(result("photographs"))


@generated("cost of training")
def cost_of_training() -> str:
    """What a training step of other libraries takes, over ours."""
    rows = [
        (
            FRAMEWORKS[row["framework"]],
            str(row["pixels"]),
            str(row["batch"]),
            row["beside"],
            f"{row['ratio']:.2f}",
        )
        for row in result("train")["rows"]
    ]
    return table(("Framework", "Pixels", "Batch", "Beside", "Ratio"), rows, "numbers")


@generated("cost of the optimizer")
def cost_of_the_optimizer() -> str:
    """What other optimizers and averages take, over what ours take."""
    words = {"both": "both together", "rmsprop": "RMSProp", "average": "moving average"}
    rows = [
        (words[row["what"]], row["beside"], f"{row['ratio']:.2f}")
        for row in result("optimizer")["rows"]
    ]
    return table(("Work", "Beside", "Ratio"), rows, "numbers")


@generated("cost of reading")
def cost_of_reading() -> str:
    """What torchvision takes to read images, over what we take."""
    rows = [
        (row["work"], row["photograph"], row["by"], f"{row['ratio']:.2f}")
        for row in result("read")["rows"]
    ]
    return table(("Work", "Photograph", "By", "Ratio"), rows, "numbers")


@generated("error by depth")
def error_by_depth() -> str:
    """How the error grows through the largest network of the run."""
    found = max(result("parity")["presets"], key=lambda preset: preset["macs"])
    curves = [
        Curve(
            FRAMEWORKS[run["runner"]],
            [
                (100 * place / (len(run["endpoints"]) - 1), endpoint["rms"])
                for place, endpoint in enumerate(run["endpoints"])
            ],
            run["runner"],
            "" if run["runner"] == "torch" else "5 3",
        )
        for run in found["runs"]
        if run["runner"] in FRAMEWORKS
    ]
    limit = found["runs"][0]["tolerance"]["limit"]
    return lines(
        f"{found['preset'].upper()} in float32: root mean square of the error, in standard "
        "deviations, from the stem to the logits",
        curves,
        Axis("way through the network, %", 0, 100, (0, 25, 50, 75, 100)),
        decades("", -8, -3),
        (limit, "tolerance"),
    )


@generated("digits accuracy")
def digits_accuracy() -> str:
    """Validation top-1 of both frameworks on the digits."""
    return _digits(
        "Validation top-1 on the digits, %",
        "val_top1",
        Axis("", 0, 100, (0, 25, 50, 75, 100)),
        100,
        (100 * REACHED, f"{REACHED:.0%}"),
    )


@generated("digits loss")
def digits_loss() -> str:
    """Training loss of both frameworks on the digits."""
    return _digits(
        "Loss of training on the digits, with label smoothing", "loss", Axis("", 0, 5, range(6)), 1
    )


def _digits(
    title: str, column: str, y: Axis, factor: float, level: tuple[float, str] | None = None
) -> str:
    curves = []
    for name in TRAINED_IN:
        rows = read_table(RESULTS / f"digits-{name}.csv")
        points = [(row["epoch"], factor * row[column]) for row in rows]
        curves.append(Curve(FRAMEWORKS[name], points, name, "" if name == "torch" else "5 3"))
    last = int(rows[-1]["epoch"])
    return lines(title, curves, Axis("epoch", 0, last, range(0, last + 1, 10)), y, level)


@generated("drift")
def drift() -> str:
    """How far the losses are from those of PyTorch in float64."""
    losses = dict(result("drift")["losses"])
    reference = losses.pop("torch float64")
    curves = []
    for name, found in losses.items():
        backend, precision = name.split()
        points = [
            (step, max(abs(loss - right), 1e-16))
            for step, (loss, right) in enumerate(zip(found, reference, strict=True), 1)
        ]
        dashes = "2 2" if precision == "float64" else ("" if backend == "torch" else "5 3")
        curves.append(Curve(f"{FRAMEWORKS[backend]} {precision[-2:]}", points, backend, dashes))
    last = len(reference)
    return lines(
        "Difference of the loss from PyTorch in float64, step by step, in 32 and 64 bits",
        curves,
        Axis("step", 0, last, range(0, last + 1, 50)),
        decades("", -16, 1, 4),
    )


@generated("wrong settings")
def wrong_settings() -> str:
    """What became of each of the settings that were tried."""
    runs = result("what_went_wrong")["runs"]
    names = {
        "recipe": "the recipe",
        "epsilon": "epsilon 1.0",
        "decay": "decay=0.9",
        "gamma": "gamma=0.03",
        "excitation": "excitation after the projection",
        "xception": "Xception, batch norm everywhere",
        "xception without": "Xception, none in separable convolutions",
    }
    rows = [
        (
            text,
            f"{runs[name]['epochs'][-1]['val_top1']:.1%}",
            f"{mean_loss(runs[name]):.2f}",
        )
        for name, text in names.items()
    ]
    return table(("Run", "Validation top-1", "Training loss, last epochs"), rows)


@generated("rmsprop")
def rmsprop() -> str:
    """Where one weight is after the same ten steps of three optimizers called RMSProp."""
    rows = [(name, f"{value:.2f}") for name, value in result("effects")["weight"].items()]
    return table(("RMSProp of", "The weight"), rows)


# ------------------------------------------------------------------ augmentation


@generated("augmentation policies")
def augmentation_policies() -> str:
    """Both lists of AutoAugment, side by side."""
    return table(augmenting.POLICY_HEAD, augmenting.rows_of_policies())


@generated("augmentation levels")
def augmentation_levels() -> str:
    """What a level means, here and in other libraries."""
    rows = augmenting.rows_of_levels(result("augmentation"))
    return table(augmenting.LEVEL_HEAD, rows, "numbers wide")


@generated("augmentation differences")
def augmentation_differences() -> str:
    """What is done otherwise elsewhere."""
    return table(augmenting.DIFFERENCE_HEAD, augmenting.rows_of_differences(), "tall wide")
