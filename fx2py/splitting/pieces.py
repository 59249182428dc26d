"""Where a graph is cut: its nodes in pieces, each a run in the graph's own order, with what crosses their borders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fx2py.errors import SplitError
from fx2py.graph.data import Graph, ModuleRecord, Node
from fx2py.graph.values import item_taken, references
from fx2py.operators.spelling import OpSpec, Spelling, names_of, spelled
from fx2py.splitting.modes import level_ranges, mode_ranges

_BETWEEN = ""
_ALLOCATIONS = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty")
_SHOWN = 30
_OUTSIDE = ("placeholder", "get_attr", "output")


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive nodes; ``inputs`` are the nodes before it that it uses, in order of use, ``outputs`` those of its own
    nodes that are used after it, in order; both by name.

    ``is_named``: it holds a named operator, and is not what stands between two.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_named: bool


def cut(
    root: ModuleRecord,
    graph: Graph,
    ops: Iterable[OpSpec],
    *,
    join: bool = False,
    whole_modes_from: bool | None = None,
) -> tuple[Piece, ...]:
    """The pieces of a graph: each named operator one of its own, and what stands between them.

    The nodes keep their order, so that writes in place happen as before. Placeholders, get_attr nodes and the output
    belong to no piece. ``join`` puts adjacent named operators into one piece, and an allocation that alone stands
    between two of them into the piece before. Nothing is cut inside a ``torch.func`` level nor, given
    ``whole_modes_from``, the grad mode that the graph begins in, where a mode is on that the graph itself switches
    (``modes.py``).
    """
    labels = _labels(root, graph, [spelled(op) for op in ops], whole_modes_from)
    runs = list(_runs(graph, labels, join))
    runs = _without_lone_allocations(runs) if join else runs
    place = {node.name: number for number, (nodes, _) in enumerate(runs) for node in nodes}
    local = {node.name for node in graph.nodes if node.op == "get_attr"}
    leaving = _leaving(graph, place)
    pieces = []
    for number, (nodes, is_named) in enumerate(runs):
        used = dict.fromkeys(
            name for node in nodes for name in references(*node.operands) if name not in local
        )
        inputs = tuple(name for name in used if place.get(name) != number)
        outputs = tuple(node.name for node in nodes if node.name in leaving)
        pieces.append(Piece(nodes, inputs, outputs, is_named))
    return tuple(pieces)


def require_found(root: ModuleRecord, graph: Graph, ops: Iterable[OpSpec], where: str) -> None:
    """Raise SplitError, with suggestions, when an operator is nowhere in the graph."""
    wanted = [spelled(op) for op in ops]
    missing = [one for one in wanted if not _holds(root, graph, one)]
    if not missing:
        return
    inner = {one.text: path for one in missing for path, record in _nested(root) if _holds(record, None, one)}
    if inner:
        text, path = next(iter(inner.items()))
        raise SplitError(
            f"{where} has {text} only in {path}, a graph of its own that the outer one calls.",
            "Only the outer graph is cut: split that graph by itself, or before it becomes a part of another.",
        )
    names = ", ".join(one.text for one in missing)
    raise SplitError(f"{where} has no {names} to split at.", _suggestion(graph, missing))


def _holds(root: ModuleRecord, graph: Graph | None, one: Spelling) -> bool:
    nodes = (graph or root.graph or Graph(())).nodes
    return any(_label(node, root, [one]) for node in nodes)


def _nested(root: ModuleRecord) -> list[tuple[str, ModuleRecord]]:
    return [(path, record) for path, record in root.walk() if path and record.graph is not None]


def _suggestion(graph: Graph, missing: Sequence[Spelling]) -> str:
    """What the graph calls under a similar name, else all that it calls."""
    known = list(dict.fromkeys(name for node in graph.nodes for name in names_of(node)))
    alike = dict.fromkeys(name for one in missing for name in known if one.words & spelled(name).words)
    if alike:
        return f"Did you mean {', '.join(list(alike)[:_SHOWN])}?"
    targets = dict.fromkeys(str(node.target) for node in graph.nodes if node.op.startswith("call_"))
    return f"It calls: {', '.join(list(targets)[:_SHOWN]) or 'nothing'}."


def _leaving(graph: Graph, place: dict[str, int]) -> set[str]:
    """The nodes whose value is used in another piece or returned."""
    return {
        name
        for node in graph.nodes
        for name in references(*node.operands)
        if name in place and place[name] != place.get(node.name)
    }


def _labels(
    root: ModuleRecord, graph: Graph, ops: Sequence[Spelling], whole_modes_from: bool | None
) -> dict[str, str]:
    """The label of each node, by its name: adjacent nodes of one label stay together."""
    labels = {node.name: _label(node, root, ops) for node in graph.nodes}
    grad_enabled = whole_modes_from
    ranges = level_ranges if grad_enabled is None else partial(mode_ranges, grad_enabled=grad_enabled)
    for first, last in ranges(graph.nodes):
        labels.update((node.name, _BETWEEN) for node in graph.nodes[first : last + 1])
    return labels


def _runs(graph: Graph, labels: Mapping[str, str], join: bool) -> Iterator[_Run]:
    """The nodes in runs of one label each."""
    run: list[Node] = []
    current = _BETWEEN
    for node in graph.nodes:
        if node.op in _OUTSIDE:
            continue
        label = labels[node.name]
        if not label and current and _takes_item_of(node, run):
            label = current
        if run and label != current and not (join and label and current):
            yield tuple(run), bool(current)
            run = []
        run.append(node)
        current = label
    if run:
        yield tuple(run), bool(current)


_Run: TypeAlias = tuple[tuple[Node, ...], bool]


def _without_lone_allocations(runs: list[_Run]) -> list[_Run]:
    """The runs, with each that only allocates an empty tensor moved into the last unnamed run, if its operands exist there.

    Engines allocate the result of an attention kernel right before it, which would make a compiled piece of its own.
    """
    kept: list[_Run] = []
    for nodes, is_named in runs:
        place = next((index for index in reversed(range(len(kept))) if not kept[index][1]), None)
        alone = not is_named and len(nodes) == 1 and _allocates(nodes[0])
        if alone and place is not None:
            later = {node.name for run, _ in kept[place + 1 :] for node in run}
            if later.isdisjoint(references(*nodes[0].operands)):
                kept[place] = ((*kept[place][0], *nodes), False)
                continue
        kept.append((nodes, is_named))
    return kept


def _allocates(node: Node) -> bool:
    return any(spelled(op).matches(node, None) for op in _ALLOCATIONS)


def _label(node: Node, root: ModuleRecord, ops: Sequence[Spelling]) -> str:
    """The label of a node: itself as a named operator, the named module that it was traced in, or '' for neither."""
    if node.op in _OUTSIDE:
        return _BETWEEN
    record = root.find_module(str(node.target)) if node.op == "call_module" else None
    for op in ops:
        if op.matches(node, record):
            return f"node {node.name}"
    return next((f"module {path}" for op in ops if (path := op.module_of(node))), _BETWEEN)


def _takes_item_of(node: Node, run: Sequence[Node]) -> bool:
    """Whether a node takes an item of a result in the run: it stays there, so that no tuple crosses the border."""
    taken = item_taken(node.target, node.args, node.kwargs)
    return taken is not None and any(taken[0] == earlier.name for earlier in run)
