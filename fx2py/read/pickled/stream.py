"""The pickle format read as data: a machine of its own that builds records and can call nothing.

A name becomes a ``Global``, a call or construction a ``Built``; both only say what the file asks for. Containers of
the file are never hashed, compared or copied here, so their size is bounded by the file's. Most containers of a graph are
empty: the items and pairs of a record share one empty tuple until the stream sets some.
"""

from __future__ import annotations

import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import TypeAlias


class PickleFault(ValueError):
    """The stream is not a pickle of protocol 2 to 5, is damaged, or asks for something that no graph needs."""


@dataclass(slots=True, eq=False)
class Global:
    """A name that the stream refers to; never looked up."""

    module: str
    qualname: str
    path: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.path = f"{self.module}.{self.qualname}"


@dataclass(slots=True, eq=False)
class Pairs:
    """A dict of the stream, as its pairs in order."""

    pairs: Sequence[tuple[object, object]] = ()

    def by_name(self) -> dict[str, object]:
        """The entries whose keys are strings; a later one replaces an earlier one."""
        return {key: value for key, value in self.pairs if type(key) is str}


@dataclass(slots=True, eq=False)
class Members:
    """A set of the stream, as its members in order."""

    items: Sequence[object] = ()
    frozen: bool = False


@dataclass(slots=True, eq=False)
class Persistent:
    """A reference to something stored beside the stream."""

    key: object


@dataclass(slots=True, eq=False)
class Built:
    """What calling or constructing ``function`` would give, with the state and items set on it afterwards."""

    function: object
    args: object = ()
    kwargs: object = None
    state: object = None
    items: Sequence[object] = ()
    pairs: Sequence[tuple[object, object]] = ()

    @property
    def path(self) -> str:
        """The dotted path of the function; empty when that is not a name but was built too."""
        return self.function.path if type(self.function) is Global else ""

    @property
    def first(self) -> object:
        """The first argument, None where there is none."""
        return self.args[0] if type(self.args) is tuple and self.args else None


Data: TypeAlias = "bytes | mmap"

MAX_OPCODES = 50_000_000
_MAX_INTEGER_BYTES = 1024
_NEWEST_PROTOCOL = 5
_UNIFIED_NAMES_PROTOCOL = 3


def read_pickle(data: Data, start: int = 0) -> tuple[object, int]:
    """The object pickled at ``start``, and where the stream ends; PickleFault naming the position when it cannot be."""
    machine = _Machine(data, start)
    try:
        return machine.run(), machine.position
    except (IndexError, TypeError, struct.error):
        raise PickleFault(f"the pickle ends or underflows at byte {machine.position}") from None
    except UnicodeDecodeError:
        raise PickleFault(f"the pickle holds text that is not UTF-8 at byte {machine.position}") from None
    except KeyError:
        raise PickleFault(
            f"the pickle refers to an object it does not hold at byte {machine.position}"
        ) from None


class _Machine:
    """The stack, marks and memo of one stream; ``position`` is the next byte."""

    def __init__(self, data: Data, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.calls: dict[int, Built] = {}
        self.protocol = 0

    def run(self) -> object:
        """The object; the most frequent operations are done here, without a call for each."""
        data, memo, stack, position = self.data, self.memo, self.stack, self.position
        for _ in range(MAX_OPCODES):
            opcode = data[position]
            position += 1
            if opcode == _GET:
                stack.append(memo[data[position]])
                position += 1
                continue
            if opcode == _SHORT_TEXT:
                start = position + 1
                position = start + data[position]
                stack.append(data[start:position].decode("utf-8", "surrogatepass"))
            elif opcode == _TEXT:
                start = position + 4
                position = start + int.from_bytes(data[position:start], "little")
                stack.append(data[start:position].decode("utf-8", "surrogatepass"))
            elif opcode == _EMPTY_TUPLE:
                if data[position] != _CALL:
                    stack.append(())
                    continue
                stack[-1] = _called(stack[-1], ())
                position += 1
            elif opcode == _EMPTY_DICT:
                stack.append(Pairs())
            elif opcode in _CALLS:
                args = stack.pop()
                stack[-1] = _called(stack[-1], args)
            elif opcode == _SMALL_INTEGER:
                stack.append(data[position])
                position += 1
                continue
            elif opcode == _LONG_GET:
                stack.append(memo[int.from_bytes(data[position : position + 4], "little")])
                position += 4
                continue
            elif opcode == _ONE:
                stack[-1] = (stack[-1],)
            elif opcode == _NONE:
                stack.append(None)
                continue
            elif opcode == _MARK:
                self.marks.append(stack)
                self.stack = stack = []
                continue
            elif opcode == _STOP:
                self.position = position
                return stack.pop()
            else:
                self.position = position
                _HANDLER_OF_BYTE[opcode](self)
                position, stack = self.position, self.stack
            if data[position] == _MEMOIZE:
                memo[len(memo)] = stack[-1]
                position += 1
            elif data[position] == _PUT:
                memo[data[position + 1]] = stack[-1]
                position += 2
        raise PickleFault(f"the pickle has more than {MAX_OPCODES} operations")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise PickleFault(f"the pickle ends inside the value at byte {self.position}")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, layout: struct.Struct) -> int:
        """The next bytes as an integer in this layout."""
        (value,) = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return int(value)

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise PickleFault(f"the pickle ends inside the name at byte {self.position}")
        taken = self.data[self.position : end]
        self.position = end + 1
        return taken.decode("utf-8")

    def pop_mark(self) -> list[object]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def push_name(self, module: str, qualname: str) -> None:
        if self.protocol < _UNIFIED_NAMES_PROTOCOL:
            module, qualname = NAME_MAPPING.get((module, qualname), (module, qualname))
            module = IMPORT_MAPPING.get(module, module)
        if not (module + qualname).isprintable():
            raise PickleFault(f"a name in the pickle holds control characters at byte {self.position}")
        self.stack.append(Global(module, qualname))


_U1, _U2, _U4, _U8 = (struct.Struct(f"<{code}") for code in "BHIQ")
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")
_STOP, _GET, _PUT, _MEMOIZE = ord("."), ord("h"), ord("q"), 0x94
_SHORT_TEXT, _TEXT, _EMPTY_TUPLE, _EMPTY_DICT = 0x8C, ord("X"), ord(")"), ord("}")
_SMALL_INTEGER, _LONG_GET, _ONE, _NONE, _MARK = ord("K"), ord("j"), 0x85, ord("N"), ord("(")
_CALL, _CALLS = ord("R"), (ord("R"), 0x81)
_Handler: TypeAlias = "Callable[[_Machine], None]"


def _constant(value: object) -> _Handler:
    return lambda machine: machine.stack.append(value)


def _new(make: Callable[[], object]) -> _Handler:
    return lambda machine: machine.stack.append(make())


def _number(layout: struct.Struct) -> _Handler:
    return lambda machine: machine.stack.append(machine.number(layout))


def _real(machine: _Machine) -> None:
    machine.stack.append(_F8.unpack(machine.take(_F8.size))[0])


def _text(machine: _Machine) -> None:
    machine.stack.append(machine.take(machine.number(_U8)).decode("utf-8", "surrogatepass"))


def _bytes(layout: struct.Struct) -> _Handler:
    return lambda machine: machine.stack.append(machine.take(machine.number(layout)))


def _integer(layout: struct.Struct) -> _Handler:
    def push(machine: _Machine) -> None:
        size = machine.number(layout)
        if not 0 <= size <= _MAX_INTEGER_BYTES:
            raise PickleFault(f"the pickle holds an integer of {size} bytes at byte {machine.position}")
        machine.stack.append(int.from_bytes(machine.take(size), "little", signed=True))

    return push


def _tuple(count: int) -> _Handler:
    def push(machine: _Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return push


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _put(layout: struct.Struct) -> _Handler:
    def put(machine: _Machine) -> None:
        machine.memo[machine.number(layout)] = machine.stack[-1]

    return put


def _unknown(machine: _Machine) -> None:
    place = machine.position - 1
    raise PickleFault(
        f"byte {place} of the pickle, {machine.data[place]:#04x}, is not an operation of a saved graph"
    )


def _protocol(machine: _Machine) -> None:
    machine.protocol = machine.number(_U1)
    if machine.protocol > _NEWEST_PROTOCOL:
        raise PickleFault(
            f"the pickle is of protocol {machine.protocol}; {_NEWEST_PROTOCOL} is the newest known"
        )


def _frame(machine: _Machine) -> None:
    if machine.number(_U8) > len(machine.data) - machine.position:
        raise PickleFault(f"a frame of the pickle reaches beyond its end at byte {machine.position}")


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _pop_to_mark(machine: _Machine) -> None:
    machine.pop_mark()


def _marked_tuple(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _frozen_set(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(Members(items, frozen=True))


def _extend(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Built | Members):
        if not isinstance(target.items, list):
            target.items = []
        target.items.extend(items)
    else:
        raise PickleFault(f"the pickle appends to something other than a list at byte {machine.position}")


def _append(machine: _Machine) -> None:
    item = machine.stack.pop()
    _extend(machine, [item])


def _set_pairs(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, Pairs | Built) or len(items) % 2:
        raise PickleFault(f"the pickle sets items of something other than a dict at byte {machine.position}")
    if not isinstance(target.pairs, list):
        target.pairs = []
    target.pairs.extend(zip(items[::2], items[1::2], strict=True))


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set_pairs(machine, [key, value])


def _global(machine: _Machine) -> None:
    module = machine.line()
    machine.push_name(module, machine.line())


def _stack_global(machine: _Machine) -> None:
    qualname, module = machine.stack.pop(), machine.stack.pop()
    if type(module) is not str or type(qualname) is not str:
        raise PickleFault(f"the pickle names something by other than text at byte {machine.position}")
    machine.push_name(module, qualname)


def _called(function: object, args: object) -> Global | Built:
    if type(function) is Global and function.path in _DILL_CLASSES and type(args) is tuple:
        return _DILL_CLASSES[function.path](args)
    return Built(function, args)


def _dill_class(args: tuple[object, ...]) -> Global | Built:
    """A builtin class, which dill writes as a call of ``_load_type``."""
    return Global("builtins", args[0]) if args and type(args[0]) is str else Built(None, args)


def _dill_namedtuple(args: tuple[object, ...]) -> Global | Built:
    """A namedtuple class, which dill writes as a call with its name, fields and module."""
    if len(args) == 3 and type(args[0]) is str and type(args[2]) is str:
        return Global(args[2], args[0])
    return Built(None, args)


_DILL_CLASSES: dict[str, Callable[[tuple[object, ...]], Global | Built]] = {
    "dill._dill._load_type": _dill_class,
    "dill._dill._create_namedtuple": _dill_namedtuple,
}


def _construct(machine: _Machine) -> None:
    kwargs, args, function = (machine.stack.pop() for _ in range(3))
    machine.stack.append(Built(function, args, kwargs))


def _set_state(machine: _Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is not Built:
        raise PickleFault(
            f"the pickle sets the state of something it did not build at byte {machine.position}"
        )
    target.state = state


def _persistent(machine: _Machine) -> None:
    """A reference to what is stored elsewhere.

    ``_legacy_save`` (torch/serialization.py) also writes the classes of modules as such, and ``PackageExporter``
    (torch/package/package_exporter.py) calls that need the package.
    """
    match machine.stack.pop():
        case ("module", Global() as cls, *_):
            machine.stack.append(cls)
        case ("reduce_package", int(number), function, args):
            machine.stack.append(machine.calls.setdefault(number, Built(function, args)))
        case key:
            machine.stack.append(Persistent(key))


_HANDLERS: dict[int, _Handler] = {
    0x80: _protocol,
    0x95: _frame,
    ord("0"): _pop,
    ord("1"): _pop_to_mark,
    ord("2"): lambda machine: machine.stack.append(machine.stack[-1]),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("J"): _number(_I4),
    ord("M"): _number(_U2),
    ord("G"): _real,
    0x8A: _integer(_U1),
    0x8B: _integer(_I4),
    0x8D: _text,
    ord("B"): _bytes(_U4),
    ord("C"): _bytes(_U1),
    0x8E: _bytes(_U8),
    0x96: _bytes(_U8),
    ord("]"): _new(list),
    0x8F: _new(Members),
    0x90: lambda machine: _extend(machine, machine.pop_mark()),
    0x91: _frozen_set,
    ord("a"): _append,
    ord("e"): lambda machine: _extend(machine, machine.pop_mark()),
    ord("s"): _set_item,
    ord("u"): lambda machine: _set_pairs(machine, machine.pop_mark()),
    ord("t"): _marked_tuple,
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("c"): _global,
    0x93: _stack_global,
    0x92: _construct,
    ord("b"): _set_state,
    ord("Q"): _persistent,
    0x94: _memoize,
    ord("q"): _put(_U1),
    ord("r"): _put(_U4),
}
_HANDLER_OF_BYTE = [_HANDLERS.get(opcode, _unknown) for opcode in range(256)]
"""Protocols 2 to 5 without the extension registry and out-of-band buffers, which no saved graph uses."""
