"""What `import efficientnet_rosetta as rosetta` gives: signatures, results and errors, as MyST.

Signatures and texts are those of the code; what a field of a result means is said here.  Nothing
here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import efficientnet_rosetta as rosetta

WIDTH = 80
# What the fields of each result are.  All of them, in their order: anything else stops the build.
FIELDS: dict[str, dict[str, str]] = {
    "Dialect": {
        "name": "what files and options call it",
        "padding": '`"same"` as in TensorFlow, `"symmetric"` as in PyTorch, or `"mixed"`: SAME in '
        "depthwise convolutions only",
        "epsilon": "added to the variance in every batch norm",
        "momentum": "share of the running statistics that a training step keeps",
    },
    "Network": {
        "name": 'the preset, or `"custom"` for another scaling',
        "resolution": "height and width of an image, in pixels",
        "in_channels": "channels of an image",
        "num_classes": "number of classes; None without a classifier",
        "dropout": "probability that a feature is dropped before the classifier, in training",
        "dialect": "padding, epsilon and momentum",
        "blocks": "the blocks of the network, each with its sizes and channels",
        "classifier": "the last layer; None without one",
    },
    "Exported": {
        "path": "the file",
        "network": "what is in it",
        "backend": "the framework whose model was exported",
        "opset": "version of ONNX's operator set",
        "outputs": "names of the outputs of the graph",
    },
    "Inspection": {
        "path": "the file",
        "record": "name in the catalogue, if a published file was asked for by that or its address",
        "format": "kind of file: `safetensors`, `torch`, `h5`, ...",
        "layouts": "libraries whose naming of the weights fits; several where it is the same",
        "preset": 'size of the network, such as `"b0"`',
        "scaling": "multipliers of width and depth",
        "num_classes": "number of classes; None without a classifier",
        "in_channels": "channels of an image",
        "dtypes": "types of the numbers",
        "wrappers": "what a training loop had put around the weights",
        "dialect": "the rules that the weights need; None where the file does not say",
        "dialect_from": "what says so",
        "possible_dialects": "what the dialect can be",
        "expects": "how images are to be scaled and normalised",
        "parameters": "number of trained parameters",
        "fingerprint": "hash of the weights, the same in every layout",
        "keys": "for every key of the file, which tensor it is, or why it holds no weights",
        "mark": "warning of a file that was written with `force`",
        "unusable": "tensors that hold NaN, infinity or a negative variance, and which of them",
        "head": "keys with weights that are not of the network, and their shapes",
        "head_problem": "why the only dense layer of the head is not the classifier",
        "activation": "what the classifier's outputs go through, where the file says so",
        "averaged": "whether the weights are a moving average; None where the file has none",
        "ending": "where the network ends, if that is before its head convolution",
        "notes": "what else to know of the weights",
    },
    "Identification": {
        "path": "the file",
        "published": "the published checkpoints that it is, each with what of the file says so",
        "fingerprint": "hash of its weights; None where they could not be read",
        "hashes": "number of records with a hash to compare the file with",
        "fingerprints": "number of records with a fingerprint to compare its weights with",
        "records": "number of records of the catalogue",
        "unread": "why its weights could not be read, where they could not",
    },
    "LoadedWeights": {
        "path": "the file",
        "network": "the network that the weights are of, with its dialect",
        "weights": "arrays by canonical name",
        "layouts": "as in `Inspection`",
        "family": "the preprocessing that the file names, if it names one",
        "normalization": "mean and standard deviation of images, where the file states them",
        "activation": "what the classifier's outputs go through, where the file states it",
        "metadata": "what the file says of itself, by key",
        "record": "what the catalogue says of a published file that was asked for by name",
    },
    "Ported": {
        "source": "what was read, an `Inspection`",
        "destination": "the file that was written",
        "layout": "its layout",
        "format": "its format",
        "dialect": "the rules that its weights need",
        "mapped": "number of tensors written",
        "dropped": "keys that were left out, and why",
        "written": "keys that were added and are not weights",
        "fingerprint": "hash of the weights",
        "verified": "whether the file was read back and had the same hash",
        "outputs": "how far apart both libraries' outputs are, or why they were not run",
        "verdict": "what is proved: its `ending`, and `why`",
        "faithful": "whether the target computes what the source does",
        "expects": "how to scale images for it",
        "notes": "what to know before loading it",
    },
    "Verification": {
        "fingerprints": "the hash of each file's weights",
        "dialects": "the rules that each file can be run by",
        "differences": "tensors that differ, the largest difference first",
        "outputs": "how far apart the outputs of both are, or why they were not run",
        "beside": "what else the files have, which is not compared",
    },
    "ParityReport": {
        "results": "for each network, the error of every run at every endpoint",
        "settings": "image, type of numbers, batch and seed",
        "claims": "for each network, what `full=True` checked",
        "command": "what was run, as the report says it",
    },
    "Finding": {
        "names": "the two programs",
        "kinds": "what they are",
        "precisions": "what each was run in: float64 where it can be",
        "outputs": "of every output its name in both, its shape, its error, what is allowed, and "
        "what rounding explains where that is so much that it says nothing",
        "unfit": "why nothing can be said by these programs, such as one that is random",
        "divergence": "the first operation that differs; None where the outputs agree",
        "kind": "the likeliest kind of the mistake, and what speaks for it",
        "jump": "whether the error appears at once there, and does not grow bit by bit",
        "pairs": "operations that agree, one of each program, and their error",
        "resume": "what to give as `after` to run only the rest again",
        "tensors": "of two checkpoints whose outputs differ, the tensors that do",
        "incomparable": "whether the outputs have other shapes, or are more in one program",
        "inputs": "what both were given: types and shapes",
    },
    "TrainingResult": {
        "folder": "the folder of the run",
        "best_top1": "best share of validation images whose class was found",
        "epochs": "epochs that were run",
        "weights": "the weights of the best epoch",
        "val": "their scores on val, where a minival chose the epoch; otherwise None",
        "skipped": "images that could not be read, and why",
    },
    "Evaluation": {
        "loss": "mean cross-entropy",
        "top1": "share of images whose class is the most likely one",
        "top5": "share of images whose class is among the five most likely",
        "images": "number of images",
        "skipped": "images that could not be read, and why",
        "classes": "for each class its name, its images, its precision and its recall",
        "worst": "the images whose true class was found least probable, if asked for with `worst`",
        "confusion": "how many images of each true class (a row) were taken for each (a column)",
    },
    "Prediction": {
        "path": "the image: a file; or an address, or `-`, as it was given",
        "classes": "numbers of the most likely classes, the best first",
        "labels": "their names",
        "probabilities": "their probabilities",
        "maps": "for each class, where in the image the evidence for it is",
        "pixels": "the image as the network saw it",
        "wnids": "identifiers of the classes in WordNet; None where they are not known",
        "names_from": "who names the classes; None where they have numbers",
        "assumed": "the names are ImageNet's only because the classes are as many",
    },
}
# What an error has beside its message; those of its base are its own too.
ATTRIBUTES = {
    "RosettaError": "`argument`: the argument that changes the outcome, if there is one",
    "MissingDependencyError": "`package`: what to install",
    "FileError": "`path`: the file",
    "FetchError": "`gone`: whether its server says that there is no such file",
    "DamagedFileError": "`__cause__`: what its parser raised",
    "UnknownLayoutError": "`closest`: the layout that comes nearest, or None",
    "DialectUndecidedError": "`possible`: the dialects that it can be",
    "UnfaithfulError": "`cost`: the change of the outputs in units of their size, or None",
}


def is_error(value: object) -> bool:
    """Whether a public name is an exception."""
    return isinstance(value, type) and issubclass(value, BaseException)


def documented() -> dict[str, Callable[[], str]]:
    """What the page can ask for: functions and results by their names, and the errors."""
    found: dict[str, Callable[[], str]] = {"errors": errors}
    for name in rosetta.__all__:
        value = getattr(rosetta, name)
        if inspect.isfunction(value):
            found[name] = lambda name=name, value=value: _function(name, value)
        elif inspect.isclass(value) and not is_error(value):
            found[name] = lambda name=name, value=value: _result(name, value)
    return found


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"```python\n{signature(name, function)}\n```\n\n{_text(function)}"


def signature(name: str, function: Callable[..., Any]) -> str:
    """How it is called, an argument a line where one line does not hold them."""
    found = inspect.signature(function)
    returned = found.return_annotation
    arguments, is_named = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_named:
            arguments.append("*")
            is_named = True
        arguments.append(_argument(parameter))
    line = f"def {name}({', '.join(arguments)}) -> {returned}: ..."
    if len(line) <= WIDTH:
        return line
    return "\n".join(
        [f"def {name}(", *(f"    {argument}," for argument in arguments), f") -> {returned}: ..."]
    )


def _argument(parameter: inspect.Parameter) -> str:
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}: {parameter.annotation}"
    if parameter.default is parameter.empty:
        return text
    default = parameter.default
    plain = default is None or isinstance(default, bool | int | float | str | tuple)
    return f"{text} = {_quoted(default) if plain else '...'}"


def _quoted(value: object) -> str:
    return re.sub(r"'([^']*)'", r'"\1"', repr(value))


def _text(value: Any) -> str:
    """A docstring as Markdown, what it raises as a list."""
    text = inspect.getdoc(value) or ""
    text, _, raises = text.partition("\n\nRaises:\n")
    if not raises:
        return text
    lines = re.sub(r"\n {8,}", " ", raises.rstrip()).splitlines()
    rows = (re.fullmatch(r" +(\w+): (.*)", line).groups() for line in lines)
    return "\n".join([text, "", "Raises", *(f": `{error}`: {when}\n" for error, when in rows)])


def _result(name: str, kind: type) -> str:
    fields = dataclasses.fields(kind)
    meanings = FIELDS[name]
    if [field.name for field in fields] != list(meanings):
        raise ValueError(f"docs/_ext/public_api.py does not have the fields of {name} as they are")
    rows = [f"| `{field.name}` | `{_type(field)}` | {meanings[field.name]} |" for field in fields]
    more = [f"| `{member}` | {what} |" for member, what in _members(kind).items()]
    parts = [
        _text(kind),
        "\n".join(["| Field | Type | What it is |", "| --- | --- | --- |", *rows]),
    ]
    if more:
        parts.append("\n".join(["| Property or method | What it is |", "| --- | --- |", *more]))
    return "\n\n".join(parts)


def _type(field: dataclasses.Field) -> str:
    return str(field.type).replace("|", r"\|")


def _members(kind: type) -> dict[str, str]:
    """Public properties and methods, and what each says of itself in its first line."""
    found = {}
    for name, _ in inspect.getmembers(kind):
        value = inspect.getattr_static(kind, name)
        text = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        if name.startswith("_") or not text or name in FIELDS[kind.__name__]:
            continue
        if inspect.isfunction(value):
            found[f"{name}({_parameters(value)})"] = text
        elif isinstance(value, property) or hasattr(value, "func"):  # or a cached one
            found[name] = text
    return found


def _parameters(method: Callable[..., Any]) -> str:
    return ", ".join(list(inspect.signature(method).parameters)[1:])


def errors() -> str:
    """Every error, each below its base, with what it has beside its message."""
    kinds = [getattr(rosetta, name) for name in rosetta.__all__]
    rows = []

    def below(base: type, depth: int) -> None:
        name = base.__name__
        indent = "\u2003" * depth
        meaning = inspect.getdoc(base).split(";")[0].split("\n")[0].rstrip(".")
        rows.append(f"| {indent}`{name}` | {meaning} | {ATTRIBUTES.get(name, '')} |")
        for kind in kinds:
            if is_error(kind) and kind.__bases__[0] is base:
                below(kind, depth + 1)

    below(rosetta.RosettaError, 0)
    below(rosetta.ParityError, 0)  # of a test, and no error of a call
    return "\n".join(["| Error | When | What it has |", "| --- | --- | --- |", *rows])
