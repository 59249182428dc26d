"""The registry of test graphs: each a small model or function, the way it is captured, and inputs to run it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from tests.corpus.captures import CAPTURES, Captured, Graph

Definition = TypeVar("Definition", bound=Callable[..., Any])
Args = tuple[Any, ...]

GRAPH_MODULE_FORMATS = frozenset({"pt", "pickle", "graph_pickler", "to_folder", "package", "fx2py"})
PROGRAM_FORMATS = frozenset({"pt2", "fx2py"})
GRAPH_PICKLER_OF_2_10 = ("graph_pickler",) if torch.__version__ < "2.11" else ()
"""GraphPickler as torch 2.10 has it writes no structure of inputs and no function that was made inside another."""
GRAPH_PICKLER_BEFORE_2_12 = ("graph_pickler",) if torch.__version__ < "2.12" else ()
"""GraphPickler as torch had it before 2.12 writes no slice of nodes."""
PROGRAM_KINDS = frozenset({"export", "export_non_strict", "export_decomposed"})


@dataclass(frozen=True)
class Case:
    """One graph of the corpus; every call captures anew, with the same random state.

    ``savable_as`` are the file formats (see ``formats``) in which the whole graph can be written: ``to_folder`` loses
    imports of the user's functions, the structure of inputs, and the mode of some modules. ``needs`` are the
    functions, operator namespaces and classes outside torch that a reader must admit before the graph can run from
    a file. A graph that is not ``rebuildable`` has modules with objects that are no data, so running it from a file
    must be refused.
    """

    name: str
    kind: str
    definition: Callable[..., Any]
    make_args: Callable[[], Args]
    make_kwargs: Callable[[], dict[str, Any]]
    make_extra_args: tuple[Callable[[], Args], ...]
    savable_as: frozenset[str]
    needs: Mapping[str, tuple[str, ...]]
    rebuildable: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    def capture(self) -> Captured:
        """The graph with the arguments of the graph itself, which may differ from those of the model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return CAPTURES[self.kind](self.definition, self.make_args(), self.make_kwargs(), **self.options)

    def build(self) -> Graph:
        return self.capture().graph

    def inputs(self) -> tuple[Args, dict[str, Any]]:
        captured = self.capture()
        return captured.args, captured.kwargs

    def extra_inputs(self) -> list[Args]:
        """Further positional arguments that the graph must serve: other sizes, other branches."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return [make() for make in self.make_extra_args]


CASES: dict[str, Case] = {}


def graph(
    kind: str,
    *,
    args: Callable[[], Args] = tuple,
    kwargs: Callable[[], dict[str, Any]] = dict,
    extra_args: Iterable[Callable[[], Args]] = (),
    not_savable_as: Iterable[str] = (),
    needs: Mapping[str, tuple[str, ...]] | None = None,
    rebuildable: bool = True,
    **options: Any,
) -> Callable[[Definition], Definition]:
    """Registers the decorated function or module class under its own name, captured in the way ``kind`` names."""

    def register(definition: Definition) -> Definition:
        formats = PROGRAM_FORMATS if kind in PROGRAM_KINDS else GRAPH_MODULE_FORMATS
        case = Case(
            name=definition.__name__,
            kind=kind,
            definition=definition,
            make_args=args,
            make_kwargs=kwargs,
            make_extra_args=tuple(extra_args),
            savable_as=formats - frozenset(not_savable_as),
            needs=dict(needs or {}),
            rebuildable=rebuildable,
            options=options,
        )
        if str(case) in CASES:
            raise ValueError(f"two graphs are named {case}")
        CASES[str(case)] = case
        return definition

    return register
