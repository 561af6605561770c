"""Mistakes, each made in PyTorch only, and the claim that must catch it.

They are the ones that public implementations and tutorials of these networks make.  `study` makes
them one at a time and says which claim noticed, how large the effect was, and whether comparing
shapes, or comparing outputs on default initialisation, would have noticed as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import zip_longest
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import torch_impl
from efficientnet_rosetta.common import spec
from efficientnet_rosetta.common.architectures import changed, resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.protocol import Backend
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import WeightsError
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW, Network
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.training.schedules import Exponential
from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images
from efficientnet_rosetta.common.weights.initial import initial
from efficientnet_rosetta.torch_impl import efficientnet, layers, optimizer, xception
from efficientnet_rosetta.torch_impl.efficientnet import MBConv

Apply = Callable[[ExitStack], None]
SIDE = 64
ALLCLOSE = {"rtol": 1e-4, "atol": 1e-5}  # what a test of one's own usually says


@dataclass(frozen=True)
class Mutation:
    """A mistake, where it is made, and the claim that guards against it."""

    name: str
    claim: str  # a function of common.claims
    apply: Apply
    preset: str = "b0"  # B0 scales nothing, and so hides mistakes of scaling


@dataclass(frozen=True)
class Caught:
    """What became of a mistake."""

    mutation: Mutation
    by: str  # the claim; "weights" or "shapes" if these did not fit; empty if nothing noticed
    size: float  # over the limit of that claim
    seen_by_shapes: bool
    seen_on_default_initialisation: bool
    # By how much the logits are off, over the spread of the right ones; of mistakes in inference.
    logits: float | None = None

    @property
    def row(self) -> dict:
        """The same as plain data."""
        return {
            "mistake": self.mutation.name,
            "claim": self.mutation.claim,
            "preset": self.mutation.preset,
            "caught_by": self.by,
            "size": self.size,
            "logits": self.logits,
            "seen_by_shapes": self.seen_by_shapes,
            "seen_on_default_initialisation": self.seen_on_default_initialisation,
        }


MUTATIONS: list[Mutation] = []
# Ten blocks, of every kind there is, for the claims that take many steps.
HALF = {"width": 0.5, "depth": 0.5}
QUARTER = {"width": 0.25, "middle_blocks": 2}  # of Xception, whose width plays no part in any
IN_TRAINING = ("batch_norm", "stochastic_depth", "optimizers")
TRAIN = import_module("torch_impl.train")  # whose name in the package is that of a function


class Remembered:
    """A backend whose results are kept: nothing is changed in it, so they are always the same.

    Its models are the list of what was done to them; a real one is made where a result is new.
    """

    def __init__(self, backend: Backend):
        self.backend = backend
        self.results: dict[tuple, object] = {}

    def build(self, network: Network, dtype: str = "float32") -> list[tuple]:
        """A model, as yet only by name."""
        return [("build", network, dtype)]

    def load_weights(self, model: list[tuple], weights: dict) -> None:
        """Note which weights."""
        model.append(("load_weights", weights))

    def train(self, model: list[tuple], batches: list, optimization: object) -> object:
        """Train, and note that it was done."""
        model.append(("train", batches, optimization))
        return self.result(model)

    def __getattr__(self, verb: str) -> Callable:
        return lambda model, *arguments: self.result([*model, (verb, *arguments)])

    def result(self, steps: list[tuple]) -> object:
        """The result of the last step."""
        key = tuple(_digest(step) for step in steps)
        if key not in self.results:
            (_, *arguments), *others = steps
            model = self.backend.build(*arguments)
            for verb, *arguments in others:
                self.results[key] = getattr(self.backend, verb)(model, *arguments)
        return self.results[key]


def _digest(value: object) -> str:
    """A short name for a value, arrays included."""
    digest = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, dict):
            add(list(part.items()))
        elif isinstance(part, list | tuple):
            for entry in part:
                add(entry)
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()


KERAS = Remembered(get_backend("keras"))


def backend_of(name: str) -> Backend:
    """Keras with a memory, and PyTorch, in which the mistakes are, without."""
    return KERAS if name == "keras" else get_backend(name)


def mutation(name: str, claim: str, preset: str = "b0") -> Callable[[Apply], Apply]:
    """Register a mistake."""

    def register(apply: Apply) -> Apply:
        MUTATIONS.append(Mutation(name, claim, apply, preset))
        return apply

    return register


@contextmanager
def made(mistake: Mutation) -> Iterator[None]:
    """The mistake is in the code while the block runs."""
    with ExitStack() as stack:
        mistake.apply(stack)
        yield


def study(mistake: Mutation, seed: int = 0) -> Caught:
    """Make a mistake, and see what notices it."""
    scaling = QUARTER if mistake.preset == "xception" else {}
    if mistake.claim in IN_TRAINING and mistake.preset == "b0":
        scaling = HALF
    network = resolve(mistake.preset, resolution=SIDE, **scaling)
    with made(mistake), patch.object(claims, "get_backend", backend_of):
        try:
            found = list(getattr(claims, mistake.claim)(network, seed))
        except WeightsError:
            return Caught(mistake, "weights", float("inf"), True, True)
        except (RuntimeError, ValueError):  # shapes that do not fit, inside or at an endpoint
            return Caught(mistake, "shapes", float("inf"), True, True)
        failed = [claim for claim in found if not claim.holds]
        worst = max(failed, key=lambda claim: claim.size / claim.limit, default=None)
        return Caught(
            mistake,
            "" if worst is None else worst.name,
            0.0 if worst is None else worst.size,
            False,
            _seen_on_default_initialisation(network, seed),
            _moved(network, seed) if mistake.claim == "forward" else None,
        )


def _moved(network: Network, seed: int) -> float:
    """By how much the logits of PyTorch are off, whichever family of dialects shows it more."""
    errors = []
    for dialect in (TENSORFLOW, PYTORCH):
        one = changed(network, resolution=claims.FORWARD_SIZE, dialect=asdict(dialect))
        images = structured_images(2, one.in_channels, one.resolution, seed + 1)
        logits = {}
        for name in ("torch", "keras"):
            backend = backend_of(name)
            model = backend.build(one, claims.DTYPE)
            backend.load_weights(model, calibrated(one, seed))
            logits[name] = {"logits": backend.run(model, images)}
        errors += compare_endpoints("torch", logits["keras"], logits["torch"]).errors
    return max(error.largest for error in errors)


def _seen_on_default_initialisation(network: Network, seed: int) -> bool:
    """What comparing the outputs of two models with the official initialisation would say."""
    images = structured_images(2, network.in_channels, network.resolution, seed)
    outputs = []
    for name in ("torch", "keras"):
        backend = backend_of(name)
        model = backend.build(network)
        backend.load_weights(model, initial(network, seed))
        outputs.append(backend.run(model, images))
    return not np.allclose(*outputs, **ALLCLOSE)


# ------------------------------------------------------------------ how mistakes are made


def other_network(change: Callable[[Network], Network]) -> Apply:
    """PyTorch builds another network than the one it was given."""

    def apply(stack: ExitStack) -> None:
        right = torch_impl.model_maker

        def wrong(package: str, network: Network) -> Callable[[Network], nn.Module]:
            make = right(package, network)
            return lambda n: _as(n, make(change(n)))

        stack.enter_context(patch("torch_impl.model_maker", wrong))

    return apply


def _as(network: Network, model: nn.Module) -> nn.Module:
    model.network = replace(model.network, resolution=network.resolution)
    return model


def other_blocks(change: Callable[[spec.Block], dict]) -> Apply:
    """Fields of blocks are changed."""
    return other_network(
        lambda network: replace(
            network, blocks=tuple(replace(b, **change(b)) for b in network.blocks)
        )
    )


def _stride_last(network: Network) -> Network:
    """The last block of a stage has the stride that is the first one's, and so no shortcut."""
    strides = {block.stage: block.stride for block in network.blocks if block.repeat == 0}
    blocks = []
    for block, after in zip_longest(network.blocks, network.blocks[1:]):
        is_last = after is None or after.stage != block.stage
        stride = strides[block.stage] if is_last else 1
        blocks.append(replace(block, stride=stride, has_skip=block.has_skip and stride == 1))
    return replace(network, blocks=tuple(blocks))


def other_code(target: object, name: str, code: object) -> Apply:
    """A function or method is another one."""
    return lambda stack: stack.enter_context(patch.object(target, name, code))


def other_weights(change: Callable[[dict], dict]) -> Apply:
    """Weights are loaded in another way."""

    def apply(stack: ExitStack) -> None:
        right = torch_impl.load_weights
        stack.enter_context(
            patch("torch_impl.load_weights", lambda m, w: right(m, change(dict(w))))
        )

    return apply


def add(name: str, claim: str, apply: Apply, preset: str = "b0") -> None:
    """Register a mistake that is one expression."""
    MUTATIONS.append(Mutation(name, claim, apply, preset))


# ------------------------------------------------------------------ the specification


def _dialect(**changes) -> Apply:
    return other_network(
        lambda network: replace(network, dialect=replace(network.dialect, **changes))
    )


add("epsilon 1e-5 for 1e-3", "forward", _dialect(epsilon=1e-5))
add("symmetric for SAME padding", "forward", _dialect(padding="symmetric"))
add("momentum read the wrong way round", "batch_norm", _dialect(momentum=0.01))
add(
    "squeeze width from the expanded channels",
    "forward",
    other_blocks(lambda b: {"squeezed_channels": b.expanded_channels // 4}),
)
add(
    "the seventh stage of blocks with kernel 5",
    "forward",
    other_blocks(lambda b: {"kernel": 5} if b.stage == 8 else {}),
)
add(
    "stride in the last block of a stage",
    "forward",
    other_network(_stride_last),
)
add(
    "no skip in one block",
    "forward",
    other_blocks(lambda b: {"has_skip": b.has_skip and b.role != "stages.5.blocks.1"}),
)
add(
    "ramp that ends at the full rate",
    "stochastic_depth",
    other_network(
        lambda n: replace(
            n,
            blocks=tuple(
                replace(b, drop_path_rate=b.drop_path_rate * len(n.blocks) / (len(n.blocks) - 1))
                for b in n.blocks
            ),
        )
    ),
)
add(
    "ramp over the blocks of B0",
    "stochastic_depth",
    other_network(
        lambda n: replace(
            n, blocks=tuple(replace(b, drop_path_rate=0.2 * b.index / 16) for b in n.blocks)
        )
    ),
    "b3",
)
add(
    "the same rate for every block",
    "stochastic_depth",
    other_blocks(lambda b: {"drop_path_rate": 0.2}),
)
add(
    "survival probability taken for the rate",
    "stochastic_depth",
    other_blocks(lambda b: {"drop_path_rate": 1 - b.drop_path_rate if b.index else 0.0}),
)
add(
    "no dropout before the classifier",
    "stochastic_depth",
    other_network(lambda n: replace(n, classifier=replace(n.classifier, dropout=0.0))),
)


def _scaled(**changes) -> Apply:
    def apply(stack: ExitStack) -> None:
        def change(network: Network) -> Network:
            with ExitStack() as inner:
                for name, code in changes.items():
                    inner.enter_context(patch.object(spec, name, code))
                return spec.resolve(network.name, resolution=network.resolution)

        other_network(change)(stack)

    return apply


add(
    "channels not rounded to multiples of 8",
    "forward",
    _scaled(scale_channels=lambda channels, width: int(channels * width)),
    "b2",
)
add(
    "depth rounded down",
    "forward",
    _scaled(scale_layers=lambda layers, depth: int(layers * depth)),
    "b1",
)

# ------------------------------------------------------------------ layers


def _same_lower(self: spec.Dialect, size: int, kernel: int, stride: int) -> tuple[int, int]:
    return spec.same_padding(size, kernel, stride)[::-1]


@mutation("SAME_LOWER for SAME_UPPER", "forward")
def _(stack: ExitStack) -> None:
    right = layers.Conv.forward

    def forward(self, x):
        with patch.object(spec.Dialect, "pad", _same_lower):
            return right(self, x)

    stack.enter_context(patch.object(layers.Conv, "forward", forward))


add("ReLU for swish", "forward", other_code(efficientnet, "swish", F.relu))
add("hard swish for swish", "forward", other_code(efficientnet, "swish", F.hardswish))


def _excitation(gate_of: Callable) -> Apply:
    """Squeeze-and-excitation, with another gate from the means."""

    def wrong(x, reduce, expand):
        return x * gate_of(x, reduce, expand)

    return other_code(efficientnet, "squeeze_and_excitation", wrong)


def _mean(x):
    return x.mean((2, 3), keepdim=True)


def _largest(x):
    return x.amax((2, 3), keepdim=True)


add(
    "hard sigmoid in the gate",
    "forward",
    _excitation(lambda x, reduce, expand: F.hardsigmoid(expand(F.silu(reduce(_mean(x)))))),
)
add(
    "ReLU in squeeze-and-excitation",
    "forward",
    _excitation(lambda x, reduce, expand: torch.sigmoid(expand(F.relu(reduce(_mean(x)))))),
)
add(
    "no activation in squeeze-and-excitation",
    "forward",
    _excitation(lambda x, reduce, expand: torch.sigmoid(expand(reduce(_mean(x))))),
)
add(
    "largest value for the mean in the squeeze",
    "forward",
    _excitation(
        lambda x, reduce, expand: torch.sigmoid(
            expand(F.silu(reduce(x.amax((2, 3), keepdim=True))))
        )
    ),
)
add(
    "no squeeze-and-excitation",
    "forward",
    other_code(efficientnet, "squeeze_and_excitation", lambda x, reduce, expand: x),
)


def _block(stack: ExitStack, forward: Callable) -> None:
    stack.enter_context(patch.object(MBConv, "forward", forward))


def _inner(block: MBConv, x, act=F.silu):
    if block.block.has_expansion:
        x = act(block.expand_bn(block.expand_conv(x)))
    return F.silu(block.depthwise_bn(block.depthwise_conv(x)))


def _gated(block: MBConv, x):
    return efficientnet.squeeze_and_excitation(x, block.se_reduce, block.se_expand)


@mutation("squeeze-and-excitation before the depthwise activation", "forward")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        skip = x
        if self.block.has_expansion:
            x = F.silu(self.expand_bn(self.expand_conv(x)))
        x = F.silu(_gated(self, self.depthwise_bn(self.depthwise_conv(x))))
        x = self.project_bn(self.project_conv(x))
        return self.drop_path(x) + skip if self.block.has_skip else x

    _block(stack, forward)


@mutation("squeeze-and-excitation after the projection", "forward")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        y = _gated(self, self.project_bn(self.project_conv(_inner(self, x))))
        return self.drop_path(y) + x if self.block.has_skip else y

    _block(stack, forward)


@mutation("activation after the projection", "forward")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        y = F.silu(self.project_bn(self.project_conv(_gated(self, _inner(self, x)))))
        return self.drop_path(y) + x if self.block.has_skip else y

    _block(stack, forward)


@mutation("no activation after the expansion", "forward")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        y = _gated(self, _inner(self, x, lambda value: value))
        y = self.project_bn(self.project_conv(y))
        return self.drop_path(y) + x if self.block.has_skip else y

    _block(stack, forward)


@mutation("no batch norm after the projection", "forward")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        y = self.project_conv(_gated(self, _inner(self, x)))
        return self.drop_path(y) + x if self.block.has_skip else y

    _block(stack, forward)


@mutation("stochastic depth on blocks without a skip", "stochastic_depth")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        y = self.drop_path(self.project_bn(self.project_conv(_gated(self, _inner(self, x)))))
        return y + x if self.block.has_skip else y

    _block(stack, forward)


add(
    "largest value for the mean before the classifier",
    "forward",
    other_code(
        efficientnet,
        "global_average_pool",
        lambda x, keepdims=False: x.mean((2, 3), keepdim=True) if keepdims else x.amax((2, 3)),
    ),
)


@mutation("convolutions with bias", "forward")
def _(stack: ExitStack) -> None:
    right = layers.Conv.__init__

    def init(self, *args):
        right(self, *args)
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    stack.enter_context(patch.object(layers.Conv, "__init__", init))


# ------------------------------------------------------------------ Xception


def _xception(name: str, target: type, forward: Callable) -> None:
    """Register another forward pass of one of Xception's parts."""
    MUTATIONS.append(
        Mutation(name, "forward", other_code(target, "forward", forward), preset="xception")
    )


def _beside(block: xception.XceptionBlock, skip: torch.Tensor) -> torch.Tensor:
    if block.block.has_projection:
        skip = block.shortcut_bn(block.shortcut_conv(skip))
    return skip


def _through(block: xception.XceptionBlock, x: torch.Tensor) -> torch.Tensor:
    for conv in block.separable:
        x = conv(x)
    return block.pool(x) if block.block.has_pool else x


def _chained(self, x):
    skip = _beside(self, getattr(x, "chained", x))
    y = _through(self, x) + skip
    y.chained = skip
    return y


def _separable(conv: xception.SeparableConv, x: torch.Tensor) -> torch.Tensor:
    return conv.pointwise_conv(conv.depthwise_conv(x))


def _first(conv: xception.SeparableConv, x: torch.Tensor) -> torch.Tensor:
    return F.relu(x) if conv.relu_first else x


_xception("shortcuts chained from one another", xception.XceptionBlock, _chained)
_xception(
    "shortcut from after the ReLU, as one in place leaves it",
    xception.XceptionBlock,
    lambda self, x: (
        _through(self, x) + _beside(self, F.relu(x) if self.separable[0].relu_first else x)
    ),
)
_xception(
    "no shortcuts", xception.XceptionBlock, lambda self, x: _through(self, x) + 0 * _beside(self, x)
)
_xception(
    "no batch norm in the shortcuts",
    xception.XceptionBlock,
    lambda self, x: _through(self, x) + (self.shortcut_conv(x) if self.block.has_projection else x),
)
_xception(
    "no batch norm after separable convolutions",
    xception.SeparableConv,
    lambda self, x: _separable(self, _first(self, x)),
)
_xception(
    "ReLU after separable convolutions, not before",
    xception.SeparableConv,
    lambda self, x: _first(self, self.bn(_separable(self, x))),
)
_xception(
    "ReLU between depthwise and pointwise convolution",
    xception.SeparableConv,
    lambda self, x: self.bn(self.pointwise_conv(F.relu(self.depthwise_conv(_first(self, x))))),
)
add("swish for ReLU", "forward", other_code(xception, "relu", F.silu), "xception")


@mutation("full for depthwise convolutions", "forward", "xception")
def _(stack: ExitStack) -> None:
    def init(self, channels, kernel, stride, dialect):
        layers.Conv.__init__(self, channels, channels, kernel, stride, dialect)

    stack.enter_context(patch.object(layers.DepthwiseConv, "__init__", init))


def _pooling(change: Callable) -> Apply:
    """Poolings are made in another way."""

    def apply(stack: ExitStack) -> None:
        right = layers.MaxPool.forward
        stack.enter_context(
            patch.object(layers.MaxPool, "forward", lambda self, x: change(self, x, right))
        )

    return apply


def _symmetric(self, x, right):
    with patch.object(self, "dialect", PYTORCH):
        return right(self, x)


def _mean_pool(self, x, right):
    return F.avg_pool2d(x, self.kernel, self.stride, 1)


def _zeros(self, x, right):
    pads = [self.dialect.pad(side, self.kernel, self.stride) for side in (x.shape[3], x.shape[2])]
    return F.max_pool2d(F.pad(x, [*pads[0], *pads[1]]), self.kernel, self.stride)


add("symmetric for SAME poolings", "forward", _pooling(_symmetric), "xception")
add("zeros around what is pooled", "forward", _pooling(_zeros), "xception")
add("mean for the largest in poolings", "forward", _pooling(_mean_pool), "xception")


@mutation("stem that pads", "forward", "xception")
def _(stack: ExitStack) -> None:
    right = layers.Conv.forward

    def forward(self, x):
        with patch.object(self, "padded", True):
            return right(self, x)

    stack.enter_context(patch.object(layers.Conv, "forward", forward))


# ------------------------------------------------------------------ weights


def _each(match: str, change: Callable[[np.ndarray], np.ndarray]) -> Apply:
    return other_weights(
        lambda w: {n: np.ascontiguousarray(change(a)) if match in n else a for n, a in w.items()}
    )


def _swapped(first: str, second: str) -> Apply:
    def change(weights: dict) -> dict:
        found = dict(weights)
        for name in weights:
            if name.endswith(f"bn.{first}"):
                other = name.removesuffix(first) + second
                found[name], found[other] = weights[other], weights[name]
        return found

    return other_weights(change)


add(
    "height and width exchanged in depthwise kernels",
    "forward",
    _each("depthwise_conv", lambda kernel: kernel.transpose(0, 1, 3, 2)),
)
add(
    "depthwise kernels read in Keras's order of axes",
    "forward",
    _each("depthwise_conv", lambda k: k.transpose(2, 3, 0, 1).reshape(k.shape)),
)
add(
    "kernels turned around",
    "forward",
    _each("depthwise_conv", lambda kernel: kernel[:, :, ::-1, ::-1]),
)
add(
    "classifier transposed in place",
    "forward",
    _each("classifier.weight", lambda kernel: kernel.T.reshape(kernel.shape)),
)
add("batch-norm mean and variance exchanged", "forward", _swapped("mean", "variance"))
add("batch-norm scale and bias exchanged", "forward", _swapped("scale", "bias"))
add("blue, green, red", "forward", _each("stem.conv.weight", lambda kernel: kernel[:, ::-1]))

# ------------------------------------------------------------------ training


@mutation("running variance with n / (n - 1)", "batch_norm")
def _(stack: ExitStack) -> None:
    right = layers.BatchNorm.forward

    def forward(self, x):
        if not self.training:
            return right(self, x)
        tensors = (self.mean, self.variance, self.scale, self.bias)
        return F.batch_norm(x, *tensors, True, 1 - self.momentum, self.epsilon)

    stack.enter_context(patch.object(layers.BatchNorm, "forward", forward))


@mutation("running statistics used in training", "gradients")
def _(stack: ExitStack) -> None:
    def forward(self, x):
        return F.batch_norm(x, self.mean, self.variance, self.scale, self.bias, eps=self.epsilon)

    stack.enter_context(patch.object(layers.BatchNorm, "forward", forward))


def _dropping(forward: Callable) -> Apply:
    return other_code(efficientnet.StochasticDepth, "forward", forward)


def _noise(x, shape, rate):
    return F.dropout(x.new_ones(shape), rate)


add(
    "stochastic depth per batch",
    "stochastic_depth",
    _dropping(lambda self, x: x * _noise(x, (1, 1, 1, 1), self.p) if self.training else x),
)
add(
    "stochastic depth without rescaling",
    "stochastic_depth",
    _dropping(
        lambda self, x: x * (torch.rand(len(x), 1, 1, 1).to(x) >= self.p) if self.training else x
    ),
)
add(
    "element-wise dropout for stochastic depth",
    "stochastic_depth",
    _dropping(lambda self, x: F.dropout(x, self.p, self.training)),
)
add(
    "stochastic depth left on in inference",
    "forward",
    _dropping(lambda self, x: x * _noise(x, (len(x), 1, 1, 1), self.p)),
)
add(
    "label smoothing on one side",
    "gradients",
    other_code(TRAIN, "cross_entropy", lambda x, y, _: F.cross_entropy(x, y)),
)
add(
    "smoothing shared among the other classes",
    "gradients",
    other_code(
        TRAIN,
        "cross_entropy",
        lambda x, y, s: F.cross_entropy(x, y, label_smoothing=s * x.shape[1] / (x.shape[1] - 1)),
    ),
)
add(
    "sum for mean of the losses",
    "gradients",
    other_code(
        TRAIN,
        "cross_entropy",
        lambda x, y, s: F.cross_entropy(x, y, label_smoothing=s, reduction="sum"),
    ),
)


def _rmsprop(rule: Callable) -> Apply:
    def update_step(self, gradient, parameter, rate):
        state = self.state[parameter]
        if not state:
            state["square"] = torch.ones_like(parameter)
            state["momentum"] = torch.zeros_like(parameter)
        rule(self, gradient, parameter, rate, state)

    return other_code(optimizer.RMSProp, "update_step", update_step)


def _right_rule(self, gradient, p, rate, state, epsilon_inside=True, rate_inside=True):
    square, momentum = state["square"], state["momentum"]
    square += (1 - self.decay) * (gradient * gradient - square)
    root = (square + self.epsilon) ** 0.5 if epsilon_inside else square**0.5 + self.epsilon
    momentum *= self.momentum
    momentum += (rate if rate_inside else 1) * gradient / root
    p -= momentum if rate_inside else rate * momentum


def _from_zero(self, gradient, p, rate, state):
    if "begun" not in state:
        state["square"], state["begun"] = torch.zeros_like(p), True
    _right_rule(self, gradient, p, rate, state)


def _decoupled(self, gradient, p, rate, state):
    decay = next(g["weight_decay"] for g in self.param_groups if any(p is q for q in g["params"]))
    _right_rule(self, p.grad, p, rate, state)
    p -= rate * decay * p


add("RMSProp's accumulator from zero", "optimizers", _rmsprop(_from_zero))
add(
    "RMSProp's epsilon outside the root",
    "optimizers",
    _rmsprop(lambda *arguments: _right_rule(*arguments, epsilon_inside=False)),
)
add(
    "learning rate outside RMSProp's buffer",
    "optimizers",
    _rmsprop(lambda *arguments: _right_rule(*arguments, rate_inside=False)),
)
add(
    "decoupled weight decay",
    "optimizers",
    _rmsprop(_decoupled),
)
add(
    "weight decay for kernels only",
    "optimizers",
    other_code(optimizer, "is_decayed", lambda name: name.endswith("weight")),
)
add(
    "weight decay for batch norm too",
    "optimizers",
    other_code(optimizer, "is_decayed", lambda name: True),
)
add(
    "moving average without warm-up",
    "optimizers",
    other_code(optimizer, "average_decay", lambda step, decay: decay),
)


@mutation("moving average without batch-norm statistics", "optimizers")
def _(stack: ExitStack) -> None:
    right = optimizer.MovingAverage.update

    def update(self):
        kept = {n: a.clone() for n, a in self.values.items() if n.endswith((".mean", ".variance"))}
        right(self)
        self.values.update(kept)

    stack.enter_context(patch.object(optimizer.MovingAverage, "update", update))


@mutation("decay counted from the end of the warm-up", "optimizers")
def _(stack: ExitStack) -> None:
    right = optimizer.RMSProp.step

    def step(self):
        schedule = self.schedule
        late = max(0, self.steps - schedule.warmup)
        self.schedule = (
            schedule
            if self.steps < schedule.warmup
            else lambda _: Exponential(schedule.base, schedule.factor, schedule.every)(late)
        )
        try:
            right(self)
        finally:
            self.schedule = schedule

    stack.enter_context(patch.object(optimizer.RMSProp, "step", step))


# ------------------------------------------------------------------ initialisation


def _drawn(change: Callable[[nn.Module], None], kind: type) -> Apply:
    """Kernels of one kind are drawn in another way."""

    def apply(stack: ExitStack) -> None:
        right = kind.__init__

        def init(self, *args):
            right(self, *args)
            with torch.no_grad():
                change(self)

        stack.enter_context(patch.object(kind, "__init__", init))

    return apply


add(
    "fan-out of depthwise kernels without groups",
    "initialisation",
    _drawn(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_out"), layers.DepthwiseConv),
)
add(
    "normal with standard deviation 0.02 everywhere",
    "initialisation",
    _drawn(lambda m: nn.init.normal_(m.weight, std=0.02), layers.Conv),
)
add(
    "PyTorch's default initialisation",
    "initialisation",
    _drawn(lambda m: m.reset_parameters(), efficientnet.PointwiseConv),
)
add(
    "kernels drawn by fan-in",
    "initialisation",
    _drawn(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_in"), layers.Conv),
)
add(
    "classifier drawn with the fan-in's bound",
    "initialisation",
    _drawn(lambda m: m.reset_parameters(), layers.Classifier),
)
