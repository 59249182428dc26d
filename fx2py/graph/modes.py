"""Modes that a graph switches as it runs, with a beginning and an end: what lies between must not be cut apart.

Values of a functorch level (a BatchedTensor, a dual tensor) mean nothing outside it, so no piece may begin or end there.
Other modes hold across pieces that run as generated code, but a piece that a compiler gets cannot switch a mode for the
next one: what it traced is run without the switch (``torch._functorch`` drops the nodes of grad mode and autocast).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fx2py.graph.data import Node
from fx2py.graph.values import Name, OpName

_LEVELS = {
    "_vmap_increment_nesting": "_vmap_decrement_nesting",
    "_grad_increment_nesting": "_grad_decrement_nesting",
    "_jvp_increment_nesting": "_jvp_decrement_nesting",
    "_func_increment_nesting": "_func_decrement_nesting",
    "_enter_dual_level": "_exit_dual_level",
    "enter_dual_level": "exit_dual_level",
}
"""The functions that begin a level, each with the one that ends it (torch/_functorch/predispatch.py and vmap.py)."""
_PAIRS = {
    **_LEVELS,
    "_enter_autocast": "_exit_autocast",
    "_enter_inference_mode": "_exit_inference_mode",
    "_saved_tensors_hooks_disable": "_saved_tensors_hooks_enable",
    "_push_saved_tensors_default_hooks": "_pop_saved_tensors_default_hooks",
    "autocast_increment_nesting": "autocast_decrement_nesting",
    "_record_function_enter": "_record_function_exit",
    "_record_function_enter_new": "_record_function_exit",
}
"""All that begins and ends by a call of its own: functions that torch.compile puts into a graph, and torch.export."""
_SETTERS = frozenset(
    {
        *("_set_grad_enabled", "set_grad_enabled", "_set_fwd_grad_enabled", "_sdpa_kernel"),
        *("set_autocast_enabled", "set_autocast_dtype", "set_autocast_cache_enabled"),
        *("set_inplace_requires_grad_allowed", "_set_deterministic_algorithms"),
    }
)
"""Functions that begin a mode by one value and end it by another."""


def levels(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """The places of the first and the last node of each functorch level."""
    return list(_pairs(nodes, _LEVELS))


def modes(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """The places of the first and the last node of each range in which a mode is switched, levels among them."""
    return [*_pairs(nodes, _PAIRS), *_settings(nodes)]


def _pairs(nodes: Sequence[Node], ends: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """What begins and is not ended lasts to the last node."""
    begun: dict[str, list[int]] = {end: [] for end in ends.values()}
    for place, node in enumerate(nodes):
        name = _function(node)
        if name in ends:
            begun[ends[name]].append(place)
        elif begun.get(name):
            yield begun[name].pop(), place
    yield from ((first, len(nodes) - 1) for places in begun.values() for first in places)


def _settings(nodes: Sequence[Node]) -> Iterator[tuple[int, int]]:
    """A value lasts until another one is set; one that stays is ended by the last call, if that has a partner."""
    calls: dict[tuple[object, ...], list[int]] = {}
    for place, node in enumerate(nodes):
        if _function(node) in _SETTERS:
            calls.setdefault((_function(node), *node.args[:-1]), []).append(place)
    for places in calls.values():
        values = [nodes[place].args[-1:] for place in places]
        first: int | None = None
        for index, place in enumerate(places):
            if first is None:
                first = index
            elif values[index] != values[first]:
                yield places[first], place
                first = None
        if first is not None:
            yield places[first], places[-1] if len(places) % 2 == 0 else len(nodes) - 1


def _function(node: Node) -> str:
    """The function or operator that a node calls, without its module; '' for other nodes."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, Name | OpName):
        return ""
    return target.name if isinstance(target, OpName) else target.qualname.rpartition(".")[2]
