"""How the reading room is built: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
# The programs of this directory, and the packages that the pages compute their numbers with.
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]

import common  # noqa: E402

project = "efficientnet-rosetta"
author = "The efficientnet-rosetta authors"
project_copyright = author
release = common.__version__

extensions = [
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "autoapi.extension",
]
exclude_patterns = ["_ext", "_static", "results", "pictures"]
nitpicky = True
# Annotations name types of other projects, whose pages are not read: that would need the network.
# What is ours and ignored are names for types, which have no entry of their own.
nitpick_ignore_regex = [
    ("py:.*", r"(?!(common|torch_impl|keras_impl)\.).*"),
    ("py:class", r".*\.(Axes|Endpoints|Schedule|Size|Tracer|Weights)"),
]

# ------------------------------------------------------------------ Markdown

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# ------------------------------------------------------------------ API

autoapi_dirs = [str(ROOT / name) for name in ("common", "torch_impl", "keras_impl")]
autoapi_root = "reference/api"
autoapi_add_toctree_entry = False
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
autoapi_python_class_content = "both"
autoapi_member_order = "bysource"
suppress_warnings = ["autoapi.python_import_resolution"]

# ------------------------------------------------------------------ HTML

html_theme = "furo"
html_title = "EfficientNet, twice"
html_static_path = ["_static"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_exclude = ".linenos, .gp, .go"
