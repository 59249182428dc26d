"""One run of a callable recorded, and two recorded runs compared."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import torch
from torch.utils import _pytree as pytree

from fx2py.compare.leaves import alias_labels, compare_leaves
from fx2py.compare.report import LeafOutcome, RunOutcome
from fx2py.compare.tensors import compare_values, differences
from fx2py.compare.tolerance import BIT_FOR_BIT, Manner
from fx2py.errors import Fx2pyError
from fx2py.graph.tensors import EqualStorages, TensorCopies
from fx2py.runtime.checks import InputError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_DEVICE_TYPES = ("cpu", "cuda")
"""The device types with an autocast state of their own, which a graph may switch."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The record of one call: its result or exception, and what it changed.

    ``result`` is a copy. ``changed`` holds a copy of every tensor that the call changed: inputs by their place
    (``args[0]``), state by its path. ``aliases`` says what each leaf of the result shares storage with.
    """

    result: object
    raised: Exception | None
    changed: Mapping[str, torch.Tensor]
    random_state: tuple[torch.Tensor, ...]
    aliases: Mapping[str, str]


def record_run(
    call: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    state: Mapping[str, torch.Tensor],
    seed: int,
    *,
    may_refuse: bool = False,
    home: torch.device | None = None,
    known: Mapping[str, torch.Tensor] | None = None,
) -> Run:
    """Call ``call`` on copies of the arguments, from a fixed state of the random generators.

    What the call raises is recorded, except errors of fx2py itself: they say that the run could not be made. With
    ``may_refuse`` they are recorded too. What the run holds is on the device ``home``, or where it was made.
    ``known`` holds the values of the state before the call, which are copied without it.
    """
    args, kwargs = TensorCopies().of((tuple(args), dict(kwargs)))
    inputs = named_inputs(args, kwargs)
    watched = {**inputs, **state}
    before = _copied(watched) if known is None else {**_copied(inputs), **known}
    result, raised = None, _Raised(may_refuse)
    with torch.random.fork_rng(), restored_modes():
        torch.manual_seed(seed)
        with raised:
            result = call(*args, **kwargs)
        random_state = _random_state()
    aliases = alias_labels(watched, result)
    have_equal_bits = EqualStorages()
    changed = _copied(
        {name: each for name, each in watched.items() if _is_changed(before[name], each, have_equal_bits)}
    )
    return Run(TensorCopies().of(result), raised.error, changed, random_state, aliases)


def compare_runs(expected: Run, actual: Run, manner: Manner = BIT_FOR_BIT) -> RunOutcome:
    """The outcome of two runs that started from equal state and inputs."""
    aliases = (expected.aliases, actual.aliases)
    outputs = compare_leaves("output", expected.result, actual.result, aliases, EqualStorages(), manner)
    return RunOutcome(
        outputs=outputs,
        mutations=tuple(_compare_changes(expected, actual, manner)),
        raised=(message_of(expected.raised), message_of(actual.raised)),
        same_random_state="random state" in manner.ignored or _same_random_state(expected, actual),
    )


def _same_random_state(expected: Run, actual: Run) -> bool:
    return len(expected.random_state) == len(actual.random_state) and all(
        torch.equal(one, other) for one, other in zip(expected.random_state, actual.random_state, strict=True)
    )


def _compare_changes(expected: Run, actual: Run, manner: Manner) -> Iterator[LeafOutcome]:
    """An outcome for each tensor that either run changed."""
    have_equal_bits = EqualStorages()
    for name in {**expected.changed, **actual.changed}:
        if name in expected.changed and name in actual.changed:
            one, other = expected.changed[name], actual.changed[name]
            yield from compare_leaves(name, one, other, have_equal_bits=have_equal_bits, manner=manner)
        elif "change" not in manner.ignored:
            one_did, other_did = (
                "changed" if name in run.changed else "unchanged" for run in (expected, actual)
            )
            yield LeafOutcome(name, one_did, other_did, ("change",))


def _is_changed(before: torch.Tensor, after: torch.Tensor, have_equal_bits: EqualStorages) -> bool:
    return bool(differences(before, after)) or compare_values(before, after, have_equal_bits)[0] > 0


def named_inputs(args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Every tensor in a call's arguments by its place: ``args[0]``, ``kwargs['x'][1]``."""
    found: dict[str, torch.Tensor] = {}
    for name, value in (("args", args), ("kwargs", kwargs)):
        for path, leaf in pytree.tree_leaves_with_path(value):
            if isinstance(leaf, torch.Tensor):
                found[f"{name}{pytree.keystr(path)}"] = leaf
    return found


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    copies = TensorCopies()
    return {name: copies(tensor) for name, tensor in tensors.items()}


def _random_state() -> tuple[torch.Tensor, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return (torch.get_rng_state(), *cuda)


REFUSED = "InputError: the inputs do not fit"


def message_of(error: Exception | None) -> str | None:
    """Class and text of an exception, without the addresses of objects; each side words a refusal of inputs on its own."""
    if error is None:
        return None
    if isinstance(error, Fx2pyError) or type(error).__name__ == InputError.__name__:
        return REFUSED  # each folder's runtime has a class of that name
    return f"{type(error).__qualname__}: {_ADDRESS.sub('0x', str(error))}"


class _Raised:
    """A block whose exception is kept as ``error``; those of fx2py itself are raised, unless it ``may_refuse``."""

    def __init__(self, may_refuse: bool) -> None:
        self.error: Exception | None = None
        self._may_refuse = may_refuse

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or (isinstance(error, Fx2pyError) and not self._may_refuse):
            return False
        self.error = error
        return True


@contextlib.contextmanager
def restored_modes() -> Iterator[None]:
    """Grad mode and autocast as they were before the block: a graph that fails half-way does not leave what it entered.

    A captured graph enters autocast by calling ``torch.amp.autocast_mode._enter_autocast``, without a ``with``.
    """
    autocast = [
        (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _DEVICE_TYPES
    ]
    with torch.set_grad_enabled(torch.is_grad_enabled()):
        yield
    for kind, enabled, dtype in autocast:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
