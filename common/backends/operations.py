"""What sort of operation a step is, by what its framework calls it, or by its name."""

from __future__ import annotations

import re
from typing import Literal

from .trace import Step

Sort = Literal[
    "attention",
    "pad",
    "normalization",
    "softmax",
    "activation",
    "resize",
    "recurrent",
    "linear",
    "pool",
    "add",
    "multiply",
    "mask",
    "cat",
    "cut",
    "other",
]

# The first that fits: LayerNormalization before Normalization, softmax before max.
SORTS: tuple[tuple[Sort, re.Pattern[str]], ...] = (
    ("attention", re.compile(r"scaled_dot_product|multi_?head|attention$", re.I)),
    ("pad", re.compile(r"pad", re.I)),
    (
        "normalization",
        re.compile(r"[a-z]_?norm|batch_?norm|[a-z]normalization|\bbn\d*\b|_bn\d*\b|^bn", re.I),
    ),
    ("softmax", re.compile(r"softmax", re.I)),
    (
        "activation",
        re.compile(
            r"relu|silu|swish|gelu|sigmoid|tanh|\belu|selu|mish|softplus|softsign|hard_?swish"
            r"|activation|^erf$|^clip$|^clamp",
            re.I,
        ),
    ),
    ("resize", re.compile(r"resize|upsampl|interpolat|resampl", re.I)),
    ("recurrent", re.compile(r"lstm|gru|\brnn|rnn_|simplernn", re.I)),
    ("linear", re.compile(r"conv|dense|gemm|mm\b|matmul|linear|einsum|\bdot\b|\bfc\d*\b", re.I)),
    ("pool", re.compile(r"pool|\bmean|reducemean|\bamax|reducemax|_mean|^max\b", re.I)),
    ("mask", re.compile(r"mask|where", re.I)),
    ("add", re.compile(r"\badd\b|\bsub\b|\bsum\b|\brsub\b|subtract|^add", re.I)),
    (
        "multiply",
        re.compile(r"\bmul\b|\bdiv\b|multiply|divide|rescaling|^normalization|gamma", re.I),
    ),
    ("cat", re.compile(r"cat\b|concat|stack", re.I)),
    ("cut", re.compile(r"split|slice|select|getitem|unbind|chunk|gather|narrow", re.I)),
)


def sort_of(step: Step) -> Sort:
    """What sort of operation a step is; "other" where nothing tells."""
    for text in (step.operation, step.name.rpartition(".")[2].rpartition("/")[2]):
        for sort, pattern in SORTS:
            if text and pattern.search(text):
                return sort
    return "other"
