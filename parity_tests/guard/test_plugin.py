"""The plugin in sessions of pytest: options, marks, reports, workers, and what it imports."""

import json
import re
import tomllib

import numpy as np
import pytest

from efficientnet_rosetta.common.guard.fixture import ParityError
from efficientnet_rosetta.common.guard.naming import file_name
from efficientnet_rosetta.common.guard.program import NHWC, Given

from .fixtures import PLUGIN, ROOT, fixture_of, images, means, session

MINE = """
import sys
import numpy as np
import pytest

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("float32")

def mine(x):
    return np.square(x).mean((2, 3))

def theirs(x):
    print("shown", file=sys.stderr)
    return np.square(x).mean((2, 3)) * 1.01

def test_they_agree(parity):
    parity(mine, mine, IMAGES)

@pytest.mark.parametrize("what", ["a/b", "a-b"])
def test_they_differ(parity, what):
    parity(mine, mine, IMAGES)
    parity(mine, theirs, IMAGES)

@pytest.mark.parity(tolerance=0.1)
def test_a_mark(parity):
    parity(mine, theirs, IMAGES)

@pytest.mark.parity(tolerance=0.1)
def test_a_call_over_a_mark(parity):
    parity(mine, theirs, IMAGES, tolerance=1e-6)

@pytest.mark.parity(tolrance=0.1)
def test_a_mark_that_is_misspelt(parity):
    parity(mine, theirs, IMAGES)
"""
FAILED = 4  # of these tests


@pytest.fixture
def mine(tmp_path):
    """A folder with tests of somebody's."""
    (tmp_path / "test_mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture(
    params=[(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["alone", "workers"]
)
def workers(request):
    """Options with and without processes of xdist, and the plugins that these need."""
    return request.param, ("xdist",) if request.param else ()


def test_a_session(mine, workers):
    options, plugins = workers
    done = session(
        mine, "-q", "--strict-markers", "--parity-report", "out", *options, plugins=plugins
    )
    assert done.returncode == 1
    assert re.search(rf"{FAILED} failed, 2 passed", done.stdout), done.stdout + done.stderr
    # What the test itself says, and not how it is found out.
    assert "mine and theirs differ: output by 7.8e-02 standard deviations" in done.stdout
    assert "guard/fixture.py:" not in done.stdout
    assert "shown" not in done.stdout
    assert "the mark parity has no 'tolrance'; it takes tolerance, atol" in done.stdout
    index = (mine / "out" / "index.html").read_text()
    pages = sorted(path.name for path in (mine / "out").iterdir() if path.name != "index.html")
    assert len(pages) == 3  # two that a mark and a call fail, and none for what never ran
    for page in pages:
        assert f'href="{page}"' in index
        assert f"report: {mine / 'out' / page}" in done.stdout
    assert index.count("✓") == 4
    assert (
        f"parity: 4 of 8 comparisons failed; report: {mine / 'out' / 'index.html'}" in done.stdout
    )


def test_a_report_of_what_agrees_now_is_gone(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ParityError) as raised:
        fixture_of(tmp_path, report=folder)(means, doubled, images())
    (page,) = folder.iterdir()
    assert str(raised.value).endswith(f"report: {page}")
    fixture_of(tmp_path, report=folder)(means, means, images())
    assert not list(folder.iterdir())


def test_what_cannot_be_written_is_said_before_the_tests(mine):
    (mine / "out").write_text("")
    done = session(mine, "--parity-report", "out")
    assert done.returncode == 4
    assert "--parity-report" in done.stderr
    assert "Traceback" not in done.stderr


def test_golden_outputs_go_from_session_to_session(tmp_path):
    test = "import numpy as np\nX = np.arange(192, dtype='float32').reshape(1, 3, 8, 8)\n"
    test += "def test_it(parity):\n    parity(lambda x: x.mean((2, 3)){0}, parity.golden(), X)\n"
    file = tmp_path / "test_mine.py"
    file.write_text(test.format(""))
    assert session(tmp_path, "--parity-update").returncode == 0
    assert (tmp_path / "golden" / "test_mine.test_it.safetensors").is_file()
    file.write_text(test.format(" + 1"))
    assert "differ" in session(tmp_path).stdout


IMPORTING = """
import sys

FRAMEWORKS = {"torch", "keras", "tensorflow", "jax", "onnxruntime"}

def found():
    return {name.partition(".")[0] for name in sys.modules}

def test_a_session_that_compares_nothing():
    assert not found() & (FRAMEWORKS | {"numpy", "onnx", "jinja2"})
    assert "efficientnet_rosetta.common.guard.plugin" in sys.modules

def test_functions(parity):
    import numpy as np

    parity(lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3)), np.ones((1, 3, 8, 8)).cumsum(3))
    assert not found() & FRAMEWORKS

def test_modules(parity):
    import numpy as np
    import torch

    one, other = (torch.nn.Conv2d(3, 2, 3) for _ in range(2))
    other.load_state_dict(one.state_dict())
    parity(one, other, np.ones((1, 3, 8, 8)).cumsum(3))
    assert found() & FRAMEWORKS == {"torch"}
"""


def test_only_the_frameworks_of_the_tests_are_imported(tmp_path):
    """In one session, as what was imported stays so."""
    (tmp_path / "test_mine.py").write_text(IMPORTING)
    done = session(tmp_path)
    assert "3 passed" in done.stdout, done.stdout


def test_the_plugin_is_what_pyproject_says():
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert said["project"]["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


# ------------------------------------------------------------------ how it is called


def doubled(x, y=0):
    return means(x) * 2 + y


def test_several_programs(tmp_path):
    parity = fixture_of(tmp_path)
    found = parity(means, lambda x: means(x), lambda x: np.square(x).mean((2, 3)), images())
    assert len(found) == 2
    with pytest.raises(ParityError, match=r"^means and doubled differ"):
        parity(means, lambda x: means(x), doubled, images())


@pytest.mark.parametrize(
    "inputs",
    [
        ([images(), np.ones((2, 1))],),
        (images(), np.ones((2, 1))),
        ({"x": images(), "y": np.ones((2, 1))},),
        (Given((images(),), {"y": np.ones((2, 1))}),),
        (images().tolist(), [[1.0], [1.0]]),
    ],
    ids=["list", "places", "names", "given", "lists"],
)
def test_inputs(inputs, tmp_path):
    (found,) = fixture_of(tmp_path)(doubled, lambda x, y: doubled(x, y), *inputs)
    assert len(found.inputs) == 2


def test_inputs_by_name_and_tensors(tmp_path):
    import torch

    parity = fixture_of(tmp_path)
    for given in (torch.tensor(images()), torch.tensor(images(), requires_grad=True)):
        (found,) = parity(means, lambda x: means(x), inputs=given)
        assert found.inputs == ("float32 (2, 3, 8, 8)",)
    (found,) = parity(means, means, torch.tensor(images()).bfloat16())
    assert found.agree


@pytest.fixture(scope="module")
def torch_and_keras():
    """A model of PyTorch's, and Keras's with the same weights, which says what it takes."""
    import keras
    import torch

    torch.manual_seed(0)
    first = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.SiLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    layers = [keras.layers.Conv2D(4, 3, activation="silu"), keras.layers.GlobalAveragePooling2D()]
    second = keras.Sequential([keras.layers.Input((None, None, 3)), *layers])
    kernel, bias = (tensor.numpy() for tensor in first.state_dict().values())
    second.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    return first, second


def test_the_example(torch_and_keras, tmp_path):
    torch_model, keras_model = torch_and_keras
    (found,) = fixture_of(tmp_path)(torch_model, keras_model, images())
    assert found.precisions == ("float64", "float64")


def test_inputs_are_made_from_what_a_program_declares(torch_and_keras, tmp_path):
    parity = fixture_of(tmp_path, marked={"size": 16, "batch": 3})
    shapes = [
        tuple(map(int, re.findall(r"\d+(?=[,)])", one.inputs[0])))
        for one in parity(*torch_and_keras)
    ]
    assert (3, 3, 16, 16) in shapes
    assert {shape[0] for shape in shapes} == {1, 3}
    assert any(side % 2 for shape in shapes for side in shape[2:])
    with pytest.raises(ParityError, match="say nothing of their inputs"):
        fixture_of(tmp_path)(means, lambda x: means(x))


def test_a_folder_of_pictures(torch_and_keras, tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        pixels = random.integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    np.save(tmp_path / "c.npy", images())
    parity = fixture_of(tmp_path, marked={"size": 16})
    for path, batch in ((tmp_path, 2), (str(tmp_path / "a.png"), 1), (tmp_path / "c.npy", 2)):
        found = parity(*torch_and_keras, path)
        assert found[0].inputs[0].startswith(f"float32 ({batch}, 3, ")


def test_layouts(tmp_path):
    def channels_last(x):
        return np.square(x).mean((1, 2))

    parity = fixture_of(tmp_path)
    (found,) = parity(means, channels_last, images(), layouts=("NCHW", "NHWC"))
    assert found.agree
    last = images().transpose(0, 2, 3, 1)
    (found,) = parity(means, channels_last, last, layout=NHWC, layouts=("NCHW", "NHWC"))
    assert found.agree


def test_several_inputs_are_each_compared(tmp_path):
    def wrong_for_one(x):
        return means(x) * (1 if len(x) > 1 else 2)

    givens = [Given.of(images(batch)) for batch in (2, 1)]
    with pytest.raises(ParityError, match="differ"):
        fixture_of(tmp_path)(means, wrong_for_one, givens)


def test_atol(tmp_path):
    parity = fixture_of(tmp_path, marked={"atol": 0.5})
    (found,) = parity(means, lambda x: means(x) + 0.4, images())
    assert found.agree
    with pytest.raises(ParityError, match="differ"):
        parity(means, lambda x: means(x) + 0.6, images())
    (found,) = parity(means, lambda x: means(x) + 0.6, images(), atol=0.7)
    assert found.agree


WRONG = {
    "one program": ((means, images()), {}, "two programs are compared"),
    "inputs twice": ((means, means, images()), {"inputs": images()}, "given twice"),
    "a program last": ((means, means, images(), means), {}, "comes after the inputs"),
    "a tolerance of 0": ((means, means, images()), {"tolerance": 0}, "above 0 and below 1"),
    "two tolerances": ((means, means, images()), {"tolerance": 0.1, "atol": 1}, "not both"),
    "another layout": ((means, means, images()), {"layout": "HWC"}, "choose NCHW or NHWC"),
    "a name too few": ((means, means, images()), {"names": ["mine"]}, "each of the 2 programs"),
    "no program": ((means, 3, images()), {}, "two programs are compared"),
    "words": ((means, means, np.array(["a"])), {}, "no array of numbers"),
    "no file": (("nowhere.onnx", means, images()), {}, "nowhere.onnx"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_asked_wrongly_is_one_line(case, tmp_path):
    given, options, said = WRONG[case]
    with pytest.raises(ParityError) as raised:
        fixture_of(tmp_path)(*given, **options)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_layout_that_nothing_tells_is_said_by_the_argument_of_a_call(tmp_path):
    import jax

    squares = jax.jit(lambda x: (x**2).mean((2, 3)))
    parity = fixture_of(tmp_path)
    with pytest.raises(ParityError, match=r'say which \(by layouts=\["NCHW", "NHWC"\]'):
        parity(means, squares, images())
    parity(means, squares, images(), layouts=[None, "NCHW"])


def test_weights_are_noted_too(mine):
    (mine / "test_mine.py").write_text(
        "import numpy as np\nA = {'kernel': np.ones(3)}\n\ndef test_it(parity):\n"
        "    parity(np.square, np.square, np.arange(9.0).reshape(3, 3))\n"
        "    parity.weights(A, A)\n    parity.weights(A, {'kernel': np.zeros(3)})\n"
    )
    done = session(mine, "--parity-report", "out")
    assert "parity: 1 of 3 comparisons failed" in done.stdout
    # Its public name, and no longer one.
    assert re.search(r"E +efficientnet_rosetta\.ParityError: the weights of the", done.stdout)
    page = (mine / "out" / "index.html").read_text()
    assert "test_mine.py::test_it, weights (2)</td>" in page
    assert "kernel: differs by" in page


def test_what_became_of_comparisons_is_noted(tmp_path):
    notes = []
    parity = fixture_of(tmp_path, notes=notes, report=tmp_path / "out")
    parity(means, means, images())
    with pytest.raises(ParityError):
        parity(means, doubled, images())
    assert [(note["call"], note["agree"]) for note in notes] == [(1, True), (2, False)]
    assert notes[1]["programs"] == ["means", "doubled"]
    assert json.dumps(notes)


def test_no_two_tests_share_a_file():
    names = ["a.py::test[a/b]", "a.py::test[a-b]", "a.py::test[a b]", "a.py::test[é]", "a.py::test"]
    names += [f"a.py::test[{'x' * 300}{end}]" for end in "12"]
    found = {file_name(name) for name in names}
    assert len(found) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", name) for name in found)
