"""What the README and the pages it leads to show is true: they run, and are of this project."""

import json
import re
import runpy
import shlex
from pathlib import Path

from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import PRESETS, resolve
from efficientnet_rosetta.common.checkpoints import port as porting
from efficientnet_rosetta.common.checkpoints import verify as verifying
from efficientnet_rosetta.common.checkpoints.run_files import run_here
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.parity.check import DEFAULT_PRESETS
from efficientnet_rosetta.common.training.run import read_table
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS
from parity_tests.support import LARGEST, weights_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tour_runs_and_agrees(capsys):
    page = (ROOT / "docs" / "use" / "install.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(program.replace("\n\n", "\n").splitlines()) == 10  # as the README says
    exec(compile(program, "install.md", "exec"), {})
    found = re.fullmatch(
        r"Error\(endpoint='(.*)', largest=(.*), rms=.*\)\n", capsys.readouterr().out
    )
    assert found[1] in resolve("b0").endpoints
    assert 0 < float(found[2]) < 1e-11


def test_the_table_is_of_these_networks():
    for preset in DEFAULT_PRESETS:
        total = count(resolve(preset))
        (row,) = re.findall(rf"^{preset} .*agrees$", README, re.MULTILINE)
        assert row.split()[2:4] == [f"{total.trainable:,}", f"{total.macs:,}"]
        assert all(float(error) < 1e-4 for error in row.split()[4:8])


def test_every_command_and_file_it_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) <= targets
    for path in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / path).exists(), path


def test_its_commands_on_weights_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # In this process, which has imported the frameworks already.
    monkeypatch.setattr(porting, "compare_runs", run_here)
    monkeypatch.setattr(verifying, "compare_runs", run_here)
    network = resolve("b0")
    save("canonical.safetensors", network, weights_of(network))
    porting.port("canonical.safetensors", "mystery.pth", "timm-tf", run=False)
    (block,) = re.findall(r"```sh\n(rosetta inspect.*?)```", README, re.DOTALL)
    for line in block.splitlines():
        done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, done.output
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert Path("b0.keras").exists()


def test_the_page_of_claims_is_what_its_results_say():
    results = ROOT / "docs" / "results"
    page = runpy.run_path(str(ROOT / "docs" / "claims.py"))["page"]()
    assert page == (ROOT / "docs" / "claims.md").read_text()
    runs = [json.loads(file.read_text()) for file in results.glob("claims-*.json")]
    claims = {preset: held for run in runs for preset, held in run["claims"].items()}
    # To train the others in float64, twice, takes more memory than there was.
    assert set(claims) == set(PRESETS) - {LARGEST, "v2-l", "v2-xl"}
    assert all(claim["holds"] for held in claims.values() for claim in held)
    mistakes = json.loads((results / "mutants.json").read_text())["mistakes"]
    assert [row["mistake"] for row in mistakes] == [m.name for m in MUTATIONS]
    assert all(row["caught_by"] for row in mistakes)


def test_the_page_of_training_curves_is_what_its_results_say():
    path = ROOT / "docs" / "explore" / "training.md"
    page = path.read_text()
    for name in ("torch", "keras"):
        rows = read_table(ROOT / "docs" / "results" / f"digits-{name}.csv")
        assert max(row["val_top1"] for row in rows) >= 0.97
    losses = json.loads((ROOT / "docs" / "results" / "drift.json").read_text())["losses"]
    pairs = zip(losses["torch float64"], losses["keras float64"], strict=True)
    assert all(abs(ours - theirs) < 1e-8 for ours, theirs in list(pairs)[:50])
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page):
        assert (path.parent / link).exists(), link
