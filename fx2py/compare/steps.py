"""The steps of a run: the result of each node of the graph, and of each statement of the code, as digests."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fx2py.artifact.observed import OBSERVER, Place
from fx2py.compare.digests import Digests, digest_of
from fx2py.compare.runs import message_of
from fx2py.graph.data import Node

Writes = tuple[tuple[str, bytes], ...]
"""The lasting tensors that a step wrote into, by name, with their digests afterwards."""
OUTPUT = "<output>"
"""The name of the result of a graph, which no node has."""
_RAISED = b"raised "


@dataclass(frozen=True, slots=True)
class Seen:
    """A step's effect: ``digest`` is that of its result, or of its operands if it has none; None without data."""

    call: int
    digest: bytes | None
    writes: Writes = ()

    @property
    def has_raised(self) -> bool:
        return self.digest is not None and self.digest.startswith(_RAISED)

    def agrees(self, other: Seen) -> bool:
        """Whether two steps had the same effect, as far as both are known."""
        return self.writes == other.writes and (
            self.digest == other.digest or None in (self.digest, other.digest)
        )


@dataclass(frozen=True, slots=True)
class GraphStep(Seen):
    """A node that ran: ``graph`` is the path of the graph that it is in."""

    graph: str = ""
    node: Node = field(kw_only=True)

    @property
    def name(self) -> str:
        return OUTPUT if self.node.op == "output" else self.node.name


@dataclass(slots=True)
class Frame:
    """A call of a generated function: the frame, the place and the rounds that it was called from, and those of its loops."""

    function: str
    caller: Frame | None = None
    called_at: int | None = None
    called_in: tuple[tuple[int, int], ...] = ()
    running: int | None = None
    rounds: dict[int, int] = field(default_factory=dict)

    def route(self) -> list[Frame]:
        """This call and its callers, outermost first."""
        return [*(self.caller.route() if self.caller is not None else ()), self]


@dataclass(frozen=True, slots=True)
class CodeStep(Seen):
    """A place of the code that ran, or with ``begun`` one that was about to; ``rounds`` are those of the loops around it."""

    place: int = 0
    begun: bool = False
    frame: Frame = field(kw_only=True)
    rounds: tuple[tuple[int, int], ...] = ()


class Watch:
    """The tensors that outlive a step: the state, and the inputs of the current call.

    torch counts the writes into a tensor, but not those of all kernels: batch norm changes its running statistics without
    a trace. What is in ``closely`` is looked at after each step, whatever torch says.
    """

    def __init__(self, closely: frozenset[str] = frozenset()) -> None:
        self.closely = closely
        self.digests = Digests({})
        self.call = 0
        self.left: dict[int, Mapping[str, bytes]] = {}
        self._tensors: Mapping[str, torch.Tensor] = {}
        self._counted: Mapping[str, torch.Tensor] = {}
        self._known: list[object] = []

    def start(self, state: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> None:
        """The next call begins, the first as number 1."""
        if not self.call:
            counted = {name: tensor for name, tensor in state.items() if name not in self.closely}
            self.digests = Digests(counted)
        self.call += 1
        self._tensors = {**state, **inputs}
        self._counted = {
            name: tensor
            for name, tensor in self._tensors.items()
            if name not in self.closely and not tensor.is_inference()
        }
        self._known = self._now()

    def end(self) -> None:
        """The call has ended; ``left`` has the digest of each tensor afterwards."""
        self.left[self.call] = {name: digest_of(tensor) for name, tensor in self._tensors.items()}

    def writes(self) -> Writes:
        """The tensors that were written to since the last call of this."""
        now = self._now()
        if now == self._known:
            return ()
        names = (*self._counted, *sorted(self.closely))
        written = [
            name for name, after, before in zip(names, now, self._known, strict=True) if after != before
        ]
        self._known = now
        return tuple([(name, digest_of(self._tensors[name])) for name in written])

    def seen(self, value: object, operands: Sequence[object]) -> bytes | None:
        """The digest of a step's result."""
        if value is not None:
            return self.digests(value)
        left = self.digests.tensors_in(operands)
        return b"".join(dict.fromkeys(left)) if left else None

    def _now(self) -> list[object]:
        closely = [digest_of(self._tensors[name]) for name in sorted(self.closely)]
        return [*[tensor._version for tensor in self._counted.values()], *closely]


class GraphSteps:
    """Observes the reference run."""

    def __init__(self, closely: frozenset[str] = frozenset()) -> None:
        self.watch = Watch(closely)
        self.steps: list[GraphStep] = []
        self.running: tuple[str, Node] | None = None

    def start(self, state: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> None:
        """Another call begins."""
        self.watch.start(state, inputs)

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        self.running = (path, node)

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        if is_traced():
            return
        digest, writes = self.watch.seen(value, operands), self.watch.writes()
        graph = path.removesuffix(node.name).removesuffix(".")
        self.steps.append(GraphStep(self.watch.call, digest, writes, graph, node=node))

    def raised(self, error: Exception) -> None:
        """The call ended in an error of the node that was running."""
        if self.running is not None:
            path, node = self.running
            graph = path.removesuffix(node.name).removesuffix(".")
            self.steps.append(GraphStep(self.watch.call, _digest_of(error), (), graph, node=node))


class CodeSteps:
    """Observes the generated code."""

    def __init__(self, closely: frozenset[str] = frozenset()) -> None:
        self.watch = Watch(closely)
        self.places: Sequence[Place] = ()
        self.steps: list[CodeStep] = []
        self.frame = Frame("")

    def start(self, state: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> None:
        """Another call begins."""
        self.watch.start(state, inputs)
        self.frame = Frame("")

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        place = self.places[index]
        if place.kind == "entered":
            self.frame = Frame(
                place.function, self.frame, self.frame.running, tuple(self.frame.rounds.items())
            )
        elif place.kind == "header":
            self.frame.rounds[index] = self.frame.rounds.get(index, 0) + 1
        self.frame.running = index
        self.steps.append(self._step(None, (), index, True))

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        if not is_traced():
            digest, writes = self.watch.seen(value, operands), self.watch.writes()
            self.steps.append(self._step(digest, writes, index, False))
        if self.places[index].kind == "returned" and self.frame.caller is not None:
            self.frame = self.frame.caller
        return value

    def raised(self, error: Exception) -> None:
        """The call ended in an error of the place that was running, which may have been about to read its operands."""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if OBSERVER in frame.f_globals:
                self.frame.running = self._place_at(frame.f_code.co_name, line)
        if self.frame.running is not None:
            self.steps.append(self._step(_digest_of(error), (), self.frame.running, False))

    def _place_at(self, function: str, line: int) -> int | None:
        return next(
            (
                index
                for index, place in enumerate(self.places)
                if place.function == function
                and place.kind not in ("entered", "header")
                and place.line <= line <= place.end_line
            ),
            self.frame.running,
        )

    def _step(self, digest: bytes | None, writes: Writes, index: int, begun: bool) -> CodeStep:
        rounds = tuple(self.frame.rounds.items())
        return CodeStep(self.watch.call, digest, writes, index, begun, frame=self.frame, rounds=rounds)


def is_traced() -> bool:
    """Whether the code is being traced, and its tensors stand for others."""
    return torch._C._len_torch_dispatch_stack() > 0


def _digest_of(error: Exception) -> bytes:
    return _RAISED + (message_of(error) or "").encode()
