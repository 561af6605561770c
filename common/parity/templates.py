"""The templates of reports, which share a style and drawings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import needs
from .charts import scientific

if TYPE_CHECKING:
    from jinja2 import Template

SHARED = Path(__file__).parent  # report.css and drawings.html.j2


def template(path: Path) -> Template:
    """The template in a file, which may include those of this folder.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    with needs("a report"):
        import jinja2

    templates = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader([path.parent, SHARED]),
    )
    templates.filters |= {"scientific": scientific}
    return templates.get_template(path.name)
