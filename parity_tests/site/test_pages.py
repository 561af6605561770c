"""What the pages of the site show is so: commands and programs run, numbers and tests exist."""

import contextlib
import re
import shutil
import sys
import tomllib

import pytest
import torch
import yaml

import efficientnet_rosetta as rosetta_package
import facts
import guarded_pair
import public_api
import tables_of_results
import workflows
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import GROUP
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.cli.action import MODES
from efficientnet_rosetta.common.training.recipes import get_recipe
from parity_tests.peers.operators import declare
from parity_tests.site.conftest import sphinx
from parity_tests.site.files import FILES, checkpoint
from parity_tests.site.pages import (
    PAGES,
    ROOT,
    Block,
    blocks,
    check_output,
    commands,
    in_folder,
    name,
    named,
    outputs_here,
    rosetta,
    run,
    session,
    shown,
    without_outputs,
)
from parity_tests.support import images_for, reference
from tables import EXTRAS, FORMATS, GENERATED
from tables import commands as known_commands

RUN = ("sh", "console", "python", "pycon")
# Programs that go on from where a page leaves a reader: they are no programs by themselves.
FRAGMENTS = {"what_went_wrong.md": "LambdaLR(optimizer"}
SHOWING = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]
# Those that run for long, and show what others begin with: use/convert.md and use/finetune.md, or
# what tests of the interface and the comparison hold already.
LONG = (
    *("use/port.md", "use/port_unusual.md", "training.md"),
    *("train/recipes.md", "train/finetuning.md", "train/devices.md"),
    *("use/api.md", "use/divergence.md"),
)


@pytest.fixture(scope="module", autouse=True)
def _torchvision():
    """timm and Lightning's metrics import torchvision."""
    declare()


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow) if name(p) in LONG else p for p in SHOWING],
    ids=name,
)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    """In the order of the page, in one folder, with the files that its commands start from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ROSETTA_WEIGHTS_DIR", str(tmp_path / "fetched"))
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    for file, make in FILES.get(name(page), {}).items():
        make(tmp_path / file)
    names: dict[str, object] = {}  # those of a page's sessions, which go on from one another
    with in_folder(tmp_path):
        for block in blocks(page):
            if block.language == "sh":
                for line in commands(block):
                    run(line, tmp_path)
            elif block.language == "console":
                for line, printed in shown(block):
                    assert line.startswith("rosetta ")
                    with outputs_here():
                        found = rosetta(line.split()[1:])[1]
                    check_output(printed, found)
            elif block.language == "python" and not _is_fragment(block):
                with without_outputs():
                    exec(compile(block.text, str(block), "exec"), {})
            elif block.language == "pycon":
                session(block, names)
    for module in ("mine", "theirs"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("b0: 224 pixels, off by 1.2e-05 (here)", True),
        ("b0: 224 pixels, off by 1.7e-05 (there)", True),
        ("b0: 224 pixels, off by 2.5e-05 (here)", False),
        ("b0: 225 pixels, off by 1.2e-05 (here)", False),
        ("b0: 224.0 pixels, off by 1.2e-05 (here)", False),
        ("b1: 224 pixels, off by 1.2e-05 (here)", False),
        ("b0: 224 pixels, of by 1.2e-05 (here)", False),
    ],
)
def test_what_is_printed_is_compared(printed, same):
    said = ["b0: 224 pixels, off by 1.2e-05 (...)", "all agree"]
    check_output(said, said)
    with contextlib.nullcontext() if same else pytest.raises(AssertionError):
        check_output(said, [printed, said[1]])
    with pytest.raises(AssertionError):
        check_output(said, said[:1])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (">>> x = 1\n>>> x + 1\n2\n", ""),
        (">>> y + x\n3\n", ""),
        (">>> [0, 1.5, 'x']\n[0, ...]\n", ""),
        (">>> x + 1\n3\n", "Expected:\n    3\nGot:\n    2\n"),
        (">>> x + 1\n", "Expected nothing\nGot:\n    2\n"),
        (">>> z\n3\n", "NameError"),
    ],
)
def test_a_session_shows_what_python_prints(text, wrong):
    block = Block(PAGES[0], 1, "pycon", text)
    with (
        pytest.raises(AssertionError, match=re.escape(wrong)) if wrong else contextlib.nullcontext()
    ):
        session(block, {"x": 1, "y": 2})


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "use" / "api.md").read_text()

    def missing(names):
        made = {
            name: GENERATED[f"api {name}"]()
            for name in re.findall(r"\{generated\} api (\w+)", page)
        }
        text = "\n".join([page, *made.values()])
        return {
            name
            for name in names
            if name not in made
            and not re.search(rf"`(rosetta\.)?{name}`|>>> rosetta\.{name}\n", text)
        }

    assert missing(rosetta_package.__all__) == set()
    assert missing(["something_new", "resol"]) == {"something_new", "resol"}
    headings = set(re.findall(r"(?m)^### (\w+)$", page))
    assert headings == set(re.findall(r"\{generated\} api (\w+)", page)) - {"errors"}


def test_a_result_with_another_field_is_noticed(monkeypatch):
    assert set(public_api.FIELDS) <= set(public_api.documented())
    fields = {**public_api.FIELDS["Evaluation"], "top2": "of two"}
    monkeypatch.setitem(public_api.FIELDS, "Evaluation", fields)
    with pytest.raises(ValueError, match="fields of Evaluation"):
        GENERATED["api Evaluation"]()


def test_errors_are_listed_below_their_bases():
    rows = [line.split("|")[1] for line in GENERATED["api errors"]().splitlines()[2:]]
    names = [row.strip().strip("`") for row in rows]
    kinds = [name for name in rosetta_package.__all__ if name.endswith("Error")]
    assert sorted(names) == sorted(kinds)
    assert set(public_api.ATTRIBUTES) <= set(names)


def _is_fragment(block):
    return block.text.startswith(FRAGMENTS.get(name(block.page), "\0"))


def test_the_fragment_of_a_schedule_is_the_recipes():
    """`LambdaLR(...)` of what_went_wrong.md, with an optimizer and a number of steps."""
    (fragment,) = [block for page in PAGES for block in blocks(page) if _is_fragment(block)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    steps_per_epoch = 10  # 2.4 epochs of which are a whole number in floating point, too
    schedule = eval(
        fragment.text,
        {
            "LambdaLR": torch.optim.lr_scheduler.LambdaLR,
            "optimizer": optimizer,
            "steps_per_epoch": steps_per_epoch,
        },
    )
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    recipe = get_recipe("paper")
    right = recipe.optimization(recipe.rate_images, steps_per_epoch).rate
    assert rates == pytest.approx([right(step) / recipe.rate for step in range(100)])


def test_timm_with_keras_arithmetic_computes_as_keras(tmp_path, monkeypatch):
    """The program of port.md that changes timm's model; each of its two changes is needed."""
    (program,) = [b for page in PAGES for b in blocks(page) if '"legacy_xception"' in b.text]
    monkeypatch.chdir(tmp_path)
    checkpoint("keras-applications", "xception")(tmp_path / "xception.weights.h5")
    port("xception.weights.h5", "legacy_xception.safetensors", "timm", force=True, run=False)
    network = resolve("xception")
    images = images_for(network, 1)
    right = {"logits": reference(network, 1)["logits"]}

    def error(source):
        found = {}
        exec(compile(source, str(program), "exec"), found)
        with torch.no_grad():
            logits = found["model"].eval()(torch.tensor(images, dtype=torch.float32))
        return compare_endpoints("timm", right, {"logits": logits.numpy()})

    assert error(program.text).agrees
    for line, nothing in (("module.eps = 1e-3", "pass"), ("model.block2.rep[-1] =", "_ =")):
        assert program.text.count(line) == 1
        assert not error(program.text.replace(line, nothing)).agrees


def test_every_block_is_of_a_kind_that_is_checked():
    checked = {*RUN, "toml"}
    found = {(block.language, str(block)) for page in PAGES for block in blocks(page)}
    assert [where for language, where in sorted(found) if language not in checked] == []


def test_files_are_made_for_pages_that_are_there():
    assert set(FILES) <= {name(page) for page in SHOWING}


def test_workflows_use_the_action_as_it_is():
    """The same version everywhere, that of this release; inputs and options that there are."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    own = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (checkout,) = set(re.findall(r"actions/checkout@\w+ # (v\d+)", own))
    wanted = {f"workflow {use}" for use in workflows.USES}
    assert wanted <= set(
        re.findall(r"{generated} (workflow \w+)", (ROOT / "docs/use/ci.md").read_text())
    )
    for use in workflows.USES:
        flow = yaml.safe_load(workflows.shown(use).removeprefix("```yaml\n").removesuffix("```\n"))
        assert flow["permissions"] == {"contents": "read"}
        (job,) = flow["jobs"].values()
        first, step = job["steps"]
        assert first["uses"] == f"actions/checkout@{checkout}"
        assert step["uses"].endswith(f"@v{rosetta_package.__version__}")
        assert set(step["with"]) <= set(action["inputs"])
        assert [mode for mode in MODES if step["with"].get(mode)] == [use]
        if use == "presets":
            options = {flag for one in known_commands()["parity"].params for flag in one.opts}
            assert set(re.findall(r"--[\w-]+", step["with"]["options"])) <= options


def test_the_repository_of_ten_files_is_shown_whole():
    listed = (path for path in guarded_pair.EXAMPLE.rglob("*") if path.is_file())
    paths = {
        p.relative_to(guarded_pair.EXAMPLE).as_posix() for p in listed if "cache" not in str(p)
    }
    assert set(guarded_pair.LANGUAGES) == paths
    page = guarded_pair.files()
    for path in paths:
        assert f":caption: {path}\n" in page
        if not path.endswith(guarded_pair.TENSORS):
            assert (guarded_pair.EXAMPLE / path).read_text().rstrip() in page
            assert max(map(len, (guarded_pair.EXAMPLE / path).read_text().splitlines())) <= 92, path


def test_what_was_measured_of_the_guard_is_counted(monkeypatch):
    ran = {"pair": "two", "what": "running both alone", "ratio": 0.5, "goal": None, "alone": 1.0}
    taken = {"what": "the fixture", "ratio": 1.876, "goal": 2.0, "alone": 3.75}
    results = {
        "guard": {"rows": [ran, {**ran, **taken}]},
        "kinds": {
            "sources": {
                "ours": {
                    "played": 3,
                    "right": 2,
                    "kinds": {"padding": {"padding": 2, "layout": 1}},
                },
                "others": {"played": 1, "right": 1, "kinds": {"padding": {"padding": 1}}},
            }
        },
    }
    monkeypatch.setattr(tables_of_results, "result", results.__getitem__)
    for asked, rows in {
        "guard counts": ["| ours | 3 | 2 | 67% |", "| others | 1 | 1 | 100% |"],
        "guard kinds": ["| `padding` | 4 | 3 | layout (1) |"],
        "guard cost": ["| two | the fixture | 1.88 | 2 | 3.75 |"],
    }.items():
        table = [line for line in GENERATED[asked]().splitlines() if line.startswith("|")]
        assert table[2:] == rows


def test_a_backend_is_registered_under_the_group_that_is_looked_in():
    (block,) = [block for page in PAGES for block in blocks(page) if block.language == "toml"]
    assert list(tomllib.loads(block.text)["project"]["entry-points"]) == [GROUP]


# ------------------------------------------------------------------ what is named


@pytest.mark.parametrize(
    ("role", "look_up"),
    [("fact", facts.fact), ("pin", facts.pinned), ("mistake", facts.mistake)],
)
def test_what_pages_name_is_known(role, look_up):
    found = list(named(role))
    assert len(found) > 20
    unknown = []
    for page, text in found:
        try:
            look_up(text)
        except ValueError as error:
            unknown.append(f"{name(page)}: {error}")
    assert unknown == []


@pytest.mark.parametrize(
    ("look_up", "wrong"),
    [
        (facts.fact, "parameters.b9"),
        (facts.mistake, "ReLU for swiss"),
        (facts.pinned, "parity_tests/test_forward.py::test_nothing"),
        (facts.pinned, "parity_tests/test_nothing.py"),
        (facts.pinned, "test_forward.py::test_any_size"),
    ],
)
def test_what_is_not_known_is_refused(look_up, wrong):
    with pytest.raises(ValueError, match=re.escape(wrong.split("::")[-1])):
        look_up(wrong)


GOOD = """\
# Page

{fact}`parameters.b0` {pin}`parity_tests/test_forward.py::test_any_size` {mistake}`ReLU for swish`

```{generated} dialects
```
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("", "", ""),
        ("parameters.b0", "parameters.b9", "there is no fact 'parameters.b9'"),
        ("test_any_size", "test_nothing", "test_forward.py has no test_nothing"),
        ("ReLU for swish", "ReLU for fish", "has no mistake 'ReLU for fish'"),
        ("dialects", "dialogues", "nothing generated is called 'dialogues'"),
    ],
)
def test_what_is_not_known_stops_the_build(before, after, message, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    path = repr(str(ROOT / "docs" / "_ext"))
    extensions = 'extensions = ["myst_parser", "sources", "facts_ext"]'
    (docs / "conf.py").write_text(f"import sys\nsys.path.insert(0, {path})\n{extensions}\n")
    (docs / "index.md").write_text(GOOD.replace(before, after))
    for needed in ("parity_tests", "explore"):
        (tmp_path / needed).mkdir()
    shutil.copy(ROOT / "parity_tests" / "test_forward.py", tmp_path / "parity_tests")
    done = sphinx(docs, tmp_path / "out")
    assert message in done.stderr
    assert (done.returncode == 0) == (not message), done.stderr
    if not message:
        page = (tmp_path / "out" / "index.html").read_text()
        assert "5,288,548" in page
        assert "source/parity_tests/test_forward.py.html#L" in page
        assert 'href="explore/parity.html#mistake-relu-for-swish"' in page


def test_the_page_that_writers_copy_builds(tmp_path):
    """CONTRIBUTING.md has it in about twenty lines."""
    (page,) = re.findall(r"```markdown\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert len(page.splitlines()) <= 22
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'docs' / '_ext')!r})\n"
        'extensions = ["myst_parser", "katex", "sources", "triptych", "facts_ext", "drawing_ext"]\n'
        'myst_enable_extensions = ["colon_fence", "dollarmath"]\nhtml_math_renderer = "katex"\n'
    )
    (docs / "_static").symlink_to(ROOT / "docs" / "_static")
    for needed in ("common", "torch_impl", "keras_impl", "parity_tests"):
        (tmp_path / needed).symlink_to(ROOT / needed)
    (docs / "index.md").write_text(page)
    done = sphinx(docs, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    built = (tmp_path / "out" / "index.html").read_text()
    assert built.count("tri-bites")
    assert "<svg" in built
    assert "self.depthwise_conv" in re.sub(r"<.*?>", "", built)


def test_results_name_the_command_that_writes_them():
    """In themselves, or at the top of the program that makes a page of them."""
    programs = "".join(path.read_text() for path in (ROOT / "docs").glob("*.py"))
    for path in (ROOT / "docs" / "results").iterdir():
        content = path.read_text()
        assert path.name in programs or '"command"' in content, path.name


def test_generated_texts_are_whole():
    for make in GENERATED.values():
        text = make()
        assert text.strip()
        assert "| None |" not in text
    layouts = GENERATED["layout keys"]()
    assert all(f"### {layout}\n" in layouts for layout in facts.layout_names())
    kinds = {kind for layout in LAYOUTS for kind in layout.formats_read}
    assert kinds == set(FORMATS)
    assert set(facts.project()["optional-dependencies"]) == set(EXTRAS)


def test_the_command_line_is_all_of_it():
    text = GENERATED["commands"]()
    for command, found in known_commands().items():
        part = text.split(f"## {command}\n")[1].split("\n## ")[0]
        for option in found.params:
            if option.param_type_name == "option":
                assert option.opts[0] in part
                assert option.help
