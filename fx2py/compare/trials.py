"""A statement that differs although no case shows it, run on other values.

What enters it is overwritten on both sides where it is made: by far larger and smaller numbers, zeros, infinite ones, and the
literals that the two texts have. So a bound, a mask or a threshold that no input comes to decides all the same. A
difference shows in the results, as it does in a case; a statement that cannot change them, as a rate of dropout in
evaluation, shows none.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from fx2py.artifact.observed import Place
from fx2py.compare.cases import Case
from fx2py.compare.correspondence import Meaning, correspondence
from fx2py.compare.report import Divergence
from fx2py.compare.sides import Side, compare_case
from fx2py.compare.state import Storages
from fx2py.compare.steps import is_traced
from fx2py.compare.tolerance import Manner
from fx2py.graph.data import Graph, Node
from fx2py.graph.tensors import TensorCopies, is_strided_view
from fx2py.graph.values import references
from fx2py.replay.interpreter import Reference

if TYPE_CHECKING:
    from fx2py.compare.diff import Pair

_MOST = 8
"""So many statements are tried one by one, and what is left of them together."""
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.IGNORECASE)
_LARGE = (2.0**15, 65520.0, 2.0**31, 1e10, 1e30)
"""The ends of what narrower dtypes hold, and beyond."""


def shown_by_trial(
    pair: Pair, case: Case, statements: Sequence[Divergence], manner: Manner
) -> Iterator[Divergence]:
    """Those of the statements that change the result of a call when other values enter them, with what these were."""
    trial = _Trial(pair, case, manner)
    groups = [*[[each] for each in statements[:_MOST]], list(statements[_MOST:])]
    for group in groups:
        nodes = list(dict.fromkeys([node for each in group for node in trial.entering(each)]))
        literals = list(dict.fromkeys([literal for each in group for literal in _literals(each)]))
        for change in _changes(literals) if nodes else ():
            if trial.differs(nodes, change):
                entered = tuple([f"{node}: {change.name}" for node in nodes])
                yield from [replace(each, entered=entered) for each in group]
                break


# -- other values


@dataclass(frozen=True, slots=True)
class _Change:
    """Other values in place of those of a tensor of numbers, of the same shape and dtype; None leaves it as it is."""

    name: str
    values: Callable[[torch.Tensor], torch.Tensor | None]

    def overwrite(self, tensor: object) -> None:
        """Give a tensor the other values, in its own memory."""
        if not isinstance(tensor, torch.Tensor) or is_traced() or not is_strided_view(tensor):
            return
        if tensor.numel() == 0 or torch._debug_has_internal_overlap(tensor):
            return
        with torch.no_grad():
            values = self.values(tensor.detach())
            if values is not None:
                tensor.detach().copy_(values)


def _changes(literals: Sequence[float]) -> Iterator[_Change]:
    """In turn: the literals among the values, bounds, scales, and what is no number."""
    for literal in literals:
        yield _Change(f"numbers around {literal:g}", _among(_around(literal)))
    yield _Change("zeros", _only(torch.zeros_like))
    yield _Change("all true", _truth(torch.ones_like))
    yield _Change("true for false", _truth(torch.logical_not))
    for factor in (1e6, 1e-6, -1e3):
        yield _Change(f"{factor:g} times its numbers", _times(factor))
    yield _Change("large numbers", _among([*_LARGE, *(-each for each in _LARGE)]))
    yield _Change("infinity and NaN", _among([float("inf"), float("-inf"), float("nan")]))


def _literals(statement: Divergence) -> list[float]:
    """The numbers in what both sides say, those of one side first."""
    ours, theirs = (_NUMBER.findall(text) for text in (statement.expected, statement.actual))
    ordered = sorted(dict.fromkeys([*ours, *theirs]), key=lambda each: each in ours and each in theirs)
    return list(dict.fromkeys(map(float, ordered)))[:_MOST]


def _around(literal: float) -> list[float]:
    near = abs(literal) * 2**-8 or 1e-3
    values = [literal - 1, literal - near, literal, literal + near, literal + 1]
    return [sign * each for each in values for sign in (1, -1)]


def _among(others: Sequence[float]) -> Callable[[torch.Tensor], torch.Tensor | None]:
    """Half of the values replaced by others that the dtype holds, at places that are the same each time; truth values are
    drawn."""

    def values(tensor: torch.Tensor) -> torch.Tensor | None:
        if tensor.dtype is torch.bool:
            generator = torch.Generator().manual_seed(len(others))
            return torch.randint(2, tensor.shape, generator=generator).to(tensor.device, torch.bool)
        fitting = [each for each in others if _holds(tensor.dtype, each)]
        if not fitting:
            return None
        generator = torch.Generator().manual_seed(len(others))
        which = torch.randint(2 * len(fitting), tensor.shape, generator=generator).to(tensor.device)
        table = torch.tensor(fitting, dtype=torch.float64).to(tensor.dtype).to(tensor.device)
        return torch.where(which < len(fitting), table[which % len(fitting)], tensor)

    return values


def _holds(dtype: torch.dtype, number: float) -> bool:
    if dtype.is_complex:
        return False
    if dtype.is_floating_point:
        return abs(number) <= torch.finfo(dtype).max or number - number != 0
    limits = torch.iinfo(dtype)
    return number.is_integer() and limits.min <= number <= limits.max


def _only(make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor | None]:
    return lambda tensor: None if tensor.dtype is torch.bool else make(tensor)


def _truth(make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor | None]:
    return lambda tensor: make(tensor) if tensor.dtype is torch.bool else None


def _times(factor: float) -> Callable[[torch.Tensor], torch.Tensor | None]:
    return lambda tensor: tensor * factor if tensor.dtype.is_floating_point else None


# -- both sides with other values


class _Overwriting:
    """Observes either side and overwrites what some steps give; ``wanted`` says how often each ran before."""

    def __init__(self) -> None:
        self.places: tuple[Place, ...] = ()
        self.wanted: frozenset[tuple[object, int]] = frozenset()
        self.change: _Change | None = None
        self._counts: Counter[object] = Counter()
        self._kept = Storages()

    def of(self, places: tuple[Place, ...]) -> _Places:
        self.places = places
        return _Places(self)

    def keep(self, state: Iterable[torch.Tensor]) -> None:
        """Leave what shares memory with the state as it is: a view of a weight is no other value for the next call."""
        self._kept = Storages(state)

    def begin(self, wanted: frozenset[tuple[object, int]], change: _Change) -> None:
        self.wanted, self.change = wanted, change
        self._counts.clear()

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        pass

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        self.given(path, value)

    def given(self, key: object, value: object) -> None:
        is_wanted = (key, self._counts[key]) in self.wanted
        if (
            is_wanted
            and self.change is not None
            and isinstance(value, torch.Tensor)
            and value not in self._kept
        ):
            self.change.overwrite(value)
        self._counts[key] += 1


@dataclass(frozen=True, slots=True)
class _Places:
    """The observer of the code."""

    to: _Overwriting

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        pass

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        self.to.given(index, value)
        return value


class _Trial:
    """A pair bound anew, with what each node of the outermost graph is in the code: a place, and how often it ran before."""

    def __init__(self, pair: Pair, case: Case, manner: Manner) -> None:
        self._case, self._manner = case, manner
        self._graph_side, self._code_side = _Overwriting(), _Overwriting()
        artifact = pair.artifact.without_compiled()
        placed = artifact if pair.device is None else artifact.to(pair.device)
        reference = Reference(pair.data, pair.policy, device=pair.device, observe=self._graph_side)
        bind = placed.binder(pair.policy, self._code_side.of)
        code = bind(placed.tensors, placed.live_modules())
        state, modules = reference.tensors_by(placed.tensors), pair.reference.modules
        self._sides = (
            Side(reference, state, modules, writes=pair.reference.writes),
            Side(code, placed.tensors, modules, writes=pair.candidate.writes),
        )
        for side in (self._graph_side, self._code_side):
            side.keep([*state.values(), *placed.tensors.values()])
        self._places = self._code_side.places
        self._meanings = correspondence(pair.data, placed, self._places).meanings
        self._moments = dict(_moments(self._meanings))
        graph = pair.data.root.graph
        self._nodes = {} if graph is None else {node.name: node for node in graph.nodes}
        self._varying = frozenset() if graph is None else _varying(graph)
        self._inputs = () if graph is None else tuple([node.name for node in graph.placeholders])

    def entering(self, statement: Divergence) -> list[str]:
        """The nodes nearest before a statement, of those that depend on the inputs, whose values can be overwritten.

        All inputs where that is not known, as in nested graphs.
        """
        start = [statement.node] if statement.node in self._nodes else []
        roots = [name for each in start for name in references(*self._nodes[each].operands)]
        roots += self._read(statement)
        found: dict[str, None] = {}
        waiting, seen = deque(roots), set(roots)
        while waiting:
            name = waiting.popleft()
            if name not in self._varying:
                continue
            if name in self._inputs or name in self._moments:
                found[name] = None
                continue
            further = [each for each in references(*self._nodes[name].operands) if each not in seen]
            waiting += further
            seen.update(further)
        return list(found) or ([] if roots else list(self._inputs))

    def _read(self, statement: Divergence) -> list[str]:
        """The nodes that the variables which a statement of the code reads stand for, as far as that is known."""
        at = [
            index
            for index, place in enumerate(self._places)
            if place.function == statement.function and place.line == statement.line
        ]
        found: list[str] = []
        for name in {each for index in at for each in self._places[index].reads}:
            made = [
                index
                for index in range(at[0])
                if name in self._places[index].targets and self._is_in(index, at[0])
            ]
            found += [node for index in made[-1:] if (node := self._meanings[index].node(0)) in self._nodes]
            found += [name] if not made and name in self._inputs else []
        return found

    def _is_in(self, index: int, other: int) -> bool:
        return self._places[index].function == self._places[other].function

    def differs(self, nodes: Sequence[str], change: _Change) -> bool:
        """Whether the two sides give other results when these nodes have other values."""
        names = [name for name in nodes if name not in self._inputs]
        self._graph_side.begin(frozenset((name, 0) for name in names), change)
        self._code_side.begin(frozenset(self._moments[name] for name in names), change)
        case = self._with_inputs([name for name in nodes if name in self._inputs], change)
        runs = compare_case(*self._sides, case, calls=1, manner=self._manner)
        return any(run.verdict == "different" for run in runs)

    def _with_inputs(self, names: Sequence[str], change: _Change) -> Case:
        """The case with other values in some inputs; in all of them where they are not those of the call one by one."""
        inputs = self._case.inputs
        leaves, spec = pytree.tree_flatten(TensorCopies().of((inputs.args, dict(inputs.kwargs))))
        own = zip(self._inputs, leaves, strict=False) if len(leaves) == len(self._inputs) else ()
        chosen = [leaf for name, leaf in own if name in names] or (leaves if names else [])
        for leaf in chosen:
            change.overwrite(leaf)
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return replace(self._case, inputs=replace(inputs, args=args, kwargs=kwargs), is_made=True)


def _moments(meanings: Sequence[Meaning]) -> Iterator[tuple[str, tuple[object, int]]]:
    """Each node of the outermost graph that a statement alone stands for, unedited: its place and how often it ran before."""
    for index, meaning in enumerate(meanings):
        if not meaning.is_edited and meaning.path is None and not meaning.again:
            for count, name in enumerate(meaning.nodes):
                if name:
                    yield name, (index, count)


def _varying(graph: Graph) -> frozenset[str]:
    """The nodes that depend on an input."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(name in found for name in references(*node.operands)):
            found.add(node.name)
    return frozenset(found)
