"""Each implementation is at home in its framework."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.backends.registry import get_backend
from parity_tests.support import FAMILIES, LITTLE, SHALLOW, images_for, small, weights_of

SCALINGS = {
    "efficientnet": SHALLOW,
    "lite": LITTLE,
    "v2": LITTLE,
    "v2_rw": LITTLE,
    "edgetpu": LITTLE,
    "xception": {"width": 0.25, "middle_blocks": 2},
}


SLOW = pytest.mark.slow
# One of what is made of the later blocks, and all of it in the slow tests.
MODELS = [
    pytest.param(name, marks=[SLOW] if name in ("lite", "v2", "v2_rw") else [])
    for name in ARCHITECTURES
]
SAVED = [
    [
        *(f"{name}-{dialect}" for name in ("efficientnet", "xception") for dialect in FAMILIES),
        "edgetpu-pytorch",
    ],
    pytest.param(
        [
            f"{name}-{dialect}"
            for name in ("lite", "v2", "v2_rw", "edgetpu")
            for dialect in FAMILIES
        ],
        marks=SLOW,
    ),
]


def smallest(architecture, **options):
    """One network of each."""
    preset = ARCHITECTURES[architecture].presets[0]
    return small(preset, **SCALINGS[architecture], **options)


def torch_model(network):
    backend = get_backend("torch")
    model = backend.build(network)
    backend.load_weights(model, weights_of(network))
    return model


def keras_model(network, dtype="float32"):
    backend = get_backend("keras")
    model = backend.build(network, dtype)
    backend.load_weights(model, weights_of(network))
    return model


def test_torch_state_dict_keys_are_the_canonical_roles():
    network = small("b1")
    state = torch_model(network).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == network.tensors
    assert list(state) == list(network.tensors)


def test_torch_state_dict_loads_into_a_fresh_model(tmp_path):
    network = small()
    model = torch_model(network)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    fresh = get_backend("torch").build(network)
    fresh.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    images = torch.tensor(images_for(network), dtype=torch.float32)
    with torch.inference_mode():
        assert torch.equal(fresh(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", FAMILIES)
def test_torch_compiled_takes_images_of_other_sizes(dialect):
    network = small(dialect=dialect, width=0.25, depth=0.5)
    model = torch_model(network)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for size in ((64, 64), (65, 65), (97, 80)):
        images = torch.tensor(images_for(small(size=size)), dtype=torch.float32)
        with torch.inference_mode():
            torch.testing.assert_close(compiled(images), model(images), rtol=1e-4, atol=1e-4)


def test_torch_trains_under_autocast():
    network = small()
    model = torch_model(network).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.tensor(images_for(network, 4), dtype=torch.float32)).square().mean()
    loss.backward()
    assert model.stem.bn.mean.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("architecture", MODELS)
def test_torch_compiles_without_a_graph_break(architecture, training, dialect):
    never = {} if architecture == "xception" else {"drop_path_rate": 0.0}
    network = smallest(architecture, size=65, dialect=dialect, dropout=0.0, **never)
    model = torch_model(network).train(training)
    images = torch.tensor(images_for(network), dtype=torch.float32)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(images)
        expected = model(images)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_exports_a_program_for_any_batch(architecture):
    network = smallest(architecture)
    model = torch_model(network)
    images = torch.tensor(images_for(network, 3), dtype=torch.float32)
    program = torch.export.export(
        model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), model(images))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_follows_to_and_half_precision(architecture):
    network = smallest(architecture)
    model = torch_model(network).to(torch.bfloat16)
    logits = model(torch.tensor(images_for(network), dtype=torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()


@pytest.mark.parametrize("saved", SAVED, ids=len)
def test_saved_keras_models_load_where_this_project_is_not(saved, tmp_path):
    """Symmetric poolings are padded with an infinity, which must survive the file."""
    for name in saved:
        architecture, dialect = name.split("-")
        network = smallest(architecture, size=(97, 64), dialect=dialect)
        model = keras_model(network)
        images = np.ascontiguousarray(images_for(network).transpose(0, 2, 3, 1), np.float32)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images, logits=model.predict_on_batch(images))
    program = """
import sys
import numpy as np
import keras
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    io = np.load(f"{name}.npz")
    logits = model.predict_on_batch(io["images"])
    np.testing.assert_allclose(logits, io["logits"], rtol=1e-5, atol=1e-5)
    if name.startswith("efficientnet"):
        assert model.get_layer("reductions-3").output.shape[-1] == 40
assert not {"common", "keras_impl", "torch_impl"} & set(sys.modules)
print(*sys.argv[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *saved], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.split() == saved, done.stderr


def test_keras_weights_survive_its_own_weight_file(tmp_path):
    network = small()
    model = keras_model(network)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = get_backend("keras").build(network)
    fresh.load_weights(tmp_path / "model.weights.h5")
    found = get_backend("keras").dump_weights(fresh)
    assert all((found[name] == weights_of(network)[name]).all() for name in network.tensors)


@pytest.mark.parametrize("module", ["layers", "blocks", *ARCHITECTURES])
def test_keras_model_code_is_backend_neutral(module):
    source = Path(find_spec(f"keras_impl.{module}").origin).read_text()
    assert "tensorflow" not in source.replace("TensorFlow", "").lower()
    assert "tf." not in source


@pytest.mark.parametrize("setting", ["channels_first", "channels_last"])
def test_keras_model_ignores_the_readers_image_data_format(setting):
    network = small()
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(setting)
    try:
        assert keras_model(network).output.shape == (None, 1000)
        assert keras_model(network).get_layer("stem").output.shape == (None, None, None, 32)
    finally:
        keras.config.set_image_data_format(before)


def test_building_in_float64_leaves_the_readers_settings_alone():
    before = keras.config.floatx(), keras.config.dtype_policy().name
    model = get_backend("keras").build(small(), "float64")
    assert model.output.dtype == "float64"
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


@pytest.fixture
def policy():
    """A function that sets Keras's policy of dtypes, for this test only."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_keras_follows_the_policy_that_is_set(policy, name):
    """Computing in half precision, from weights and to logits that are not."""
    network = smallest("efficientnet")
    expected = keras_model(network)
    policy(name)
    model = keras_model(network, None)
    half = name.removeprefix("mixed_")
    assert model.get_layer("stages-3-blocks-0-expand_conv").compute_dtype == half
    assert model.get_layer("stages-3-blocks-0").output.dtype == half
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.output.dtype == model.input.dtype == "float32"
    assert keras.config.dtype_policy().name == name
    images = np.ascontiguousarray(images_for(network).transpose(0, 2, 3, 1), np.float32)
    logits, right = (np.asarray(one(images, training=False)) for one in (model, expected))
    # bfloat16 has three digits, of which these weights leave one.
    assert 0 < np.linalg.norm(logits - right) < 0.3 * np.linalg.norm(right)


@pytest.mark.parametrize("name", ["mixed_bfloat16", "float64"])
def test_an_explicit_dtype_wins_over_the_policy(policy, name):
    policy(name)
    model = get_backend("keras").build(smallest("efficientnet"), "float32")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert model.input.dtype == model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == name


def test_a_policy_of_double_precision_is_followed_by_images_too(policy):
    policy("float64")
    model = get_backend("keras").build(smallest("efficientnet"))
    assert model.input.dtype == model.output.dtype == "float64"


def test_torch_follows_its_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        model = get_backend("torch").build(smallest("efficientnet"))
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
        model = get_backend("torch").build(smallest("efficientnet"), "float32")
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)
