"""The pieces of code that the pages quote are there, whole, and the same steps in both programs."""

from __future__ import annotations

import ast
import re

import pytest

from excerpts import ExcerptError, Library, Source, check_mirrors
from parity_tests.site.conftest import ROOT

# The programs that are read beside each other.
MIRRORS = sorted(
    path.name
    for path in (ROOT / "torch_impl").glob("*.py")
    if "# step: " in path.read_text() and (ROOT / "keras_impl" / path.name).exists()
)

# PyTorch pads a map, and Keras makes a layer that will: the only names that differ.
CALLED = {"_padded": "_padding"}


@pytest.mark.parametrize("name", MIRRORS)
def test_both_programs_go_through_the_same_steps(name):
    library = Library(ROOT)
    torch, keras = (library[f"{package}/{name}"] for package in ("torch_impl", "keras_impl"))
    assert torch.regions
    assert keras.regions
    check_mirrors(torch, keras, CALLED)


@pytest.mark.parametrize("package", ["torch_impl", "keras_impl"])
def test_no_marker_can_be_lost(package, tmp_path):
    """Each of them, from one of the two programs."""
    unnoticed = []
    for name in MIRRORS:
        source, other = (Source(ROOT, f"{one}/{name}") for one in ("torch_impl", "keras_impl"))
        if package == "keras_impl":
            source, other = other, source
        for region in source.regions:
            lines = source.lines[: region.marker - 1] + source.lines[region.marker :]
            (tmp_path / name).write_text("\n".join(lines))
            without = Source(tmp_path, name)
            pair = (without, other) if package == "torch_impl" else (other, without)
            try:
                check_mirrors(*pair, CALLED)
            except ExcerptError:
                continue
            unnoticed.append(f"{name}: {region.scope}: {region.step}")
    assert unnoticed == []


def test_a_block_is_made_and_used_in_the_same_steps():
    steps = ("block", "expand", "depthwise", "se", "project", "skip")
    library = Library(ROOT)
    for path, use in (("torch_impl", "forward"), ("keras_impl", "__call__")):
        block = library[f"{path}/efficientnet.py"].sequences["MBConv"]
        assert block == {"MBConv.__init__": steps, f"MBConv.{use}": steps}


def test_no_marker_is_without_its_program():
    """A marker that is only in one of the two packages is read beside nothing."""
    marked = {
        package: {p.name for p in (ROOT / package).glob("*.py") if "# step: " in p.read_text()}
        for package in ("torch_impl", "keras_impl")
    }
    assert marked["torch_impl"] == marked["keras_impl"]


# ------------------------------------------------------------------ what is cut out

PROGRAM = '''\
"""A program."""

import dataclasses

TABLE = (
    1,
    2,
)


def other(x):
    """Nothing."""

    return x


@dataclasses.dataclass
class Block:
    """A record.

    Of fields.
    """

    width: int
    depth: int = 1

    @property
    def area(self) -> int:
        return self.width * self.depth


class Net:
    def __init__(self, n):
        # step: widen
        if n:
            self.wide = n

            self.wider = n
        # step: narrow
        self.narrow = n

    def forward(self, x):
        y = x
        # step: widen
        if self.wide:
            x = x * self.wide
        # step: narrow
        x = x - y
        return x


LAST = 1
'''


@pytest.fixture
def source(tmp_path):
    """Makes a source of a text."""

    def make(text: str = PROGRAM, name: str = "program.py") -> Source:
        (tmp_path / name).write_text(text)
        return Source(tmp_path, name)

    return make


def test_a_step_has_several_regions_with_their_scopes_and_real_lines(source):
    program = source()
    first, second = program.step("widen")
    assert (first.scope, second.scope) == ("Net.__init__", "Net.forward")
    assert first.code == "if n:\n    self.wide = n\n\n    self.wider = n"
    lines = PROGRAM.splitlines()
    for excerpt in (first, second, *program.step("narrow")):
        assert lines[excerpt.first - 1].strip() == excerpt.code.splitlines()[0].strip()
        assert lines[excerpt.last - 1].strip() == excerpt.code.splitlines()[-1].strip()


def test_a_region_ends_at_the_next_marker_or_on_dedent(source):
    program = source()
    assert "narrow" not in program.step("widen")[0].code
    assert program.step("narrow")[1].code == "x = x - y\nreturn x"
    assert program.step("narrow")[1].lines == "L48–49"


def test_a_step_of_one_class_only(source):
    program = source(PROGRAM + "\n\ndef more():\n    # step: widen\n    return 1\n")
    assert [e.scope for e in program.step("widen", "Net")] == ["Net.__init__", "Net.forward"]
    assert [e.code for e in program.step("widen", "more")] == ["return 1"]


def test_symbols_have_decorators_and_no_docstring(source):
    program = source()
    assert program.symbol("other").code == "def other(x):\n    return x"
    fields = "@dataclasses.dataclass\nclass Block:\n    width: int\n    depth: int = 1"
    assert program.symbol("Block fields").code == fields
    assert program.symbol("Block").code.startswith(f"{fields}\n\n    @property")
    assert program.symbol("TABLE").code == "TABLE = (\n    1,\n    2,\n)"
    assert program.symbol("Net.forward").code.splitlines()[1] == "    y = x"
    assert "# step" not in program.symbol("Net").code


def test_what_is_quoted_of_the_real_programs_is_python():
    """A region is whole statements: it is never cut in the middle of one."""
    for package in ("torch_impl", "keras_impl"):
        for name in MIRRORS:
            source = Source(ROOT, f"{package}/{name}")
            for region in source.regions:
                for excerpt in source.step(region.step):
                    inside = "\n".join(f"    {line}" for line in excerpt.code.splitlines())
                    ast.parse(f"def f():\n{inside}")


def test_references(tmp_path, source):
    source()
    (tmp_path / "more.py").write_text("def f():\n    # step: one\n    return 1\n")
    library = Library(tmp_path)
    assert [e.path for e in library.find("widen", "program.py")] == ["program.py"] * 2
    assert library.find("@Block fields", "program.py")[0].scope == "Block"
    assert library.find("more.py@f", "program.py")[0].path == "more.py"
    assert library.find("more.py#f/one", "program.py")[0].code == "return 1"
    assert len(library.find("Net/widen", "program.py")) == 2


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "ask", "message"),
    [
        (("# step: narrow", "# narrow"), "narrow", "no step 'narrow'; there are: widen"),
        (("        # step: narrow\n        x", "        x"), "widen", "Net.forward has widen"),
        (("# step: narrow", "# step: widen"), "widen", "step 'widen' is already at line"),
        (("def other", "def another"), "@other", "no 'other'"),
        (("class Net:", "class Net"), "widen", "program.py:32: expected ':'"),
        (("y = x", "# step: empty"), "widen", "step 'empty' has no lines"),
        (("    width: int\n    depth: int = 1\n", ""), "@Block fields", "has no fields"),
    ],
)
def test_faults(tmp_path, source, change, ask, message):
    before, after = change
    assert before in PROGRAM
    text = PROGRAM.replace(before, after)
    if message.startswith("Net.forward"):
        assert text.count("# step: narrow") == 1
    (tmp_path / "program.py").write_text(text)
    with pytest.raises(ExcerptError, match=re.escape(message)):
        Library(tmp_path).find(ask, "program.py")


def test_a_missing_file(tmp_path):
    with pytest.raises(ExcerptError, match="cannot be read"):
        Source(tmp_path, "gone.py")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("# step: narrow", "# step: thin"),
            "a.py has the steps widen, narrow in Net (made, used), "
            "and b.py has the steps widen, thin in Net (made, used)",
        ),
        (
            lambda text: text.replace("        # step: narrow\n", ""),
            "a.py has the steps widen, narrow in Net (made, used), "
            "and b.py has the steps widen in Net (made, used)",
        ),
        (
            lambda text: text.replace("# step: ", "# ", 2),
            "b.py: Net.forward has the steps widen, narrow, and Net.__init__ has none",
        ),
        (
            lambda text: text.replace("def forward", "def call"),
            "and b.py has the steps widen, narrow in Net (call, made)",
        ),
        (
            lambda text: text + "\n\ndef g():\n    # step: more\n    return 1\n",
            "a.py has no steps in g, and b.py has the steps more in g (whole)",
        ),
        (
            lambda text: "def f():\n    # step: narrow\n    return 1\n\n\n" + text,
            "a.py has no steps in f, and b.py has the steps narrow in f (whole)",
        ),
    ],
)
def test_programs_that_are_no_mirrors(source, change, message):
    check_mirrors(source(name="a.py"), source(name="b.py"))
    with pytest.raises(ExcerptError, match=re.escape(message)):
        check_mirrors(source(name="a.py"), source(change(PROGRAM), name="b.py"))


def test_programs_in_another_order(source):
    """Each function is the same, and the programs are not read in the same order."""
    functions = [f"def {name}():\n    # step: {name}\n    return 1\n" for name in "fg"]
    one, other = (
        source("\n\n".join(functions), "a.py"),
        source("\n\n".join(functions[::-1]), "b.py"),
    )
    with pytest.raises(ExcerptError, match=r"a\.py has the steps f, g, and b\.py has g, f"):
        check_mirrors(one, other)
