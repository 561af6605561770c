"""Both models; a test of one of them is skipped where the framework is not installed."""

from pathlib import Path

import pytest

WEIGHTS = str(Path(__file__).parents[1] / "weights.safetensors")


@pytest.fixture(scope="session")
def torch_model():
    pytest.importorskip("torch")
    import model_torch

    return model_torch.load(WEIGHTS)


@pytest.fixture(scope="session")
def keras_model():
    pytest.importorskip("keras")
    import port

    return port.load(WEIGHTS)
