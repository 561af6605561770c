"""geffnet has timm's keys: what it computes as timm does, and where it does not.

Its networks load what is written as `timm` and `timm-tf`, strictly, and run in float64.
"""

from itertools import product

import geffnet
import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.edgetpu import EDGETPU
from efficientnet_rosetta.common.lite import LITE
from efficientnet_rosetta.common.spec import PRESETS
from parity_tests.peers.test_lineage_peers import TOLERANCE, noise, of_timm, run_torch

SIDES = (64, 65)
LAYOUTS = {"tf_": "timm-tf", "": "timm"}
QUICK = [("lite0", ""), ("edgetpu-s", "tf_")]
# Without L2, which is as large as all others together.
NETWORKS = [name for name in (*PRESETS, *LITE.presets, *EDGETPU.presets) if name != "l2"]


def error(preset, prefix, folder):
    """The largest difference from timm, in deviations of its logits, of one file that both load."""
    model = of_timm(preset, prefix)
    torch.save(model.state_dict(), folder / "timm.pth")
    layout = LAYOUTS[prefix]
    (dialect,) = layout_of(layout, preset).dialects[preset]
    path = folder / "written.pth"
    port(folder / "timm.pth", path, layout, dialect=dialect.name, run=False)
    size = preset.removeprefix("edgetpu-")
    name = f"{prefix}efficientnet_{preset if size == preset else f'e{size}'}"
    theirs = geffnet.create_model(name)
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    torch.save(theirs.state_dict(), folder / "saved.pth")
    found = inspect(folder / "saved.pth", dialect=dialect.name)
    assert (found.preset, layout in found.layouts) == (preset, True)
    differences = []
    for side in SIDES:
        images = noise(side)[:2]
        expected = run_torch(model, images)
        differences.append(np.abs(run_torch(theirs, images) - expected).max() / expected.std())
    return max(differences)


CASES = [
    pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
    for case in product(NETWORKS, LAYOUTS)
]


@pytest.mark.parametrize(("preset", "prefix"), CASES)
def test_geffnet_computes_what_timm_does_but_for_edgetpu_with_same_padding(
    preset, prefix, tmp_path
):
    """There the stride of fused blocks is on the projection, which is no other function only if
    the convolution before it pads as much on one side as on the other."""
    another = preset in EDGETPU.presets and prefix == "tf_"
    found = error(preset, prefix, tmp_path)
    assert found > 0.1 if another else found < TOLERANCE


@pytest.mark.parametrize("preset", EDGETPU.presets)
def test_the_layout_says_whose_files_it_is_not_for(preset):
    assert any("geffnet" in note for note in layout_of("timm-tf", preset).notes)
    assert not layout_of("timm", preset).notes
