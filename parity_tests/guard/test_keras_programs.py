"""Models of Keras, as programs of the guard."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NCHW,
    NHWC,
    Given,
    run_widest,
)
from efficientnet_rosetta.common.guard.recognise import program_of

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
GIVEN = Given.of(IMAGES)


def functional(shape=(None, None, 3)):
    """Operations between layers, two outputs, and a layer that is registered nowhere."""
    keras.utils.set_random_seed(0)
    images = keras.Input(shape, name="images")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(images)
    x = Doubled(name="doubled")(layers.BatchNormalization(name="norm")(x))
    x = layers.Lambda(lambda value: value + 1, name="plus")(x)
    maps = ops.relu(x)
    logits = layers.Dense(5, name="head")(ops.mean(maps, (1, 2)))
    return keras.Model(images, {"maps": maps, "logits": logits}, name="net")


class Doubled(layers.Layer):
    """A layer that is registered nowhere, and makes one of its own."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.scale = layers.Rescaling(2.0)

    def call(self, x):
        return self.scale(x)


class Subclassed(keras.Model):
    """A model without a word on types, structure or configuration."""

    def __init__(self, width=4):
        super().__init__()
        self.conv = layers.Conv2D(width, 3)
        self.head = layers.Dense(5)

    def call(self, x):
        return self.head(ops.max(self.conv(x), (1, 2)))


def subclassed():
    keras.utils.set_random_seed(0)
    model = Subclassed()
    model(np.zeros((1, 8, 9, 3), np.float32))
    return model


MODELS = pytest.mark.parametrize("make", [functional, subclassed])


@MODELS
def test_float64_is_a_copy_with_the_same_weights(make):
    model = make()
    precision, found = run_widest(program_of(model), GIVEN)
    assert precision == FLOAT64
    narrow = program_of(model).run(GIVEN)
    for name, value in found.items():
        assert (value.dtype, narrow[name].dtype) == (np.float64, np.float32)
        assert 0 < np.abs(value - narrow[name]).max() < 1e-5


@MODELS
def test_nothing_of_the_users_is_changed(make):
    model = make()
    weights = model.get_weights()
    calls = keras.Operation.__call__, keras.Layer.__call__
    config = keras.config.floatx(), keras.config.dtype_policy().name
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    named = layers.Dense(1).name
    program = program_of(model)
    for precision in (FLOAT32, FLOAT64):
        program.run(GIVEN, precision)
        program.trace(GIVEN, precision)
    assert all(map(np.array_equal, weights, model.get_weights()))
    assert (keras.Operation.__call__, keras.Layer.__call__) == calls
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    prefix, _, number = named.rpartition("_")
    assert layers.Dense(1).name == (f"{prefix}_{int(number) + 1}" if prefix else f"{named}_1")


@MODELS
@pytest.mark.parametrize("precision", [FLOAT32, FLOAT64])
def test_it_goes_on_from_values_that_stand_in_for_its_own(make, precision):
    program = program_of(make())
    whole = program.trace(GIVEN, precision)
    names = [step.name for step in whole]
    middle = whole[1]
    again = program.trace(GIVEN, precision, {middle.name: middle.value})
    assert [step.name for step in again] == names[2:]
    assert np.array_equal(again[-1].value, whole[-1].value)
    other = program.trace(GIVEN, precision, {middle.name: middle.value + 1})
    assert not np.allclose(other[-1].value, whole[-1].value)
    with pytest.raises(UsageError, match="has no value 'nowhere'"):
        program.trace(GIVEN, precision, {"nowhere": np.zeros(3)})


def test_layers_and_operations_are_seen_and_the_outputs_come_last():
    trace = program_of(functional()).trace(GIVEN)
    names = [step.name for step in trace]
    assert names[:2] == ["conv", "norm"]
    assert names[2].startswith("doubled/rescaling")
    assert names[-2:] == ["maps", "logits"]
    assert trace[-1].inputs == ("head",)
    assert trace[-2].inputs == (names[-5],)


def test_what_holds_a_copy_to_its_model_is_run_once(monkeypatch):
    own = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    program, called = program_of(own), []
    call = program._called
    monkeypatch.setattr(program, "_called", lambda *given: called.append(given[1]) or call(*given))
    for times in (1, 2):  # whoever asks again wants to know whether it is random
        for precision in (FLOAT64, FLOAT32):
            program.run(GIVEN, precision)
        assert called == times * [FLOAT64, FLOAT32]
    program.run(Given.of(IMAGES[:1]), FLOAT64)
    assert len(called) == 5


@pytest.mark.parametrize("approximate", [True, False])
def test_constants_are_not_rounded_in_float64(approximate):
    inputs = keras.Input((7,))
    scaled = layers.Rescaling(1 / 3, offset=0.1)(inputs)
    model = keras.Model(inputs, ops.gelu(scaled, approximate=approximate))
    numbers = np.linspace(-9, 9, 14).reshape(2, 7)
    x = numbers / 3 + 0.1
    erf = np.vectorize(math.erf)(x / math.sqrt(2))
    tanh = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    (found,) = program_of(model).run(Given.of(numbers), FLOAT64).values()
    np.testing.assert_allclose(found, x / 2 * (1 + (tanh if approximate else erf)), atol=1e-14)


def test_a_copy_that_is_another_model_is_not_used():
    model = functional()
    layer = model.get_layer("norm")
    layer.call = lambda x, training=False, mask=None: x * 3  # which no configuration knows of
    program = program_of(model)
    with pytest.raises(RosettaError, match=r"built again .* is another model; let get_config have"):
        program.run(GIVEN, FLOAT64)
    assert run_widest(program, GIVEN)[0] == FLOAT32


class Stretched(keras.Model):
    """Of which Keras's configuration has the factor of the signature, whatever it was made with."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.conv, self.factor = layers.Conv2D(4, 3, name="conv"), factor

    def call(self, x):
        return ops.tanh(ops.relu(self.conv(self.factor * x)))


@pytest.mark.parametrize(("factor", "widest"), [(1.0, FLOAT64), (1.0001, FLOAT32)])
def test_a_copy_that_lacks_what_a_constructor_was_given_is_not_used(factor, widest):
    """What it changes is less than what float32 might do to a deep network."""
    model = Stretched(factor)
    model(np.zeros((1, 8, 9, 3), np.float32))
    precision, found = run_widest(program_of(model), GIVEN)
    assert precision == widest
    own = program_of(model).run(GIVEN)
    assert all(np.abs(own[name] - value).max() < 1e-5 for name, value in found.items())


def test_functions_of_ops_are_seen_in_a_layers_own_code():
    model = Stretched()
    model(np.zeros((1, 8, 9, 3), np.float32))
    functions = dict(vars(ops))
    trace = program_of(model).trace(GIVEN)
    assert dict(vars(ops)) == functions
    name = model.name
    steps = {step.name: (step.operation, step.inputs) for step in trace}
    assert steps[f"{name}/relu"] == ("Relu", (f"{name}/conv",))
    assert steps[f"{name}/tanh"] == ("Tanh", (f"{name}/relu",))


def test_a_functional_model_says_its_inputs_and_their_order_of_axes():
    (images,) = program_of(functional()).inputs
    assert (images.name, images.shape, images.layout) == ("images", (None, None, None, 3), NHWC)
    assert program_of(subclassed()).inputs is None
    # Channels that are first are seen by the shape, though Keras be set to channels that are last.
    first = keras.Sequential([keras.Input((3, 8, 9)), layers.Permute((2, 3, 1))])
    assert np.array_equal(program_of(first).run(GIVEN)["output"], IMAGES.transpose(0, 2, 3, 1))


@MODELS
def test_images_are_turned(make):
    model = make()
    expected = model(IMAGES.transpose(0, 2, 3, 1), training=False)
    expected = expected["logits"] if make is functional else expected
    for given in (GIVEN, Given.of(IMAGES.transpose(0, 2, 3, 1), NHWC)):
        found = program_of(model).run(given)
        assert np.array_equal([*found.values()][-1], expected)


def test_an_order_of_axes_that_is_said_is_not_doubted():
    with pytest.raises(RosettaError, match="expected axis -1 of input shape to have value 3"):
        program_of(subclassed(), layout=NCHW).run(GIVEN)


class Branches(keras.Model):
    """A call of several arguments."""

    def call(self, ids, gate=None, training=False):
        assert not training
        return ops.cast(ids, gate.dtype) * gate


IDS = np.arange(8).reshape(2, 4)
WEIGHTS = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)


def tokens(structure):
    keras.utils.set_random_seed(0)
    ids, weights = keras.Input((4,), dtype="int32", name="a"), keras.Input((4,), name="b")
    x = layers.Embedding(11, 3)(ids) * weights[..., None]
    inputs = {"ids": ids, "weights": weights} if structure is dict else [ids, weights]
    return keras.Model(inputs, [x, ops.argmax(x, -1)])


@pytest.mark.parametrize(("structure", "named"), [(list, ("a", "b")), (dict, ("ids", "weights"))])
def test_several_inputs_by_place_and_by_name(structure, named):
    program = program_of(tokens(structure))
    assert [(one.name, one.dtype) for one in program.inputs] == [
        (named[0], "int32"),
        (named[1], "float32"),
    ]
    by_place = run_widest(program, Given.of([IDS, WEIGHTS]))
    by_name = run_widest(program, Given.of({named[1]: WEIGHTS, named[0]: IDS}))
    assert by_place[0] == by_name[0] == FLOAT64
    assert list(by_place[1]) == ["output 0", "output 1"]
    for name, value in by_place[1].items():
        assert np.array_equal(by_name[1][name], value)
    assert by_place[1]["output 1"].dtype.kind == "i"
    with pytest.raises(UsageError, match=f"takes {', '.join(named)}; it was given 1 inputs"):
        program.run(Given.of(IDS))
    with pytest.raises(UsageError, match=r"takes int32 as .* numbers that are not whole"):
        program.run(Given.of([WEIGHTS, WEIGHTS]))


@pytest.mark.parametrize(
    "given", [Given.of([IDS, WEIGHTS]), Given.of({"gate": WEIGHTS, "ids": IDS})]
)
def test_a_subclassed_model_takes_them_as_its_call_does(given):
    found = program_of(Branches()).run(given)
    assert np.allclose(found["output"], IDS * WEIGHTS)


def test_a_model_without_weights_is_told_to_be_built():
    with pytest.raises(UsageError, match=r"had no weights before it was called, and those that it"):
        run_widest(program_of(Subclassed()), GIVEN)


def test_mixed_precision_is_run_as_it_is_and_in_float64():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, dtype="mixed_bfloat16", name="half")]
    )
    program = program_of(model)
    precision, wide = run_widest(program, Given.of(WEIGHTS))
    assert precision == FLOAT64
    narrow = program.run(Given.of(WEIGHTS))["output"]
    assert narrow.dtype == np.float32
    assert 1e-4 < np.abs(wide["output"] - narrow).max() < 0.1
    assert program.trace(Given.of(WEIGHTS))[0].value.dtype == np.float32


def test_a_file_of_keras(tmp_path):
    model = tokens(dict)
    model.save(tmp_path / "model.keras")
    program = program_of(tmp_path / "model.keras")
    assert (program.kind, program.name) == ("keras.Model on tensorflow", f"{tmp_path}/model.keras")
    given = Given.of([IDS, WEIGHTS])
    expected = program_of(model).run(given, FLOAT64)
    found = run_widest(program, given)[1]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    (tmp_path / "broken.keras").write_text("no model")
    with pytest.raises(RosettaError, match=r"broken.keras: cannot be loaded as a model of Keras"):
        program_of(tmp_path / "broken.keras")
