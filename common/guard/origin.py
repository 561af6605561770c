"""Which line of somebody's own code an error comes from."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import FrameType

from ..errors import OURS

LIBRARIES = {"site-packages", "dist-packages"}


def origin(error: BaseException) -> str:
    """Where in somebody's own code the cause of an error was raised, and not in a library's."""
    trace = None if error.__cause__ is None else error.__cause__.__traceback__
    place = ""
    while trace is not None:
        if _is_somebodys(trace.tb_frame):
            place = f" (at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _is_somebodys(frame: FrameType) -> bool:
    """Whether code is neither of this package, nor of another one, nor of Python itself."""
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] == OURS:
        return False
    path = Path(frame.f_code.co_filename)
    if path.name.startswith("<") or LIBRARIES & set(path.parts):  # "<frozen importlib>"
        return False
    return not path.is_relative_to(sysconfig.get_path("stdlib"))
