"""The layouts of zeromodels: its own keys, told apart from those of other libraries on Keras.

Nothing here runs a network, so that no framework is needed.
"""

from hashlib import sha256
from itertools import product

import numpy as np
import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor, read, write
from efficientnet_rosetta.common.checkpoints.formats.checkpoint import Content
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.layouts.schema import BY_NAME
from efficientnet_rosetta.common.checkpoints.recognition import readings
from efficientnet_rosetta.common.errors import FileError, UnfaithfulError
from efficientnet_rosetta.common.weights.canonical import save

# How many tensors the files of zeromodels 1.3.6 have, and the first digits of the SHA-256 of their
# sorted lines "name shape": of `model.save` to .h5, and of .weights.h5.
DIGESTS = {
    "b0": ("311 e590440d77ad", "311 97bd9a2a9c62"),
    "b1": ("439 92b4a951317e", "439 8ee0f659e388"),
    "b2": ("439 4d97d6450a8d", "439 ceca2bc95fc4"),
    "b3": ("496 1dd9a0b55ce7", "496 572296f9ce9b"),
    "b4": ("610 e8c04ec1f3d0", "610 659a7846442e"),
    "b5": ("738 824dba5769f1", "738 54575705a619"),
    "b6": ("852 6479b1e56267", "852 38b647226993"),
    "b7": ("1037 364249cb4321", "1037 01434ee8981c"),
    "b8": ("1151 c44fa8b7309d", "1151 1306a7402499"),
    "l2": ("1654 6d00348f5563", "1654 5154bcde05dd"),
    "lite0": ("247 39e5ab1d5d88", "247 25f4dbf40361"),
    "lite1": ("322 74ae62bc08e8", "322 5d0eefbcc2a5"),
    "lite2": ("322 afae8a02cb69", "322 7fe24bf72b4c"),
    "lite3": ("367 0df44bc11c53", "367 ef0e67267435"),
    "lite4": ("457 dda16b2e78aa", "457 84fa8b90604b"),
    "v2-b0": ("361 06bd67d3584f", "361 98bdc7cd5451"),
    "v2-b1": ("443 8d6b56af5ee3", "443 ed33efbbef23"),
    "v2-b2": ("462 194d28a38c6c", "462 9b4eecebd0f0"),
    "v2-b3": ("538 9e3887230745", "538 461558eee44a"),
    "v2-s": ("672 03df08d3c558", "672 2e77d07230e9"),
    "v2-m": ("963 53ef19c204fd", "963 7585713ab1ff"),
    "v2-l": ("1331 edad92569d47", "1331 abd5aeed5740"),
    "v2-xl": ("1712 9fe843d0c0e5", "1712 47b515736e9e"),
}
SMALLEST = ("b0", "lite0", "v2-b0")
ALL = [
    pytest.param(preset, marks=[] if preset in SMALLEST else pytest.mark.slow) for preset in DIGESTS
]


def digest(shapes):
    """The number of tensors and a mark of their keys and shapes."""
    found = sorted(f"{key} {','.join(map(str, shape))}" for key, shape in shapes.items())
    return f"{len(found)} {sha256(chr(10).join(found).encode()).hexdigest()[:12]}"


def shapes_of(form, network):
    return {
        key.path: tuple(network.tensors[name][axis] for axis in key.axes)
        for name, key in form.keys(network).items()
    }


@pytest.mark.parametrize("preset", DIGESTS)
def test_keys_and_shapes_are_the_librarys_own(preset):
    forms, network = layout_of("zeromodels", preset).forms, resolve(preset)
    found = tuple(digest(shapes_of(forms[kind], network)) for kind in ("h5", "weights.h5"))
    assert found == DIGESTS[preset]
    assert forms["keras"] is forms["weights.h5"]


@pytest.mark.parametrize("preset", ALL)
def test_a_file_is_of_one_network_only(preset):
    layout, zero = layout_of("zeromodels", preset), np.zeros((), np.float32)
    for kind in (BY_NAME, "h5"):
        assert layout.forms_of(kind)
        for form in layout.forms_of(kind):
            for classes in (1000, None):
                shapes = shapes_of(form, resolve(preset, num_classes=classes))
                tensors = {k: LazyTensor.of(k, np.broadcast_to(zero, s)) for k, s in shapes.items()}
                found = {(one.layout.name, one.network.name) for one in readings(kind, tensors)}
                assert found == {("zeromodels", preset)}


def random_file(preset, folder, **options):
    """A canonical file of random weights."""
    network = resolve(preset, **options)
    random = np.random.default_rng(0)
    weights = {n: random.random(shape, np.float32) for n, shape in network.tensors.items()}
    save(folder / f"{preset}.safetensors", network, weights)
    return folder / f"{preset}.safetensors"


QUICK = [("lite0", "weights.h5"), ("v2-b0", "keras")]  # b0 is tried with all other layouts
WAYS = [
    pytest.param(*way, marks=[] if way in QUICK else pytest.mark.slow)
    for way in product(DIGESTS, ("h5", "weights.h5", "keras"))
]


@pytest.mark.parametrize(("preset", "suffix"), WAYS)
def test_there_and_back(preset, suffix, tmp_path):
    source = random_file(preset, tmp_path, num_classes=7)
    there = rosetta.port(source, tmp_path / f"x.{suffix}", "zeromodels", run=False)
    found = rosetta.inspect(there.destination)
    assert (found.layouts, found.preset, found.num_classes) == (("zeromodels",), preset, 7)
    assert (found.dialect, found.fingerprint) == (there.dialect, there.fingerprint)
    back = rosetta.port(there.destination, tmp_path / "back.pth", "timm-tf", run=False)
    assert (back.fingerprint, back.verified, back.faithful) == (there.fingerprint, True, True)


@pytest.mark.parametrize(
    ("preset", "others"), [("lite0", "keras-hub"), ("v2-b0", "keras-applications")]
)
def test_counters_without_names_are_another_librarys(preset, others, tmp_path):
    """Keras writes the names since before zeromodels was published."""
    source = random_file(preset, tmp_path, num_classes=None)
    path = tmp_path / "named.weights.h5"
    rosetta.port(source, path, "zeromodels", run=False)
    assert rosetta.inspect(path).layouts == ("zeromodels",)
    write(tmp_path / "bare.weights.h5", "weights.h5", Content(read(path).tensors))
    assert rosetta.inspect(tmp_path / "bare.weights.h5").layouts == (others,)


@pytest.mark.parametrize("preset", SMALLEST)
def test_weights_of_symmetric_padding_are_not_given_to_it(preset, tmp_path):
    source = random_file(preset, tmp_path, dialect="pytorch")
    with pytest.raises(UnfaithfulError, match="these weights need symmetric padding"):
        rosetta.port(source, tmp_path / "x.h5", "zeromodels", run=False)


def test_edgetpu_it_does_not_have(tmp_path):
    source = random_file("edgetpu-s", tmp_path)
    with pytest.raises(FileError, match="zeromodels has no edgetpu-s"):
        rosetta.port(source, tmp_path / "x.h5", "zeromodels", run=False)


@pytest.mark.parametrize(
    ("preset", "mean", "note"),
    [
        ("lite0", (0.5,) * 3, "takes ImageNet's mean and deviation unless"),
        ("v2-b0", None, "takes 0.5 as mean and deviation unless"),
        ("v2-s", (0.5,) * 3, None),
        ("b0", None, None),
    ],
)
def test_what_its_weights_are_fed_and_what_its_processor_does(preset, mean, note):
    """It has one processor for an architecture, whose weights were not all trained alike."""
    layout = layout_of("zeromodels", preset)
    assert (None if layout.normalization is None else layout.normalization.mean) == mean
    assert any(note in one for one in layout.notes) if note else len(layout.notes) == 1
