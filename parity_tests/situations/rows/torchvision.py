"""What people have of torchvision, and of PyTorch itself."""

from __future__ import annotations

from functools import partial

from parity_tests.situations import from_torchvision
from parity_tests.situations.judge import Situation
from parity_tests.situations.rows.words import DENSE, DROP, OUT

_classifier = partial(Situation, layout="torchvision", head=DENSE, to="timm")

TORCHVISION = (
    _classifier(
        "torchvision-published",
        "torchvision's own B0",
        "",
        from_torchvision.as_published,
        "efficientnet_b0_rwightman.pth",
        classes=1000,
    ),
    _classifier(
        "torchvision-last-layer",
        "torchvision B0, `classifier[1]` replaced",
        "rwightman/gen-efficientnet-pytorch#38",
        from_torchvision.last_layer_replaced,
        "best.pth",
        classes=5,
    ),
    _classifier(
        "torchvision-classifier",
        "torchvision B0, `classifier` is a `Linear` of two classes",
        "",
        from_torchvision.classifier_replaced,
        "best.pth",
        classes=2,
    ),
    _classifier(
        "torchvision-softmax",
        "torchvision B0, a log-softmax behind the dense layer",
        "",
        from_torchvision.softmax_behind,
        "best.pth",
        classes=5,
    ),
    Situation(
        "torchvision-two-layers",
        "torchvision B1, `classifier` is two dense layers",
        "google-ai-edge/litert-torch#446",
        from_torchvision.two_dense_layers,
        "sd.pth",
        "torchvision",
        "b1",
        head="two dense layers",
        to="timm",
        options=DROP,
        refused=("classifier.0", "classifier.3", OUT),
    ),
    _classifier(
        "torchvision-module",
        "torchvision B0, the whole module pickled",
        "google-ai-edge/litert-torch#446",
        from_torchvision.whole_module,
        "whole.pth",
        classes=5,
    ),
    Situation(
        "torchvision-compiled-b5",
        "torchvision B5 below `net._orig_mod.`, under a key of one's own",
        "",
        from_torchvision.compiled_b5,
        "last.pt",
        "torchvision",
        "b5",
        classes=1000,
        head=DENSE,
        to="canonical",
        slow=True,
    ),
    _classifier(
        "torchvision-averaged",
        "`AveragedModel` around `DataParallel` around torchvision's B0",
        "sming256/OpenTAD#44",
        from_torchvision.averaged,
        "swa.pth",
        classes=10,
    ),
    Situation(
        "torchvision-features",
        "`model.features` of torchvision's B2 alone",
        "",
        from_torchvision.only_features,
        "features.pth",
        "torchvision",
        "b2",
        head="none",
        to="timm",
    ),
    Situation(
        "torchvision-children",
        "`nn.Sequential(*list(model.children())[:-1])` of torchvision's B0",
        "",
        from_torchvision.children,
        "encoder.pth",
        "torchvision",
        head="none",
        to="timm",
    ),
    _classifier(
        "torch-distributed",
        "A folder of `torch.distributed.checkpoint`",
        "",
        from_torchvision.distributed,
        "step-7",
        classes=5,
    ),
)
