"""Where in a graph a mode is on that its own calls switch: a graph is not cut there for compilers of pieces.

A piece that is compiled by itself can neither switch a mode for the next one nor take a tensor that is wrapped for a
``torch.func`` level.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from fx2py.graph.data import Node
from fx2py.graph.values import Name, references

_GRAD_MODE = frozenset({"_set_grad_enabled", "set_grad_enabled"})
_LEVELS = {
    "_vmap_increment_nesting": "_vmap_decrement_nesting",
    "_grad_increment_nesting": "_grad_decrement_nesting",
    "_jvp_increment_nesting": "_jvp_decrement_nesting",
    "_func_increment_nesting": "_func_decrement_nesting",
    "_vmapmode_increment_nesting": "_vmapmode_decrement_nesting",
}
"""What enters and leaves a level of ``torch.func``, in which tensors are wrapped (torch/_functorch/predispatch.py)."""
_UNWRAPPING = frozenset({"_remove_batch_dim", "_unwrap_for_grad", "_unwrap_functional_tensor"})
_ENDS = {
    **_LEVELS,
    "_enter_dual_level": "_exit_dual_level",
    "_enter_autocast": "_exit_autocast",
    "autocast_increment_nesting": "autocast_decrement_nesting",
    "_enter_inference_mode": "_exit_inference_mode",
    "_saved_tensors_hooks_disable": "_saved_tensors_hooks_enable",
    "_push_saved_tensors_default_hooks": "_pop_saved_tensors_default_hooks",
    "pop_dynamic_layer_stack": "push_dynamic_layer_stack",
    "_push_on_torch_dispatch_stack": "_pop_torch_dispatch_stack",
    "_push_on_torch_function_stack": "_pop_torch_function_stack",
    "_enable_functionalization": "_disable_functionalization",
    "_record_function_enter": "_record_function_exit",
    "_record_function_enter_new": "_record_function_exit",
    "range_push": "range_pop",
    "_tensor_version": "_unsafe_set_version_counter",
}
"""Calls that switch a mode on, each with the one that switches it off."""
_SETTINGS_OF_VALUES = frozenset({"_sdpa_kernel", "set_stream"})
_SETS = re.compile(r"(^|_)(set|enable|disable|allow|preferred|use)_")
_IN_PAIRS = frozenset({*_GRAD_MODE, *_ENDS, *_ENDS.values()})
Range = tuple[int, int]
"""The indices of the first and the last node."""


def level_ranges(nodes: Sequence[Node]) -> list[Range]:
    """Where a ``torch.func`` level is on, or a tensor wrapped for one is still used; in order, without overlaps."""
    return list(_merged(sorted(_levels(nodes, _called(nodes)))))


def mode_ranges(nodes: Sequence[Node], grad_enabled: bool) -> list[Range]:
    """Where a mode is on that a node switched: to the node that switches it off, or else to the end of the graph.

    The ranges are in order, without overlaps. ``grad_enabled`` is the grad mode that the graph begins in. A setting that
    has no such pair counts as changed from the first to the last call that sets it: the last restores what was set.
    """
    called = _called(nodes)
    last = len(nodes) - 1
    levels = _levels(nodes, called)
    used = {name for node in nodes for name in references(*node.operands)}
    names = {node.called for node in nodes if _is_setting(node) and node.name not in used}
    settings = [_from_first_to_last(called[name], last) for name in names]
    ranges = [*_other_grad_mode(nodes, grad_enabled), *levels, *_paired(called, _ENDS, last), *settings]
    return list(_merged(sorted(ranges)))


def _called(nodes: Sequence[Node]) -> Mapping[str, Sequence[int]]:
    """The indices of the calls of each function."""
    called: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        called[node.called].append(index)
    return called


def _levels(nodes: Sequence[Node], called: Mapping[str, Sequence[int]]) -> Iterator[Range]:
    return _with_wrapped(nodes, list(_paired(called, _LEVELS, len(nodes) - 1)))


def _is_setting(node: Node) -> bool:
    """Whether a node, whose result is not used, changes a global setting of torch."""
    name = node.called
    if name in _SETTINGS_OF_VALUES:
        return True
    is_of_torch = isinstance(node.target, Name) and node.target.module.partition(".")[0] == "torch"
    no_value = node.meta.value is None and next(references(*node.operands), None) is None
    return is_of_torch and no_value and _SETS.search(name) is not None and name not in _IN_PAIRS


def _other_grad_mode(nodes: Sequence[Node], enabled: bool) -> Iterator[Range]:
    """Where the grad mode differs from that at the beginning."""
    first: int | None = None
    for index, node in enumerate(nodes):
        if node.called not in _GRAD_MODE:
            continue
        is_as_before = enabled in node.operands
        if not is_as_before and first is None:
            first = index
        elif is_as_before and first is not None:
            yield first, index
            first = None
    if first is not None:
        yield first, len(nodes) - 1


def _paired(called: Mapping[str, Sequence[int]], ends: Mapping[str, str], last: int) -> Iterator[Range]:
    """From each call that begins to the call that ends it, as they nest; what never ends lasts to the last node."""
    for end in dict.fromkeys(ends.values()):
        begins = {index for begin, one in ends.items() if one == end for index in called.get(begin, ())}
        opened: list[int] = []
        for index in sorted({*begins, *called.get(end, ())}):
            if index in begins:
                opened.append(index)
            else:
                yield (opened.pop() if opened else 0), index
        yield from ((begin, last) for begin in opened)


def _from_first_to_last(indices: Sequence[int], last: int) -> Range:
    """The range of a setting, which lasts to the end when it is set once."""
    return indices[0], indices[-1] if len(indices) > 1 else last


def _with_wrapped(nodes: Sequence[Node], levels: Sequence[Range]) -> Iterator[Range]:
    """The range of each level, extended to the last use of what is wrapped for it: ``vjp`` leaves its level before the
    gradients are computed."""
    if not levels:
        return
    last_use = {
        name: index
        for index, node in enumerate(nodes)
        if node.op != "output"
        for name in references(*node.operands)
    }
    for first, last in levels:
        wrapped = (node for node in nodes[first : last + 1] if node.called not in _UNWRAPPING)
        yield first, max(last, *(last_use.get(node.name, last) for node in wrapped))


def _merged(ranges: Sequence[Range]) -> Iterator[Range]:
    """Sorted ranges, merged where they overlap or touch."""
    current: Range | None = None
    for first, last in ranges:
        if current is not None and first <= current[1] + 1:
            current = current[0], max(current[1], last)
            continue
        if current is not None:
            yield current
        current = first, last
    if current is not None:
        yield current
