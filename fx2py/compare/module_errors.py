"""The error of each module: where it first appears in a model, and how it grows from there.

The graph runs once more and keeps what each module gives; then the code runs, and each statement that stands for such a
node is compared with it. The result of the model comes last: also what no module gives, or an edited statement, shows there.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fx2py.artifact.observed import Place
from fx2py.compare.cases import Case
from fx2py.compare.correspondence import Correspondence, correspondence
from fx2py.compare.diff import Pair
from fx2py.compare.leaves import leaves_with_paths
from fx2py.compare.sides import undone
from fx2py.compare.tensors import compare_values, dense_parts
from fx2py.errors import UnsupportedGraphError
from fx2py.graph.data import GraphData, Node
from fx2py.graph.tensors import TensorCopies, shape_of
from fx2py.program.ir import Program
from fx2py.program.structure.regions import Region, flat_body, regions
from fx2py.program.translate import translate
from fx2py.replay.interpreter import Reference

MOST_BYTES = 2**30
"""The most bytes of results that are kept; later modules are left out."""


@dataclass(frozen=True, slots=True)
class ModuleError:
    """What the first call of a module gave on both sides: ``differing`` of ``elements`` differ in their bits.

    ``largest`` is the greatest absolute difference, and ``relative`` that divided by the greatest magnitude on the graph's
    side; both over what is finite there, None where nothing is. ``is_comparable``: False where the two are of another
    shape or dtype.
    """

    path: str
    cls: str = ""
    elements: int = 0
    differing: int = 0
    largest: float | None = None
    relative: float | None = None
    is_comparable: bool = True

    @property
    def is_equal(self) -> bool:
        return self.is_comparable and not self.differing


def module_errors(pair: Pair, case: Case) -> tuple[ModuleError, ...]:
    """The error of each module whose result both sides have, in the order in which they end, and that of the model, whose
    path is ''; none where no modules are recorded."""
    data, artifact, device, policy = pair.data, pair.artifact, pair.device, pair.policy
    try:
        ends = dict(_ends(translate(data)))
    except UnsupportedGraphError:  # other releases of fx2py generate what this one does not
        return ()
    placed = artifact if device is None else artifact.to(device)
    kept = _Kept(frozenset(name for names, _ in ends.values() for name in names))
    reference = Reference(data, policy, device=device, observe=kept)
    result = _run(reference, reference.tensors_by(placed.tensors), data, case)
    seen = _Seen(kept.values)
    bind = placed.binder(policy, seen.of)
    seen.known = correspondence(data, placed, seen.places)
    own = _run(bind(placed.tensors, placed.live_modules()), placed.tensors, data, case)
    found = tuple(_errors(ends, seen.found))
    return (*found, *_of_model(result, own)) if found else ()


def _ends(program: Program) -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    """The nodes that give the results of each module, and its class, by its path; in the order in which modules end."""
    body = flat_body(program.entry)
    found: dict[str, Region] = {}
    for region in regions(body).walk():
        found.setdefault(region.frame.path, region)
    for path, region in sorted(found.items(), key=lambda item: (item[1].end, -item[1].start)):
        inside = body.statements[region.start : region.end]
        names = [
            each.origin.name
            for each in inside
            if each.origin is not None and body.last_use.get(each.target or "", -1) >= region.end
        ]
        if names:
            yield path, (tuple(names), region.frame.cls)


class _Kept:
    """Keeps copies of the results of some nodes of the outermost graph, as they were before any later write."""

    def __init__(self, names: frozenset[str]) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self._names = names
        self._bytes = 0

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        pass

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        if path in self._names and path not in self.values and isinstance(value, torch.Tensor):
            self._bytes += value.untyped_storage().nbytes() if value.layout is torch.strided else 0
            if self._bytes <= MOST_BYTES:
                self.values[path] = TensorCopies()(value)


class _Seen:
    """Compares the results of statements with those of the nodes that they correspond to."""

    def __init__(self, expected: Mapping[str, torch.Tensor]) -> None:
        self.found: dict[str, ModuleError] = {}
        self.places: Sequence[Place] = ()
        self.known = Correspondence(())
        self._expected = expected
        self._counts: Counter[int] = Counter()

    def of(self, places: tuple[Place, ...]) -> _Seen:
        self.places = places
        return self

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        pass

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        meaning = self.known.meanings[index]
        # Of an edited statement it is a guess which node it stands for; a wrong one would put the error elsewhere.
        name = "" if meaning.is_edited else meaning.node(self._counts[index])
        self._counts[index] += 1
        if name in self._expected and name not in self.found and isinstance(value, torch.Tensor):
            self.found[name] = _between(self._expected[name], value)
        return value


def _run(call: Any, state: Mapping[str, torch.Tensor], data: GraphData, case: Case) -> object:
    """One call from the state as it is, which is put back; what it raises ends it, and what was seen until then counts.

    A copy of its result, None where it raised.
    """
    result = None
    with undone(state, data.live_modules):
        torch.manual_seed(case.seed)
        args, kwargs = TensorCopies().of((case.inputs.args, dict(case.inputs.kwargs)))
        with contextlib.suppress(Exception):  # whatever a graph raises; the comparison itself has told of it
            result = TensorCopies().of(call(*args, **kwargs))
    return result


def _between(one: torch.Tensor, other: torch.Tensor) -> ModuleError:
    if (one.dtype, one.layout, shape_of(one)) != (other.dtype, other.layout, shape_of(other)):
        return ModuleError("", elements=one.numel(), is_comparable=False)
    differing, largest = compare_values(one, other)
    scale = (
        max(
            [float(part.abs().nan_to_num(0, 0, 0).max()) for part in dense_parts(one) if part.numel()]
            or [0.0]
        )
        if differing
        else 0.0
    )
    relative = largest / scale if largest and scale else None
    return ModuleError("", "", one.numel(), differing, largest, relative)


def _errors(
    ends: Mapping[str, tuple[tuple[str, ...], str]], found: Mapping[str, ModuleError]
) -> Iterator[ModuleError]:
    """The worst error among the results of each module."""
    for path, (names, cls) in ends.items():
        own = [found[name] for name in names if name in found]
        if path and own:
            yield replace(_worst(own), path=path, cls=cls.rpartition(".")[2])


def _of_model(one: object, other: object) -> Iterator[ModuleError]:
    """The worst error among the results of both sides; none where one of them raised, or they have no tensors alike."""
    leaves, others = (dict(leaves_with_paths("", each)) for each in (one, other))
    found = [
        _between(leaf, its)
        for path, leaf in leaves.items()
        if isinstance(leaf, torch.Tensor) and isinstance(its := others.get(path), torch.Tensor)
    ]
    yield from [_worst(found)] if found else []


def _worst(errors: Sequence[ModuleError]) -> ModuleError:
    return max(errors, key=lambda each: (not each.is_comparable, each.relative or 0.0, each.differing))
