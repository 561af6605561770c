"""A network without its batch norms in Keras, for inference: convolutions with biases instead.

The same program as `torch_impl/folding.py`, name for name; what is folded into what, and how, says
`common.weights.folding`.  A saved model loads without this package.
"""

from __future__ import annotations

from typing import Any, NoReturn

import keras

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.folding import NO_TRAINING, folds

from ._compat import follow_graph
from .layers import functional
from .weights import dump_weights, load_weights, role_of


def fold(model: keras.Model, network: Network) -> keras.Model:
    """The model with each batch norm in the convolution before it; its weights are not trainable.

    `load_weights` folds the canonical weights that it is given from then on.
    """
    norms = folds(network)
    gone = set(norms.values())

    def call(operation: keras.Operation, x: Any, *others: Any, **options: Any) -> Any:
        role = role_of(operation)
        if role in gone:
            return x
        if isinstance(operation, keras.layers.Layer):
            changes = {"use_bias": True} if role in norms else {}
            operation = type(operation).from_config({**operation.get_config(), **changes})
        return operation(x, *others, **options)

    (image,) = model.inputs
    same = keras.Input(image.shape[1:], dtype=image.dtype, name=image.name)
    found = functional(same, follow_graph(model, [same], call), model.name)
    found.network = network
    load_weights(inference_only(found), dump_weights(model))
    return found


def inference_only(model: keras.Model) -> keras.Model:
    """The same folded model, which refuses to be trained."""
    model.folded, model.trainable = True, False
    model.make_train_function = _refuse
    return model


def _refuse(*arguments: Any, **options: Any) -> NoReturn:
    """In place of what `fit` and `train_on_batch` begin with."""
    raise UsageError(NO_TRAINING)
