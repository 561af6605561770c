"""What two programs end in: proved, differs, or nothing can be said, and where they part."""

import re

import numpy as np
import pytest

from efficientnet_rosetta.common.backends import trace
from efficientnet_rosetta.common.backends.judgement import DIFFERS, NOT_COMPARED, PROVED
from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.guard.judge import judge, judge_all
from efficientnet_rosetta.common.guard.message import message
from efficientnet_rosetta.common.guard.program import FLOAT32, NCHW, Given
from efficientnet_rosetta.common.guard.recognise import program_of
from parity_tests.guard.arithmetic import Arithmetic

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # none of NumPy's is shown
RANDOM = np.random.default_rng(0)
IMAGES = Given.of(RANDOM.random((2, 3, 16, 16)).astype(np.float32))
KERNELS = [RANDOM.normal(size=(64, 64)) / 8 for _ in range(12)]
FIRST = RANDOM.normal(size=(768, 64)) / 28


def flat(x):
    return x.reshape(len(x), -1)


def dense(kernel, times=1.0):
    return lambda x: x @ (times * kernel).astype(x.dtype)


def in_two(kernel):
    """The same product, added up in another order."""
    half = len(kernel) // 2
    one, other = kernel[:half], kernel[half:]
    return lambda x: x[:, half:] @ other.astype(x.dtype) + x[:, :half] @ one.astype(x.dtype)


def network(make=dense, wrong=None, **more):
    """Products and activations; `wrong` is the number of one that is a little too large."""
    steps = [flat, make(FIRST)]
    for number, kernel in enumerate(KERNELS):
        steps += [np.tanh, dense(kernel, 1.001) if number == wrong else make(kernel)]
    return Arithmetic(*steps, **more)


def ending(first, second, given=IMAGES, **more):
    return judge(first, second, given, **more).verdict.ending


NARROW = {"precisions": (FLOAT32,)}


def test_of_programs_that_show_outputs_alone_no_kind_is_guessed():
    """A place there is, which is an output; how it came about, nothing tells."""
    one, other = program_of(np.tanh, layout=NCHW), program_of(np.arctan, layout=NCHW)
    found = judge(one, other, IMAGES)
    assert found.verdict.ending == DIFFERS
    assert found.divergence.operation == found.outputs[0].output
    assert found.kind is None
    assert not re.search("likely|jump|drift", message(found))


@pytest.mark.parametrize("one", [{}, NARROW], ids=["float64", "float32"])
@pytest.mark.parametrize("other", [{}, NARROW], ids=["float64", "float32"])
def test_the_same_in_another_order_agrees_and_a_mistake_is_found(one, other):
    assert ending(network(**one), network(in_two, **other)) == PROVED
    found = judge(network(**one), network(in_two, wrong=7, **other), IMAGES)
    assert found.verdict.ending == DIFFERS
    assert found.jump
    assert found.divergence.operation == found.divergence.counterpart == "17"
    assert found.resume == ("16", "16")
    assert [pair[:2] for pair in found.pairs][-1] == ("16", "16")


# ------------------------------------------------------------------ rounding


def magnified(times, turned=False):
    """A mean, of which all digits but the last are subtracted, and those magnified."""

    def mean(x):
        x = x[:, ::-1] if turned else x
        return np.stack([np.add.reduce(x[:, i::2], 1, dtype=x.dtype) for i in (0, 1)], 1) / 384

    return Arithmetic(
        flat, mean, lambda m: times * (m - 0.5), lambda m: np.sin(m), precisions=(FLOAT32,)
    )


def logistic(turns, turned=False):
    """A map that doubles rounding at every turn, written in two ways."""
    one, other = (lambda x: 3.9 * x * (1 - x)), (lambda x: 3.9 * x - 3.9 * (x * x))
    return [flat, lambda x: x[:, :8]] + [other if turned else one] * turns


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (magnified(1e6), magnified(1e6, True)),
        (magnified(1e9), magnified(1e9, True)),
        (Arithmetic(*logistic(80)), Arithmetic(*logistic(80, True))),
        (Arithmetic(*logistic(30), **NARROW), Arithmetic(*logistic(30, True), **NARROW)),
        (Arithmetic(*logistic(30)), Arithmetic(*logistic(30, True), **NARROW)),
    ],
    ids=["means in float32", "of 1e9", "chaos in float64", "in float32", "in both"],
)
def test_where_rounding_explains_anything_nothing_can_be_said(first, second):
    found = judge(first, second, IMAGES)
    assert found.verdict.ending == NOT_COMPARED, found
    assert found.divergence is None
    assert found.error <= found.rounding


@pytest.mark.parametrize("turns", [5, 10, 20, 25])
def test_chaos_in_float64_agrees_where_it_has_not_got_so_far(turns):
    assert ending(Arithmetic(*logistic(turns)), Arithmetic(*logistic(turns, True))) == PROVED


@pytest.mark.parametrize("turns", [1, 3, 6, 9, 12, 16, 20, 25])
@pytest.mark.parametrize("one", [{}, NARROW], ids=["float64", "float32"])
def test_magnified_rounding_in_float32_is_no_difference(turns, one):
    first = Arithmetic(*logistic(turns), **one)
    assert ending(first, Arithmetic(*logistic(turns, True), **NARROW)) != DIFFERS


def test_a_difference_that_is_larger_than_magnified_rounding_is_one():
    wrong = Arithmetic(*logistic(25), lambda x: 1.01 * x)
    assert ending(Arithmetic(*logistic(25)), wrong) == DIFFERS


def narrow_inside(x):
    return np.tanh(x.astype(np.float32)).astype(x.dtype)


def test_a_program_in_float64_that_rounds_to_float32_inside_is_one_in_float32():
    first, second = network(), network(in_two)
    second.steps = tuple(narrow_inside if step is np.tanh else step for step in second.steps)
    found = judge(first, second, IMAGES)
    assert found.precisions == ("float64", "float64")
    assert found.verdict.ending == PROVED
    assert found.error > 1e-10
    wrong = network(in_two, wrong=3)
    wrong.steps = tuple(narrow_inside if step is np.tanh else step for step in wrong.steps)
    assert ending(first, wrong) == DIFFERS


# ------------------------------------------------------------------ outputs


def masked(low):
    return lambda x: np.where(np.arange(x.shape[1]) % 3 == 0, np.asarray(low, x.dtype), x)


@pytest.mark.parametrize("low", [-np.inf, -1e9, -10000.0, np.finfo(np.float32).min])
def test_a_mask_does_not_hide_what_it_does_not_mask(low):
    first = Arithmetic(*network().steps, masked(low))
    assert ending(first, Arithmetic(*network(in_two).steps, masked(low))) == PROVED
    found = judge(first, Arithmetic(*network(wrong=7).steps, masked(low)), IMAGES)
    assert found.verdict.ending == DIFFERS
    assert found.error > 1e-4
    moved = Arithmetic(*network().steps, masked(low), lambda x: np.roll(x, 1, 1))
    assert ending(first, moved) == DIFFERS


@pytest.mark.parametrize("one", [{}, NARROW], ids=["float64", "float32"])
def test_a_small_part_beside_a_large_constant_is_seen_or_nothing_is_said(one):
    def beside(x):
        return 1000 + np.asarray(1e-4, x.dtype) * x

    first = Arithmetic(*network().steps, beside, **one)
    other = Arithmetic(*network(in_two).steps, beside, **one)
    wrong = Arithmetic(*network(wrong=7).steps, beside, **one)
    same, different = ending(first, other), ending(first, wrong)
    assert (same, different) == ((NOT_COMPARED,) * 2 if one else (PROVED, DIFFERS))


def test_every_output_is_judged_by_itself():
    def two(wrong):
        return Arithmetic(*network(in_two, wrong).steps, lambda x: {"a": x, "b": np.tanh(x)})

    def spoilt(which):
        return Arithmetic(*network().steps, lambda x: {"a": x, "b": np.tanh(x)} | {which: 1.01 * x})

    assert judge(two(None), two(None), IMAGES).agree
    for which in "ab":
        found = judge(two(None), spoilt(which), IMAGES)
        assert [(one.output, one.differs) for one in found.outputs] == [
            ("a", which == "a"),
            ("b", which == "b"),
        ]
        assert which in (found.divergence.operation, found.divergence.counterpart)
        assert found.worst.output == which


@pytest.mark.parametrize("one", [{}, NARROW], ids=["float64", "float32"])
def test_whole_numbers_are_the_same_or_differ(one):
    def best(x):
        return {"best": x.argmax(1)}

    def last(x):
        return {"best": 63 - x.argmax(1)}

    first = Arithmetic(*network().steps, best, **one)
    assert judge(first, Arithmetic(*network(in_two).steps, best, **one), IMAGES).agree
    found = judge(first, Arithmetic(*network().steps, last, **one), IMAGES)
    assert (found.verdict.ending, found.error) == (DIFFERS, 1.0)


def test_a_near_tie_is_broken_either_way():
    rows = np.linspace(-3, 3, 50)
    values = np.stack([rows, rows**2 / 3, -rows], 1) * 1.0
    values[7, 0] = values[7].max() * (1 - 1e-7)  # in float32 it is not known which is larger
    given = Given.of(values)
    first = Arithmetic(lambda x: {"best": (3 * x).argmax(1)}, **NARROW)
    other = Arithmetic(lambda x: {"best": np.where(np.arange(50) == 7, 0, x.argmax(1))}, **NARROW)
    found = judge(first, other, given)
    assert found.agree
    wrong = Arithmetic(lambda x: {"best": np.where(np.arange(50) == 9, 1, x.argmax(1))})
    assert judge(first, wrong, given).error == 1 / 50


@pytest.mark.parametrize("hidden", [lambda x: 1.01 * x + 0.01 * x**3, lambda x: x * (1 + 1e-3)])
def test_classes_that_agree_do_not_hide_what_they_are_made_from(hidden):
    largest = [lambda x: np.tanh(x.mean((2, 3))), lambda x: x.argmax(1)]
    found = judge(Arithmetic(*largest), Arithmetic(hidden, *largest), IMAGES)
    assert "made from values that are not the same" in found.unfit
    assert not found.agree


def test_a_softmax_in_front_of_classes_is_no_difference():
    means = Arithmetic(lambda x: x.mean((2, 3)), lambda x: x.argmax(1))
    shares = Arithmetic(lambda x: x.mean((2, 3)), np.exp, lambda x: x.argmax(1))
    assert judge(means, shares, IMAGES).agree
    assert judge(shares, means, IMAGES).agree


def test_what_is_allowed_may_be_said():
    near = Arithmetic(*network(wrong=11).steps)
    error = judge(network(), near, IMAGES).error
    spread = network().run(IMAGES, "float64")["output"].std()
    for more, ends in (
        ({"tolerance": 1.1 * error}, PROVED),
        ({"tolerance": 0.9 * error}, DIFFERS),
        ({"atol": 1.1 * error * spread}, PROVED),
        ({"atol": 0.9 * error * spread}, DIFFERS),
    ):
        assert ending(network(), near, **more) == ends, more


# ------------------------------------------------------------------ unfit programs


class Counting:
    """What a program has that gives something else every time."""

    def __init__(self, size):
        self.calls, self.size = 0, size

    def __call__(self, x):
        self.calls += 1
        return x * (1 + self.size * self.calls)


def writing(x):
    x *= 2
    return x


STORED = RANDOM.random((2, 64))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((lambda x: STORED,), "does not depend on its inputs"),
        ((lambda x: STORED + 0 * flat(x)[:, :64],), "does not depend on its inputs"),
        ((*network().steps, Counting(0.1)), "is random"),
        ((*network().steps, Counting(1e-6)), "is random"),
        ((*network().steps, lambda x: {}), "returns nothing"),
    ],
    ids=["constant", "ignores them", "random", "a little random", "nothing"],
)
def test_an_unfit_program_is_said_to_be_so(place, steps, says):
    unfit = Arithmetic(*steps, name="mine")
    for fit in (network(), Arithmetic(lambda x: STORED), unfit):
        pair = (unfit, fit) if place == 0 else (fit, unfit)
        found = judge(*pair, IMAGES)
        assert not found.agree
        assert found.verdict.ending == NOT_COMPARED
        if fit.name != "arithmetic" or len(fit.steps) > 1:
            assert f"mine {says}" in found.unfit or f"of mine {says}" in found.unfit


def test_programs_that_cannot_be_held_against_one_another_do_not_agree():
    half = Arithmetic(*network().steps, lambda x: x[:, :32])
    found = judge(network(), half, IMAGES)
    assert "outputs of the shapes (2, 64) and (2, 32)" in found.unfit
    two = Arithmetic(*network().steps, lambda x: {"a": x, "b": x})
    assert "returns 1 outputs (output), arithmetic 2 (a, b)" in judge(network(), two, IMAGES).unfit
    for found in (judge(network(), half, IMAGES), judge(network(), two, IMAGES)):
        assert (found.incomparable, found.verdict.ending) == (True, DIFFERS)


def test_no_numbers_are_said():
    nothing = Arithmetic(*network().steps, lambda x: x * np.nan)
    assert "no number at all as output" in judge(nothing, nothing, IMAGES).unfit
    for pair in ((nothing, network()), (network(), nothing)):
        found = judge(*pair, IMAGES)
        assert found.verdict.ending == DIFFERS
        assert found.error == float("inf")


# ------------------------------------------------------------------ from the middle, and many


def test_only_what_follows_is_run():
    found = judge(network(), network(in_two, wrong=7), IMAGES, after=("16", "16"))
    assert found.divergence.operation == "17"
    assert found.divergence.after is None
    found = judge(network(), network(in_two, wrong=7), IMAGES, after=("17", "17"))
    assert found.agree
    for names, says in ((("99", "1"), "arithmetic: has no value '99'"), (("1", "17"), None)):
        if says:
            with pytest.raises(UsageError, match=says):
                judge(network(), network(), IMAGES, after=names)
    with pytest.raises(UsageError, match="cannot be run from the middle"):
        judge(network(sees_inside=False), network(), IMAGES, after=("1", "1"))


def test_all_programs_on_all_inputs_the_worst_first():
    others = [network(in_two), network(in_two, wrong=2), network(in_two, wrong=11)]
    zeros = Given.of(np.zeros_like(IMAGES.args[0]) + np.float32(0.5))
    first = network()
    found = judge_all([first, *others], [zeros, IMAGES])
    assert len(found) == 6
    assert [one.agree for one in found] == [False] * 4 + [True] * 2
    assert [one.divergence is None for one in found] == [False] * 2 + [True] * 4
    assert found[0].outputs[0].share >= found[1].outputs[0].share


def test_a_finding_says_the_same_as_data():
    said = judge(network(), network(wrong=7), IMAGES).to_dict()
    assert (said["agree"], said["jump"], said["output"]) == (False, True, "output")
    assert said["shape"] == [2, 64]
    assert said["error"] > said["tolerance"] > 0
    assert said["rounding"] is None
    assert said["verdict"]["ending"] == DIFFERS


def test_a_long_trace_lies_in_a_file(monkeypatch):
    found = judge(network(), network(wrong=7), IMAGES)
    monkeypatch.setattr(trace, "IN_MEMORY", 2000)
    kept = network().trace(IMAGES)
    assert isinstance(kept[-1].value.base, np.memmap)
    assert not kept[-1].value.flags.writeable
    assert judge(network(), network(wrong=7), IMAGES) == found
