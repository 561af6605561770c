"""A name where a file may stand: its record decides, and its file is held to the record."""

import json
import os
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.catalogue import records, search
from efficientnet_rosetta.common.catalogue.location import Address, Digest, HubFile, Location
from efficientnet_rosetta.common.catalogue.records import Library, Record
from efficientnet_rosetta.common.checkpoints import published
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.load import load
from efficientnet_rosetta.common.checkpoints.named import THE_FILE, class_names
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.checkpoints.published import RECORD_SAYS, sourced
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import (
    FetchError,
    FileError,
    OtherContentError,
    RosettaError,
    UsageError,
)
from efficientnet_rosetta.common.guard.recognise import program_of
from efficientnet_rosetta.common.images.normalization import INCEPTION
from efficientnet_rosetta.common.training import start
from efficientnet_rosetta.common.weights import canonical
from parity_tests.checkpoints.files import arrays
from parity_tests.support import weights_of

from .hosts import sha256
from .server import Served

CLASSES = 10
B0 = resolve("b0", num_classes=CLASSES)
RECORD = Record(
    library="timm",
    name="tf_b0.ap_in1k",
    network="tf_b0",
    preset="b0",
    layout="timm-tf",
    dialect="tensorflow",
    family="timm-tf-ap",
    classes=CLASSES,
    findings=("its README names another training",),
    locations=(Location(HubFile("timm/tf_b0.ap_in1k", "model.safetensors")),),
)
NAME = RECORD.reference


@pytest.fixture(scope="module")
def content():
    """A file of timm's keys, which two of its families share: it leaves its dialect open."""
    return save({k: np.ascontiguousarray(v) for k, v in arrays("timm-tf", B0).items()})


@pytest.fixture
def catalogue(monkeypatch):
    """Puts records in the place of the published ones."""

    def put(*known):
        name = known[0].library
        library = Library(name, name, "1", ("pytorch-image-models",), "", known)
        for module in (records, search, published):
            monkeypatch.setattr(module, "libraries", lambda: {name: library})

    return put


@pytest.fixture
def served(server, content, catalogue):
    """The file on the hub, and its record in the catalogue."""
    server.on_hub["timm/tf_b0.ap_in1k"] = {"model.safetensors": content}
    catalogue(RECORD)
    return server


@pytest.mark.parametrize(
    "reference",
    [
        *(NAME, "pytorch-image-models:TF_B0.ap_in1k", "hf-hub:timm/tf_b0.ap_in1k"),
        "hf-hub:timm/tf_b0.ap_in1k/model.safetensors",
    ],
)
def test_a_record_decides_dialect_and_images(reference, served):
    found = load(reference)
    assert found.network.dialect.name == "tensorflow"
    assert found.network.num_classes == CLASSES
    assert found.preprocessing.name == "timm-tf-ap"
    assert found.preprocessing.normalization == INCEPTION


def test_without_a_record_the_configuration_beside_the_file_does(served, content):
    config = {
        "architecture": "tf_efficientnet_b0",
        "pretrained_cfg": {"mean": [0.1] * 3, "std": [1] * 3},
    }
    served.on_hub["me/mine"] = {
        "model.safetensors": content,
        "config.json": json.dumps(config).encode(),
    }
    found = load("hf-hub:me/mine")
    assert found.network.dialect.name == "tensorflow"
    assert found.normalization.mean == (0.1,) * 3


def test_an_address_is_known_by_its_record_and_its_hash(server, content, catalogue):
    url = f"{server.url}/releases/b0.pth"
    server.files["/releases/b0.pth"] = Served(content)
    right = Digest("sha256", sha256(content)[:8], is_prefix=True)
    catalogue(replace(RECORD, locations=(Location(Address(url, "b0.pth"), right),)))
    assert load(url).network.dialect.name == "tensorflow"
    wrong = Digest("sha256", "0" * 8, is_prefix=True)
    catalogue(replace(RECORD, locations=(Location(Address(url, "b0.pth"), wrong),)))
    with pytest.raises(FetchError, match=r"is damaged|begins with 00000000"):
        load(url)


def test_records_that_disagree_on_a_file_decide_nothing(served, catalogue):
    catalogue(RECORD, replace(RECORD, name="other", dialect="pytorch"))
    with pytest.raises(RosettaError, match="choose tensorflow or pytorch"):
        load("hf-hub:timm/tf_b0.ap_in1k")


def test_a_record_says_what_the_classes_are_and_a_port_keeps_it(server, catalogue, tmp_path):
    catalogue(replace(RECORD, classes=1000))
    tensors = arrays("timm-tf", resolve("b0"))
    whole = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    server.on_hub["timm/tf_b0.ap_in1k"] = {"model.safetensors": whole}
    ported = port(NAME, tmp_path / "b0.safetensors", "canonical", run=False).destination
    fetched = rosetta.inspect(NAME).path
    for given, source in ((NAME, RECORD_SAYS), (ported, THE_FILE)):
        names = class_names(load(given), 1000)
        assert (names.labels[967].name, names.source, names.assumed) == ("espresso", source, False)
    assert class_names(load(fetched, dialect="tensorflow"), 1000).assumed


def test_a_record_says_how_large_images_are(served, catalogue):
    catalogue(replace(RECORD, size=96))
    assert load(NAME).network.resolution == (96, 96)
    assert load(NAME, resolution=64).network.resolution == (64, 64)
    for given in (NAME, inspect(NAME).path):
        with pytest.raises(UsageError, match="resolution is 0"):
            load(given, resolution=0, dialect="tensorflow")


def test_inspect_says_where_from(served):
    found = inspect(NAME)
    assert (found.record, found.dialect) == (NAME, "tensorflow")
    assert found.layouts == ("timm-tf",)
    assert found.dialect_from == "its record in the catalogue"
    assert found.expects == (str(INCEPTION),)
    assert found.notes == RECORD.findings
    printed = CliRunner().invoke(app, ["inspect", NAME]).stdout
    assert NAME in printed
    assert "according to its record in the catalogue" in printed


def test_port_needs_no_dialect(served, tmp_path):
    done = port(NAME, tmp_path / "b0.safetensors", "canonical", run=False)
    assert done.dialect == "tensorflow"
    assert RECORD.findings[0] in done.notes
    again = load(tmp_path / "b0.safetensors")
    assert again.preprocessing.name == "timm-tf-ap"
    assert (
        CliRunner().invoke(app, ["verify", NAME, str(done.destination), "--no-run"]).exit_code == 3
    )


def test_nothing_is_fetched_for_a_target_that_cannot_be(served, tmp_path):
    (tmp_path / "there.npz").write_bytes(b"")
    for name, layout in (("b0.xyz", "canonical"), ("b0.npz", "none"), ("there.npz", "canonical")):
        with pytest.raises(RosettaError):
            port(NAME, tmp_path / name, layout)
    assert served.asked == []


def test_models_and_programs_take_names(served, tmp_path):
    model = rosetta.build("b0", "torch", weights=NAME)
    assert model.network.dialect.name == "tensorflow"
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(image)
    (prediction,) = rosetta.predict(NAME, image, image_size=64, backend="torch", top=2)
    assert len(prediction.classes) == 2


@pytest.mark.parametrize("dialect", ["pytorch", "automl"])
def test_another_dialect_than_the_record_says(dialect, served):
    for function in (load, inspect):
        with pytest.raises(UsageError, match=r"tensorflow; give no other|tensorflow dialect; give"):
            function(NAME, dialect=dialect)
    assert load(NAME, dialect="tensorflow").network.dialect.name == "tensorflow"


OTHER = {
    "preset": ({"preset": "b1"}, "holds b0, and not b1"),
    "classes": ({"classes": 1000}, "holds 10 classes, and not 1,000 classes"),
    "no classifier": ({"classes": 0}, "holds 10 classes, and not no classifier"),
    "layout": ({"layout": "torchvision"}, "holds the layout timm-tf or timm, and not torchvision"),
    "dialect": (
        {"dialect": "automl"},
        "weights of the tensorflow or pytorch dialect, and not automl",
    ),
}


@pytest.mark.parametrize(("fields", "words"), OTHER.values(), ids=OTHER)
def test_a_file_that_is_not_what_its_record_says(fields, words, served, catalogue):
    catalogue(replace(RECORD, **fields))
    with pytest.raises(OtherContentError, match=words) as error:
        load(NAME)
    assert str(error.value).startswith(f"{NAME}: ")
    assert "model.safetensors" in str(error.value)  # which may be used as it is


def test_what_a_record_leaves_open_is_not_held_against_the_file(served, catalogue):
    catalogue(replace(RECORD, preset=None, layout=None, dialect=None, family=None))
    assert load(NAME, dialect="pytorch").network.dialect.name == "pytorch"


def test_what_this_project_cannot_use_is_not_fetched(served, catalogue):
    catalogue(replace(RECORD, preset=None, layout=None, dialect=None, unported="another network"))
    with pytest.raises(FileError, match=f"{NAME}: cannot be used: another network"):
        load(NAME)
    assert served.asked == []


def test_every_note_is_printed(served, catalogue):
    catalogue(replace(RECORD, findings=("one thing", "another thing")))
    printed = CliRunner().invoke(app, ["inspect", NAME]).stdout
    assert "one thing" in printed
    assert "another thing" in printed


def test_a_mirror_is_used_where_the_file_is_gone(server, content, catalogue):
    gone, kept = (
        Address(f"{server.url}/gone.pth", "gone.pth"),
        Address(f"{server.url}/k.pth", "k.pth"),
    )
    server.files["/k.pth"] = Served(content)
    catalogue(replace(RECORD, locations=(Location(gone), Location(kept))))
    assert load(NAME).path.name == "k.pth"
    server.files.clear()
    catalogue(replace(RECORD, locations=(Location(gone),)))
    with pytest.raises(FetchError, match="no such file"):
        load(NAME)


def test_names_that_nobody_has_given(served):
    with pytest.raises(UsageError, match=r"did you mean timm:tf_b0\.ap_in1k"):
        load("timm:tf_b0.ns_in1k")
    with pytest.raises(FileError, match="no such file, nor a library tim; the catalogue has timm"):
        load("tim:tf_b0")
    assert served.asked == []


def test_an_archive_of_the_tpu_code(server, catalogue, tmp_path, monkeypatch):
    canonical.save(tmp_path / "b0.safetensors", B0, weights_of(B0))
    (tmp_path / "efficientnet-b0").mkdir()
    port(
        tmp_path / "b0.safetensors",
        tmp_path / "efficientnet-b0" / "model.ckpt",
        "tpu",
        run=False,
    )
    with tarfile.open(tmp_path / "efficientnet-b0.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "efficientnet-b0", "efficientnet-b0")
    content = (tmp_path / "efficientnet-b0.tar.gz").read_bytes()
    server.files["/ckpts/efficientnet-b0.tar.gz"] = Served(content)
    place = Address(f"{server.url}/ckpts/efficientnet-b0.tar.gz", "ckpts-efficientnet-b0.tar.gz")
    fields = {"layout": "tpu", "family": "tpu-advprop"}
    catalogue(replace(RECORD, **fields, locations=(Location(place),)))
    found = load(NAME)
    assert found.path.is_relative_to(os.environ["ROSETTA_CACHE"])
    assert found.layouts == ("tpu",)
    assert canonical.fingerprint(found.weights) == canonical.fingerprint(weights_of(B0))
    assert found.preprocessing.name == "tpu-advprop"
    (tmp_path / "stick").mkdir()
    shutil.move(tmp_path / "efficientnet-b0.tar.gz", tmp_path / "stick" / place.filename)
    before = sourced(NAME).path
    monkeypatch.setenv("ROSETTA_WEIGHTS_DIR", str(tmp_path / "stick"))
    offered = sourced(NAME).path
    assert offered != before
    assert [path.name for path in (tmp_path / "stick").iterdir()] == [place.filename]
    assert offered.with_name("model.ckpt.index").read_bytes() == (
        before.with_name("model.ckpt.index").read_bytes()
    )


def test_a_run_keeps_the_name_of_its_first_weights(monkeypatch, tmp_path):
    class Planned(Exception):  # noqa: N818 - it is no error
        pass

    def plan(options, *arguments, **more):
        raise Planned(options.weights)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "planned", plan)
    with pytest.raises(Planned, match=f"^{NAME}$"):
        rosetta.train(tmp_path, weights=NAME, backend="torch")
    with pytest.raises(Planned, match=f"^{tmp_path}/b0.pth$"):
        rosetta.train(tmp_path, weights="b0.pth", backend="torch")


# ------------------------------------------------------------------ every command

COMMANDS = {
    "inspect": ["inspect", "{name}"],
    "port": ["port", "{name}", "{room}/out.safetensors", "--to", "canonical"],
    "verify": ["verify", "{name}", "{name}", "--no-run"],
    "verify, second": ["verify", "{file}", "{name}", "--no-run"],
    "compare": ["compare", "{name}", "{name}"],
    "compare, second": ["compare", "{file}", "{name}"],
    "export": ["export", "b0", "{room}/out.onnx", "--weights", "{name}"],
    "predict": ["predict", "{room}/images/a/0.png", "--weights", "{name}"],
    "evaluate": ["evaluate", "--weights", "{name}", "--data", "{room}/images"],
    "train": ["train", "--weights", "{name}", "--data", "{room}/images", "--recipe", "finetune"],
}


@pytest.fixture(scope="module")
def room(tmp_path_factory, content):
    """Images of two classes, and a file of weights."""
    folder = tmp_path_factory.mktemp("room")
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        for number in range(4):
            path = folder / "images" / label / f"{number}.png"
            Image.fromarray(np.full((8, 8, 3), 50 * number, np.uint8)).save(path)
    (folder / "tf_efficientnet_b0.safetensors").write_bytes(content)
    return folder


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("reference", ["timm:no-ne", "hf-hub:timm/none", "{url}/none.pth"])
def test_every_command_takes_names(command, reference, served, room, monkeypatch):
    monkeypatch.chdir(room)
    name = reference.format(url=served.url)
    file = room / "tf_efficientnet_b0.safetensors"
    done = CliRunner().invoke(
        app, [word.format(name=name, room=room, file=file) for word in command]
    )
    assert isinstance(done.exception, FetchError | UsageError), done.output
    assert "no such" in str(done.exception) or "has published nothing" in str(done.exception)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_takes_a_folder_of_files(command, served, room, tmp_path, monkeypatch):
    monkeypatch.chdir(room)
    file = room / "tf_efficientnet_b0.safetensors"
    words = [word.format(name=NAME, room=room, file=file) for word in command]
    done = CliRunner().invoke(app, [*words, "--from", str(tmp_path)])
    assert isinstance(done.exception, FetchError), done.output
    assert f"{NAME}: is not in {tmp_path}" in str(done.exception)
    assert served.asked == []
    done = CliRunner().invoke(app, ["inspect", NAME])  # the folder was of that command alone
    assert done.exit_code == 0, done.output


def test_a_function_that_is_called_as_a_library(served, catalogue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="has published nothing called 'create'"):
        program_of("pytorch-image-models:create")  # which is no name of a module
    catalogue(replace(RECORD, library="mine"))
    (tmp_path / "mine.py").write_text("def same(images):\n    return images\n")
    (tmp_path / "theirs.py").write_text("raise RuntimeError('not here')\n")
    assert program_of("mine:same").kind == "function"
    with pytest.raises(FileError, match=r"theirs:same: cannot be imported \(not here\)"):
        program_of("theirs:same")
