"""When two readers gave the same exported program."""

from __future__ import annotations

from typing import Any

import torch

from fx2py.graph.data import Graph, GraphData, ModuleRecord
from fx2py.graph.values import List, Ref, TensorValue, map_leaves


def assert_same_program(found: GraphData, expected: GraphData, *, names: bool = True) -> None:
    """Equal nodes, state (bits, strides, sharing), calling convention and contract.

    A file does not say whether a sequence was a list or a tuple, so those are equal here; with ``names=False`` nodes
    may be called differently, but must be wired in the same way.
    """
    _assert_same_module(found.root, expected.root, "", names)
    assert found.convention == expected.convention
    assert found.contract is not None
    assert expected.contract is not None
    assert found.contract.guards == expected.contract.guards
    assert sorted(found.contract.ranges) == sorted(expected.contract.ranges)
    assert found.contract.checks == expected.contract.checks
    assert _sharing(found.root) == _sharing(expected.root)


def _assert_same_module(found: ModuleRecord, expected: ModuleRecord, where: str, names: bool) -> None:
    if expected.graph is not None:
        assert found.graph is not None
        assert listing(found.graph, names) == listing(expected.graph, names), where
        for one, other in zip(found.graph.nodes, expected.graph.nodes, strict=True):
            if other.op in ("placeholder", "call_function"):
                assert one.meta.value == other.meta.value, (where, one.name)
    _assert_same_tensors(dict(found.parameters), dict(expected.parameters), where)
    _assert_same_tensors(dict(found.buffers), dict(expected.buffers), where)
    _assert_same_tensors(_constants(found), _constants(expected), where)
    assert found.non_persistent == expected.non_persistent
    children = {name: child for name, child in expected.children.items() if child is not None}
    assert set(found.children) == set(children), where
    for name, child in children.items():
        inner = found.children[name]
        assert inner is not None
        _assert_same_module(inner, child, f"{where}.{name}", names)


def listing(graph: Graph, names: bool = True) -> list[Any]:
    """The graph's nodes as comparable rows; what reads an attribute has no name of its own in an archive."""
    called = {
        node.name: node.name if names and node.op != "get_attr" else f"%{index}"
        for index, node in enumerate(graph.nodes)
    }

    def leaf(value: Any) -> Any:
        if type(value) is Ref:
            return Ref(called[value.name])
        return repr(value) if type(value) in (float, complex) else value

    rows = []
    for node in graph.nodes:
        args = map_leaves(_lists(node.args), leaf)
        kwargs = tuple((key, map_leaves(_lists(value), leaf)) for key, value in node.kwargs)
        rows.append((called[node.name], node.op, node.target, args, kwargs))
    return rows


def _lists(value: Any) -> Any:
    """``value`` with every inner tuple as a list."""
    kind = type(value)
    if kind in (tuple, List):
        return List(tuple(_lists(part) for part in (value if kind is tuple else value.items)))
    return value


def _constants(record: ModuleRecord) -> dict[str, torch.Tensor | None]:
    return {name: value.tensor for name, value in record.attributes.items() if isinstance(value, TensorValue)}


def _assert_same_tensors(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    assert set(found) == set(expected), where
    for name, tensor in expected.items():
        one = found[name]
        assert type(one) is type(tensor), name
        assert (one.dtype, one.shape, one.stride()) == (tensor.dtype, tensor.shape, tensor.stride()), name
        assert one.requires_grad == tensor.requires_grad, name
        assert _bits(one) == _bits(tensor), name


def _bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().view(-1)
    return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""


def _sharing(root: ModuleRecord) -> set[frozenset[str]]:
    """Which tensors of the modules lie in one storage."""
    groups: dict[int, set[str]] = {}
    for path, record in root.walk():
        tables = (record.parameters, record.buffers, _constants(record))
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None and tensor.numel():
                    groups.setdefault(tensor.untyped_storage().data_ptr(), set()).add(f"{path}.{name}")
    return {frozenset(group) for group in groups.values() if len(group) > 1}
