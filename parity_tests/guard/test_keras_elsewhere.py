"""Models of Keras on JAX and PyTorch, and functions of JAX, each in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

FIRST = """
    import sys
    import numpy as np
    from efficientnet_rosetta.common.errors import UsageError
    from efficientnet_rosetta.common.guard.inputs import inputs_for
    from efficientnet_rosetta.common.guard.judge import judge
    from efficientnet_rosetta.common.guard.program import Given, run_widest
    from efficientnet_rosetta.common.guard.recognise import program_of

    IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
    GIVEN = Given.of(IMAGES)
"""
KERAS = """
    import keras
    from keras import layers

    own = set(sys.modules)  # Keras on PyTorch imports JAX by itself

    def made():  # `keras.utils.set_random_seed` would import TensorFlow
        images = keras.Input((None, None, 3))
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(images))
        x = keras.ops.relu(x)
        model = keras.Model(images, layers.Dense(5)(keras.ops.mean(x, (1, 2))))
        random = np.random.default_rng(0)
        model.set_weights([random.random(weight.shape) for weight in model.get_weights()])
        return model

    model = made()
    kind = model.weights[0].dtype
    program = program_of(model)
    assert program.kind == f"keras.Model on {keras.config.backend()}", program.kind
    precision, wide = run_widest(program, GIVEN)
    assert precision == "float64"
    narrow = program.run(GIVEN)["output"]
    assert (wide["output"].dtype, narrow.dtype) == (np.float64, np.float32)
    assert 0 < np.abs(wide["output"] - narrow).max() < 1e-5
    assert (model.weights[0].dtype, keras.config.floatx()) == (kind, "float32")
    for precision in ("float32", "float64"):
        whole = program.trace(GIVEN, precision)
        again = program.trace(GIVEN, precision, {whole[1].name: whole[1].value})
        assert np.array_equal(again[-1].value, whole[-1].value)
        assert len(again) == len(whole) - 2
    finding = judge(program, program_of(made()), GIVEN)
    assert finding.agree, finding
    assert finding.precisions == ("float64", "float64")
    print(*sorted({"torch", "tensorflow", "jax"} & set(sys.modules) - own))
"""
JAX = """
    import jax
    import jax.numpy as jnp

    KERNEL = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)

    def last(images):
        maps = jnp.einsum("nhwc,cd->nhwd", images, KERNEL)
        return {"maps": maps, "half": images.astype("bfloat16")}

    for function in (last, jax.jit(last)):
        program = program_of(function)
        precision, found = run_widest(program, GIVEN)
        assert precision == "float64", precision
        expected = np.einsum("nchw,cd->nhwd", IMAGES.astype(float), KERNEL)
        assert np.allclose(found["maps"], expected, rtol=0, atol=1e-13)
        assert found["half"].dtype == np.float32
        assert not jax.config.jax_enable_x64
    assert program_of(jax.jit(last)).kind == "JAX function"

    def fixed(images):
        return jax.lax.conv(images, jnp.ones((4, 3, 3, 3), jnp.float32), (1, 1), "SAME")

    assert run_widest(program_of(jax.jit(fixed)), GIVEN)[0] == "float32"

    either = program_of(jax.jit(lambda images: images.mean((1, 2))))
    try:
        either.run(GIVEN)
    except UsageError as error:
        said = "takes images as NCHW and as NHWC, and nothing tells which one is meant"
        assert said in str(error)
    else:
        raise AssertionError("it is guessed")
    said = program_of(jax.jit(lambda images: images.mean((1, 2))), layout="NHWC").run(GIVEN)
    assert np.allclose(said["output"], IMAGES.mean((2, 3)), atol=1e-6)
    print(*sorted({"torch", "tensorflow", "jax", "keras"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("code", "backend", "imported"),
    [(KERAS, "jax", []), (KERAS, "torch", []), (JAX, "jax", ["jax"])],
    ids=["keras-jax", "keras-torch", "jax"],
)
def test_it_runs_in_both_precisions_and_imports_nothing_else(code, backend, imported):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FIRST + code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == imported
