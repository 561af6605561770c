"""From an image file to what a network expects of it.

Libraries agree on the network and not on the image: what is cut off, how it is resized and what it
is normalised by are data of a `Family` of weights, and two functions apply it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.errors import RosettaError, UnreadableImageError
from common.recipe import Augmentation
from common.spec import EFFICIENTNET, Network, Size
from common.xception import XCEPTION

if TYPE_CHECKING:
    from PIL import Image

PHOTOGRAPH = Path(__file__).parent / "assets" / "photograph.jpg"  # see assets/README.md
# Of ImageNet's red, green and blue, on a scale of 0 to 1.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

ORIENTATION = 0x0112  # of EXIF
CROP_ATTEMPTS = 10  # preprocessing.py of the released code
CROP_FRACTION = 0.875  # of evaluation, there
CROP_PADDING = 32  # pixels of evaluation, in that code when the paper came out
TABLE_STEPS = 1024  # resize_bicubic_op.cc: TensorFlow's weights are those of the nearest step
SPLINE_POLE = math.sqrt(3) - 2  # of the cubic B-spline's inverse, which falls by it a pixel
SPLINE_REACH = 20  # pixels, after which that is 4e-12
BLUR_REACH = 4.0  # standard deviations of scipy's Gaussian

# Eigenvectors (columns) and eigenvalues of ImageNet's RGB values on a scale of 0 to 1, for the
# noise of AlexNet, section 4.1; the numbers are those that fb.resnet.torch published.
PRINCIPAL_COLOURS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)
PRINCIPAL_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOURS = ("hue", "saturation", "brightness", "pca_noise")  # fields of Augmentation
# Luminance of linear combinations of red, green and blue (ITU-R BT.601), as Pillow has it.
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Normalization:
    """What an image is given to a network as: (RGB / 255 - mean) / std, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in v) for v in (self.mean, self.std))
        return f"RGB / 255, mean {mean}, standard deviation {std}"


IMAGENET = Normalization(tuple(IMAGENET_MEAN.tolist()), tuple(IMAGENET_STD.tolist()))
INCEPTION = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # -1 to 1; AdvProp's too
RAW = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # 0 to 255 as it is


def photograph(path: str | Path, network: Network) -> np.ndarray:
    """An image as a network takes it, (C, H, W): red, green, blue and over again for C > 3.

    Raises:
        RosettaError: as `load_image`.
    """
    image = load_image(path, network.resolution)
    return image[np.arange(network.in_channels) % len(image)]


def upright(image: Image.Image) -> Image.Image:
    """An image turned and mirrored as its EXIF says; the rest of that is not looked at."""
    from PIL import Image

    turns = Image.Transpose
    ways = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    way = ways.get(image.getexif().get(ORIENTATION))
    return image if way is None else image.transpose(way)


def unreadable(name: str | Path, error: Exception) -> UnreadableImageError:
    """What to say of whatever a decoder raised on a damaged file, which is anything at all."""
    from PIL import UnidentifiedImageError

    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # names an object in memory
        reason = "in no known format"
    return UnreadableImageError(f"{name}: cannot be read as an image ({reason})")


def load_image(path: str | Path, size: Size) -> np.ndarray:
    """Centre crop of the shape of `size`, bicubic resize, normalization: (3, H, W), float64.

    Raises:
        RosettaError: not there, not an image, or too large to decode.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise RosettaError(
            f"{path}: reading images needs pillow; run: pip install 'efficientnet-rosetta[onnx]'"
        ) from None
    if not Path(path).is_file():
        raise RosettaError(f"{path}: no such file")
    try:
        with Image.open(path) as opened:
            image = upright(opened).convert("RGB")
            pixels = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))
    except Exception as error:
        raise unreadable(path, error) from None
    return ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)


# ------------------------------------------------------------------ what part of an image is seen


@dataclass(frozen=True)
class Fitting:
    """A box of an image is resized to a size, of which the wanted part is kept."""

    box: Box
    size: Size
    corner: tuple[int, int] = (0, 0)  # top and left of what is kept


@dataclass(frozen=True)
class Centre:
    """The largest centre of the wanted aspect, times `share`: not rounded to whole pixels."""

    share: float

    def fit(self, image: Size, size: Size) -> Fitting:
        """Where an image of a shape is cut, for a size."""
        height, width = image
        scale = min(side / (wanted / self.share) for side, wanted in zip(image, size, strict=True))
        rows, columns = (wanted * scale for wanted in size)
        top, left = (height - rows) / 2, (width - columns) / 2
        return Fitting((left, top, left + columns, top + rows), size)


@dataclass(frozen=True)
class CropFirst:
    """Whole pixels are cut out, then resized: size / (size + padding) of the largest centre.

    The padding is a number of pixels, or what a fraction of the padded size leaves, rounded.
    """

    padding: int = 0
    fraction: float | None = None
    odd_before: bool = False  # which side loses more where the two cannot lose the same

    def fit(self, image: Size, size: Size) -> Fitting:
        """Where an image of a shape is cut, for a size."""
        side, wanted = min(zip(image, size, strict=True), key=lambda pair: pair[0] / pair[1])
        rows, columns = (
            max(1, side * length * length // (wanted * (length + self._padding(length))))
            for length in size
        )
        top, left = (
            (whole - part + self.odd_before) // 2
            for whole, part in zip(image, (rows, columns), strict=True)
        )
        return Fitting((left, top, left + columns, top + rows), size)

    def _padding(self, length: int) -> int:
        if self.fraction is None:
            return self.padding
        return round(length * (1 / self.fraction - 1))


@dataclass(frozen=True)
class ResizeFirst:
    """The shorter side is resized to an edge, then the centre of whole pixels is cut out.

    The edge of a size is what `edges` has for it, or size / fraction + padding.
    """

    fraction: float = 1.0
    padding: int = 0
    edges: Mapping[int, int] = field(default_factory=dict, hash=False)

    def fit(self, image: Size, size: Size) -> Fitting:
        """What an image of a shape is resized to, and where that is cut, for a size."""
        edges = [self._edge(length) for length in size]
        edge, side = max(zip(edges, image, strict=True), key=lambda pair: pair[0] / pair[1])
        height, width = (edge * length // side for length in image)
        top, left = (
            round((whole - part) / 2) for whole, part in zip((height, width), size, strict=True)
        )
        return Fitting(_whole(image), (height, width), (top, left))

    def _edge(self, length: int) -> int:
        return self.edges.get(length, math.floor(length / self.fraction) + self.padding)


@dataclass(frozen=True)
class Squash:
    """The whole image, whatever its aspect."""

    def fit(self, image: Size, size: Size) -> Fitting:
        """Nothing is cut off an image of any shape."""
        return Fitting(_whole(image), size)


def _whole(image: Size) -> Box:
    height, width = image
    return 0.0, 0.0, float(width), float(height)


@dataclass(frozen=True)
class Interpolation:
    """A kernel, and whose rules it is applied by: the same name is not the same thing.

    - pillow: antialiased, but for "nearest"; rounded to whole levels from 0 to 255.
    - tensorflow1: `resize_bicubic` of a = -0.75, pixels being points on the integers of a grid; not
      antialiased, nor kept between 0 and 255.
    - tensorflow: `tf.image.resize`, bicubic of a = -0.5 and pixels that are squares; not kept there
      either.
    - keras: the same, rounded as the `Resizing` layer does with integers.
    - scikit-image: a blur, and the cubic spline through all pixels; kept within the image's range.
    """

    rules: Literal["pillow", "tensorflow1", "tensorflow", "keras", "scikit-image"] = "pillow"
    # "bilinear" for pillow, tensorflow and keras only, "nearest" for pillow only.
    kernel: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    antialias: bool = True  # asked of tensorflow and keras only


# ------------------------------------------------------------------ families of weights


@dataclass(frozen=True)
class Family:
    """Weights that see images alike, and how; `source` says where the numbers are from."""

    name: str
    layout: str  # of common.layouts
    fit: Centre | CropFirst | ResizeFirst | Squash
    source: str
    interpolation: Interpolation = Interpolation()
    normalization: Normalization = IMAGENET
    graph_normalises: bool = False  # the library's own graph begins with the normalization
    architecture: str = EFFICIENTNET.name

    @property
    def fed(self) -> Normalization:
        """What the library's own graph is given: RGB from 0 to 255 if it normalises by itself."""
        return RAW if self.graph_normalises else self.normalization


_TENSORFLOW_1 = Interpolation("tensorflow1", antialias=False)
_PAPER = CropFirst(padding=CROP_PADDING, odd_before=True)
_ADVPROP = "eval_ckpt_main.py there: x * 2 / 255 - 1"

OFFICIAL = Family(
    name="official",
    layout="canonical",
    fit=Centre(CROP_FRACTION),
    source="ours: the released code's fraction, by Pillow",
)
_TPU = Family(
    name="tpu",
    layout="tpu",
    fit=CropFirst(fraction=CROP_FRACTION, odd_before=True),
    interpolation=_TENSORFLOW_1,
    source="tensorflow/tpu, efficientnet/preprocessing.py and main.py",
)
_TIMM_TF = Family(
    name="timm-tf",
    layout="timm-tf",
    # Its fractions are the paper's padding in three digits, which at two sizes are a pixel off.
    fit=ResizeFirst(padding=CROP_PADDING, edges={300: 331, 800: 833}),
    source="crop_pct of timm's tf_efficientnet_*",
)
_TIMM = Family(
    name="timm",
    layout="timm",
    fit=ResizeFirst(CROP_FRACTION),
    source="timm's efficientnet_*, whose crop_pct is the default",
)
_TORCHVISION = Family(
    name="torchvision",
    layout="torchvision",
    # Other sizes are as 224.
    fit=ResizeFirst(
        224 / 256,
        edges={224: 256, 240: 256, 288: 288, 300: 320, 380: 384, 456: 456, 528: 528, 600: 600},
    ),
    source="transforms of torchvision's EfficientNet_B*_Weights.IMAGENET1K_V1",
)
_EFFICIENTNET_PYTORCH = Family(
    name="efficientnet-pytorch",
    layout="efficientnet-pytorch",
    fit=ResizeFirst(),
    source="lukemelas/EfficientNet-PyTorch, examples/imagenet/main.py",
)
_TRANSFORMERS = Family(
    name="transformers",
    layout="transformers",
    fit=Squash(),
    source="EfficientNetImageProcessor; it divides by the root of the deviation twice",
)
_EFFICIENTNET_JAX = Family(
    name="efficientnet-jax",
    layout="efficientnet-jax",
    fit=_PAPER,
    interpolation=Interpolation("tensorflow"),
    source="rwightman/efficientnet-jax, jeffnet/data/tf_input_pipeline.py",
)

_XCEPTION = Family(
    name="keras-applications-xception",
    layout="keras-applications",
    fit=Centre(CROP_FRACTION),
    normalization=INCEPTION,
    architecture=XCEPTION.name,
    source="preprocess_input, which does not crop; the fraction of Inception's code, by Pillow",
)

# The first of a layout is the one that a file of that layout belongs to if it says nothing else.
FAMILIES = {
    family.name: family
    for family in (
        OFFICIAL,
        _TPU,
        replace(_TPU, name="tpu-paper", fit=_PAPER, source="the same when the paper came out"),
        replace(_TPU, name="tpu-advprop", normalization=INCEPTION, source=_ADVPROP),
        _TIMM_TF,
        replace(_TIMM_TF, name="timm-tf-ap", normalization=INCEPTION, source="its tags ap_in1k"),
        _TIMM,
        replace(_TIMM, name="timm-test", fit=ResizeFirst(), source="test_crop_pct, at test sizes"),
        replace(
            _TIMM,
            name="timm-ra4",
            fit=ResizeFirst(0.9),
            normalization=INCEPTION,
            source="its tags ra4_e3600",
        ),
        replace(_TIMM, name="timm-sw-in12k", fit=ResizeFirst(0.95), source="its tag sw_in12k"),
        replace(_TIMM, name="timm-sw-in12k-ft", fit=Squash(), source="its tag sw_in12k_ft_in1k"),
        _TORCHVISION,
        replace(
            _TORCHVISION,
            name="torchvision-b1-v2",
            fit=ResizeFirst(240 / 255, edges={240: 255}),
            interpolation=Interpolation(kernel="bilinear"),
            source="EfficientNet_B1_Weights.IMAGENET1K_V2",
        ),
        _EFFICIENTNET_PYTORCH,
        replace(
            _EFFICIENTNET_PYTORCH,
            name="efficientnet-pytorch-advprop",
            normalization=INCEPTION,
            source="the same, --advprop",
        ),
        _TRANSFORMERS,
        replace(
            _TRANSFORMERS,
            name="transformers-nearest",
            interpolation=Interpolation(kernel="nearest"),
            source="its default until transformers pull request 42956, in files from before",
        ),
        Family(
            name="keras-applications",
            layout="keras-applications",
            fit=_PAPER,
            interpolation=_TENSORFLOW_1,
            graph_normalises=True,
            source="the library has no transform; its weights are the paper's",
        ),
        Family(
            name="qubvel",
            layout="qubvel",
            fit=_PAPER,
            interpolation=Interpolation("scikit-image"),
            source="qubvel's efficientnet/preprocessing.py",
        ),
        Family(
            name="keras-hub",
            layout="keras-hub",
            fit=CropFirst(),
            interpolation=Interpolation("keras", antialias=False),
            source="keras_hub's ImageConverter, as its loader of timm's presets makes it",
        ),
        Family(
            name="kecam",
            layout="kecam",
            fit=CropFirst(),
            interpolation=Interpolation("tensorflow"),
            source="keras_cv_attention_models, imagenet/eval_func.py",
        ),
        _EFFICIENTNET_JAX,
        replace(
            _EFFICIENTNET_JAX,
            name="efficientnet-jax-ap",
            normalization=INCEPTION,
            source="its models *_ap",
        ),
        replace(
            _EFFICIENTNET_PYTORCH,
            name="smp",
            layout="smp",
            source="segmentation_models_pytorch only normalises; as efficientnet-pytorch",
        ),
        _XCEPTION,
        replace(
            _XCEPTION,
            name="keras-hub-xception",
            layout="keras-hub",
            fit=CropFirst(),
            interpolation=Interpolation("keras", "bilinear", antialias=False),
            source="keras_hub, tools/checkpoint_conversion/convert_xception_checkpoints.py",
        ),
        replace(
            _XCEPTION,
            name="timm-xception",
            layout="timm",
            fit=ResizeFirst(0.8975),
            source="crop_pct of timm's legacy_xception",
        ),
    )
}


def family_of(
    layouts: Sequence[str],
    normalization: Normalization | None,
    architecture: str = EFFICIENTNET.name,
) -> Family:
    """The family of a file by the names of its layouts, the first of which counts.

    What a file states it was normalised by wins over what its layout's files usually are.

    Raises:
        RosettaError: no such layout, or no normalization of RGB.
    """
    of_layout = [
        family
        for family in FAMILIES.values()
        # What we trained, or wrote, sees images as we do, whatever it is.
        if family.layout in layouts[:1]
        and (family is OFFICIAL or family.architecture == architecture)
    ]
    if not of_layout:
        known = dict.fromkeys(family.layout for family in FAMILIES.values())
        raise RosettaError(
            f"no transforms are known of layout {', '.join(layouts)!r}; "
            f"choose from {', '.join(known)}"
        )
    if normalization is None:
        return of_layout[0]
    _check_normalization(normalization)
    alike = (family for family in of_layout if family.normalization == normalization)
    return next(alike, replace(of_layout[0], normalization=normalization))


def _check_normalization(normalization: Normalization) -> None:
    mean, std = (np.array(values) for values in (normalization.mean, normalization.std))
    if any(len(values) not in (1, 3) for values in (mean, std)):
        raise RosettaError(f"{normalization}: has not one number for each of red, green and blue")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise RosettaError(f"{normalization}: is not finite, or divides by zero")


# ------------------------------------------------------------------ evaluation and training


def evaluation_image(pixels: np.ndarray, size: Size, family: Family = OFFICIAL) -> np.ndarray:
    """An image (H, W, 3) of uint8 as a family evaluates it: (3, h, w) of float32, normalised.

    Raises:
        RosettaError: these are no such pixels.
    """
    _check_pixels(pixels)
    fitting = family.fit.fit(pixels.shape[:2], size)
    resized = _resized(pixels, fitting.box, fitting.size, family.interpolation)
    (top, left), (height, width) = fitting.corner, size
    kept = resized[top : top + height, left : left + width]
    return normalised(kept, family.normalization)


def training_image(
    pixels: np.ndarray,
    size: Size,
    augmentation: Augmentation,
    random: np.random.Generator,
    family: Family = OFFICIAL,
) -> np.ndarray:
    """A random variant of an image (H, W, 3) of uint8: (3, h, w) of float32, normalised.

    A family trains on its own interpolation and normalization; what is cut out is random.

    Raises:
        RosettaError: these are no such pixels.
    """
    _check_pixels(pixels)
    height, width = pixels.shape[:2]
    box = _whole((height, width))
    if augmentation.crop_area is not None:
        box = _random_box(width, height, augmentation, random)
    image = _resized(pixels, box, size, family.interpolation)
    if augmentation.flip and random.random() < 0.5:
        image = image[:, ::-1]
    if augmentation.rotation is not None:
        image = _rotated(image, random.uniform(-augmentation.rotation, augmentation.rotation))
    return normalised(_coloured(image, augmentation, random), family.normalization)


def normalised(image: np.ndarray, normalization: Normalization = IMAGENET) -> np.ndarray:
    """(H, W, 3) from 0 to 255 -> (3, H, W) of float32: the mean is 0, the deviation 1."""
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    return ((image / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise RosettaError(
            f"an image of shape {pixels.shape} and {pixels.dtype}; "
            "it must be (height, width, 3) of uint8"
        )


def _levels(image: np.ndarray) -> np.ndarray:
    """The nearest whole levels from 0 to 255, as uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------ interpolation


def _resized(pixels: np.ndarray, box: Box, size: Size, how: Interpolation) -> np.ndarray:
    """A box of (H, W, 3) at a size, from 0 to 255: uint8 where the rules round, or float64."""
    if how.rules == "pillow":
        from PIL import Image

        kernel = Image.Resampling[how.kernel.upper()]
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], kernel, box))
    part = _cut(pixels, box)
    height, width = size
    rows = _resampled(part.astype(np.float64), height, how).swapaxes(0, 1)
    image = _resampled(rows, width, how).swapaxes(0, 1)
    if how.rules == "scikit-image":
        return np.clip(image, part.min(), part.max())
    return _levels(image) if how.rules == "keras" else image


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    """The whole pixels nearest to a box, and at least one."""
    left, top, right, bottom = map(round, box)
    left, top = min(left, pixels.shape[1] - 1), min(top, pixels.shape[0] - 1)
    return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]


def _resampled(lines: np.ndarray, wanted: int, how: Interpolation) -> np.ndarray:
    """(n, ...) -> (wanted, ...), each a weighted mean of lines near it."""
    if how.rules == "tensorflow1":
        return _mixed(lines, *_tensorflow1(len(lines), wanted))
    if how.rules == "scikit-image":
        blurred = _mixed(lines, *_blur(len(lines), wanted))
        return _mixed(blurred, *_spline(len(lines), wanted))
    return _mixed(lines, *_tensorflow(len(lines), wanted, how))


def _mixed(lines: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of lines (n, ...) at indices (m, taps) by weights (m, taps): (m, ...)."""
    mixed = np.zeros((len(indices), *lines.shape[1:]))
    for index, weight in zip(indices.T, weights.T, strict=True):
        mixed += weight.reshape(-1, *[1] * (lines.ndim - 1)) * lines[index]
    return mixed


def _tensorflow1(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, 4) of resize_bicubic without half_pixel_centers.

    Beyond the border the last pixel goes on; single precision decides between two neighbours.
    """
    place = np.arange(wanted, dtype=np.float32) * (np.float32(side) / np.float32(wanted))
    first = np.floor(place)
    step = np.rint((place - first) * TABLE_STEPS) / TABLE_STEPS
    offsets = np.arange(-1, 3)
    indices = np.clip(first[:, None].astype(int) + offsets, 0, side - 1)
    return indices, _keys(step[:, None].astype(np.float64) - offsets, -0.75)


def _tensorflow(side: int, wanted: int, how: Interpolation) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, taps) of tf.image.resize; beyond the border is nothing.

    As in TensorFlow 1, single precision decides, and bicubic has steps where it does not antialias.
    """
    is_cubic = how.kernel == "bicubic"
    stretch = max(side / wanted, 1.0) if how.antialias else 1.0
    scale = np.float32(side) / np.float32(wanted)
    place = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(place)
    part = place - first
    if is_cubic and not how.antialias:
        part = np.rint(part * TABLE_STEPS) / TABLE_STEPS
    reach = math.ceil(2 * stretch)
    offsets = np.arange(-reach, reach + 2)
    indices = first[:, None].astype(int) + offsets
    distance = (offsets - part[:, None].astype(np.float64)) / stretch
    weights = _keys(distance, -0.5) if is_cubic else np.maximum(1 - np.abs(distance), 0.0)
    weights = np.where((indices >= 0) & (indices < side), weights, 0.0)
    return np.clip(indices, 0, side - 1), weights / weights.sum(1, keepdims=True)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """The kernel of cubic convolution (Keys 1981, who has a = -0.5)."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _blur(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (side, taps) of scikit-image's Gaussian before it makes less of them."""
    sigma = max(0.0, (side / wanted - 1) / 2)
    reach = int(BLUR_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    indices = np.arange(side)[:, None] + offsets
    return _mirrored(indices, side), np.broadcast_to(weights / weights.sum(), indices.shape)


def _spline(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, taps) of the cubic spline through all lines."""
    place = (np.arange(wanted) + 0.5) * side / wanted - 0.5
    indices = np.floor(place)[:, None].astype(int) + np.arange(-SPLINE_REACH, SPLINE_REACH + 1)
    return _mirrored(indices, side), _cardinal(indices - place[:, None])


def _cardinal(distance: np.ndarray) -> np.ndarray:
    """The cubic spline that is 1 at 0 and 0 at every other whole number."""
    shifts = np.arange(-SPLINE_REACH, SPLINE_REACH + 1)
    inverse = math.sqrt(3) * SPLINE_POLE ** np.abs(shifts)
    x = np.abs(distance[..., None] - shifts)
    bell = np.where(x < 1, 2 / 3 - x * x + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6)
    return bell @ inverse


def _mirrored(indices: np.ndarray, side: int) -> np.ndarray:
    """Indices beyond the border, reflected at the centres of the outermost lines."""
    period = max(2 * (side - 1), 1)
    inside = np.abs(indices) % period
    return np.minimum(inside, period - inside)


# ------------------------------------------------------------------ random changes


def _random_box(
    width: int, height: int, augmentation: Augmentation, random: np.random.Generator
) -> Box:
    """A part of random area and aspect; the largest centre of a possible aspect if none fits."""
    low, high = augmentation.crop_aspect
    for _ in range(CROP_ATTEMPTS):
        area = random.uniform(*augmentation.crop_area) * width * height
        aspect = math.exp(random.uniform(math.log(low), math.log(high)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = random.uniform(0, width - w), random.uniform(0, height - h)
            return left, top, left + w, top + h
    aspect = min(max(width / height, low), high)
    w, h = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def _rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    from PIL import Image

    levels = Image.fromarray(np.ascontiguousarray(_levels(image)))
    turned = levels.rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)


def _coloured(
    image: np.ndarray, augmentation: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """Hue, saturation, brightness and colour noise, in this order: (H, W, 3), 0 to 255.

    What overshoots that range in resizing is left as it is where no colour is changed.
    """
    if all(getattr(augmentation, part) is None for part in COLOURS):
        return image
    image = image.astype(np.float64)
    if augmentation.hue is not None:
        image = _turned_hue(image, random.uniform(-augmentation.hue, augmentation.hue))
    if augmentation.saturation is not None:
        grey = (image @ LUMINANCE)[..., None]
        image = grey + random.uniform(*augmentation.saturation) * (image - grey)
    if augmentation.brightness is not None:
        image = image * random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness)
    if augmentation.pca_noise is not None:
        coefficients = random.normal(0, augmentation.pca_noise, 3) * PRINCIPAL_VALUES
        image = image + 255 * (PRINCIPAL_COLOURS @ coefficients)
    return np.clip(image, 0, 255)


def _turned_hue(image: np.ndarray, share: float) -> np.ndarray:
    """Colours turned around the grey axis by a share of the circle, at the same luminance."""
    angle = 2 * math.pi * share
    axis = np.ones(3) / math.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross
    turn += (1 - np.cos(angle)) * np.outer(axis, axis)
    turned = image @ turn.T
    return turned + ((image - turned) @ LUMINANCE)[..., None]
