"""The first statement whose result differs from its node's: both sides run step by step from equal states.

Neither side keeps what it computes. Both leave digests of what each step gave, which are compared; the two values of the
first step that differs, and what entered it, come from running both again up to there. A last run of the code goes on
with the graph's value in place of its own, and so tells whether all later differences follow from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fx2py.artifact import Artifact
from fx2py.artifact.artifact import Binder
from fx2py.artifact.observed import CodeObserver, Place
from fx2py.compare.cases import Case
from fx2py.compare.correspondence import Correspondence, GraphPaths, LeftOut, correspondence
from fx2py.compare.deviations import deviations
from fx2py.compare.digests import outside_transforms, unwrapped
from fx2py.compare.leaves import describe, leaves_with_paths
from fx2py.compare.pairing import Odd, Pairs, paired
from fx2py.compare.report import Divergence
from fx2py.compare.runs import named_inputs
from fx2py.compare.sides import CALLS, undone
from fx2py.compare.state import may_be_written
from fx2py.compare.statements import source_line
from fx2py.compare.steps import CodeStep, CodeSteps, GraphStep, GraphSteps, Seen, Watch, is_traced
from fx2py.graph.data import GraphData, Node
from fx2py.graph.tensors import TensorCopies, is_strided_view
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy

_HELD_AT_ONCE = 64
"""How many results of one statement, of as many layers or calls, are held to see whether they explain all that differs."""

_LEAVES_SHOWN = 3


def first_divergence(
    data: GraphData,
    artifact: Artifact,
    case: Case,
    *,
    device: torch.device | str | None = None,
    policy: Policy | None = None,
    calls: int = CALLS,
    writes: frozenset[str] | None = None,
) -> Divergence | None:
    """The first statement whose result differs in one of ``calls`` calls in a row; None where every step agrees.

    Nodes whose results two runs of the graph do not share are passed over. ``writes`` are the names of all tensors that
    graph or code may write to; None where that is not known. Raises as ``bind_pair`` does.
    """
    generated = artifact.without_compiled()
    placed = generated if device is None else generated.to(device)
    return _Search(data, placed, _Sides(data, placed, case, device, policy, calls, writes)).divergence()


# -- running either side


class _Switch:
    """The observer of code that is executed once; delegates to the observer of the current run."""

    def __init__(self) -> None:
        self.places: tuple[Place, ...] = ()
        self.observer: CodeObserver = CodeSteps()

    def of(self, places: tuple[Place, ...]) -> CodeObserver:
        self.places = places
        return self

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        self.observer.before(index, operands)

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        return self.observer.after(index, value, operands)


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both sides, each bound anew for every run: what a call leaves in modules and in what is computed once is gone then."""

    data: GraphData
    artifact: Artifact
    case: Case
    device: torch.device | str | None
    policy: Policy | None
    calls: int
    writes: frozenset[str] | None

    def run_graph(self, observer: GraphSteps) -> None:
        reference = Reference(self.data, self.policy, device=self.device, observe=observer)
        self._run(reference, observer, reference.tensors_by(self.artifact.tensors))

    def run_code(self, observer: CodeSteps) -> None:
        switch, bind = self._code
        observer.places, switch.observer = switch.places, observer
        tensors = self.artifact.tensors
        self._run(bind(tensors, self.artifact.live_modules()), observer, tensors)

    @cached_property
    def _code(self) -> tuple[_Switch, Binder]:
        switch = _Switch()
        return switch, self.artifact.binder(self.policy, switch.of)

    def _run(self, call: Any, observer: GraphSteps | CodeSteps, state: Mapping[str, torch.Tensor]) -> None:
        """Run the calls from the state as it is, which is put back afterwards."""
        state = may_be_written(state, self.writes)
        with undone(state, self.data.live_modules):
            for _ in range(self.calls):
                torch.manual_seed(self.case.seed)
                inputs = self.case.inputs
                args, kwargs = TensorCopies().of((inputs.args, dict(inputs.kwargs)))
                observer.start(state, named_inputs(args, kwargs))
                try:
                    call(*args, **kwargs)
                except (
                    Exception
                ) as error:  # whatever a graph raises is a result, and so is a refusal of made inputs
                    observer.raised(error)
                    break
                observer.watch.end()


# -- looking at steps


@dataclass(frozen=True, slots=True)
class _Moment:
    """One execution of a node or of a place: the ``count``-th in its call, from 0."""

    call: int
    key: object
    count: int


@dataclass(slots=True)
class _Taken:
    """A step: digests and descriptions of its operands, a copy of its result, the random state afterwards."""

    entered: tuple[tuple[bytes, ...], ...] = ()
    read: tuple[str, ...] = ()
    value: Any = None
    random_state: torch.Tensor | None = None


class _Moments:
    """Counts the executions of each step."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, object]] = Counter()

    def next(self, call: int, key: object) -> _Moment:
        count = self._counts[call, key]
        self._counts[call, key] += 1
        return _Moment(call, key, count)


class _Takes:
    """Records the steps at ``wanted`` moments."""

    def __init__(self, wanted: Iterable[_Moment]) -> None:
        self.taken = {moment: _Taken() for moment in wanted}
        self._before, self._after = _Moments(), _Moments()

    def before(self, watch: Watch, key: object, operands: tuple[object, ...]) -> None:
        if is_traced():
            return
        taken = self.taken.get(self._before.next(watch.call, key))
        if taken is not None:
            taken.entered = tuple([watch.digests.tensors_in([each]) for each in operands])
            taken.read = tuple([_summary(each) for each in operands])

    def after(self, watch: Watch, key: object, value: object, operands: tuple[object, ...]) -> _Moment | None:
        if is_traced():
            return None
        moment = self._after.next(watch.call, key)
        taken = self.taken.get(moment)
        if taken is not None and watch.seen(value, operands) is not None:
            given = value if value is not None else _tensors(operands)
            with outside_transforms():
                bare = pytree.tree_map_only(torch.Tensor, unwrapped, given)
                taken.value, taken.random_state = TensorCopies().of(bare), torch.get_rng_state()
        return moment


class _GraphTaking(GraphSteps):
    def __init__(self, wanted: Iterable[_Moment], closely: frozenset[str]) -> None:
        super().__init__(closely)
        self.takes = _Takes(wanted)

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        super().before(path, node, operands)
        self.takes.before(self.watch, path, operands)

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        super().after(path, node, value, operands)
        self.takes.after(self.watch, path, value, operands)


class _CodeTaking(CodeSteps):
    """Replaces the code's result at each moment in ``instead``."""

    def __init__(
        self, wanted: Iterable[_Moment], instead: Mapping[_Moment, _Taken], closely: frozenset[str]
    ) -> None:
        super().__init__(closely)
        self.takes = _Takes(wanted)
        self.instead = instead

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        super().before(index, operands)
        self.takes.before(self.watch, index, operands)

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        moment = self.takes.after(self.watch, index, value, operands)
        if moment is not None and moment in self.instead:
            value = _replaced(value, self.instead[moment], operands)
        return super().after(index, value, operands)


def _tensors(values: object) -> list[torch.Tensor]:
    return [leaf for _, leaf in leaves_with_paths("", values) if isinstance(leaf, torch.Tensor)]


def _replaced(value: Any, instead: _Taken, operands: tuple[Any, ...]) -> Any:
    """The graph's value in place of the code's: written into the tensor if that is an operand, else a copy.

    What a transform of torch.func has wrapped stays as it is.
    """
    if any(unwrapped(tensor) is not tensor for tensor in _tensors((value, operands))):
        return value
    if instead.random_state is not None:
        torch.set_rng_state(instead.random_state)
    wanted = TensorCopies().of(instead.value)
    if value is None:
        for own, other in zip(_tensors(operands), _tensors(wanted), strict=False):
            _overwrite(own, other)
        return None
    if isinstance(value, torch.Tensor) and any(value is each for each in operands):
        return value if _overwrite(value, wanted) else wanted
    return wanted


def _overwrite(own: torch.Tensor, other: Any) -> bool:
    fits = isinstance(other, torch.Tensor) and own.shape == other.shape and own.dtype == other.dtype
    if fits and is_strided_view(own) and not torch._debug_has_internal_overlap(own):
        own.detach().copy_(other.detach())
        return True
    return False


# -- the search


class _Search:
    def __init__(self, data: GraphData, artifact: Artifact, sides: _Sides) -> None:
        self.data = data
        self.artifact = artifact
        self.sides = sides
        self.paths = GraphPaths(data)
        self.graph: list[GraphStep] = []
        self.code: list[CodeStep] = []
        self.places: Sequence[Place] = ()
        self.known = Correspondence(())
        self.closely: frozenset[str] = frozenset()

    def divergence(self) -> Divergence | None:
        graph, code = self._steps()
        self.closely = frozenset(_left_otherwise(graph.watch, code.watch))
        if self.closely:
            graph, code = self._steps()
        self.graph, self.code, self.places = graph.steps, code.steps, code.places
        self.known = correspondence(self.data, self.artifact, self.places)
        pairs = self._paired(self.code)
        unstable: set[tuple[str, str]] = set()
        for odd in pairs.odd:
            if odd.meant is None:
                return self._unmeant(odd, pairs)
            meant = self.graph[odd.meant]
            if (meant.graph, meant.name) in unstable:
                continue
            (taken,), again = self._from_graph([odd.meant])
            unstable |= _unstable(self.graph, again)
            if (meant.graph, meant.name) not in unstable:
                return self._explained(odd, pairs, taken)
        return self._left_out(pairs)

    def _steps(self) -> tuple[GraphSteps, CodeSteps]:
        graph, code = GraphSteps(self.closely), CodeSteps(self.closely)
        self.sides.run_graph(graph)
        self.sides.run_code(code)
        return graph, code

    def _paired(self, code: Sequence[CodeStep]) -> Pairs:
        return paired(self.graph, code, self.known.meanings, self.paths)

    def _from_graph(self, indices: Sequence[int]) -> tuple[list[_Taken], list[GraphStep]]:
        """Some steps of the graph looked at, and the steps of the run that they were looked at in."""
        moments = _moments([(step.call, _path(step)) for step in self.graph])
        observer = _GraphTaking([moments[index] for index in indices], self.closely)
        self.sides.run_graph(observer)
        return [observer.takes.taken[moments[index]] for index in indices], observer.steps

    def _code_moments(self) -> dict[int, _Moment]:
        ended = [index for index, step in enumerate(self.code) if not step.begun]
        found = _moments([(self.code[index].call, self.code[index].place) for index in ended])
        return dict(zip(ended, found, strict=True))

    def _explained(self, odd: Odd, pairs: Pairs, meant: _Taken) -> Divergence:
        """The statement at fault for a step: itself, or an earlier edit that gave it another operand."""
        assert odd.meant is not None
        step, node = self.code[odd.step], self.graph[odd.meant]
        moment = self._code_moments()[odd.step]
        observer = _CodeTaking([moment], {}, self.closely)
        self.sides.run_code(observer)
        own = observer.takes.taken[moment]
        found = deviations(meant.value, own.value)
        if not self.known.meanings[step.place].is_edited:
            entered_alike = set(_joined(own.entered)) <= set(_joined(meant.entered)) and not step.has_raised
            left_out = self._latest_left_out(odd, pairs)
            edited = self._latest_edited(odd.step, pairs)
            is_aliased = step.writes != node.writes
            if edited is not None and (not entered_alike or is_aliased or not self._agrees(edited, pairs)):
                return self._at(edited, deviations=found, expected="", actual="")
            if left_out is not None:
                return self._missing(left_out, found)
        reads = self.places[step.place].reads
        alike = set(_joined(meant.entered))
        entered = [
            f"{name}: {text}" + ("" if set(digests) <= alike else ", which the node does not read")
            for name, text, digests in zip(reads, own.read, own.entered, strict=False)
        ]
        return self._at(
            odd.step,
            node,
            expected=_result(node, meant.value),
            actual=_result(step, own.value),
            entered=tuple(entered),
            deviations=found,
            explains_rest=None if step.has_raised else self._explains_rest(step.place, pairs),
        )

    def _unmeant(self, odd: Odd, pairs: Pairs) -> Divergence:
        """A step that the graph does not make: one that raised, or in a function that something else should not have called."""
        step = self.code[odd.step]
        if step.has_raised:
            left_out, edited = self._latest_left_out(odd, pairs), self._latest_edited(odd.step, pairs)
            if not self.known.meanings[step.place].is_edited and edited is not None:
                return self._at(edited, actual=_result(step, None))
            if not self.known.meanings[step.place].is_edited and left_out is not None:
                return self._missing(left_out, ())
            return self._at(odd.step, actual=_result(step, None))
        at, place = step.frame.caller, step.frame.called_at
        begun = [
            index
            for index, each in enumerate(self.code[: odd.step])
            if each.begun and each.frame is at and each.place == place
        ]
        called = self.places[step.place].function
        return self._at(begun[-1] if begun else odd.step, actual=f"runs {called}, which the graph does not")

    def _latest_edited(self, before: int, pairs: Pairs) -> int | None:
        """The last edited statement that began before a step, except those that only print."""
        for index in range(before - 1, -1, -1):
            step = self.code[index]
            if (
                step.begun
                and self.known.meanings[step.place].is_edited
                and not _only_shows(self.places[step.place])
            ):
                return index
        return None

    def _agrees(self, begun: int, pairs: Pairs) -> bool:
        """Whether a statement that began gave what its node gave, to the variables that the node's value should have."""
        step = self.code[begun]
        if self.known.meanings[step.place].is_renamed:
            return False
        ends = (
            index
            for index in range(begun + 1, len(self.code))
            if not self.code[index].begun
            and (self.code[index].place, self.code[index].frame) == (step.place, step.frame)
        )
        return next(ends, -1) in pairs.agree

    def _latest_left_out(self, odd: Odd, pairs: Pairs) -> LeftOut | None:
        """The last removed statement before a step."""
        function = self.code[odd.step].frame.function
        names = {
            step.name: index
            for index, step in enumerate(self.graph)
            if index not in pairs.made and (odd.meant is None or index < odd.meant)
        }
        found = [each for each in self.known.left_out if names.keys() & set(each.meaning.nodes)]
        found += [
            each
            for each in self.known.left_out
            if not each.meaning.nodes
            and each.place.function == function
            and each.before <= self.code[odd.step].place
        ]
        return found[-1] if found else None

    def _left_out(self, pairs: Pairs) -> Divergence | None:
        """If every step agrees: a removed write into the state or an input."""
        written = {
            step.name for index, step in enumerate(self.graph) if index not in pairs.made and step.writes
        }
        for each in self.known.left_out:
            if written & set(each.meaning.nodes):
                return self._missing(each, ())
        return None

    def _explains_rest(self, place: int, pairs: Pairs) -> bool | None:
        """Whether all steps agree when the graph's value takes the place of the code's each time that the place runs."""
        runs = [index for index in pairs.partner if self.code[index].place == place]
        if len(runs) > _HELD_AT_ONCE:
            return None
        taken, _ = self._from_graph([pairs.partner[index] for index in runs])
        moments = self._code_moments()
        instead = {moments[index]: each for index, each in zip(runs, taken, strict=True)}
        observer = _CodeTaking((), instead, self.closely)
        self.sides.run_code(observer)
        return not self._paired(observer.steps).odd

    # -- what is said of it

    def _missing(self, left_out: LeftOut, found: tuple[Any, ...]) -> Divergence:
        index = left_out.before
        inside = index < len(self.places) and self.places[index].function == left_out.place.function
        line = self.places[index].line if inside else self.places[index - 1].end_line
        step = next((each for each in self.graph if each.name in left_out.meaning.nodes), None)
        return Divergence(
            "dynamic",
            "missing",
            line,
            line,
            expected="" if step is None else _said(step.node),
            actual="nothing",
            function=left_out.place.function,
            deviations=found,
            **_of_model(step),
        )

    def _at(self, index: int, node: GraphStep | None = None, **more: Any) -> Divergence:
        """The divergence at a step of the code."""
        step = self.code[index]
        place, meaning = self.places[step.place], self.known.meanings[step.place]
        named = [each for each in self.graph if each.name in meaning.nodes]
        modules = tuple(dict.fromkeys([each.node.meta.module for each in named]))
        serves = modules if len(modules) > 1 else ()
        values = {"expected": "", "actual": "", "serves": serves, "chain": self._chain(step)} | more
        return Divergence(
            "dynamic",
            "result" if place.kind == "returned" else "changed",
            place.line,
            place.line if place.kind == "header" else place.end_line,
            function=place.function,
            **_of_model(node or (named[0] if named else None)),
            **values,
        )

    def _chain(self, step: CodeStep) -> tuple[str, ...]:
        """The loops and functions that lead to a step, outermost first."""
        route, has_raised = step.frame.route(), self.code[-1].has_raised
        chain: list[str] = []
        for frame, inner in zip(route, [*route[1:], None], strict=True):
            if frame.caller is not None and frame.caller.caller is not None:
                chain.append(frame.function)
            place = step.place if inner is None else inner.called_at
            rounds = dict(step.rounds if inner is None else inner.called_in)
            chain += [
                f"{self._loop_name(header)} {number}" + ("" if has_raised else f" of {frame.rounds[header]}")
                for header, number in rounds.items()
                if place is not None and self._is_inside(place, header)
            ]
        return tuple(chain)

    def _loop_name(self, header: int) -> str:
        name = next(iter(self.places[header].targets), "").rstrip("_")
        return name or "round"

    def _is_inside(self, place: int, header: int) -> bool:
        one, loop = self.places[place], self.places[header]
        return one.function == loop.function and loop.line < one.line <= loop.end_line


def _moments(steps: Sequence[tuple[int, object]]) -> list[_Moment]:
    """The moment of each step, by its call and its node or place."""
    moments = _Moments()
    return [moments.next(call, key) for call, key in steps]


def _path(step: GraphStep) -> str:
    return f"{step.graph}.{step.node.name}" if step.graph else step.node.name


def _unstable(one: Sequence[GraphStep], other: Sequence[GraphStep]) -> set[tuple[str, str]]:
    """The nodes whose results differ between two runs of the graph."""
    return {
        (step.graph, step.name)
        for step, again in zip(one, other, strict=False)
        if step.digest != again.digest
    }


def _left_otherwise(one: Watch, other: Watch) -> set[str]:
    """The tensors that differ after a call of two runs."""
    return {
        name
        for call in one.left.keys() & other.left.keys()
        for name in one.left[call].keys() & other.left[call].keys()
        if one.left[call][name] != other.left[call][name]
    }


def _joined(digests: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    return [each for part in digests for each in part]


def _only_shows(place: Place) -> bool:
    return place.key.startswith(
        ("Expr(value=Call(func=Name(id='print'", "Expr(value=Call(func=Name(id='breakpoint'", "Assert(")
    )


def _summary(value: object) -> str:
    """A short description of the leaves of a value, whatever its containers are."""
    leaves = [describe(leaf) for _, leaf in leaves_with_paths("", value)]
    return ", ".join(leaves[:_LEAVES_SHOWN]) + (", ..." if len(leaves) > _LEAVES_SHOWN else "")


def _result(step: Seen, value: object) -> str:
    if step.has_raised and step.digest is not None:
        return step.digest.decode()
    return _summary(value)


def _said(node: Node) -> str:
    return str(node.target)


def _of_model(step: GraphStep | None) -> dict[str, Any]:
    """The module and the source line of a divergence."""
    if step is None:
        return {}
    node = step.node
    return {"node": node.name, "module_path": node.meta.module, "source_line": source_line(node)}
