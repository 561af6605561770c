"""Reads the pickles inside PyTorch's files as plain data, on a small machine of our own.

Python's `pickle` is a machine that may import and call anything, and that allocates whatever a
file claims.  This one knows only the operations that `torch.load(weights_only=True)` knows.  It
imports nothing, and calls nothing but the functions of `torch_objects`: a name in a pickle is a
text here, which is looked up in a table.  An object of a class that is in no table, as a module is
that was saved whole, is the dictionary of its attributes, whatever its class would do with them.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from .torch_objects import (
    ALLOWED,
    DROPPED,
    DROPPED_OF_MODULES,
    SCRIPT,
    SCRIPT_MARKS,
    SIZE,
    TABLES,
    TENSORS,
    DamagedError,
    Global,
    Inert,
    Object,
    RefusedError,
    Scripted,
    Storage,
    Table,
    kind_of,
    made,
    storage_of,
)

# A state dict takes some 25 operations a tensor.  An operation takes up to about 100 bytes of
# memory beside the texts of the file, so that a pickle stays below half a GiB whatever is in it.
OPERATIONS_LIMIT = 2**22
LINE_LIMIT = 256  # characters of the name of a module or of a class

_BYTE, _SHORT, _UNSIGNED = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")
_SIGNED, _FLOAT = struct.Struct("<i"), struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Unpickled:
    """What a pickle holds, the storages that it names, by key, and how many operations it took."""

    content: Any
    storages: dict[str, Storage]
    operations: int


def load(file: BinaryIO, size: int, scripted: bool = False) -> Unpickled:
    """Read the pickle that begins where a file of `size` bytes stands; it stands after it then.

    `scripted` is for one of TorchScript, whose objects of classes of its own become tables.

    Raises:
        RefusedError: it is more than plain data.
        DamagedError: it is no pickle, or contradicts itself.
    """
    machine = Machine(file, size, scripted)
    content = machine.run()
    return Unpickled(content, machine.storages, machine.operations)


def _key(value: object) -> str | None:
    """The text under which an entry is kept, if it is: nobody names tensors by other objects.

    Numbers become texts at once, for whoever makes a file can choose numbers that collide in a
    dictionary, until each entry takes milliseconds; and the hash of nested tuples may never end.
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, int | float) and abs(value) < 2**64):
        return str(value)
    return None


class Machine:
    """A stack, the stacks below marks, and a memo; it reads one pickle."""

    def __init__(self, file: BinaryIO, size: int, scripted: bool = False) -> None:
        self.file = file
        self.scripted = scripted
        self.size = size
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.operations = 0

    def run(self) -> Any:
        """Carry out operations until the last, and return what they leave."""
        while (code := self.take(1)) != pickle.STOP:
            self.spend(1)
            operation = self.operation(code)
            if operation is None:
                raise RefusedError(f"a pickle has the operation {code!r}")
            operation(self)
        return self.pop()

    def operation(self, code: bytes) -> Operation | None:
        """What a byte of a pickle asks for; None where it is not known."""
        return _OPERATIONS.get(code)

    def spend(self, operations: int) -> None:
        self.operations += operations
        if self.operations > OPERATIONS_LIMIT:
            raise DamagedError(f"a pickle takes more than {OPERATIONS_LIMIT} operations")

    # -------------------------------------------------------------- the file and the stack

    def take(self, count: int) -> bytes:
        """The next bytes; no more are asked for than the file holds, as asking allocates."""
        if count > 256 and count > self.size - self.file.tell():
            raise DamagedError("a pickle ends early")
        found = self.file.read(count)
        if len(found) < count:
            raise DamagedError("a pickle ends early")
        return found

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        found = self.file.readline(LINE_LIMIT)
        if not found.endswith(b"\n") or not found.isascii():
            raise RefusedError("a pickle names something that PyTorch does not have")
        return found[:-1].decode("ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise DamagedError("a pickle takes more than it has put")
        return self.stack.pop()

    def pop_marked(self) -> list[Any]:
        if not self.below:
            raise DamagedError("a pickle takes more than it has put")
        found, self.stack = self.stack, self.below.pop()
        return found

    def top(self, kind: type) -> Any:
        """What an operation changes, which stays on the stack."""
        if not self.stack or type(self.stack[-1]) not in (kind, Object):
            raise RefusedError(f"a pickle changes something that is no {kind.__name__}")
        return self.stack[-1]

    # -------------------------------------------------------------- operations

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def put(self, form: struct.Struct) -> None:
        index, value = self.number(form), self.pop()
        self.memo[index] = value  # in a dictionary, where a large index takes no more memory
        self.push(value)

    def get(self, form: struct.Struct) -> None:
        index = self.number(form)
        if index not in self.memo:
            raise DamagedError("a pickle recalls what it has not put")
        self.push(self.memo[index])

    def short_text(self) -> None:
        self.text(_BYTE)

    def text(self, form: struct.Struct) -> None:
        try:
            self.push(self.take(self.number(form)).decode())
        except UnicodeDecodeError:
            raise DamagedError("a pickle has a text that is not UTF-8") from None

    def long(self) -> None:
        self.push(int.from_bytes(self.take(self.number(_BYTE)), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def append(self, items: list[Any]) -> None:
        found = self.top(list)
        if isinstance(found, list):  # and no object of somebody's own kind of list
            found.extend(items)

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise DamagedError("a pickle has a key without a value")
        table = self.top(Table)
        for name, value in zip(items[::2], items[1::2], strict=True):
            if (key := self.key(name)) is not None:
                table[key] = value

    def key(self, value: object) -> str | None:
        """The text under which an entry is kept, if it is."""
        return _key(value)

    def name(self) -> None:
        module, name = self.line(), self.line()
        module = "builtins" if module == "__builtin__" else module  # as Python 2 called it
        self.refer_to(f"{module}.{name}")

    def refer_to(self, name: str) -> None:
        """Put a name of Python's, which stays a text."""
        self.push(Global(name))

    def of_script(self, name: str) -> bool:
        """Whether a name is one of those that only TorchScript's archives may have."""
        return self.scripted and name.startswith((f"{SCRIPT}.", SCRIPT_MARKS))

    def refer(self) -> None:
        identity = self.pop()
        match identity:
            case ("module", Global() as kind, *_):  # with its source, before PyTorch 1.6
                self.push(kind)
                return
        storage = storage_of(identity)
        self.storages.setdefault(storage.key, storage)
        self.push(storage)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise RefusedError("a pickle calls something that is no function")
        if function.name in TENSORS:
            self.push(made(function.name, arguments))
        elif kind := DROPPED.get(function.name) or DROPPED_OF_MODULES.get(function.name):
            self.push(Inert(kind))
        elif function.name in TABLES:
            self.push(self.table(arguments))
        elif self.of_script(function.name):
            script = function.name.startswith(f"{SCRIPT}.")
            self.push(Scripted() if script else Inert("object of TorchScript"))
        elif function.name == SIZE and arguments:
            self.push(arguments[0])
        else:
            raise RefusedError(f"a pickle calls {function.name}")

    def new(self) -> None:
        """Make an object of a class: of one that nobody knows here, one without attributes."""
        known = len(self.stack) < 2 or not isinstance(self.stack[-2], Global)
        if known or self.is_known(self.stack[-2].name):
            self.call()
        elif not isinstance(self.pop(), tuple):
            raise RefusedError("a pickle makes an object of something that is no list of arguments")
        else:
            self.pop()
            self.push(Object())

    def is_known(self, name: str) -> bool:
        """Whether a name is in one of the tables."""
        return name in ALLOWED or name in DROPPED_OF_MODULES or self.of_script(name)

    def table(self, arguments: tuple[Any, ...]) -> Table:
        """A dictionary: empty, a given one, or one of a list of pairs, as Python 2 wrote it."""
        if not arguments:
            return Table()
        given, found = arguments[0], Table()
        if isinstance(given, Table):
            return given
        if not isinstance(given, list):
            raise DamagedError("a dictionary is not made of pairs")
        self.spend(len(given))  # the same list may be given many times
        for pair in given:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise DamagedError("a dictionary is not made of pairs")
            if (key := _key(pair[0])) is not None:
                found[key] = pair[1]
        return found

    def build(self) -> None:
        """Set attributes: a dictionary keeps them, for its metadata, and others do not."""
        state, value = self.pop(), self.pop()
        if isinstance(value, Scripted | Object) and isinstance(state, Table):
            self.spend(len(state))  # the same state may be given many times
            value.update(state)
        elif isinstance(value, Table) and isinstance(state, Table):
            value.attributes = state
        elif not isinstance(value, Inert | Object):
            raise RefusedError(f"a pickle sets attributes of a {kind_of(value)}")
        self.push(value)


Operation = Callable[[Any], object]
_OPERATIONS: dict[bytes, Callable[[Machine], object]] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.MARK: Machine.mark,
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_DICT: lambda m: m.push(Table()),
    pickle.EMPTY_SET: lambda m: m.push(Inert("set")),
    pickle.BININT: lambda m: m.push(m.number(_SIGNED)),
    pickle.BININT1: lambda m: m.push(m.number(_BYTE)),
    pickle.BININT2: lambda m: m.push(m.number(_SHORT)),
    pickle.LONG1: Machine.long,
    pickle.BINFLOAT: lambda m: m.push(m.number(_FLOAT)),
    pickle.BINUNICODE: lambda m: m.text(_UNSIGNED),
    pickle.SHORT_BINSTRING: lambda m: m.text(_BYTE),
    pickle.BINPUT: lambda m: m.put(_BYTE),
    pickle.LONG_BINPUT: lambda m: m.put(_UNSIGNED),
    pickle.BINGET: lambda m: m.get(_BYTE),
    pickle.LONG_BINGET: lambda m: m.get(_UNSIGNED),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_marked())),
    pickle.TUPLE1: lambda m: m.tuple_of(1),
    pickle.TUPLE2: lambda m: m.tuple_of(2),
    pickle.TUPLE3: lambda m: m.tuple_of(3),
    pickle.APPEND: lambda m: m.append([m.pop()]),
    pickle.APPENDS: lambda m: m.append(m.pop_marked()),
    pickle.SETITEM: lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_marked()),
    pickle.GLOBAL: Machine.name,
    pickle.BINPERSID: Machine.refer,
    # Looked up in the machine, which may be of a class that knows more.
    pickle.REDUCE: lambda m: m.call(),
    pickle.NEWOBJ: lambda m: m.new(),
    pickle.BUILD: lambda m: m.build(),
}
