"""Both exports through onnxruntime, and the exporters themselves."""

import keras
import numpy as np
import onnx
import pytest
import torch

from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import RosettaError, UnsupportedOperationError
from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from efficientnet_rosetta.common.parity.onnx_program import OnnxGraph
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.metadata import network_from
from parity_tests.support import (
    BACKENDS,
    DEPTHS,
    FAMILIES,
    LARGE,
    SHALLOW,
    SMALL,
    exported,
    images_for,
    reference,
    run,
    small,
    weights_of,
)

LAYOUTS = {"torch": "NCHW", "keras": "NHWC"}


def export(backend, network, endpoints=False, **options):
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    return module.export_onnx(model, network, endpoints, **options)


def check(backend, network, batch=2):
    values = exported(backend, network).run(images_for(network, batch))
    comparison = compare_endpoints(backend, reference(network, batch), values)
    assert tuple(error.endpoint for error in comparison.errors) == network.endpoints
    assert comparison.agrees, comparison.first_divergence


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dialect", FAMILIES)
def test_every_endpoint_at_native_resolution(dialect, backend):
    """Of B0; `rosetta parity` runs the graphs of every preset at its own."""
    check(backend, resolve("b0", dialect=dialect))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("preset", [*SMALL[1:], *LARGE])
def test_every_endpoint_of_the_larger_presets(preset, dialect, backend):
    resolution = 256 if preset == "b8" else None
    network = resolve(preset, dialect=dialect, resolution=resolution)
    check(backend, network, batch=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("size", [97, 112, (97, 64)])
@pytest.mark.parametrize("depth", DEPTHS)
def test_other_sizes(depth, size, dialect, backend):
    check(backend, resolve("b0", dialect=dialect, resolution=size, **depth))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options", [{"num_classes": 10}, {"num_classes": None}, {"in_channels": 1}, {"width": 0.25}]
)
@pytest.mark.parametrize("depth", DEPTHS)
def test_free_scaling(depth, options, backend):
    check(backend, small(**{**depth, **options}))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_batch_is_dynamic(depth, batch, backend):
    check(backend, small(**depth), batch)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_input_through_the_same_session(backend):
    network = small(**SHALLOW)
    graph = exported(backend, network)
    for seed in (1, 2):
        images = images_for(network, 2, seed)
        expected = run("torch", network, images, "float64")
        assert compare_endpoints(backend, expected, graph.run(images)).agrees


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_file_describes_itself(backend):
    network = small("b1", (96, 64), num_classes=10, dialect="pytorch")
    model = export(backend, network)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["preset"] == "b1"
    assert metadata["dialect"] == "pytorch"
    assert metadata["layout"] == LAYOUTS[backend]
    assert metadata["producer"].startswith("efficientnet-rosetta 0.1.0 (")
    assert network_from("model.onnx", metadata) == network
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    batch, *shape = image.type.tensor_type.shape.dim
    sides = [96, 64]
    expected = [3, *sides] if LAYOUTS[backend] == "NCHW" else [*sides, 3]
    assert (batch.dim_param, [side.dim_value for side in shape]) == ("batch", expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_keep_their_canonical_names_and_values(backend):
    network = small()
    stored = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in export(backend, network).graph.initializer
    }
    for name, array in weights_of(network).items():
        assert stored[name].dtype == array.dtype
        assert (stored[name] == array).all(), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("opset", [13, 17, 21, 23])
@pytest.mark.parametrize("depth", DEPTHS)
def test_other_operator_sets(depth, opset, backend):
    network = small(**depth)
    model = export(backend, network, endpoints=True, opset=opset)
    assert model.opset_import[0].version == opset
    values = OnnxGraph(model.SerializeToString()).run(images_for(network))
    assert compare_endpoints(backend, reference(network), values).agrees


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("opset", [12, 99])
def test_operator_sets_out_of_range(opset, backend):
    with pytest.raises(RosettaError, match=f"opset is {opset}; choose from 13 to 23"):
        export(backend, small(**SHALLOW), opset=opset)


def test_torch_modules_stay_in_the_phase_that_they_were_in():
    network = small(**SHALLOW)
    module = get_backend("torch")
    model = module.build(network).train()
    model.stem.bn.eval()  # frozen, as in fine-tuning
    phases = [submodule.training for submodule in model.modules()]
    module.export_onnx(model, network)
    module.run(model, images_for(network))
    with pytest.raises(RuntimeError):
        module.run(model, np.zeros((1, 4, 64, 64)))
    assert [submodule.training for submodule in model.modules()] == phases
    assert model.training
    assert not model.stem.bn.training


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_is_not_exported_under_another_networks_name(backend):
    module = get_backend(backend)
    with pytest.raises(ValueError, match=r"(?i)another network|do not fit"):
        module.export_onnx(module.build(small()), small("b1"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_exporting_twice_gives_the_same_bytes(backend):
    network = small(**SHALLOW)
    first, second = (export(backend, network).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.nn.functional.dropout(x, training=True),
        lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: torch.nn.functional.max_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: x * 2.0,
        lambda x: torch.add(x, x, alpha=2),
        lambda x: torch.nn.functional.batch_norm(x, None, None, training=True),
    ],
)
def test_arguments_without_an_emitter_are_named_in_torch(operation):
    from efficientnet_rosetta.torch_impl.onnx import export as export_module

    class Unusual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image, endpoints):
            endpoints["maps"] = operation(image) * self.weight

    with pytest.raises(UnsupportedOperationError, match=r"aten\..* \(node "):
        export_module(Unusual(), (3, 8, 8), ["maps"], {"producer": "test"})


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: keras.layers.Dropout(0.5, name="it")(x, training=True),
        lambda x: keras.layers.BatchNormalization(name="it")(x, training=True),
        lambda x: keras.layers.BatchNormalization(axis=1, name="it")(x),
        lambda x: keras.layers.Conv2D(2, 3, padding="same", dilation_rate=2, name="it")(x),
        lambda x: keras.layers.Conv2D(2, 3, activation="gelu", name="it")(x),
        lambda x: keras.layers.ReLU(negative_slope=0.1, name="it")(x),
        lambda x: keras.ops.pad(x, 1, mode="reflect"),
        lambda x: keras.ops.mean(x),
        lambda x: keras.ops.mean(x, -1),
        lambda x: x * 2.0,
    ],
)
def test_arguments_without_an_emitter_are_named_in_keras(operation):
    from efficientnet_rosetta.keras_impl.onnx import export as export_model

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, operation(image))
    with pytest.raises(UnsupportedOperationError, match=r"\(layer (it|pad_1|mean_1|multiply_1)\)"):
        export_model(model, (8, 8, 3), ["maps"], {"producer": "test"})


def test_an_operation_without_an_emitter_is_named_in_torch():
    from efficientnet_rosetta.torch_impl.onnx import export as export_module

    class Unusual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image, endpoints):
            endpoints["logits"] = torch.erfinv(image * self.weight)

    with pytest.raises(UnsupportedOperationError, match=r"no emitter for aten.erfinv.default"):
        export_module(Unusual(), (3, 8, 8), ["logits"], {"producer": "test"})


def test_an_operation_without_an_emitter_is_named_in_keras():
    from efficientnet_rosetta.keras_impl.onnx import export as export_model

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.AveragePooling2D(2, name="pool")(image))
    with pytest.raises(UnsupportedOperationError, match=r"AveragePooling2D \(layer pool\)"):
        export_model(model, (8, 8, 3), ["maps"], {"producer": "test"})


INFINITY = float("-inf")


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.nn.functional.max_pool2d(x, 3),
        lambda x: torch.nn.functional.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
        lambda x: torch.nn.functional.pad(x, (1, 2, 0, 3), value=INFINITY).relu(),
        lambda x: torch.nn.functional.pad(x, (1, 2, 0, 3), value=7.0),
    ],
)
def test_poolings_and_borders_of_torch(operation):
    from efficientnet_rosetta.torch_impl.onnx import export as export_module

    class Operation(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image, endpoints):
            endpoints["maps"] = operation(image * self.weight)

    metadata = {"producer": "test", "layout": "NCHW"}
    graph = export_module(Operation(), (3, 8, 9), ["maps"], metadata)
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
    (found,) = OnnxGraph(graph.SerializeToString()).run(image).values()
    assert (found == operation(torch.tensor(image)).numpy()).all()


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: keras.layers.MaxPooling2D(3, 2, "same")(x),
        lambda x: keras.layers.MaxPooling2D((2, 3), (1, 2), "valid")(x),
        lambda x: keras.ops.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=INFINITY),
        lambda x: keras.ops.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=7.0),
        lambda x: keras.layers.ReLU()(keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))),
    ],
)
def test_poolings_and_borders_of_keras(operation):
    from efficientnet_rosetta.keras_impl.onnx import export as export_model

    image = keras.Input((8, 9, 3))
    model = keras.Model(image, operation(image))
    metadata = {"producer": "test", "layout": "NHWC"}
    graph = export_model(model, (8, 9, 3), ["maps"], metadata)
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
    (found,) = OnnxGraph(graph.SerializeToString()).run(images).values()
    expected = model.predict_on_batch(images.transpose(0, 2, 3, 1))
    assert (found == expected.transpose(0, 3, 1, 2)).all()


def test_a_layer_of_the_users_own_is_not_taken_for_keras_own():
    from efficientnet_rosetta.keras_impl.onnx import export as export_model

    class Dropout(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, Dropout(name="mine")(image))
    with pytest.raises(UnsupportedOperationError, match=r"Dropout \(layer mine\)"):
        export_model(model, (8, 8, 3), ["maps"], {"producer": "test"})


def keras_applications_b0(network):
    """Keras's own B0 with our weights; its layers with weights are in canonical order."""
    from efficientnet_rosetta.keras_impl.weights import layer_variables

    model = keras.applications.EfficientNetB0(weights=None)
    normalization, *layers = [layer for layer in model.layers if layer.weights]
    weights = weights_of(network)
    for layer, ours in zip(layers, network.layers, strict=True):
        for name, variable, axes in layer_variables(layer):
            variable.assign(weights[f"{ours.role}.{name}"].transpose(np.argsort(axes)))
    normalization.variables[0].assign(IMAGENET_MEAN)
    normalization.variables[1].assign(IMAGENET_STD**2)
    normalization.finalize_state()  # it keeps copies
    return model


def test_keras_applications_model_exports(tmp_path):
    """Keras's own exporter leaves its normalization dangling; ours must not."""
    from efficientnet_rosetta.keras_impl.onnx import export as export_model

    network = resolve("b0")
    model = keras_applications_b0(network)
    exported_model = export_model(model, (224, 224, 3), ["predictions"], {"producer": "test"})
    onnx.checker.check_model(exported_model, full_check=True)
    assert [value.name for value in exported_model.graph.input] == ["image"]
    path = tmp_path / "b0.onnx"
    path.write_bytes(exported_model.SerializeToString())

    images = images_for(network)  # normalised; this model wants them on a scale of 0 to 255
    pixels = (images.transpose(0, 2, 3, 1) * IMAGENET_STD + IMAGENET_MEAN) * 255
    (found,) = OnnxGraph(path).session.run(None, {"image": pixels.astype(np.float32)})
    logits = reference(network)["logits"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert compare_endpoints("onnx", {"softmax": expected}, {"softmax": found}).agrees


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["b0", "b4"])
def test_the_exporter_of_torch_gives_the_same_outputs(preset, tmp_path):
    network = resolve(preset)
    module = get_backend("torch")
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    images = images_for(network)
    path = tmp_path / "torch.onnx"
    torch.onnx.export(
        model,
        (torch.tensor(images, dtype=torch.float32),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
    )
    check_oracle(OnnxGraph(path), "torch", network, images)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["b0", "b4"])
def test_the_exporter_of_keras_gives_the_same_outputs(preset, tmp_path):
    network = resolve(preset)
    module = get_backend("keras")
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    images = images_for(network)
    module.run(model, images)  # Keras exports only what was called
    path = tmp_path / "keras.onnx"
    model.export(str(path), format="onnx", verbose=False)
    oracle = OnnxGraph(path)
    oracle.channels_last = True
    check_oracle(oracle, "keras", network, images)


def check_oracle(oracle, backend, network, images):
    (theirs,) = oracle.run(images).values()
    ours = exported(backend, network).run(images)["logits"]
    expected = reference(network)["logits"]
    for logits in (theirs, ours):
        assert compare_endpoints(backend, {"logits": expected}, {"logits": logits}).agrees
