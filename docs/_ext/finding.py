"""What readers type into the search, and where they then want to be.

The search of these pages knows the words that stand in them.  Readers come with the words of other
libraries, and one word stands on many pages: here is the place that each is about.  They become
entries of the index, which the search shows first; what is made from docstrings comes last.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)

# A page, or a section of it, with the words that lead to it.  Each is found in every spelling: fine
# tune, fine-tune, fine_tune and finetune.
WORDS = {
    "differ": "padding, same padding, batch norm, momentum, epsilon, differences",
    "notes": "mistakes, pitfalls, tutorial",
    "training": "train, training options, tensorboard, mlflow",
    "train/data": "data set, image folder, tf record, class weights, class imbalance",
    "train/recipes": "recipe, batch size, warm up, mixed precision",
    "train/resume": "resume, interrupted, more epochs",
    "train/evaluate": "evaluate, accuracy, confusion matrix, early stopping, minival",
    "train/devices": "multiple gpus, distributed, keras on jax",
    "train/speed": "speed, benchmark, faster",
    "explore/models": "flops, macs, parameters, model size, stages, resolution",
    "read/mbconv": "mbconv, inverted residual, bottleneck, depthwise convolution, expand ratio",
    "read/squeeze_and_excitation": "squeeze and excitation, se block, attention",
    "read/stochastic_depth": "drop connect, drop path, stochastic depth, survival probability",
    "read/swish": "swish, silu, activation, hard swish",
    "read/scaling": "compound scaling, compound coefficient, phi, width multiplier",
    "read/results": "table 2, table 7, published accuracy",
    "read/table1": "table 1, baseline network, architecture",
    "read/head": "global average pooling, dropout, classifier head",
    "read/recipe": "rmsprop, learning rate, ema, moving average, label smoothing, weight decay",
    "read/augmentation": "auto augment, rand augment, mix up, cut mix, augmentation",
    "read/v2": "efficientnet v2, fused mbconv, fused block, edge residual, progressive learning",
    "read/lite": "efficientnet lite, efficientnet edgetpu, edge tpu, coral, relu 6",
    "read/map": "paper map, where in the paper, where in the code",
    "read/xception": "xception, separable convolution",
    "use/install": "install, pip, requirements, cuda",
    "use/convert": "convert, conversion, port, checkpoint, keras to pytorch, pytorch to keras",
    "use/port_unusual": "state dict, onnx to pytorch, tflite, safetensors index, optimizer state",
    "use/weights": "noisy student, adv prop, pretrained, imagenet 21k, download",
    "use/identify": "identify, unknown checkpoint, fingerprint, which weights, inspect",
    "use/finetune": "fine tune, fine tuning, transfer learning, custom dataset, own images",
    "use/predict": "predict, inference, class names, class activation map, grad cam, cam, labels",
    "use/features": "features, backbone, detection, segmentation, feature pyramid, encoder",
    "use/features#receptive-field": "receptive field, receptive fields",
    "use/features#weights-without-a-classifier": "no top, include top, headless",
    "use/serve": "onnx, onnx runtime, serve, serving, deploy, deployment, export",
    "use/guard": "guard, pytest, fixture, regression test, golden outputs, snapshot",
    "use/ci": "ci, continuous integration, github action, workflow",
    "use/report": "report, html report",
    "use/jump": "jump, drift, likely kind",
    "use/divergence": "divergence, first divergence, debug, different outputs, mismatch",
    "use/verdict": "verdict, exit status, proved, tolerance",
    "use/notebooks": "notebook, notebooks, jupyter, colab, tutorials, run in the browser",
    "use/add_network": "add a network, new architecture, own network",
    "reference/glossary": "glossary, vocabulary, terms, symbols, notation",
}
BETWEEN = (" ", "-", "_", "")


def spellings(words: str) -> list[str]:
    """Every word of a list in all of its spellings, each once."""
    each = [word.split() for word in words.split(",")]
    return list(dict.fromkeys(between.join(parts) for parts in each for between in BETWEEN))


def add_words(app: Sphinx, doctree: nodes.document) -> None:
    """Give a page the index entries of the words that lead to it and to its sections."""
    for place, words in WORDS.items():
        page, _, anchor = place.partition("#")
        if page != app.env.docname:
            continue
        if anchor and anchor not in doctree.ids:
            log.warning("words of the search lead to %s, which is not there", place)
        entries = [("single", word, anchor, "main", None) for word in spellings(words)]
        doctree += addnodes.index(entries=entries)


def check_pages(app: Sphinx, env: Any) -> None:
    """Warn of words that lead to no page."""
    for page in {place.partition("#")[0] for place in WORDS} - env.found_docs:
        log.warning("words of the search lead to %s, which is no page", page)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the words where pages are read, and weigh what is found where it is searched."""
    app.connect("doctree-read", add_words)
    app.connect("env-check-consistency", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
