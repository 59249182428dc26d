"""The printed form of GraphData: one line a node, and no two different values printed alike.

It is for people and tests; nothing parses it back, and it is never run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._dtype_abbrs import dtype_abbrs

from fx2py.graph import values as language
from fx2py.graph.data import GraphData, ModuleRecord, Node, SymMeta, TensorMeta, ValueMeta


def listing(data: GraphData) -> str:
    """Every module that has a graph, parents first, with its nodes in order."""
    parts = [_module(path, record) for path, record in data.root.walk() if record.graph is not None]
    return "\n\n".join(parts) + "\n"


def _module(path: str, record: ModuleRecord) -> str:
    head = f"graph {path or '(root)'}: {record.cls}"
    nodes = record.graph.nodes if record.graph is not None else ()
    return "\n".join([head, *(f"  {node_text(node)}" for node in nodes)])


def node_text(node: Node) -> str:
    """A node, followed by what was recorded about its value and its module path as a comment."""
    note = "  ".join(filter(None, (value_note(node.meta.value), node.meta.module)))
    return f"{_NODES[node.op](node)}{'  # ' if note else ''}{note}"


def _call(node: Node) -> str:
    arguments = arguments_text(node.args, node.kwargs)
    target = node.target if isinstance(node.target, str) else value_text(node.target)
    return f"{node.name} = {node.op} {target}({arguments})"


def _placeholder(node: Node) -> str:
    default = f" = {value_text(node.args[0])}" if node.args else ""
    return f"{node.name} = placeholder {node.target}{default}"


_NODES: dict[str, Callable[[Node], str]] = {
    "placeholder": _placeholder,
    "get_attr": lambda node: f"{node.name} = get_attr {node.target}",
    "output": lambda node: f"output {', '.join(map(value_text, node.args))}",
    **dict.fromkeys(("call_function", "call_method", "call_module"), _call),
}


def value_note(meta: ValueMeta) -> str:
    """Dtype and shape of a recorded value, as in ``f32[1, 16]``; '' if nothing is recorded."""
    if isinstance(meta, TensorMeta):
        shape = ", ".join([str(size) for size in meta.shape])
        return f"{dtype_abbreviation(meta.dtype)}[{shape}]"
    if isinstance(meta, SymMeta):
        return f"{meta.kind} {meta.expression}"
    if isinstance(meta, tuple):
        notes = [value_note(part) for part in meta[:4]]
        return f"({', '.join(notes)}{', ...' if len(meta) > 4 else ''})" if any(notes) else ""
    return ""


def dtype_abbreviation(dtype: torch.dtype) -> str:
    return dtype_abbrs.get(dtype, str(dtype).removeprefix("torch."))


def tensor_note(tensor: torch.Tensor) -> str:
    """Dtype and shape of a tensor, as ``value_note`` writes them."""
    return value_note(TensorMeta(tensor.dtype, tuple(tensor.shape)))


def arguments_text(args: tuple[language.Value, ...], kwargs: tuple[tuple[str, language.Value], ...]) -> str:
    return ", ".join([*map(value_text, args), *(f"{name}={value_text(value)}" for name, value in kwargs)])


def value_text(value: language.Value) -> str:
    """A value of the value language; text is quoted, so that it cannot look like a variable or a name."""
    kind = type(value)
    return repr(value) if kind in language.PRIMITIVES else _VALUES.get(kind, _as_it_is)(value)


def _as_it_is(value: object) -> str:
    """The leaves of a Program print themselves, and so does what the reader of generated text adds."""
    return str(value)


def _items(items: tuple[language.Value, ...]) -> str:
    return ", ".join(map(value_text, items))


def _tuple(value: tuple[language.Value, ...]) -> str:
    return f"({_items(value)}{',' if len(value) == 1 else ''})"


def _dict(value: language.Dict) -> str:
    items = ", ".join(f"{value_text(key)}: {value_text(item)}" for key, item in value.items)
    made = ", ".join(str(name) for name in (value.cls, value.factory) if name is not None)
    return f"{{{items}}}" if not made else f"{made}({{{items}}})"


def _parts(value: language.Slice | language.Range) -> tuple[language.Value, ...]:
    return (value.start, value.stop, value.step)


_VALUES: dict[type, Callable[[Any], str]] = {
    language.Ref: lambda value: value.name,
    language.Name: lambda value: value.path,
    language.OpName: lambda value: value.path.removeprefix("torch.ops."),
    language.Attribute: lambda value: f"attribute {value.path!r}",
    language.EnumMember: lambda value: f"{value.cls}.{value.member}",
    language.Live: lambda value: f"live {value.description!r}",
    language.Opaque: lambda value: f"opaque {value.cls}",
    language.SymExpr: lambda value: f"symbol {value.text!r}",
    language.DeviceType: lambda value: f"device type {value.type!r}",
    language.DefaultDevice: lambda value: "default device",
    language.TensorValue: lambda value: f"tensor {tensor_note(value.tensor)}",
    tuple: _tuple,
    language.List: lambda value: f"[{_items(value.items)}]",
    language.Dict: _dict,
    language.Set: lambda value: f"{'frozenset' if value.frozen else 'set'}({_items(value.items)})",
    language.Slice: lambda value: f"slice({_items(_parts(value))})",
    language.Range: lambda value: f"range({_items(_parts(value))})",
    language.Size: lambda value: f"Size({_items(value.items)})",
    language.Record: lambda value: f"{value.cls}({', '.join(f'{n}={value_text(part)}' for n, part in value.fields)})",
}
