"""`import common` from the root of a checkout, under the name that the folder has there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "efficientnet_rosetta"


def alias(name: str) -> None:
    """Let a folder's own name mean the package that it is a part of.

    Without this, `common.spec` and `efficientnet_rosetta.common.spec` would be two modules, and
    the class `Network` of one would not be that of the other.
    """
    sys.meta_path.insert(0, _Finder(name))
    sys.modules[name] = import_module(f"{PACKAGE}.{name}")


class _Finder(MetaPathFinder):
    """Finds `common.x` where `efficientnet_rosetta.common.x` is."""

    def __init__(self, name: str):
        self.prefix = f"{name}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self.prefix):
            return None
        return ModuleSpec(fullname, _Loader(f"{PACKAGE}.{fullname}"))


class _Loader(Loader):
    """Hands out a module that is imported under its name in the package."""

    def __init__(self, name: str):
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has just set that of the other name
