"""The records of the libraries that are installed are what their own tables say, and all of it.

A new release that adds a checkpoint, or changes one, fails here with a line that names it.
"""

import ast
import math
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.catalogue.location import Digest
from efficientnet_rosetta.common.catalogue.preparation import preparation
from efficientnet_rosetta.common.catalogue.records import libraries
from efficientnet_rosetta.common.counting import count
from parity_tests.peers import operators

TOLERANCE = 1e-4  # of a crop that is stated as two lengths


def told_apart(library, theirs):
    """Lines that name what only one side has, or says otherwise, by the library's own names."""
    ours = {record.name: record for record in libraries()[library].records}
    lines = [f"{name}: new in {library}, add a record" for name in theirs.keys() - ours.keys()]
    lines += [f"{name}: no longer in {library}" for name in ours.keys() - theirs.keys()]
    for name in sorted(ours.keys() & theirs.keys()):
        for field, value in theirs[name].items():
            mine = getattr(ours[name], field)
            if isinstance(value, float):
                same = mine is not None and abs(mine - value) < TOLERANCE
            else:
                same = mine == value
            if not same:
                lines.append(f"{name}: {library} says {field} is {value!r}, the record {mine!r}")
    return lines


def test_a_changed_table_is_noticed_by_name():
    table = {record.name: {"size": record.size} for record in libraries()["torchvision"].records}
    assert told_apart("torchvision", table) == []
    table["efficientnet_b0.imagenet1k_v1"]["size"] = 225
    table["efficientnet_b9.imagenet1k_v1"] = {}
    del table["efficientnet_b7.imagenet1k_v1"]
    assert told_apart("torchvision", table) == [
        "efficientnet_b9.imagenet1k_v1: new in torchvision, add a record",
        "efficientnet_b7.imagenet1k_v1: no longer in torchvision",
        "efficientnet_b0.imagenet1k_v1: torchvision says size is 225, the record 224",
    ]


def source_of(module):
    """The text of an installed module, which is not imported: it would bring a framework."""
    package, _, rest = module.partition(".")
    if (found := find_spec(package)) is None:
        pytest.skip(f"{package} is not installed")
    (folder,) = found.submodule_search_locations
    return Path(folder, *rest.split(".")).with_suffix(".py").read_text()


def constants_of(module):
    """The literals that a module gives names to."""
    tree = ast.parse(source_of(module))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


# ------------------------------------------------------------------ timm


@pytest.fixture(scope="module")
def timm():
    operators.declare()
    return pytest.importorskip("timm")


def of_timm(timm):
    """What timm's configurations say of every EfficientNet and Xception that has weights."""
    for name in timm.list_models("*efficientnet*") + timm.list_models("*xception*"):
        for tag in timm.list_pretrained(f"{name}.*") or ():
            assert tag.partition(".")[0] == name
            yield tag, timm.get_pretrained_cfg(tag)


def test_timm(timm):
    theirs = {}
    for name, cfg in of_timm(timm):
        tested = cfg.test_input_size is not None
        theirs[name] = {
            "network": name.partition(".")[0],
            "classes": cfg.num_classes,
            "size": (cfg.test_input_size or cfg.input_size)[1],
            "training_size": cfg.input_size[1] if tested else None,
            "crop": cfg.test_crop_pct or cfg.crop_pct,
            "squash": cfg.crop_mode == "squash",
            "interpolation": cfg.interpolation,
            "mean": cfg.mean,
            "std": cfg.std,
            "licence": cfg.license,
        }
    assert told_apart("timm", theirs) == []


def test_timms_files(timm):
    for record in libraries()["timm"].records:
        cfg = timm.get_pretrained_cfg(record.name)
        hub = [x.place.repository for x in record.locations if hasattr(x.place, "repository")]
        urls = [x.place.url for x in record.locations if hasattr(x.place, "url")]
        assert hub == ([cfg.hf_hub_id] if cfg.hf_hub_id else []), record.name
        assert urls == ([cfg.url] if cfg.url else []), record.name


def test_timms_other_names(timm):
    from timm.models import get_deprecated_models, is_model

    ours = {
        alias: record.name for record in libraries()["timm"].records for alias in record.aliases
    }
    current = {
        old: new
        for old, new in get_deprecated_models().items()
        if "efficientnet" in old or "xception" in old
    }
    for old, new in current.items():
        if new in ours or new in ours.values():
            assert ours.get(old) == ours.get(new, new), old
    for alias, name in ours.items():
        assert is_model(alias) or alias in current, alias
        if alias not in current:
            assert timm.get_pretrained_cfg(alias).tag == name.partition(".")[2], alias


# ------------------------------------------------------------------ torchvision


@pytest.fixture(scope="module")
def torchvision_weights():
    operators.declare()
    models = pytest.importorskip("torchvision.models")
    names = [name for name in models.list_models() if "efficientnet" in name]
    return [weights for name in names for weights in models.get_model_weights(name)]


def test_torchvision(torchvision_weights):
    theirs = {}
    for weights in torchvision_weights:
        transforms = weights.transforms()
        theirs[named(weights)] = {
            "parameters": weights.meta["num_params"],
            "top1": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            "classes": len(weights.meta["categories"]),
            "size": transforms.crop_size[0],
            "crop": transforms.crop_size[0] / transforms.resize_size[0],
            "interpolation": transforms.interpolation.value,
            "mean": tuple(transforms.mean),
            "std": tuple(transforms.std),
        }
    assert told_apart("torchvision", theirs) == []


def named(weights):
    """Our name of a member of an enumeration: its builder's, and its own."""
    builder = type(weights).__name__.removesuffix("_Weights").lower()
    return f"{builder}.{weights.name.lower()}"


def test_torchvisions_files_and_edges(torchvision_weights):
    ours = {record.name: record for record in libraries()["torchvision"].records}
    for weights in torchvision_weights:
        record = ours[named(weights)]
        assert record.location.place.url == weights.url
        assert str(weights) in record.aliases
        transforms = weights.transforms()
        fit = preparation(record).fit.fit((1000, 2000), (record.size, record.size))
        assert fit.size[0] == transforms.resize_size[0], record.name


# ------------------------------------------------------------------ Keras


def keras_hashes():
    """Name, address and hash of every file that keras.applications downloads."""
    for module in ("efficientnet", "efficientnet_v2"):
        found = constants_of(f"keras.src.applications.{module}")
        stem = "efficientnetv2-" if module.endswith("v2") else module
        for key, hashes in found["WEIGHTS_HASHES"].items():
            for suffix, value in zip(("", "_notop"), hashes, strict=True):
                name = f"{stem}{key.removeprefix('-')}{suffix}"
                yield name, f"{found['BASE_WEIGHTS_PATH']}{name}.h5", value
    found = constants_of("keras.src.applications.xception")
    hashes = re.findall(r'file_hash="(\w+)"', source_of("keras.src.applications.xception"))
    urls = (found["WEIGHTS_PATH"], found["WEIGHTS_PATH_NO_TOP"])
    yield from zip(("xception", "xception_notop"), urls, hashes, strict=True)


def test_keras_applications():
    theirs = {name: {} for name, _, _ in keras_hashes()}
    assert told_apart("keras-applications", theirs) == []
    ours = {record.name: record for record in libraries()["keras-applications"].records}
    for name, url, value in keras_hashes():
        location = ours[name].location
        assert (location.place.url, location.digest) == (url, Digest("md5", value)), name


def test_keras_hub():
    models = "keras_hub.src.models"
    presets = {
        **constants_of(f"{models}.efficientnet.efficientnet_presets")["backbone_presets"],
        **constants_of(f"{models}.xception.xception_presets")["backbone_presets"],
    }
    assert told_apart("keras-hub", {name: {} for name in presets}) == []
    for record in libraries()["keras-hub"].records:
        stated = presets[record.name]
        assert f"kaggle://{record.location.place.handle}" == stated["kaggle_handle"], record.name
        if record.preset is not None:
            assert stated["metadata"]["params"] in whole_networks(record), record.name


def whole_networks(record):
    """Parameters with 1,000 classes, or all numbers without a classifier: KerasHub states both."""
    network = resolve(record.preset)
    yield count(network).trainable
    dense = next(layer for layer in network.layers if layer.kind == "dense")
    numbers = sum(math.prod(shape) for shape in network.tensors.values())
    yield numbers - (dense.in_channels + 1) * dense.out_channels


# ------------------------------------------------------------------ ports to PyTorch


def test_segmentation_models_pytorch():
    operators.declare()
    smp = pytest.importorskip("segmentation_models_pytorch")
    settings = {
        f"{encoder}.{weights}": setting
        for encoder, entry in smp.encoders.encoders.items()
        if "efficientnet" in encoder or "xception" in encoder
        for weights, setting in entry["pretrained_settings"].items()
    }
    assert told_apart("smp", {name: {} for name in settings}) == []
    for record in libraries()["smp"].records:
        place = record.location.place
        setting = settings[record.name]
        assert (place.repository, place.revision) == (setting["repo_id"], setting["revision"])


def test_efficientnet_pytorch():
    utils = pytest.importorskip("efficientnet_pytorch.utils")
    theirs = {
        **utils.url_map,
        **{f"adv-{name}": url for name, url in utils.url_map_advprop.items()},
    }
    sizes = {
        name: {"size": utils.efficientnet_params(name.removeprefix("adv-"))[2]} for name in theirs
    }
    assert told_apart("efficientnet-pytorch", sizes) == []
    for record in libraries()["efficientnet-pytorch"].records:
        assert record.location.place.url == theirs[record.name]


def test_qubvel():
    source = constants_of("efficientnet.weights")
    theirs = {}
    for training, base, hashes in (
        ("autoaugment", source["IMAGENET_WEIGHTS_PATH"], source["IMAGENET_WEIGHTS_HASHES"]),
        ("noisy-student", source["NS_WEIGHTS_PATH"], source["NS_WEIGHTS_HASHES"]),
    ):
        for network, values in hashes.items():
            for suffix, value in zip(("", "_notop"), values, strict=True):
                theirs[f"{network}_{training}{suffix}"] = (base, value)
    assert told_apart("qubvel", {name: {} for name in theirs}) == []
    for record in libraries()["qubvel"].records:
        base, value = theirs[record.name]
        assert record.location.place.url.startswith(base)
        assert record.location.digest.value == value


def test_transformers():
    """It names one of its files, in the example of its configuration."""
    text = source_of("transformers.models.efficientnet.configuration_efficientnet")
    examples = re.findall(r'checkpoint="(google/[\w-]+)"', text)
    assert examples
    assert set(examples) <= {record.name for record in libraries()["transformers"].records}


# ------------------------------------------------------------------ packages without releases


def test_geffnet():
    urls = {
        name: url
        for name, url in constants_of("geffnet.gen_efficientnet")["model_urls"].items()
        if url and "efficientnet" in name
    }
    assert told_apart("geffnet", {name: {} for name in urls}) == []
    for record in libraries()["geffnet"].records:
        assert record.location.place.url == urls[record.name]


def test_zeromodels():
    theirs = {}
    for name in ("efficientnet", "efficientnet_lite", "efficientnetv2"):
        module = f"zeromodels.models.{name}.convert_{name}_timm_to_keras"
        found = constants_of(module)
        stem = name.upper()
        for variant, of in found[f"{stem}_VARIANTS"].items():
            config = found[f"{stem}_MODEL_CONFIG"][of["model"]]
            timm = next(r for r in libraries()["timm"].records if r.name == of["timm_id"])
            theirs[variant] = {
                "classes": config["num_classes"],
                "size": config["image_size"],
                "preset": timm.preset,
                "mean": timm.mean,
                "training": timm.training,
            }
    assert told_apart("zeromodels", theirs) == []


def test_kecam():
    hashes = constants_of("keras_cv_attention_models.efficientnet.efficientnet_v2")
    theirs = {
        f"efficientnet{network}-{training}": value
        for network, values in hashes["FILE_HASH_DICT"].items()
        for training, value in values.items()
    }
    assert told_apart("kecam", {name: {} for name in theirs}) == []
    for record in libraries()["kecam"].records:
        assert record.location.digest == Digest("md5", theirs[record.name]), record.name


def test_kimm():
    files = re.findall(
        r'"((?:efficientnet)[\w.]+)\.keras"', source_of("kimm._src.models.efficientnet")
    )
    ours = {record.aliases[0]: record.name for record in libraries()["kimm"].records}
    assert set(ours) == set(files)
    assert all(file.startswith(f"{name}_") for file, name in ours.items())
