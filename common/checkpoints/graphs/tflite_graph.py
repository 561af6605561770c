"""x"""
from pathlib import Path
from .graph import Graph
def read(path: Path) -> Graph: ...
