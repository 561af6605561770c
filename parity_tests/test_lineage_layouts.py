"""The layouts of Lite, V2 and EdgeTPU: the libraries' own keys, and nothing taken for another.

Nothing here runs a network, so that no framework is needed.
"""

from hashlib import sha256

import numpy as np
import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.formats import LazyTensor
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS, layout_of
from efficientnet_rosetta.common.checkpoints.layouts.schema import BY_NAME
from efficientnet_rosetta.common.checkpoints.recognition import readings
from efficientnet_rosetta.common.edgetpu import EDGETPU
from efficientnet_rosetta.common.errors import (
    DialectUndecidedError,
    UnfaithfulError,
    UnknownLayoutError,
)
from efficientnet_rosetta.common.lite import LITE
from efficientnet_rosetta.common.v2 import V2
from efficientnet_rosetta.common.v2_rw import V2_RW
from efficientnet_rosetta.common.weights.canonical import fingerprint, save
from parity_tests.checkpoints.files import arrays, saved, zeros
from parity_tests.test_layouts import round_trips

SMALLEST = ("lite0", "v2-b0", "v2-test", "edgetpu-s")
FAMILIES = (LITE, V2, V2_RW, EDGETPU)
PRESETS = [
    pytest.param(preset, marks=[] if preset in SMALLEST else pytest.mark.slow)
    for architecture in FAMILIES
    for preset in architecture.presets
]
LINEAGE = {preset for architecture in FAMILIES for preset in architecture.presets}

# ------------------------------------------------------------------ the libraries' own keys

# How many tensors the file of a library has, and the first digits of the SHA-256 of its sorted
# lines "name shape", as the libraries themselves made them: by layout, format and number of the
# form.  timm 1.0.31 (with and without `tf_`, which are the same), torchvision 0.28,
# efficientnet-lite-pytorch 0.1.0, Keras 3.15.1, tf_keras 2.21, keras-hub 0.32, kecam 1.4.3,
# keras-efficientnet-v2 1.2.2, google/automl at 6a54c87, tensorflow/tpu at 7dc921f.
DIGESTS = {
    ("automl", "tf-checkpoint", 0): {
        "v2-b0": "361 09665a80da43",
        "v2-b1": "443 ef8df7027255",
        "v2-b2": "462 e930e41cddce",
        "v2-b3": "538 dc1666ef3944",
        "v2-l": "1331 cf2b18dc55ad",
        "v2-m": "963 4c6288ebc976",
        "v2-s": "672 43a737df16e3",
        "v2-xl": "1712 8965b0ddd21a",
    },
    ("automl", "tf-checkpoint", 1): {
        "v2-b0": "361 1dd1f3dcf8b8",
        "v2-s": "672 896b8fb6eed2",
    },
    ("efficientnet-lite-pytorch", "torch", 0): {
        "lite0": "296 3ba8566b93cc",
        "lite1": "386 91db288cc0b4",
        "lite2": "386 ade911ac0cf2",
        "lite3": "440 b0c70ae09f35",
        "lite4": "548 4c1d38f1c0a5",
    },
    ("kecam", "h5", 0): {
        "edgetpu-l": "362 74a068434baa",
        "edgetpu-m": "322 69e1b79a428c",
        "edgetpu-s": "247 9286f165d2e1",
        "lite0": "247 db3b93c6b776",
        "lite3": "367 98e284e79ae3",
        "lite4": "457 c24941ec6bff",
        "v2-b0": "361 7ee6cd79d731",
        "v2-s": "672 378adac04a5f",
        "v2-b3": "538 1ece4316603e",
    },
    ("kecam", "h5", 2): {  # on PyTorch
        "edgetpu-m": "322 76e222d09dc3",
        "lite0": "247 4f53e2133e70",
        "v2-b0": "361 119863fe41eb",
    },
    ("keras-applications", "h5", 1): {
        "v2-b0": "361 f262afe712ab",
        "v2-b3": "538 9e50363c8b9f",
        "v2-s": "672 c896ade193f8",
    },
    ("keras-applications", "h5", 3): {
        "v2-b0": "361 57bb96fcceeb",
        "v2-b1": "443 d1a9f2c128cb",
        "v2-b2": "462 0e01564c5b25",
        "v2-b3": "538 e6f805fc8334",
        "v2-l": "1331 2a1bae176fc7",
        "v2-m": "963 9987fd3825ae",
        "v2-s": "672 020e1398ea15",
    },
    ("keras-applications", "weights.h5", 0): {
        "v2-b0": "361 98bdc7cd5451",
        "v2-b3": "538 461558eee44a",
        "v2-s": "672 2e77d07230e9",
    },
    ("keras-hub", "weights.h5", 0): {
        "lite0": "247 17366f46385e",
        "edgetpu-l": "362 ef3545940227",
        "edgetpu-m": "322 981912e82615",
        "edgetpu-s": "247 0535e64b9eb3",
        "v2-rw-m": "1035 f3e3f1e99aba",
        "v2-rw-s": "682 687902e97833",
        "v2-rw-t": "653 db4660bce33c",
    },
    ("keras-applications", "h5", 0): {
        "v2-b0": "361 2fcf22908783",
        "v2-s": "672 6d4b834ff4c2",
    },
    ("timm", "torch", 0): {
        "v2-rw-m": "1204 b0790dd00087",
        "v2-rw-s": "794 caeb2d7c4669",
        "v2-rw-t": "760 281c7abc6c55",
        "v2-test": "88 29004ea2f216",
    },
    ("timm-tf", "torch", 0): {
        "edgetpu-l": "434 8873418ef510",
        "edgetpu-m": "386 fb7e7ccf196b",
        "edgetpu-s": "296 83bf9d47f454",
        "lite0": "296 409a5cfff440",
        "lite1": "386 046b465c0d39",
        "lite2": "386 8ddab35255ba",
        "lite3": "440 28cae1742bee",
        "lite4": "548 de2c0bb20f43",
        "v2-l": "1548 512774db96ce",
        "v2-m": "1120 77351178356e",
        "v2-s": "782 a57de6f244ad",
        "v2-xl": "1990 7c42319200a5",
        "v2-b0": "420 d1b16e3e9729",
        "v2-b1": "516 b65e1035f034",
        "v2-b2": "538 d001ff36a939",
        "v2-b3": "626 1acbc9a14e3d",
    },
    ("torchvision", "torch", 0): {
        "v2-l": "1548 4b5f3fa37efc",
        "v2-m": "1120 b6e2806a3d1a",
        "v2-s": "782 e3a73b0a8174",
    },
    ("tpu", "tf-checkpoint", 0): {
        "edgetpu-l": "362 4f33ba448bef",
        "edgetpu-m": "322 db350b1ad991",
        "edgetpu-s": "247 d475f017649e",
        "lite0": "247 cf34c687ca1c",
        "lite1": "322 0d437c2b7087",
        "lite2": "322 5777739127ea",
        "lite3": "367 708fef60f854",
        "lite4": "457 04c9fe49ffbe",
    },
}


def lines(form, network):
    """What a file of the form has for a network, the counters of batches included."""
    shapes = {
        key.path: [network.tensors[name][axis] for axis in key.axes]
        for name, key in form.keys(network).items()
    }
    if form.extra:
        shapes |= {key: array.shape for key, array in form.extra(form, network, None).items()}
    return sorted(f"{path} {','.join(map(str, shape))}" for path, shape in shapes.items())


@pytest.mark.parametrize(
    ("form", "preset"), [(form, preset) for form, found in DIGESTS.items() for preset in found]
)
def test_keys_and_shapes_are_the_libraries_own(form, preset):
    name, kind, number = form
    # The original EdgeTPU has the background as a class.
    classes = 1001 if name == "tpu" and preset in EDGETPU.presets else 1000
    network = resolve(preset, num_classes=classes)
    found = lines(layout_of(name, preset).forms_of(kind)[number], network)
    digest = sha256("\n".join(found).encode()).hexdigest()[:12]
    assert f"{len(found)} {digest}" == DIGESTS[form][preset]


def test_no_layout_of_the_lineage_is_without_a_digest():
    """Of every layout at least one form has been compared with a file."""
    compared = {(name, preset) for (name, _, _), found in DIGESTS.items() for preset in found}
    # timm-tf's keys; its encoder's; from source; in test_zeromodels_layouts.py
    alike = {"timm", "smp", "efficientnet-jax", "zeromodels"}
    for layout in LAYOUTS:
        if layout.name != "canonical" and layout.name not in alike:
            of_lineage = LINEAGE.intersection(layout.presets)
            assert not of_lineage or any((layout.name, p) in compared for p in of_lineage)
    for preset in ("lite0", "v2-s", "edgetpu-m"):
        timm, timm_tf = (layout_of(name, preset).forms["torch"] for name in ("timm", "timm-tf"))
        assert timm is timm_tf


# ------------------------------------------------------------------ round trips


@pytest.mark.parametrize("preset", PRESETS)
def test_between_every_pair_and_back(preset):
    # Every value different within a tensor, as a wrong transposition needs.
    shapes = resolve(preset).tensors
    weights = {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for name, shape in shapes.items()
    }
    round_trips(preset, weights)


SUFFIXES = {
    "torch": "pth",
    "safetensors": "safetensors",
    "h5": "h5",
    "weights.h5": "weights.h5",
    "keras": "keras",
    "npz": "npz",
    "tf-checkpoint": "ckpt",
}


def written(preset):
    """Every layout and format that a preset is written in, the first of those of one form.

    zeromodels has tests of its own, and smp's encoders have no classifier.
    """
    forms = {}
    for layout in LAYOUTS:
        if preset in layout.presets and layout.name not in ("zeromodels", "smp"):
            for kind, form in layout.forms.items():
                forms.setdefault((id(form), kind == "keras"), (layout.name, SUFFIXES[kind]))
    return list(forms.values())


def random_weights(network):
    random = np.random.default_rng(0)
    return {name: random.random(shape, np.float32) for name, shape in network.tensors.items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_through_files_of_every_layout(preset, tmp_path):
    """Each is written from the one before, whatever its library computes with it."""
    classes = 1001
    network = resolve(preset, num_classes=classes)
    weights = random_weights(network)
    mark = fingerprint(weights)
    path = tmp_path / "canonical.safetensors"
    save(path, network, weights)
    ways = written(preset)
    assert len(ways) >= (1 if preset in V2_RW.presets else 3)
    for number, (name, suffix) in enumerate([*ways, ("canonical", "safetensors")]):
        new = tmp_path / f"{number}.{suffix}"
        given = None if number == 0 else network.dialect.name
        done = rosetta.port(path, new, name, dialect=given, run=False, force=True)
        assert (done.verified, done.fingerprint) == (True, mark), name
        found = rosetta.inspect(new)
        assert (found.preset, found.num_classes, found.fingerprint) == (preset, classes, mark)
        assert name in found.layouts
        path = new
    assert done.mapped == len(network.tensors)


# ------------------------------------------------------------------ nothing is taken for another

SHAPED = [
    pytest.param(
        layout,
        kind,
        form,
        preset,
        marks=[] if preset in SMALLEST else pytest.mark.slow,
        id=f"{layout.name}-{kind}-{number}-{preset}",
    )
    for layout in LAYOUTS
    if layout.name != "canonical"
    for kind in dict.fromkeys((*layout.formats_read, BY_NAME))
    for number, form in enumerate(layout.forms_of(kind))
    for preset in layout.presets
    if preset in LINEAGE and kind != "safetensors"  # whose forms are those of torch
]


def stored(form, network):
    """The tensors of a file, which are of no size."""
    zero = np.zeros((), np.float32)
    shapes = {
        key.path: tuple(network.tensors[name][axis] for axis in key.axes)
        for name, key in form.keys(network).items()
    }
    if form.marker:  # what must be beside it
        shapes["decoder.weight"] = (1,)
    return {path: LazyTensor.of(path, np.broadcast_to(zero, s)) for path, s in shapes.items()}


@pytest.mark.parametrize(("layout", "kind", "form", "preset"), SHAPED)
def test_a_file_is_of_one_network_only(layout, kind, form, preset):
    for classes in (1000, None):
        found = readings(kind, stored(form, resolve(preset, num_classes=classes)))
        assert {reading.network.name for reading in found} == {preset}
        assert layout.name in {reading.layout.name for reading in found}
        assert not any(reading.ends_early for reading in found)
        names = {reading.layout.name for reading in found}
        assert names in ({layout.name}, {"timm-tf", "timm"})


def timm_file(preset, folder, name="model.pth", more=(), **options):
    layout = "timm" if preset in V2_RW.presets else "timm-tf"
    content = arrays(layout, resolve(preset, **options))
    content |= {key: zeros(*shape) for key, shape in more}
    return saved(folder / name, content)


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("lite0", ("blocks.3.1.se.conv_reduce.weight", (20, 480, 1, 1))),
        ("v2-b0", ("blocks.1.0.se.conv_reduce.weight", (4, 64, 1, 1))),
        ("v2-b0", ("blocks.0.0.conv_pwl.weight", (16, 16, 1, 1))),
        ("edgetpu-s", ("blocks.0.1.conv_exp.weight", (96, 24, 3, 3))),
        ("v2-test", ("blocks.0.0.conv_pwl.weight", (16, 16, 1, 1))),
    ],
)
def test_a_layer_too_many_vetoes(preset, more, tmp_path):
    with pytest.raises(
        UnknownLayoutError, match=f"closest is timm(-tf)? {preset}.*1 keys left over"
    ):
        rosetta.inspect(timm_file(preset, tmp_path, more=[more]))


def test_a_block_too_many_vetoes_in_a_library_that_counts_them(tmp_path):
    form, network = layout_of("keras-hub", "edgetpu-s").forms["weights.h5"], resolve("edgetpu-s")
    content = stored(form, network)
    assert {one.network.name for one in readings("weights.h5", content)} == {"edgetpu-s"}
    for name, counted in (("mb_conv_block", 11), ("fused_mb_conv_block", 7), ("cba_block", 0)):
        suffix = f"_{counted}" if counted else ""
        key = f"layers/efficient_net_backbone/layers/{name}{suffix}/bn1/vars/0"
        assert key not in content
        more = {key: LazyTensor.of(key, np.zeros(8, np.float32))}
        assert not readings("weights.h5", {**content, **more}), name


def test_b0_without_its_gates_has_the_keys_of_lite0_and_a_whole_b0_has_not(tmp_path):
    path = saved(tmp_path / "b0.pth", arrays("timm-tf", resolve("b0")))
    assert rosetta.inspect(path).preset == "b0"
    lite = set(arrays("timm-tf", resolve("lite0")))
    assert {key for key in arrays("timm-tf", resolve("b0")) if ".se." not in key} == lite


def test_timm_and_torchvision_have_the_same_shapes_of_v2_s():
    shapes = [
        [array.shape for array in arrays(name, resolve("v2-s")).values()]
        for name in ("timm", "torchvision")
    ]
    assert shapes[0] == shapes[1]


# ------------------------------------------------------------------ dialects and images


@pytest.mark.parametrize(
    ("preset", "possible"),
    [
        ("lite0", ("tensorflow", "pytorch")),
        ("edgetpu-s", ("tensorflow", "pytorch")),
        ("v2-b0", ("automl",)),  # of which timm has no symmetric twin
        pytest.param("v2-s", ("automl", "pytorch"), marks=pytest.mark.slow),
    ],
)
def test_timms_keys_leave_the_dialect_open(preset, possible, tmp_path):
    path = timm_file(preset, tmp_path)
    found = rosetta.inspect(path)
    assert found.possible_dialects == possible
    if len(possible) == 1:
        assert (found.dialect, found.dialect_from) == (possible[0], "the layout")
        return
    assert found.dialect is None
    with pytest.raises(DialectUndecidedError, match=f"TensorFlow, are {possible[0]}"):
        rosetta.port(path, tmp_path / "x.safetensors", "canonical", run=False)


@pytest.mark.parametrize(
    ("name", "preset", "dialect"),
    [
        ("tf_efficientnet_lite0-0aa007d2.pth", "lite0", "tensorflow"),
        ("efficientnet_lite0_ra-37913777.pth", "lite0", "pytorch"),
        ("tf_efficientnet_es-ca1afbfe.pth", "edgetpu-s", "tensorflow"),
        ("efficientnet_es_ra-f111e99c.pth", "edgetpu-s", "pytorch"),
        pytest.param("tf_efficientnetv2_s-eb54923e.pth", "v2-s", "automl", marks=pytest.mark.slow),
    ],
)
def test_timms_own_file_names_say_the_dialect(name, preset, dialect, tmp_path):
    found = rosetta.inspect(timm_file(preset, tmp_path, name))
    assert (found.preset, found.dialect, found.dialect_from) == (preset, dialect, "the file's name")
    half = "RGB / 255, mean 0.5 0.5 0.5, standard deviation 0.5 0.5 0.5"
    assert (found.expects == (half,)) == (dialect != "pytorch")
    assert found.expects[0].startswith("RGB / 255, mean 0.")


@pytest.mark.parametrize(
    ("preset", "source", "to", "suffix"),
    [
        ("lite0", "efficientnet-lite-pytorch", "timm", "pth"),
        ("edgetpu-s", "tpu", "timm", "pth"),
        ("edgetpu-s", "timm", "keras-hub", "weights.h5"),
        ("edgetpu-s", "keras-hub", "timm", "pth"),
        ("edgetpu-s", "keras-hub", "timm-tf", "pth"),
        pytest.param("v2-rw-t", "timm", "keras-hub", "weights.h5", marks=pytest.mark.slow),
        pytest.param("v2-rw-s", "keras-hub", "timm", "pth", marks=pytest.mark.slow),
        pytest.param("v2-s", "timm-tf", "torchvision", "pth", marks=pytest.mark.slow),
        pytest.param("v2-s", "torchvision", "timm", "pth", marks=pytest.mark.slow),
        pytest.param("v2-s", "torchvision", "keras-applications", "h5", marks=pytest.mark.slow),
    ],
)
def test_weights_are_not_given_to_a_library_that_computes_something_else(
    preset, source, to, suffix, tmp_path
):
    (dialect,) = layout_of(source, preset).dialects[preset]
    network = resolve(preset, dialect=dialect)
    path = tmp_path / "canonical.safetensors"
    save(path, network, random_weights(network))
    needs = f"these weights need {dialect.padding} padding and epsilon {dialect.epsilon:g}, but "
    with pytest.raises(UnfaithfulError, match=needs):
        rosetta.port(path, tmp_path / f"x.{suffix}", to, run=False)


@pytest.mark.parametrize(
    ("layout", "preset", "mean"),
    [
        ("efficientnet-lite-pytorch", "lite0", 127 / 255),
        ("tpu", "edgetpu-s", 127 / 255),
        ("timm-tf", "lite0", 0.5),
        ("keras-applications", "v2-b0", 0.485),
        ("keras-applications", "v2-s", 128 / 255),
        ("automl", "v2-xl", 128 / 255),
        ("torchvision", "v2-m", 0.485),
        ("torchvision", "v2-l", 0.5),
        ("timm", "v2-rw-s", 0.485),
    ],
)
def test_what_the_weights_of_a_library_are_normalised_by(layout, preset, mean):
    assert layout_of(layout, preset).normalization.mean[0] == pytest.approx(mean, abs=1e-9)


def test_the_shift_of_kecams_stages():
    """The first block of EdgeTPU is a stage of its own there."""
    form = layout_of("kecam", "edgetpu-m").forms_of("h5")[0]
    blocks = [
        key.path.split("_MB_pw_conv")[0]
        for key in form.keys(resolve("edgetpu-m")).values()
        if "MB_pw_conv" in key.path
    ]
    assert blocks[:4] == ["stack_0_block0", "stack_1_block0", "stack_2_block0", "stack_2_block1"]
    assert len(set(blocks)) == len(blocks) == 24


def test_a_fused_block_without_expansion_is_of_another_class_where_it_has_no_projection():
    """timm calls them ConvBnAct and EdgeResidual, KerasHub CBABlock and FusedMBConvBlock."""
    first = "stages.2.blocks.0"
    for layout, kind, without, projected in (
        ("timm", "torch", "blocks.0.0.conv.weight", "blocks.0.0.conv_pwl.weight"),
        ("keras-hub", "weights.h5", "/cba_block/conv1/", "/fused_mb_conv_block/output_conv/"),
    ):
        for preset, path in (("v2-rw-t", without), ("v2-rw-s", projected)):
            key = layout_of(layout, preset).forms[kind].keys(resolve(preset))
            assert path in key[f"{first}.project_conv.weight"].path


def test_the_number_of_the_head_follows_from_the_stages():
    names = [
        layout_of("torchvision", preset).forms["torch"].keys(resolve(preset))["head.conv.weight"]
        for preset in ("b0", "v2-s", "v2-m")
    ]
    assert [key.path.split(".")[1] for key in names] == ["8", "7", "8"]


def test_blocks_that_a_library_does_not_have_have_no_names():
    for layout, preset in (("efficientnet-pytorch", "b0"), ("qubvel", "b0")):
        form = next(iter(layout_of(layout, preset).forms.values()))
        with pytest.raises(TypeError, match="is no network with these names: Fused-MBConv"):
            form.keys(resolve("v2-b0"))
    lite, v2 = (list(layout_of("timm-tf", p).forms_of("torch")) for p in ("lite0", "v2-b0"))
    assert all(first is second for first, second in zip(lite, v2, strict=True))
