"""What a pickle of PyTorch's may name, as texts and tables: nothing of it is imported.

The names that are known are those that `torch.load(weights_only=True)` of PyTorch 2.13 allows, and
the Namespace of timm's checkpoints; an object of any other class is its attributes.  What is
neither a container nor a tensor becomes an `Inert`, which remembers no more than what it stood for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

AXES_LIMIT = 64  # of NumPy's arrays

_NATIVE = (
    *("float64", "float32", "float16", "complex128", "complex64", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_FLOAT8 = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")
DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in _NATIVE},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{f"float8_{form}": np.dtype(getattr(ml_dtypes, f"float8_{form}")) for form in _FLOAT8},
}
# PyTorch names the type of a tensor by the class of its storage; only newer types, which have no
# such class, stand beside untyped bytes.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
    "UntypedStorage": "uint8",
}


class RefusedError(Exception):
    """A pickle asks for something that is not plain data, or that we do not know."""


class DamagedError(ValueError):
    """A file contradicts itself."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name of Python's that a pickle refers to; nothing stands behind it."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Inert:
    """Something that is not kept: what it was, and why it may not be passed over, if so."""

    kind: str
    trouble: str = ""


class Table(dict[str, Any]):
    """A dictionary under texts, and the attributes that were set on it, if any were."""

    __slots__ = ("attributes",)
    attributes: Table


class Object(Table):
    """An object of a class that is nothing but a name here: its attributes, and no code."""

    __slots__ = ()

    @property
    def module(self) -> Table:
        """What the state dict of a module has under its name; of another object it is nothing."""
        parts = (self.get(name) for name in MODULE_PARTS)
        return Table(
            (key, value) for part in parts if isinstance(part, Table) for key, value in part.items()
        )


class Scripted(Table):
    """A module of a TorchScript archive: its attributes, of which the code is not looked at."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """A range of the bytes that the file keeps under a key."""

    key: str
    dtype: np.dtype[Any]
    size: int  # in bytes
    offset: int = 0  # in bytes


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str = "Tensor"


def kind_of(value: object) -> str:
    """The class that a value had, without its module."""
    if isinstance(value, Inert | Tensor):
        return value.kind
    if isinstance(value, Global):
        return "dtype" if value.name.removeprefix("torch.") in DTYPES else "type"
    return type(value).__name__


def _strided(arguments: tuple[Any, ...], dtype: Global | None) -> Tensor | Inert:
    """Any dense tensor: its storage, offset, shape and strides are the first of the arguments."""
    match arguments:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *_):
            pass
        case _:
            raise DamagedError("a tensor is not described as PyTorch describes one")
    if len(shape) != len(strides) or len(shape) > AXES_LIMIT:
        raise DamagedError("a tensor has too many axes, or not as many strides as axes")
    if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
        raise DamagedError("a tensor has a shape that is not made of whole numbers")
    if dtype is None:
        return Tensor(storage, storage.dtype, offset, shape, strides)
    name = dtype.name.removeprefix("torch.")
    if name not in DTYPES:
        return Inert("Tensor", f"is in {name}, which is no type for weights")
    return Tensor(storage, DTYPES[name], offset, shape, strides)


def _rebuild(arguments: tuple[Any, ...]) -> Tensor | Inert:
    """A tensor of the type of its storage; the seventh argument says how its bits are meant."""
    if any(arguments[6:]):
        return Inert("Tensor", "is a conjugate or negative view; save it resolved")
    return _strided(arguments, None)


def _rebuild_typed(arguments: tuple[Any, ...]) -> Tensor | Inert:
    """A tensor of the type that is the seventh argument."""
    if any(arguments[7:]):
        return Inert("Tensor", "is a conjugate or negative view; save it resolved")
    match arguments[6:]:
        case (Global() as dtype, *_):
            return _strided(arguments, dtype)
    raise DamagedError("a tensor has no type")


def _parameter(arguments: tuple[Any, ...]) -> Tensor | Inert:
    """A parameter is its tensor; gradients, hooks and attributes are not kept."""
    match arguments:
        case (Tensor() as tensor, *_):
            return replace(tensor, kind="Parameter")
        case (Inert(trouble=str(trouble)) as inert, *_) if trouble:
            return inert
    raise DamagedError("a parameter has no tensor")


def _rebuild_attributed(arguments: tuple[Any, ...]) -> Tensor | Inert:
    """A tensor with attributes, which are not kept: it is made by another of these functions."""
    match arguments:
        case (Global(name), _, tuple() as inner, *_) if name in TENSORS and name != _ATTRIBUTED:
            return made(name, inner)
    raise RefusedError("a tensor with attributes is not made by one of PyTorch's functions")


def _moved(arguments: tuple[Any, ...]) -> Tensor | Inert:
    """A tensor of a device that keeps its values as a tensor of the CPU."""
    match arguments:
        case (Tensor() as tensor, Global(name), *_):
            if DTYPES.get(name.removeprefix("torch.")) == tensor.dtype:
                return tensor
            return Inert("Tensor", "is in another type than its values; save it on the CPU")
    raise DamagedError("a tensor of a device has no values")


def _troubled(what: str) -> Callable[[tuple[Any, ...]], Inert]:
    return lambda _: Inert("Tensor", f"is {what}, which is no array of weights")


_ATTRIBUTED = "torch._tensor._rebuild_from_type_v2"
TENSORS: dict[str, Callable[[tuple[Any, ...]], Tensor | Inert]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_typed,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _moved,
    "torch._utils._rebuild_qtensor": _troubled("quantized"),
    "torch._utils._rebuild_sparse_tensor": _troubled("sparse"),
    "torch._utils._rebuild_nested_tensor": _troubled("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _troubled("on the meta device"),
    "torch._utils._rebuild_wrapper_subclass": _troubled("of a class of its own"),
    _ATTRIBUTED: _rebuild_attributed,
}
TABLES = ("collections.OrderedDict", "collections.Counter")
SIZE = "torch.Size"
# What takes any arguments, and is dropped with them.  Copying or measuring arguments, as the real
# ones do, is how a few bytes of a pickle would make gigabytes.
DROPPED = {
    "argparse.Namespace": "Namespace",  # timm's checkpoints carry their command line in one
    "torch.device": "device",
    "torch.serialization._get_layout": "layout",
    "_codecs.encode": "bytes",
    "builtins.bytearray": "bytearray",
    "builtins.set": "set",
    "builtins.complex": "complex",
}
# What modules have among their attributes, beside objects of classes.
DROPPED_OF_MODULES = {
    "functools.partial": "partial",
    "collections.defaultdict": "defaultdict",
}
MODULE_PARTS = ("_parameters", "_buffers", "_modules")  # attributes of torch.nn.Module
# What may be named, as an argument or a value, but not called.
_DEVICES = ("torch.", "torch.cuda.")
_ELEMENTS = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
_ODD_DTYPES = (
    *("complex32", "float4_e2m1fn_x2", "qint8", "quint8", "qint32", "quint4x2", "quint2x4"),
    *("bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
)
_QSCHEMES = (
    *("per_tensor_affine", "per_tensor_symmetric"),
    *("per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams"),
)
_NAMED = {
    "torch.Tensor",
    "torch.storage.TypedStorage",
    "torch.storage.UntypedStorage",
    *(f"torch.{name}" for name in (*DTYPES, *_ODD_DTYPES, *_QSCHEMES)),
    *(f"{device}{name}" for device in _DEVICES for name in STORAGES),
    *(f"{device}{name}Tensor" for device in _DEVICES for name in _ELEMENTS),
    *(f"{device}sparse.{name}Tensor" for device in _DEVICES for name in _ELEMENTS),
}
# What a TorchScript archive may name beside: the classes of its own program, below a module of
# their own, and functions that mark what kind of list or of object something is.
SCRIPT = "__torch__"
SCRIPT_MARKS = "torch.jit._pickle."
ALLOWED = frozenset({*TENSORS, *TABLES, SIZE, *DROPPED, *_NAMED})


def made(name: str, arguments: tuple[Any, ...]) -> Tensor | Inert:
    """What one of PyTorch's functions makes of its arguments.

    Raises:
        DamagedError: the arguments do not fit.
        RefusedError: the tensor is one with attributes inside another such.
    """
    # The longest list of arguments is that of a view: nine.  Handling a longer one takes time.
    if len(arguments) > 16:
        raise DamagedError("a tensor is described by too many arguments")
    return TENSORS[name](arguments)


def storage_of(identity: object) -> Storage:
    """The storage that a pickle refers to by its class, key, device, number of elements and view.

    Raises:
        RefusedError: it refers to something else, as to the source of a module.
        DamagedError: the storage has no type, no size, or a view that is out of bounds.
    """
    if not isinstance(identity, tuple) or len(identity) > 6:
        raise RefusedError("a pickle refers to something other than a storage")
    match identity:
        case ("storage", Global(name), str() as key, _, int() as count, *views):
            pass
        case _:
            raise RefusedError("a pickle refers to something other than a storage")
    kind = STORAGES.get(name.rpartition(".")[2])
    if kind is None or count < 0:
        raise DamagedError("a storage has no type or no size")
    dtype = DTYPES[kind]
    match views:
        case [] | [None]:
            return Storage(key, dtype, count * dtype.itemsize)
        case [(_, int() as first, int() as length)] if 0 <= first <= first + length <= count:
            return Storage(key, dtype, length * dtype.itemsize, first * dtype.itemsize)
    raise DamagedError("a view of a storage reaches out of it")
