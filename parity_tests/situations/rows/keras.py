"""What people have of Keras, by the suffix that it was saved with."""

from __future__ import annotations

from functools import partial

from parity_tests.situations import from_keras, keras2
from parity_tests.situations.judge import Situation
from parity_tests.situations.rows.words import DENSE, DROP, NORM, OUT


def _suffix(suffix: str) -> str:
    """`.h5`, or what a model without a suffix is saved as."""
    return f"`{suffix}`" if suffix else "SavedModel"


_four_classes = partial(Situation, layout="keras-applications", classes=4, head=DENSE, to="timm-tf")

_with_norm = partial(Situation, layout="keras-applications", head=NORM, to="timm-tf", options=DROP)

KERAS_3 = (
    *(
        _four_classes(
            f"keras3-example{suffix}",
            f"keras.io's fine-tuned B0 without its batch norm, `{suffix}`",
            "keras-team/keras#14373",
            from_keras.example,
            f"model{suffix}",
            slow=suffix == ".keras",
        )
        for suffix in (".h5", ".weights.h5", ".keras")
    ),
    *(
        _with_norm(
            f"keras3-example-norm{suffix or '-saved-model'}",
            f"keras.io's fine-tuned B0, {_suffix(suffix)}",
            "tensorflow/tensorflow#74170" if suffix == ".keras" else "keras-team/keras#14373",
            from_keras.example_with_norm,
            f"model{suffix}",
            refused=("batch_normalization" if suffix else "variables", OUT),
            slow=True,
        )
        for suffix in (".h5", ".weights.h5", ".keras", "")
    ),
    *(
        _four_classes(
            f"keras3-sequential{suffix or '-saved-model'}",
            f"A `Sequential` around keras.applications' B0, {_suffix(suffix)}",
            "mrdbourke/tensorflow-deep-learning#544",
            from_keras.sequential,
            f"model{suffix}",
            slow=True,
        )
        for suffix in (".h5", ".weights.h5", ".keras", "")
    ),
    _four_classes(
        "keras3-four-channels",
        "keras.applications' B0 with four input channels",
        "keras-team/keras#14373",
        from_keras.four_channels,
        "model.keras",
        channels=4,
        slow=True,
    ),
    *(
        _four_classes(
            f"keras3-imagenet{suffix}",
            f'keras.applications\' B0 of `weights="imagenet"`, fine-tuned, `{suffix}`',
            "keras-team/keras#21692",
            from_keras.imagenet,
            f"model{suffix}",
            slow=True,
        )
        for suffix in (".h5", ".weights.h5", ".keras")
    ),
    Situation(
        "keras3-binary",
        "keras.applications' B0 and one sigmoid",
        "",
        from_keras.binary,
        "model.keras",
        "keras-applications",
        classes=1,
        head=DENSE,
        to="timm-tf",
        slow=True,
    ),
    Situation(
        "keras3-xception",
        "keras.applications' Xception of two classes",
        "",
        from_keras.xception_flat,
        "deepfake.h5",
        "keras-applications",
        "xception",
        classes=2,
        head=DENSE,
        to="canonical",
        slow=True,
    ),
    Situation(
        "keras-hub",
        "A classifier of KerasHub",
        "",
        from_keras.hub,
        "task.weights.h5",
        "keras-hub",
        classes=6,
        head=DENSE,
        to="torchvision",
        slow=True,
    ),
)

KERAS_2 = (
    *(
        _four_classes(
            f"keras2-example-{file}",
            f"keras.io's fine-tuned B0 without its batch norm, Keras 2, {what}",
            thread,
            keras2.saved("example", file),
            file,
            slow=True,
        )
        for file, what, thread in (
            ("model.h5", "whole `.h5`", "keras-team/keras#21529"),
            ("weights.h5", "weights `.h5`", "tensorflow/tensorflow#47262"),
            ("model.weights.h5", "`.weights.h5`", ""),
            ("model.keras", "`.keras`", ""),
            ("saved", "SavedModel", "keras-team/keras#18709"),
            (
                "checkpoint",
                "TensorFlow checkpoint by its folder",
                "mrdbourke/tensorflow-deep-learning#544",
            ),
        )
    ),
    *(
        _four_classes(
            f"keras2-checkpoint-{what}",
            f"The same checkpoint by its {what}",
            "mrdbourke/tensorflow-deep-learning#544",
            keras2.saved("example", "checkpoint"),
            f"checkpoint/{file}",
            slow=True,
        )
        for file, what in (("cp.ckpt.index", "index"), ("cp.ckpt", "prefix"))
    ),
    *(
        _with_norm(
            f"keras2-example-norm-{file}",
            f"keras.io's fine-tuned B0, Keras 2, {what}",
            "keras-team/keras#14373",
            keras2.saved("example with norm", file),
            file,
            refused=(named, OUT),
            slow=True,
        )
        for file, what, named in (
            ("model.h5", "whole `.h5`", "batch_normalization"),
            ("model.weights.h5", "`.weights.h5`", "batch_normalization"),
            ("model.keras", "`.keras`", "batch_normalization"),
            ("saved", "SavedModel", "layer_with_weights"),
            (
                "checkpoint",
                "TensorFlow checkpoint by its folder",
                "layer_with_weights",
            ),
        )
    ),
    *(
        Situation(
            f"qubvel-{file}",
            f"qubvel's B0 in a `Sequential`, {what}",
            "qubvel/efficientnet#140",
            keras2.saved("qubvel", file),
            file,
            "qubvel",
            classes=4,
            head=DENSE,
            to="timm-tf",
            slow=True,
        )
        for file, what in (("model.h5", "whole `.h5`"), ("weights.h5", "weights `.h5`"))
    ),
)
