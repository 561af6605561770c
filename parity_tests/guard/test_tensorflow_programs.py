"""SavedModels, modules and functions of TensorFlow, and TFLite, as programs of the guard."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, NHWC, Given, run_widest
from efficientnet_rosetta.common.guard.recognise import program_of

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(2, 3, 8, 9)).astype(np.float32)
KERNEL = RANDOM.normal(size=(3, 3, 3, 4)).astype(np.float32)
GIVEN = Given.of(IMAGES)
OPEN = tf.TensorSpec((None, 8, 9, 3), tf.float32, name="images")


class Net(tf.Module):
    """A convolution, with a signature only where it is saved."""

    def __init__(self):
        super().__init__(name="net")
        self.kernel = tf.Variable(KERNEL)

    def __call__(self, images):
        maps = tf.nn.conv2d(images, self.kernel, 1, "SAME")
        return {"maps": maps, "means": tf.reduce_mean(maps, (1, 2))}


def expected():
    return {name: value.numpy() for name, value in Net()(IMAGES.transpose(0, 2, 3, 1)).items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel of `Net`, with a signature."""
    folder, net = tmp_path_factory.mktemp("saved"), Net()
    tf.saved_model.save(net, str(folder), tf.function(net.__call__, input_signature=[OPEN]))
    return folder


def of_function():
    net = Net()
    return tf.function(lambda images: net(images), input_signature=[OPEN])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda saved: Net(), "tf.Module"),
        (lambda saved: of_function(), "tf.function"),
        (lambda saved: of_function().get_concrete_function(), "tf.function"),
        (lambda saved: tf.saved_model.load(str(saved)), "SavedModel"),
        (lambda saved: saved, "SavedModel"),
        (
            lambda saved: tf.saved_model.load(str(saved)).signatures["serving_default"],
            "tf.function",
        ),
    ],
    ids=["module", "function", "concrete", "loaded", "folder", "signature"],
)
def test_what_tensorflow_makes_runs_as_it_is(saved, make, kind):
    program = program_of(make(saved))
    assert program.kind == kind
    if kind != "tf.Module":
        (images,) = program.inputs
        assert (images.name, images.shape) == ("images", (None, 8, 9, 3))
    for given in (GIVEN, Given.of(IMAGES.transpose(0, 2, 3, 1), NHWC)):
        precision, found = run_widest(program, given)
        assert precision == FLOAT32  # of its variable
        assert {name: value.shape for name, value in found.items()} == {
            "maps": (2, 8, 9, 4),
            "means": (2, 4),
        }
        for name, value in expected().items():
            assert np.allclose(found[name], value, rtol=0, atol=1e-5)
    assert [step.name for step in program.trace(GIVEN)] == ["maps", "means"]
    assert not program.sees_inside
    with pytest.raises(UsageError, match="cannot be run from the middle"):
        program.trace(GIVEN, instead={"maps": np.zeros(3)})


def test_a_module_that_takes_float64_is_run_in_it():
    class Softplus(tf.Module):
        def __call__(self, x):
            return tf.math.softplus(x)

    precision, found = run_widest(program_of(Softplus()), Given.of(np.float32([[1, 2]])))
    assert precision == FLOAT64
    assert np.allclose(found["output"], np.log1p(np.exp([[1.0, 2.0]])), rtol=1e-15, atol=0)


def test_several_inputs_of_a_signature_by_place_and_name():
    specs = [tf.TensorSpec((None, 4), tf.int32, "ids"), tf.TensorSpec((None, 4), name="gate")]

    @tf.function(input_signature=specs)
    def gated(ids, gate):
        return tf.cast(ids, tf.float32) * gate, tf.cast(gate, tf.bfloat16), tf.argmax(gate, 1)

    ids, gate = np.arange(8).reshape(2, 4), np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
    program = program_of(gated)
    assert [(one.name, one.dtype) for one in program.inputs] == [
        ("ids", "int32"),
        ("gate", "float32"),
    ]
    for given in (Given.of([ids, gate]), Given.of({"gate": gate, "ids": ids})):
        found = program.run(given)
        assert np.allclose(found["output 0"], ids * gate)
        assert found["output 1"].dtype == np.float32
        assert found["output 2"].dtype.kind == "i"
    with pytest.raises(
        UsageError, match=r"takes the shape \(\?, 4\) as ids; it was given \(2, 3\)"
    ):
        program.run(Given.of([ids[:, :3], gate]))


def test_what_cannot_be_called_or_fails_is_one_line():
    with pytest.raises(UsageError, match="module has no signature and cannot be called"):
        program_of(tf.Module(), "module")
    with pytest.raises(RosettaError, match="net: InvalidArgumentError"):
        program_of(Net()).run(Given.of(IMAGES[:, :2]))


def lite(quantized=False):
    net = Net()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(net.__call__, input_signature=[OPEN]).get_concrete_function()], net
    )
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: [[IMAGES.transpose(0, 2, 3, 1)]]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", ["bytes", "file", "interpreter", "quantized"])
def test_tflite(tmp_path, make):
    content = what = lite(make == "quantized")
    if make == "file":
        what = tmp_path / "net.tflite"
        what.write_bytes(content)
    if make == "interpreter":
        what = tf.lite.Interpreter(model_content=content)
        before = what.get_input_details()[0]["shape"]
    program = program_of(what)
    assert (program.kind, program.precisions) == ("TFLite", (FLOAT32,))
    (images,) = program.inputs
    assert (images.name, images.shape, images.dtype) == ("images", (None, 8, 9, 3), "float32")
    tolerance = 0.5 if make == "quantized" else 1e-5
    for examples in (1, 2):
        found = program.run(Given.of(IMAGES[:examples]))
        for name, value in expected().items():
            assert np.allclose(found[name], value[:examples], rtol=0, atol=tolerance)
    if make == "interpreter":
        assert np.array_equal(what.get_input_details()[0]["shape"], before)


def test_damage_is_one_line(tmp_path):
    (tmp_path / "net.tflite").write_bytes(b"\0\0\0\0TFL3 and nothing more")
    with pytest.raises(RosettaError, match=r"net.tflite: cannot be read as a TFLite model"):
        program_of(tmp_path / "net.tflite")
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(RosettaError, match=": cannot be read as a SavedModel"):
        program_of(tmp_path)


def test_what_keras_exports_for_serving(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.export(tmp_path, verbose=False)
    given = Given.of(RANDOM.normal(size=(2, 4)))
    found = program_of(tmp_path).run(given)
    assert np.allclose(
        next(iter(found.values())), program_of(model).run(given)["output"], atol=1e-6
    )
