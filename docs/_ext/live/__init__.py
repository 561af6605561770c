"""The figures of the pages that a reader can change.

A page writes the directive {live} with the name of one of them (`live_ext.py`), and a script of
the same name moves it (`docs/_static/live_NAME.js`).
"""

from live import dropping, fields, padding, photographs
from live.registry import LIVE

__all__ = ["LIVE", "dropping", "fields", "padding", "photographs"]
