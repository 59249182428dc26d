"""What a pickle holds: the graphs in its containers, and the example inputs beside them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fx2py.graph.data import SampleInputs
from fx2py.graph.values import PLAIN, Dict, List, Size, Slice, TensorValue, Value
from fx2py.read.pickled.modules import is_graph_module, is_module
from fx2py.read.pickled.records import Built, Mapping
from fx2py.read.pickled.values import Values

_MAX_DEPTH = 4
_ARGUMENTS = ("args", "inputs", "example_inputs", "sample_inputs", "example_args", "input")
_KEYWORDS = ("kwargs", "example_kwargs", "sample_kwargs")


def graphs_in(root: Any) -> dict[str, Built]:
    """The GraphModules in a pickled object and the containers it is made of, by their path; the root's is ``""``."""
    found: dict[str, Built] = {}
    level = [("", root)]
    opened: set[int] = set()
    for _ in range(_MAX_DEPTH):
        found.update({path: obj for path, obj in level if is_graph_module(obj)})
        outer = {id(obj): (path, obj) for path, obj in level if not is_module(obj) and id(obj) not in opened}
        opened.update(outer)
        level = [
            (f"{path}.{key}" if path else key, item)
            for path, obj in outer.values()
            for key, item in _entries(obj)
            if type(item) not in PLAIN
        ]
    return found


def _entries(obj: Any) -> Iterator[tuple[str, Any]]:
    if type(obj) in (list, tuple):
        yield from ((str(index), item) for index, item in enumerate(obj))
    elif type(obj) is Mapping or (type(obj) is Built and obj.path == "collections.OrderedDict"):
        yield from ((str(key), item) for key, item in obj.pairs if type(key) in (str, int))


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
    objects = [plain_object(values.value(obj)) for obj in beside]
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


def plain_object(value: Value) -> Any:
    """The object that a value of plain data and tensors stands for; ValueError when it is of anything else."""
    if type(value) in PLAIN:
        return value
    build = _OBJECTS.get(type(value))
    if build is None:
        raise ValueError(f"the example inputs hold a {type(value).__name__}, which is no plain data")
    return build(value)


def _dict(value: Dict) -> Any:
    pairs = [(plain_object(key), plain_object(item)) for key, item in value.items]
    if not all(type(key) in PLAIN for key, _ in pairs):
        raise ValueError("a dict among the example inputs has keys that are no plain data")
    return OrderedDict(pairs) if value.cls is not None else dict(pairs)


_OBJECTS: dict[type, Callable[[Any], Any]] = {
    tuple: lambda value: tuple([plain_object(item) for item in value]),
    List: lambda value: [plain_object(item) for item in value.items],
    Dict: _dict,
    Size: lambda value: torch.Size([plain_object(item) for item in value.items]),
    Slice: lambda value: slice(plain_object(value.start), plain_object(value.stop), plain_object(value.step)),
    TensorValue: lambda value: value.tensor,
}
