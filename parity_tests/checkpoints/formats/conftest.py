"""Files that tests of several formats ask for."""

import pytest


@pytest.fixture(params=["zip", "legacy"])
def save(request, tmp_path):
    """PyTorch's own file of a value, in either format."""
    import torch

    def saved(value):
        path = tmp_path / "saved.pth"
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return saved
