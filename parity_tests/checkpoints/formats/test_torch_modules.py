"""Modules that were saved whole: their weights are read, and nothing of their classes is run."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from efficientnet_rosetta.common.checkpoints.formats import torch_file
from parity_tests.checkpoints.formats.torch_support import read, refused, text, write_zip


class Odd(nn.Module):
    """What people's modules have: functions, partials, buffers, and one layer in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.again = self.first
        self.norm = nn.BatchNorm2d(3)
        self.function = torch.nn.functional.silu
        self.partial = functools.partial(nn.functional.leaky_relu, negative_slope=0.2)
        self.register_buffer("steps", torch.arange(4))
        self.register_parameter("nothing", None)
        self.settings = {"depth": 3}

    def __setstate__(self, state):
        raise AssertionError("code of the module was run")


def flat(content, prefix=""):
    """The arrays of dictionaries in one another, by a key as of a state dict."""
    found = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = np.asarray(value)
    return found


def same(found, module):
    expected = module.state_dict()
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name].numpy())


def test_a_module_is_its_state_dict(save):
    module = Odd()
    same(flat(read(save(module))), module)


def test_modules_inside_modules_and_dictionaries(save):
    module = nn.Sequential(nn.DataParallel(Odd()), nn.Linear(3, 2))
    found = read(save({"net": module, "epoch": 3, "optimizer": torch.optim.SGD}))
    assert list(found) == ["net"]
    same(flat(found["net"]), module)


def test_an_object_that_is_no_module_is_left_out(save):
    class_of_settings = type("Settings", (), {"__module__": __name__})
    globals()["Settings"] = class_of_settings
    settings = class_of_settings()
    settings.rate = 0.1
    found = read(save({"state_dict": {"x": torch.ones(2)}, "settings": settings}))
    assert set(flat(found)) == {"state_dict.x"}
    refused(save(settings), "holds an object that is no module; save a model's state_dict")


NEW = b"cmine\nNet\n)\x81"
# The state of a module that holds the first value of the memo as two of its own.
TWICE = b"}" + text("_modules") + b"}(" + text("a") + b"h\x01" + text("b") + b"h\x01"


WALKED = 2**17  # dictionaries: the budget of the reader ends far below


@pytest.fixture
def bounded(monkeypatch):
    """A reader without an end of its own gets one here, with another message than its own."""
    walk, count = torch_file._Walk.tables, itertools.count()

    def tables(self, *arguments):
        assert next(count) < WALKED, "the reader has no end of its own"
        return walk(self, *arguments)

    monkeypatch.setattr(torch_file._Walk, "tables", tables)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("module", "message"),
    [
        # In itself, and so often in one another that it never ends.
        (
            NEW + b"q\x01}" + text("_modules") + b"}" + text("x") + b"h\x01ssb",
            "dictionaries are more than 64 deep",
        ),
        (
            b"}q\x01" + 45 * (NEW + TWICE + b"usbq\x01"),
            "dictionaries contain one another too often",
        ),
    ],
    ids=["in itself", "in one another"],
)
def test_modules_in_one_another_end(module, message, tmp_path):
    refused(write_zip(tmp_path / "x.pth", b"\x80\x02" + module + b"."), message)


@pytest.mark.parametrize(
    "call",
    [
        b"cmine\nNet\n]\x81",  # arguments that are none
        b"cos\nsystem\n" + text("true") + b"\x85R",  # a function, called
        NEW + b")R",  # an object, called
        b"cmine\nNet\n)R",  # a class, called as a function
    ],
)
def test_what_runs_code_is_refused(call, tmp_path):
    refused(
        write_zip(tmp_path / "x.pth", b"\x80\x02}" + text("x") + call + b"s."), "Python objects"
    )
