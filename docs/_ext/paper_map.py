"""Where the code answers the paper (arXiv 1905.11946), element by element, and where it does not.

Names are written as in `excerpts.py`: `resolve` is looked for in the file of its column,
`counting.py@count` in the file of that name beside it.  Nothing here knows Sphinx, so that tests
use it too: they hold that every name exists, and that no public name of the specification and of
the programs is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

SPEC = "common/spec.py"
NETWORK = "common/network.py"  # what this network and others are made of
FILES = {
    "spec": SPEC,
    "torch": "torch_impl/efficientnet.py",
    "keras": "keras_impl/efficientnet.py",
}


@dataclass(frozen=True)
class Element:
    """An element of the paper, what of the code is it, and the page on it.

    `programs` are names that both programs have, in a file of the same name in each package.
    """

    paper: str
    what: str
    page: str
    spec: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def names(self, column: str) -> tuple[tuple[str, str], ...]:
        """File and name of everything in a column: "spec", "torch" or "keras"."""
        wanted = self.spec if column == "spec" else self.programs
        found = []
        for item in wanted:
            path, _, name = item.rpartition("@")
            folder = "common" if column == "spec" else f"{column}_impl"
            found.append((f"{folder}/{path}" if path else FILES[column], name))
        return tuple(found)


MAP = (
    Element(
        "Section 3.1, equation 1",
        "A network as stages of equal layers, one after another",
        "read/table1#network",
        spec=(
            "network.py@Network",
            "EfficientNetSpec",
            "network.py@Section",
            "network.py@MapSection",
            "resolve",
        ),
        programs=("EfficientNet",),
    ),
    Element(
        "Section 3.1, equation 2",
        "The limits of memory and operations: what a network costs",
        "read/scaling#cost-predicted-and-counted",
        spec=("network.py@Layer", "counting.py@count", "counting.py@Count"),
    ),
    Element(
        "Section 1, figure 2",
        "Depth, width and resolution, each scaled alone and all together",
        "read/scaling#one-dimension-alone",
        spec=("resolve", "scale_layers", "scale_channels", "_util/resolving.py@image_size"),
    ),
    Element(
        "Section 3.3, equation 3",
        "Compound scaling by one coefficient",
        "read/scaling#compound",
        spec=("Scaling", "compound_scaling", "ALPHA", "BETA", "GAMMA"),
    ),
    Element(
        "Section 4, Table 1",
        "EfficientNet-B0, stage by stage",
        "read/table1",
        spec=("Stage", "TABLE_1", "TOTAL_STRIDE", "_util/resolving.py@size_after"),
        programs=("EfficientNet",),
    ),
    Element(
        "Table 1, stage 1",
        "The stem: convolution, batch norm, swish",
        "read/table1#stem",
        spec=(
            "STEM_CHANNELS",
            "STEM_KERNEL",
            "STEM_STRIDE",
            "network.py@ConvBlock",
            "network.py@with_bn",
        ),
        programs=("ConvBnSwish", "layers.py@Conv", "layers.py@BatchNorm"),
    ),
    Element(
        "Table 1, stages 2 to 8",
        "MBConv, the block from MobileNetV2 and MnasNet",
        "read/mbconv",
        spec=("MBConvBlock",),
        programs=("MBConv", "layers.py@Conv", "layers.py@DepthwiseConv"),
    ),
    Element(
        "Section 4",
        "Squeeze-and-excitation in every block",
        "read/squeeze_and_excitation",
        spec=("network.py@Gate", "SQUEEZE_RATIO"),
        programs=("squeeze_and_excitation", "PointwiseConv"),
    ),
    Element(
        "Table 1, stage 9",
        "The head: convolution, pooling, fully connected layer",
        "read/head",
        spec=(
            "HEAD_CHANNELS",
            "network.py@ConvBlock",
            "network.py@Classifier",
            "_util/resolving.py@resolve_classifier",
        ),
        programs=("ConvBnSwish", "layers.py@global_average_pool", "layers.py@Classifier"),
    ),
    Element(
        "Section 4, steps 1 and 2",
        "B1 to B7: the coefficients, and their networks",
        "read/scaling#released",
        spec=("Preset", "PRESETS"),
    ),
    Element(
        "Section 5.2",
        "Swish (SiLU), the activation",
        "read/swish",
        spec=("network.py@Activation", "network.py@SWISH"),
        programs=("swish",),
    ),
    Element(
        "Section 5.2",
        "Momentum of batch norm 0.99",
        "differ",
        spec=("network.py@Dialect", "network.py@TENSORFLOW", "network.py@same_padding"),
        programs=("layers.py@BatchNorm",),
    ),
    Element(
        "Section 5.2",
        "Stochastic depth with survival probability 0.8",
        "read/stochastic_depth",
        spec=("DROP_PATH_RATE",),
        programs=("StochasticDepth",),
    ),
    Element(
        "Section 5.2",
        "Dropout from 0.2 for B0 to 0.5 for B7",
        "read/head#classifier",
        spec=("Preset", "PRESETS", "network.py@Classifier"),
        programs=("EfficientNet",),
    ),
    Element(
        "Section 5.2",
        "RMSProp, weight decay, and a rate that falls by steps",
        "read/recipe",
        spec=("training/recipes.py@RECIPES", "training/schedules.py@Exponential"),
        programs=("optimizer.py@RMSProp", "optimizer.py@make_optimizer"),
    ),
    Element(
        "Section 5.2, AutoAugment",
        "Policies of augmentation: the printed one, and that of the released code",
        "read/augmentation#the-two-lists",
        spec=(
            "images/policies.py@AUTOAUGMENT_PAPER",
            "images/policies.py@AUTOAUGMENT_V0",
            "images/operations.py@OPERATIONS",
        ),
    ),
    Element(
        "Section 5.2, early stopping on a minival",
        "The best epoch, chosen by images that are held out of the training set",
        "training#which-epoch-is-the-best",
        spec=("images/datasets.py@read_data", "training/plan.py@Training"),
    ),
    Element(
        "Section 5.2, Table 2",
        "Parameters and FLOPS, counted for every network from the specification alone",
        "read/results#table-2-parameters-and-operations",
        spec=("network.py@IMAGENET_CLASSES", "counting.py@count_stages"),
    ),
    Element(
        "Section 5.3",
        "Fine-tuning weights of ImageNet",
        "train/finetuning",
        spec=("training/recipes.py@RECIPES",),
        programs=("layers.py@Classifier",),
    ),
    Element(
        "Section 6, figure 7",
        "Class activation maps, on images of your own",
        "use/predict#where-in-the-image",
        spec=("training/activation.py@activation_maps",),
    ),
    Element(
        "Section 6, Table 7",
        "B0 scaled in one dimension, and in all of them",
        "read/scaling#one-dimension-alone",
        spec=("resolve", "counting.py@count"),
    ),
)

# What the paper has and the code does not.
LEFT_OUT = {
    "Figure 1, figure 5, the accuracies of Table 2": "They need training on ImageNet, which is not "
    "repeated here. Public weights are carried over and evaluated instead.",
    "Section 2": "Related work: no network of its own.",
    "Figures 3 and 4": "Accuracy against cost of many trained networks. The networks can be built, "
    "the trainings are not repeated.",
    "Section 3.3, the search for alpha, beta and gamma": "A grid search over trained networks. "
    "Its result is stated as three constants.",
    "Section 4, neural architecture search": "B0 was found by a search for accuracy and few "
    "operations. Its result is Table 1; the search is not part of the released code either.",
    "Section 5.1, Table 3": "MobileNets and ResNets, scaled by the same rule: other networks. "
    "The printed numbers are on the page of the paper's tables.",
    "Section 5.2, Table 4": "Latency on one machine of its day. The printed numbers are on the "
    "page of the paper's tables.",
    "Section 5.3, figure 6, Tables 5 and 6": "Eight other data sets. Fine-tuning is there, their "
    "results are not.",
    "Section 6, figure 8": "Accuracies of many trained networks over their cost.",
    "Section 7, and Table 8 of the appendix": "Conclusions, and accuracies on the test set. The "
    "printed numbers are on the page of the paper's tables.",
}

# Public names that are no part of the paper, by file, and why they are there.
_TYPE = "a name for a type"
_OTHERS = "conventions of other people's weights"
_XCEPTION = "of Xception, which is another paper"
_LATER = "of the EfficientNets that came after the paper"
_INITIAL = "initial weights, of which the released code speaks and the paper does not"
_TOOLS = "lets the tools reach a network or a value by its name"
NOT_THE_PAPERS = {
    SPEC: {"EFFICIENTNET": _TOOLS},
    NETWORK: {
        **dict.fromkeys(("Size", "Padding", "Rule", "Operation"), _TYPE),
        **dict.fromkeys(("symmetric_padding", "PYTORCH", "TORCHVISION_LARGE", "DIALECTS"), _OTHERS),
        **dict.fromkeys(("AUTOML", "TORCHVISION_V2", "KERAS_HUB_MIXED"), _OTHERS),
        **dict.fromkeys(("MaxPool", "RELU"), _XCEPTION),
        "RELU6": _LATER,
        **dict.fromkeys(("conv_std", "dense_bound"), _INITIAL),
        **dict.fromkeys(("Architecture",), _TOOLS),
    },
    "torch_impl/layers.py": {
        **dict.fromkeys(("overwrites", "Overwritten"), "spares memory in inference"),
        "MaxPool": _XCEPTION,
        "activation": _LATER,
        "endpoint": _TOOLS,
    },
    "keras_impl/layers.py": {
        "activation": _LATER,
        "MaxPool": _XCEPTION,
        "endpoint": _TOOLS,
        "functional": "makes a model of a graph deeper than Keras follows by itself",
    },
}
# Whole files of the programs that are of another paper, or of a program without one.
OTHER_PAPERS = {
    "xception.py": "arXiv 1610.02357",
    "v2.py": "arXiv 2104.00298",
    "v2_rw.py": "timm, models/efficientnet.py",
    "lite.py": "tensorflow/tpu, efficientnet/lite",  # none of these has a paper
    "edgetpu.py": "tensorflow/tpu, efficientnet/edgetpu",
}
