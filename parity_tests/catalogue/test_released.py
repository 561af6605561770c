"""The table of published checkpoints, made against files that a server on loopback has."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.catalogue import known
from efficientnet_rosetta.common.catalogue.location import Address, Digest, HubFile, Location
from efficientnet_rosetta.common.catalogue.records import records
from efficientnet_rosetta.common.catalogue.search import record
from efficientnet_rosetta.common.checkpoints import naming
from efficientnet_rosetta.common.checkpoints.formats import format_of
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.layouts.canonical import CANONICAL
from efficientnet_rosetta.common.checkpoints.naming import identify
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import FileError, RosettaError
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.released import row as rows
from efficientnet_rosetta.common.released.join import join
from efficientnet_rosetta.common.released.table import chosen, fill, read
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.common.weights.canonical import save

from .server import COMMIT

ROOT = Path(__file__).parents[2]
LITE = "timm:tf_efficientnet_lite0.in1k"
JOB = rows.Job(reference="", photographs=str(PHOTOGRAPH))


@lru_cache(maxsize=2)
def canonical(folder, preset, classes, dialect):
    """A file of calibrated weights."""
    network = resolve(preset, num_classes=classes or None, dialect=dialect)
    path = folder / f"{preset}-{classes}-{dialect}.safetensors"
    save(path, network, calibrated(network))
    return path


def publish(server, folder, reference, instead=None):
    """Put the file of a record on the hub, or in its place that of another."""
    target = record(reference)
    held = record(instead or reference)
    place = target.location.place
    assert isinstance(place, HubFile)
    source = canonical(folder, held.preset, held.classes, held.dialect)
    made = folder / "made" / place.filename
    made.parent.mkdir(exist_ok=True)
    port(source, made, held.layout, run=False, force=True)
    server.on_hub.setdefault(place.repository, {})[place.filename] = made.read_bytes()
    server.commits |= {place.revision or COMMIT}
    return made


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def test_every_kind_of_outcome(server, folder, tmp_path, monkeypatch):
    """In this process, and with one layout: the slow test makes whole rows of twenty."""
    monkeypatch.setattr(rows, "_layouts", lambda record: (CANONICAL,))
    other, lacking = "timm:tf_efficientnet_lite1.in1k", "timm:tf_efficientnet_lite2.in1k"
    damaged, large = "timm:tf_efficientnet_lite3.in1k", "timm:tf_efficientnet_lite4.in1k"
    publish(server, folder, LITE)
    publish(server, folder, other, instead=LITE)
    place = record(damaged).location.place
    server.on_hub[place.repository] = {place.filename: b"no weights"}
    table, marks, told = tmp_path / "released.json", tmp_path / "marks.json", []
    wanted = [record(name) for name in (LITE, other, lacking, damaged, large)]
    counts = fill(
        table,
        wanted,
        replace(JOB, largest=10_000_000),
        fingerprints=marks,
        run=rows.row,
        told=told.append,
    )
    found = read(table)
    assert {name: row["outcome"] for name, row in found.items()} == {
        LITE: "proved",
        other: "not its record",
        lacking: "not fetched",
        damaged: "not read",
        large: "too large",
    }
    assert [row.to_dict() for row in told] == list(found.values())
    assert counts["proved"] == 1
    assert "lite0, and not lite1" in found[other]["why"]
    first = found[LITE]
    assert (first["preset"], first["classes"], first["beside_record"]) == ("lite0", 1000, [])
    (target,) = first["targets"]
    assert (target["layout"], target["ending"]) == ("canonical", "proved")
    assert target["error"] <= target["tolerance"]
    assert 0 <= target["photographs"] < 1e-5
    assert len(first["seen"]) == 1
    assert json.loads(marks.read_text())["records"] == {LITE: first["marks"]}
    # What is there is not done again, and what nobody fetched is known by nobody.
    assert not fill(table, wanted, JOB, run=lambda job: pytest.fail("again")) - counts
    assert set(known.here()) == {LITE}


def test_a_result_that_sees_something_else_differs(server, folder, monkeypatch, tmp_path):
    publish(server, folder, LITE)
    monkeypatch.setattr(rows, "_layouts", lambda record: (CANONICAL,))
    right, seen = rows._looked, []

    def wrong(*arguments, **options):
        found = right(*arguments, **options)
        seen.append(found)
        if len(seen) == 1:
            return found
        (one,) = found
        return [replace(one, probabilities=tuple(p * 1.01 for p in one.probabilities))]

    monkeypatch.setattr(rows, "_looked", wrong)
    found = rows.row(replace(JOB, reference=LITE))
    assert (found.outcome, found.targets[0].ending) == ("differs", "differs")
    assert "the probabilities of a photograph by up to" in found.why


@pytest.mark.parametrize(
    ("reference", "takes", "takes_not"),
    [
        (LITE, {"canonical", "timm-tf", "tpu", "kecam", "zeromodels"}, {"timm"}),
        # Whose library computes by the rules of smp's, which keeps no classifier.
        ("timm:efficientnet_lite0.ra_in1k", {"canonical", "timm"}, {"timm-tf", "smp"}),
        ("smp:timm-efficientnet-b0.imagenet", {"smp", "timm", "torchvision"}, {"timm-tf", "tpu"}),
    ],
)
def test_layouts_are_those_that_take_the_weights(reference, takes, takes_not):
    found = {layout.name for layout in rows._layouts(record(reference))}
    assert takes <= found
    assert not takes_not & found


def test_what_cannot_be_a_table(tmp_path):
    path = tmp_path / "table.json"
    for text in ("{", "[]", '{"schema": 0, "rows": []}', '{"schema": 1, "rows": [1]}'):
        path.write_text(text)
        with pytest.raises(FileError, match=r"table\.json"):
            read(path)
    with pytest.raises(RosettaError, match="there is no library 'tim'; choose from"):
        chosen(["tim"])
    assert [one.reference for one in chosen([LITE])] == [LITE]
    assert len(chosen([])) == len(list(records()))


# ------------------------------------------------------------------ identifying


def rounded(path, dtype):
    """The same weights in a type of half the length."""
    arrays = load_file(path)
    saved = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    target = path.with_name(f"{path.stem}-{dtype}.safetensors")
    save_file(saved, target)
    return target


def test_weights_are_known_again_in_any_layout_precision_and_wrapper(server, folder, tmp_path):
    made = publish(server, folder, LITE)
    unknown = identify(made)
    assert (unknown.published, unknown.fingerprints) == ((), 0)
    target = tmp_path / "lite0.npz"
    port(LITE, target, "efficientnet-jax", run=False)  # which fetches it
    state = {f"module.{key}": torch.tensor(value) for key, value in _arrays(made).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pth")
    port(made, tmp_path / "b.pth", "timm-tf", dialect="tensorflow", classes=7, run=False)
    port(made, tmp_path / "c.pth", "timm-tf", dialect="tensorflow", drop_head=True, run=False)
    said = {
        made: "its weights",
        target: "its weights",
        tmp_path / "wrapped.pth": "its weights",
        rounded(made, "float16"): "its weights, rounded to float16",
        tmp_path / "b.pth": "its weights, with another classifier",
        tmp_path / "c.pth": "its weights, without its classifier",
    }
    for path, how in said.items():
        (one,) = identify(path).published
        assert (one.reference, one.how) == (LITE, how), path
    changed = {key: value + (key == "conv_head.weight") for key, value in _arrays(made).items()}
    torch.save({key: torch.tensor(value) for key, value in changed.items()}, tmp_path / "d.pth")
    assert identify(tmp_path / "d.pth").published == ()


def _arrays(path):
    return {key: np.asarray(value) for key, value in load_file(path).items()}


def test_a_file_is_known_by_its_hash(tmp_path, monkeypatch):
    """Also where nothing in it can be read; of some, the first digits alone are stated."""
    path = tmp_path / "mystery.bin"
    path.write_bytes(b"of no format")
    with pytest.raises(FileError, match=r"mystery\.bin"):
        identify(path)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    stated = [Digest("sha256", sha[:8], True), Digest("md5", md5), Digest("sha256", "0" * 64)]
    base = record(LITE)
    made = [
        replace(base, name=str(n), locations=(Location(Address("http://x/y", "y"), digest),))
        for n, digest in enumerate(stated)
    ]
    monkeypatch.setattr(naming, "records", lambda: made)
    found = identify(path)
    assert [(one.reference, one.how) for one in found.published] == [
        ("timm:0", "its file, by the first 8 digits of the sha256 that are stated"),
        ("timm:1", "its file, by the md5 that is stated"),
    ]
    assert "mystery.bin" in found.unread


def test_the_command(server, folder, capsys):
    made = publish(server, folder, LITE)

    def run(*arguments):
        done = CliRunner().invoke(app, ["identify", *map(str, arguments)])
        return done.exit_code, done.stdout

    status, printed = run(made)
    assert status == 1
    assert printed.startswith(f"{made}: no published checkpoint is known to be this file; of ")
    inspect(LITE)
    assert run(made) == (0, f"{LITE}: its weights\n")
    status, printed = run(made, "--json")
    assert status == 0
    assert json.loads(printed)["published"] == [{"reference": LITE, "how": "its weights"}]


# ------------------------------------------------------------------ all of it

NUMBER = 20


def small_ones():
    """Records on the hub whose files can be made here, of as many networks and layouts as can be.

    Those of one network in one layout stand behind all others.
    """
    seen, found = Counter(), []
    for one in records():
        place, layout = one.location.place, layout_of(one.layout or "", one.preset or "b0")
        if (
            isinstance(place, HubFile)
            and place.filename
            and one.preset
            and (one.parameters or 1e9) < 10_000_000
            and layout is not None
            and format_of(place.filename) in layout.forms
        ):
            found.append((seen[one.preset, one.layout], one))
            seen[one.preset, one.layout] += 1
    return [one for _, one in sorted(found, key=lambda pair: pair[0])][:NUMBER]


@pytest.mark.slow
def test_twenty_checkpoints_whole(server, folder, tmp_path):
    """As the workflow runs it: every record in a process of its own, in every layout."""
    wanted = small_ones()
    assert len(wanted) == NUMBER
    for one in wanted:
        publish(server, folder, one.reference)
    table, marks = tmp_path / "released.json", tmp_path / "fingerprints.json"
    command = [sys.executable, "-m", "efficientnet_rosetta.common.released", str(table)]
    options = ["--discard", "--fingerprints", str(marks)]
    names = [one.reference for one in wanted]
    done = subprocess.run([*command, *names, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{NUMBER} proved"
    found = read(table)
    assert list(found) == names
    for name, row in found.items():
        assert len(row["targets"]) > 1, name
        assert {target["ending"] for target in row["targets"]} == {"proved"}, name
    assert set(json.loads(marks.read_text())["records"]) == set(names)
    assert known.here() == {}  # nothing is left in the caches


# ------------------------------------------------------------------ what is made of it


def test_rows_of_several_machines_are_put_together(tmp_path):
    """A row that is made again takes the place of the older one; the order is the catalogue's."""
    rows_of = [(LITE, "differs"), ("smp:timm-efficientnet-b0.imagenet", "proved"), (LITE, "proved")]
    folders = []
    for number, (reference, outcome) in enumerate(rows_of):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        made = rows.Row(reference, outcome, "", marks={"float32": str(number)})
        fill(
            folders[-1] / "table.json",
            [record(reference)],
            JOB,
            fingerprints=folders[-1] / "fingerprints.json",
            run=lambda job, made=made: made,
        )
    table, marks = tmp_path / "released.json", tmp_path / "marks.json"
    marks.write_text(known.as_text({"timm:old": {"float32": "x"}}))
    assert join(table, marks, folders) == 2
    assert [(name, row["outcome"]) for name, row in read(table).items()] == [
        ("smp:timm-efficientnet-b0.imagenet", "proved"),
        (LITE, "proved"),
    ]
    kept = json.loads(marks.read_text())["records"]
    assert {name: one["float32"] for name, one in kept.items()} == {
        "smp:timm-efficientnet-b0.imagenet": "1",
        LITE: "2",
        "timm:old": "x",
    }
    assert known.as_text(kept) == marks.read_text()
    (folders[0] / "fingerprints.json").write_text("[]")
    with pytest.raises(FileError, match=r"0/fingerprints\.json: holds no fingerprints"):
        join(table, marks, folders)


def test_the_workflow_runs_what_there_is():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "released.yml").read_text())
    scripts = " ".join(
        step.get("run", "") for job in flow["jobs"].values() for step in job["steps"]
    )
    modules = re.findall(r"-m (efficientnet_rosetta[\w.]+)", scripts)
    assert len(modules) == 2
    for module in modules:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True
        )
        assert "fingerprints" in (done.stdout + done.stderr).lower()
        used = re.findall(r"--(?:largest|discard|fingerprints)", scripts)
        assert len(used) == 3
        assert module.endswith("join") or all(option in done.stdout for option in used)
    assert (ROOT / "common" / "catalogue" / "records").is_dir()
    assert "ls common/catalogue/records" in scripts
