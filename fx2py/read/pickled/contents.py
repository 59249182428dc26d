"""What a pickle holds: the graphs in its containers, and the example inputs beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fx2py.graph.data import SampleInputs
from fx2py.graph.objects import object_of
from fx2py.graph.values import PLAIN
from fx2py.read.pickled.modules import is_graph_module
from fx2py.read.pickled.records import Built, Mapping, Members
from fx2py.read.pickled.tensors import is_tensor
from fx2py.read.pickled.values import Values

_MOST_KEYS = 16
FX_GRAPH = "torch.fx.graph.Graph"
_CONTAINERS = frozenset(f"collections.{name}" for name in ("OrderedDict", "defaultdict", "deque", "Counter"))
_TABLES = frozenset({"_modules", "_parameters", "_buffers"})
"""The tables of a module, whose entries are called as if they were its attributes."""
_ARGUMENTS = ("args", "inputs", "example_inputs", "sample_inputs", "example_args", "input")
_KEYWORDS = ("kwargs", "example_kwargs", "sample_kwargs")


def graphs_in(root: Any) -> dict[str, Built]:
    """The GraphModules in a pickled object and the containers it is made of, by their path; the root's is ``""``."""
    names = _Names()
    return {
        names.fresh(place.path()): place.obj
        for place in _places(root, _entries)
        if is_graph_module(place.obj)
    }


def graphs_inside(root: Any, direct: dict[str, Built]) -> dict[str, Built]:
    """The GraphModules that only objects hold, modules of other classes for example, by their path in them.

    Those are no graphs that somebody saved, but nor must they get lost beside one that was. A bare ``fx.Graph`` alone
    is none: the module that it knows is not what was saved.
    """
    if type(root) is Built and root.path == FX_GRAPH:
        return {}
    known = {id(graph) for graph in direct.values()}
    names = _Names(direct)
    found: dict[str, Built] = {}
    for place in _places(root, _parts):
        if is_graph_module(place.obj) and id(place.obj) not in known:
            known.add(id(place.obj))
            found[names.fresh(place.path())] = place.obj
    return found


@dataclass(slots=True, eq=False)
class _Place:
    """An object, its key in what holds it, and the place of that."""

    obj: Any
    key: str = ""
    holder: _Place | None = None

    def path(self) -> str:
        """The keys that lead here, the last of them where they are many: a file may nest without end."""
        keys: list[str] = []
        place = self
        while place.holder is not None and len(keys) < _MOST_KEYS:
            keys.append(place.key)
            place = place.holder
        return ".".join(reversed(keys))


class _Names:
    """Names that are numbered where they repeat."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        number, made = self._numbers.get(name, 1), name
        while made in self._taken:
            number += 1
            made = f"{name} ({number})"
        self._numbers[name] = number
        self._taken.add(made)
        return made


def _places(root: Any, entries: Callable[[Any], Iterator[tuple[str, Any]]]) -> Iterator[_Place]:
    """The root and all below it but what is in a GraphModule, nearest first; each is opened once."""
    waiting = deque([_Place(root)])
    opened: set[int] = set()
    while waiting:
        place = waiting.popleft()
        yield place
        if id(place.obj) not in opened and not is_graph_module(place.obj):
            opened.add(id(place.obj))
            for key, item in entries(place.obj):
                if type(item) not in PLAIN:
                    waiting.append(_Place(item, key, place))


def _entries(obj: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds; nothing for other objects."""
    if type(obj) in (list, tuple):
        yield from ((str(index), item) for index, item in enumerate(obj))
    elif type(obj) is Members:
        yield from ((str(index), item) for index, item in enumerate(obj.items))
    elif type(obj) is Mapping or (type(obj) is Built and obj.path in _CONTAINERS):
        yield from ((_key(key, index), item) for index, (key, item) in enumerate(obj.pairs))
        yield from ((str(index), item) for index, item in enumerate(getattr(obj, "items", ())))


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """What a container or an object of any class holds; nothing for tensors."""
    if type(obj) is not Built or obj.path in _CONTAINERS:
        yield from _entries(obj)
    elif not is_tensor(obj):
        for held in (obj.args, obj.kwargs, obj.state, obj.items, Mapping(obj.pairs)):
            for key, item in _entries(held):
                if key in _TABLES:
                    yield from _entries(item)
                else:
                    yield key, item


def _key(key: Any, index: int) -> str:
    return str(key) if type(key) in (str, int, float, bool) else f"[{index}]"


def sample_inputs(root: Any, graph: Built, values: Values) -> SampleInputs | None:
    """The example inputs that stand beside the graph: in a tuple behind it, or in a dict under a usual name.

    ValueError when what stands there is no plain data.
    """
    if type(root) in (list, tuple) and root and root[0] is graph:
        return _listed(list(root[1:]), values)
    named = dict(_entries(root)) if type(root) is not tuple and type(root) is not list else {}
    args = next((named[name] for name in _ARGUMENTS if name in named), None)
    kwargs = next((named[name] for name in _KEYWORDS if name in named), None)
    beside = [] if args is None else [args]
    if kwargs is not None:
        beside = [() if args is None else args, kwargs]
    return _listed(beside, values)


def _listed(beside: list[Any], values: Values) -> SampleInputs | None:
    """``(args,)``, ``(args, kwargs)``, ``(kwargs,)`` or the arguments themselves."""
    objects = [object_of(values.value(obj)) for obj in beside]
    if not objects:
        return None
    if (
        len(objects) == 1
        and type(objects[0]) in (tuple, list)
        and [type(part) for part in objects[0][1:]] == [dict]
    ):
        objects = list(objects[0])
    if len(objects) == 1 and type(objects[0]) is dict:
        return SampleInputs((), _keywords(objects[0]))
    if type(objects[0]) in (tuple, list) and len(objects) == 1:
        return SampleInputs(tuple(objects[0]))
    if type(objects[0]) in (tuple, list) and len(objects) == 2 and type(objects[1]) is dict:
        return SampleInputs(tuple(objects[0]), _keywords(objects[1]))
    return SampleInputs(tuple(objects))


def _keywords(arguments: dict[Any, Any]) -> dict[str, Any]:
    if not all(type(key) is str for key in arguments):
        raise ValueError("the keyword arguments among the example inputs have keys that are no names")
    return arguments
