"""What a pickle holds: the graphs in its containers, the example inputs beside them, or what else it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from fx2py.errors import printable
from fx2py.graph.data import SampleInputs
from fx2py.graph.objects import object_of
from fx2py.graph.values import PRIMITIVES
from fx2py.read.pickled.modules import is_graph_module, is_module
from fx2py.read.pickled.stream import Built, Members, Pairs
from fx2py.read.pickled.tensors import is_tensor
from fx2py.read.pickled.values import PickledValues
from fx2py.read.several import UniqueNames

_MOST_KEYS = 16
_FX_GRAPH = "torch.fx.graph.Graph"
_SCRIPT = "__torch__."
"""The prefix of the qualified names that torch.jit gives to its classes."""
_CONTAINERS = frozenset(f"collections.{name}" for name in ("OrderedDict", "defaultdict", "deque", "Counter"))
_TABLES = frozenset({"_modules", "_parameters", "_buffers"})
"""The tables whose entries are attributes of a module, by ``Module.__getattr__``."""
_ARGUMENTS = ("args", "inputs", "example_inputs", "sample_inputs", "example_args", "input")
_KEYWORDS = ("kwargs", "example_kwargs", "sample_kwargs")
SAVE = (
    "Save a graph of the model: torch.export.save(torch.export.export(model, args), path), or "
    "torch.save(torch.fx.symbolic_trace(model), path)."
)


# -- graphs ------------------------------------------------------------------------------------------------------


def graphs_in(root: object) -> dict[str, Built]:
    """The GraphModules in a pickled object and the containers it is made of, by their path; the root's is ``""``."""
    names = UniqueNames()
    return {
        names.fresh(place.path()): place.obj
        for place in _places(root, _entries)
        if is_graph_module(place.obj)
    }


def graphs_inside(root: object, direct: dict[str, Built]) -> dict[str, Built]:
    """The GraphModules that only objects hold, modules of other classes for example, by their path in them.

    Nobody saved them by themselves, but they must not go unnoticed beside a graph that was saved. A bare ``fx.Graph``
    has none: the module that owns it is not what was saved.
    """
    if type(root) is Built and root.path == _FX_GRAPH:
        return {}
    known = {id(graph) for graph in direct.values()}
    names = UniqueNames(direct)
    found: dict[str, Built] = {}
    for place in _places(root, _parts):
        if is_graph_module(place.obj) and id(place.obj) not in known:
            known.add(id(place.obj))
            found[names.fresh(place.path())] = place.obj
    return found


@dataclass(slots=True, eq=False)
class _Place:
    """An object, its key in what holds it, and the place of that."""

    obj: object
    key: str = ""
    holder: _Place | None = None

    def path(self) -> str:
        """The keys that lead here; only the last of them if they are many, since a file may nest without end."""
        keys: list[str] = []
        place = self
        while place.holder is not None and len(keys) < _MOST_KEYS:
            keys.append(place.key)
            place = place.holder
        return ".".join(reversed(keys))


def _places(root: object, entries: Callable[[object], Iterator[tuple[str, object]]]) -> Iterator[_Place]:
    """The root and all below it but what is in a GraphModule, nearest first; each is opened once."""
    waiting = deque([_Place(root)])
    opened: set[int] = set()
    while waiting:
        place = waiting.popleft()
        yield place
        if id(place.obj) not in opened and not is_graph_module(place.obj):
            opened.add(id(place.obj))
            for key, item in entries(place.obj):
                if type(item) not in PRIMITIVES:
                    waiting.append(_Place(item, key, place))


def _entries(obj: object) -> Iterator[tuple[str, object]]:
    """What a container holds; nothing for other objects."""
    if _is_sequence(obj):
        yield from _numbered(obj)
    elif type(obj) is Members:
        yield from _numbered(obj.items)
    elif type(obj) is Pairs or (type(obj) is Built and obj.path in _CONTAINERS):
        yield from ((_key(key, index), item) for index, (key, item) in enumerate(obj.pairs))
        yield from _numbered(obj.items if isinstance(obj, Built) else ())


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """What a container or an object of any class holds; nothing for tensors."""
    if type(obj) is not Built or obj.path in _CONTAINERS:
        yield from _entries(obj)
    elif not is_tensor(obj):
        for held in (obj.args, obj.kwargs, obj.state, obj.items, Pairs(obj.pairs)):
            for key, item in _entries(held):
                if key in _TABLES:
                    yield from _entries(item)
                else:
                    yield key, item


def _is_sequence(obj: object) -> TypeGuard[Sequence[object]]:
    return type(obj) in (list, tuple)


def _numbered(items: Sequence[object]) -> Iterator[tuple[str, object]]:
    return ((str(index), item) for index, item in enumerate(items))


def _key(key: object, index: int) -> str:
    return str(key) if type(key) in (str, int, float, bool) else f"[{index}]"


# -- example inputs ----------------------------------------------------------------------------------------------


def sample_inputs(root: object, graph: Built, values: PickledValues) -> SampleInputs | None:
    """The example inputs that stand beside the graph: after it in a tuple, or in a dict under a usual name.

    ValueError when what stands there is no plain data.
    """
    if _is_sequence(root):
        return _listed(root[1:], values) if root and root[0] is graph else None
    named = dict(_entries(root))
    args = next((named[name] for name in _ARGUMENTS if name in named), None)
    kwargs = next((named[name] for name in _KEYWORDS if name in named), None)
    beside = [] if args is None else [args]
    if kwargs is not None:
        beside = [() if args is None else args, kwargs]
    return _listed(beside, values)


def _listed(beside: Sequence[object], values: PickledValues) -> SampleInputs | None:
    """``(args,)``, ``(args, kwargs)``, ``(kwargs,)`` or the arguments themselves."""
    objects: Sequence[object] = [object_of(values.value(obj)) for obj in beside]
    if not objects:
        return None
    if len(objects) == 1 and _is_sequence(objects[0]) and [type(part) for part in objects[0][1:]] == [dict]:
        objects = objects[0]
    first, last = objects[0], objects[-1]
    if len(objects) == 1 and type(first) is dict:
        return SampleInputs((), _keywords(first))
    if len(objects) == 1 and _is_sequence(first):
        return SampleInputs(tuple(first))
    if len(objects) == 2 and _is_sequence(first) and type(last) is dict:
        return SampleInputs(tuple(first), _keywords(last))
    return SampleInputs(tuple(objects))


def _keywords(arguments: dict[object, object]) -> dict[str, object]:
    named = {key: value for key, value in arguments.items() if isinstance(key, str)}
    if len(named) != len(arguments):
        raise ValueError("the keyword arguments among the example inputs have keys that are no names")
    return named


# -- no graph ----------------------------------------------------------------------------------------------------


def description(root: object) -> tuple[str, str]:
    """What a pickled object without a graph is, as part of a sentence, and what its owner can do."""
    path = printable(root.path) if type(root) is Built else ""
    if path == _FX_GRAPH:
        step = "Save it with the modules that it calls: torch.save(torch.fx.GraphModule(model, graph), path)."
        return "a bare fx.Graph without its modules and weights", step
    if path.startswith(_SCRIPT):
        return "a TorchScript model, which is not an FX graph", SAVE
    if is_module(root):
        return f"a module of class {path}, but no graph", SAVE
    if _holds_only_tensors(root):
        return "only weights (a state dict), but no graph", SAVE
    if path:
        return f"an object of {path}, but no graph", SAVE
    kind = {Pairs: "a dict", tuple: "a tuple", list: "a list"}.get(type(root), "a value")
    return f"{kind}, but no graph", SAVE


def _holds_only_tensors(root: object) -> bool:
    """Whether this is a dict of tensors by name."""
    pairs = root.pairs if isinstance(root, Pairs | Built) else ()
    return bool(pairs) and all(type(key) is str and is_tensor(value) for key, value in pairs)
