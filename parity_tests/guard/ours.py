"""The mistakes of parity_tests/mutations that inference shows, as a user would have made them.

The network of PyTorch is built with the mistake in it and handed to the guard as anybody's module;
the right one is the network of Keras, handed over as anybody's model.  Mistakes of training and of
initialisation change no inference, and are not played; neither are those with which weights no
longer fit, which stop before anything is computed.
"""

from __future__ import annotations

from functools import lru_cache, partial

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.guard.program import Given, GuardedProgram
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images
from efficientnet_rosetta.common.weights.canonical import Weights
from parity_tests.guard.playing import Play, program
from parity_tests.mutations import MUTATIONS, Mutation, made
from parity_tests.mutations.machine import SHAPES, WEIGHTS

SIDE = 64
LITTLE = {"width": 0.25, "depth": 0.5}

KINDS: dict[str, tuple[str, ...]] = {
    "epsilon 1e-5 for 1e-3": ("epsilon",),
    "symmetric for SAME padding": ("padding",),
    "stride in the last block of a stage": ("stride",),
    "no skip in one block": ("missing operation",),
    "SAME_LOWER for SAME_UPPER": ("padding",),
    "ReLU for swish": ("activation",),
    "hard swish for swish": ("activation",),
    "hard sigmoid in the gate": ("activation",),
    "ReLU in squeeze-and-excitation": ("activation",),
    "no activation in squeeze-and-excitation": ("activation",),
    "largest value for the mean in the squeeze": ("pooling",),
    "no squeeze-and-excitation": ("missing operation",),
    # The activation stands elsewhere: it is missing where the gate begins.
    "squeeze-and-excitation before the depthwise activation": ("activation", "missing operation"),
    "activation after the projection": ("activation",),
    "no activation after the expansion": ("activation",),
    "no batch norm after the projection": ("missing operation",),
    "largest value for the mean before the classifier": ("pooling",),
    "shortcuts chained from one another": ("wiring",),
    "shortcut from after the ReLU, as one in place leaves it": ("wiring",),
    # It is written as a shortcut times 0.
    "no shortcuts": ("missing operation", "scale"),
    "no batch norm in the shortcuts": ("missing operation",),
    "no batch norm after separable convolutions": ("missing operation",),
    "ReLU after separable convolutions, not before": ("activation",),
    "ReLU between depthwise and pointwise convolution": ("activation",),
    "swish for ReLU": ("activation",),
    "symmetric for SAME poolings": ("padding",),
    "zeros around what is pooled": ("padding",),
    "mean for the largest in poolings": ("pooling",),
    "stem that pads": ("padding",),
    "ReLU for ReLU6": ("activation",),
    "swish for ReLU6": ("activation",),
    "swish for the ReLU of EdgeTPU": ("activation",),
    "no activation after a fused block without expansion": ("activation",),
    "stride on the projection of a fused block": ("stride",),
    # An addition that one of the two goes without, whichever has it.
    "skip in the first stage of EdgeTPU": ("missing operation",),
    "no skip in the first stage of V2-S": ("missing operation",),
    "height and width exchanged in depthwise kernels": ("layout",),
    "depthwise kernels read in Keras's order of axes": ("layout",),
    "kernels turned around": ("layout",),
    # A matrix whose axes are read in the wrong order: of its layout, and one tensor that differs.
    "classifier transposed in place": ("layout", "weights"),
    "batch-norm mean and variance exchanged": ("statistics",),
    # Two tensors of a batch norm that are not those of the layer.
    "batch-norm scale and bias exchanged": ("weights",),
    "blue, green, red": ("order of channels",),
    "stochastic depth left on in inference": ("randomness",),
}


def plays() -> list[Play]:
    """All that are played, in the order of the mistakes."""
    return [_play(mistake) for mistake in MUTATIONS if is_played(mistake)]


def is_played(mistake: Mutation) -> bool:
    """Whether inference runs with a mistake, and shows it."""
    return mistake.claim == "forward" and mistake.by not in (WEIGHTS, SHAPES)


def _play(mistake: Mutation) -> Play:
    scaling = tuple((dict(mistake.scaling) or LITTLE).items())
    return Play(
        mistake.preset,
        mistake.name,
        KINDS[mistake.name],
        partial(_right, mistake.preset, scaling),
        partial(_built, "torch", mistake.preset, scaling),
        partial(_given, mistake.preset, scaling),
        lambda: made(mistake),
    )


Scaling = tuple[tuple[str, float], ...]


@lru_cache(maxsize=2)
def _right(preset: str, scaling: Scaling) -> GuardedProgram:
    return _built("keras", preset, scaling)


def _built(backend: str, preset: str, scaling: Scaling) -> GuardedProgram:
    network = _network(preset, scaling)
    model = get_backend(backend).build(network)
    get_backend(backend).load_weights(model, _weights(preset, scaling))
    return program(model)


@lru_cache(maxsize=2)
def _weights(preset: str, scaling: Scaling) -> Weights:
    return calibrated(_network(preset, scaling))


def _given(preset: str, scaling: Scaling) -> Given:
    network = _network(preset, scaling)
    return Given.of(structured_images(2, network.in_channels, network.resolution, 1))


def _network(preset: str, scaling: Scaling) -> Network:
    return resolve(preset, resolution=SIDE, **dict(scaling))
