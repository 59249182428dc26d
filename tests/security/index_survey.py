"""Which admitted operators read or write beyond their tensors when indices are out of range.

    python -m tests.security.index_survey [--only NAME...] [--seconds N]

Of every overload that a graph from a file may call, calls that work are taken from torch's operator database, forward and
backward, and where there are none, found by trying arguments that fit the schema. Then each tensor of integers in such a
call gets out-of-range numbers: one too large, one too small, negative, huge; as int64 and as int32. Each overload has
processes of its own, and each tensor ends, or starts, at a page that no process may touch, so that reading one number
beyond it ends the process instead of giving what happens to lie there. A call that ends its process is a fault; one that
raises is not. Faults are printed, one line an overload with the call that showed it.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
import os
import random
import resource
import select
import signal
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from fx2py.graph.values import OpName
from fx2py.trust import operators
from fx2py.trust.checked_kernels import checked_kernels

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Tell = Callable[[str], None]

CALLS_OF_AN_OVERLOAD = 8
TRIALS = 3000
SECONDS_TO_FIND = 4.0
SECONDS_TO_TRY = 20.0
MEMORY = 6 * 2**30
FAULTS_SHOWN = 4
SEARCHES = 15
GUARD = 2**36
"""Bytes around each tensor that no process may touch; only address space, no memory."""

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
MAP_NORESERVE = 0x4000


# -- the overloads and the calls of them that work


def admitted_overloads() -> dict[str, Any]:
    """Every overload that the policy admits, by its full name."""
    found: dict[str, Any] = {}
    for name in torch._C._dispatch_get_all_op_names():
        path, _, overload = name.partition(".")
        namespace, _, base = path.partition("::")
        op = OpName(namespace, base, overload or "default")
        with suppress(AttributeError, RuntimeError):
            if operators.admits(op):
                found[f"{path}.{op.overload}"] = operators.find(op)
    return dict(sorted(found.items()))


class Recorder(TorchDispatchMode):
    """Keeps the first calls of each overload."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[Arguments]] = defaultdict(list)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        calls = self.calls[f"{func._schema.name}.{func._overloadname}"]
        if len(calls) < CALLS_OF_AN_OVERLOAD:
            calls.append(
                tree_map_only(torch.Tensor, lambda each: each.detach().clone(), (args, kwargs or {}))
            )
        return func(*args, **(kwargs or {}))


def recorded_calls(wanted: Callable[[str], bool] = lambda name: True) -> dict[str, list[Arguments]]:
    """The calls that torch's operator database makes, forward and backward, or those of its entries that are wanted."""
    from torch.testing._internal.common_methods_invocations import op_db

    with Recorder() as recorder:
        for op in op_db:
            for dtype in (torch.float32, torch.int64):
                if dtype in op.supported_dtypes("cpu") and wanted(op.name.rpartition(".")[2]):
                    with suppress(Exception):  # some samples are there to be refused
                        _run_samples(op, dtype)
    return recorder.calls


def _run_samples(op: Any, dtype: torch.dtype) -> None:
    samples = op.sample_inputs_func(op, "cpu", dtype, op.supports_autograd and dtype.is_floating_point)
    for _, sample in zip(range(10), samples, strict=False):
        with suppress(Exception):
            result = op.op(sample.input, *sample.args, **sample.kwargs)
            losses = [leaf.sum() for leaf in tree_leaves(result) if getattr(leaf, "requires_grad", False)]
            if losses:
                torch.autograd.backward(losses)


def recorded_of(operator: str) -> dict[str, list[Arguments]]:
    """The recorded calls of the entries whose name is in an operator's, as ``embedding_bag`` in its backward's."""
    return recorded_calls(lambda name: name in operator.replace("linalg_", ""))


def calls_by_hand() -> dict[str, list[Arguments]]:
    """Calls that torch makes only below the level at which they are recorded."""
    indices, bags, sizes = torch.tensor([0, 2, 1]), torch.tensor([0, 0, 1]), torch.tensor([2, 1])
    largest = torch.tensor([[0, 2], [1, 1]])
    dense: list[Arguments] = [
        ((torch.ones(2, 2), indices, bags, sizes, largest, 3, True, mode, None), {}) for mode in (0, 1, 2)
    ]
    lengths, places = torch.tensor([3, 1]), torch.tensor([[0, 1], [1, 0]])
    parts = torch.tensor([[2], [2]]), torch.tensor([[1], [1]]), torch.tensor([0, 2])
    calls: dict[str, list[Arguments]] = {
        "aten::_embedding_bag_dense_backward.default": dense,
        "aten::_pack_padded_sequence.default": [((torch.ones(3, 2, 2), lengths, False), {})],
        "aten::_pack_padded_sequence_backward.default": [((torch.ones(4, 2), [3, 2, 2], lengths, False), {})],
        "aten::_nested_view_from_buffer.default": [((torch.ones(4), *parts), {})],
        "aten::_nested_view_from_buffer_copy.default": [((torch.ones(4), *parts), {})],
        "aten::scatter.value_reduce": [((torch.ones(2, 2), 0, places, 2.0), {"reduce": "add"})],
        "aten::scatter_.value_reduce": [((torch.ones(2, 2), 0, places, 2.0), {"reduce": "add"})],
        "aten::scatter_.reduce": [((torch.ones(2, 2), 0, places, torch.ones(2, 2)), {"reduce": "add"})],
    }
    for width in ("byte", "4bit", "2bit"):
        with suppress(AttributeError, RuntimeError):  # another version of torch
            weight = getattr(torch.ops.quantized, f"embedding_bag_{width}_prepack")(torch.rand(3, 8))
            given = (weight, indices, torch.tensor([0, 2]))
            pruned = {
                "pruned_weights": True,
                "compressed_indices_mapping": torch.tensor([2, -1, 0], dtype=torch.int32),
            }
            rows = [(given, {}), ((*given, False, 0), pruned)]
            calls[f"quantized::embedding_bag_{width}_rowwise_offsets.default"] = rows
            calls[f"quantized::embedding_bag_{width}_unpack.default"] = [((weight,), {})]
    return calls


INDEX_NAMES = (
    "ind",
    "idx",
    "offset",
    "rows",
    "cols",
    "target",
    "length",
    "mapping",
    "bag",
    "sizes",
    "splits",
)
SHAPES = [(4,), (3,), (3, 4), (4, 4), (2, 3), (2, 3, 4), (2, 3, 4, 4), (1,), (), (2, 2, 3, 4, 4), (5,), (0,)]


def guess(argument: Any, choice: random.Random) -> Any:
    """A value that fits an argument's type, small and often alike."""
    kind = str(argument.type)
    if argument.has_default_value() and choice.random() < 0.7:
        return argument.default_value
    if kind.startswith("Optional["):
        if choice.random() < 0.4:
            return None
        kind = kind[len("Optional[") : -1]
    return _guess_of(kind, argument.name, choice)


def _guess_of(kind: str, name: str, choice: random.Random) -> Any:
    if kind == "Tensor":
        return _guess_tensor(name, choice)
    if kind.startswith("List["):
        inner = kind[len("List[") : -1].removeprefix("Optional[").removesuffix("]")
        return [_guess_of(inner, name, choice) for _ in range(choice.choice((1, 1, 2, 2, 3, 4)))]
    if kind == "Device":
        return torch.device("cpu")
    if kind == "Generator":
        return None
    options = {
        "int": (0, 1, 1, 2, 3, 4, -1),
        "SymInt": (0, 1, 1, 2, 3, 4, -1),
        "float": (0.5, 1.0, 0.0),
        "number": (1, 0.5, 2),
        "bool": (True, False),
        "str": ("mean", "sum", "none", "linear", "max"),
        "ScalarType": (torch.float32, torch.int64, None),
        "Layout": (torch.strided, None),
        "MemoryFormat": (torch.contiguous_format,),
    }
    return choice.choice(options[kind])


def _guess_tensor(name: str, choice: random.Random) -> torch.Tensor:
    shape = choice.choice(SHAPES)
    integers = any(part in name for part in INDEX_NAMES)
    kinds = (
        ("int", "int", "int", "float")
        if integers
        else ("float", "float", "float", "int", "quantized", "bool")
    )
    kind = choice.choice(kinds)
    if kind == "float":
        return torch.rand(shape)
    if kind == "bool":
        return torch.rand(shape) > 0.5
    if kind == "quantized":
        return torch.quantize_per_tensor(
            torch.rand(shape), 0.1, 0, choice.choice((torch.quint8, torch.qint8))
        )
    dtype = choice.choice((torch.int64, torch.int64, torch.int32, torch.uint8, torch.int8))
    made = (
        torch.arange(max(torch.Size(shape).numel(), 1)).reshape(shape or ())
        if shape != (0,)
        else torch.zeros(0)
    )
    return (made % choice.choice((1, 2, 3))).to(dtype)


def found_calls(op: Any, seed: int, left_out: frozenset[int], tell: Tell) -> list[Arguments]:
    """Calls of an overload that return, found by trying; the calls are made in this process, without those left out."""
    choice = random.Random(seed)
    found: list[Arguments] = []
    end = time.monotonic() + SECONDS_TO_FIND
    for trial in range(TRIALS):
        if len(found) >= CALLS_OF_AN_OVERLOAD or time.monotonic() > end:
            break
        try:
            arguments = _guessed(op._schema, choice)
        except KeyError:
            return found
        if trial in left_out:
            continue
        tell(f"search {trial}")
        with suppress(Exception):
            op(*copied(arguments)[0], **copied(arguments)[1])
            found.append(arguments)
    return found


def _guessed(schema: Any, choice: random.Random) -> Arguments:
    args = tuple(guess(each, choice) for each in schema.arguments if not each.kwarg_only)
    return args, {each.name: guess(each, choice) for each in schema.arguments if each.kwarg_only}


def copied(arguments: Arguments) -> Arguments:
    made: Arguments = tree_map_only(torch.Tensor, torch.clone, arguments)
    return made


# -- impossible numbers


def is_index(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
        and value.layout == torch.strided
        and value.numel() > 0
    )


def impossible(arguments: Arguments) -> Iterator[tuple[str, Arguments]]:
    """The arguments with the numbers of one tensor of integers, or of the last of them, made impossible."""
    leaves, spec = tree_flatten(arguments)
    sizes = sorted({size for leaf in leaves if isinstance(leaf, torch.Tensor) for size in leaf.shape})
    for place, leaf in enumerate(leaves):
        if is_index(leaf):
            for dtype in (leaf.dtype, *({torch.int64, torch.int32} - {leaf.dtype})):
                for number in _numbers(dtype, sizes):
                    for where in ("all", "last"):
                        changed = _with_number(leaf.to(dtype), number, where)
                        made = tree_unflatten([*leaves[:place], changed, *leaves[place + 1 :]], spec)
                        yield f"{where} of tensor {place} {number} as {str(dtype)[6:]}", made


def _numbers(dtype: torch.dtype, sizes: list[int]) -> list[int]:
    wanted = [
        *sizes,
        *(-size - 1 for size in sizes),
        -1,
        10**4,
        -(10**4),
        10**7,
        2**31 - 1,
        -(2**31),
        3 * 10**9,
    ]
    wanted += [2**40, -(2**40), 2**62, -(2**62), 2**63 - 1, -(2**63)]
    limits = torch.iinfo(dtype)
    return [number for number in dict.fromkeys(wanted) if limits.min <= number <= limits.max]


def _with_number(tensor: torch.Tensor, number: int, where: str) -> torch.Tensor:
    changed = tensor.contiguous().clone()
    changed.view(-1)[slice(None) if where == "all" else slice(-1, None)] = number
    return changed


# -- tensors between pages that no process may touch


@dataclass
class Guarded:
    """Memory for the tensors of one call, given back after it."""

    at_end: bool
    regions: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        plain = tensor.layout == torch.strided and not tensor.is_quantized and tensor.numel() > 0
        if not plain or not tensor.is_contiguous():
            return tensor.clone()
        size = tensor.numel() * tensor.element_size()
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        whole = 2 * GUARD + pages
        start = LIBC.mmap(None, whole, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        assert start not in (None, ctypes.c_void_p(-1).value), "no address space"
        LIBC.mprotect(start + GUARD, pages, mmap.PROT_READ | mmap.PROT_WRITE)
        self.regions.append((start, whole))
        place = start + GUARD + (pages - size if self.at_end else 0)
        buffer = (ctypes.c_char * size).from_address(place)
        made = torch.frombuffer(buffer, dtype=tensor.dtype).view(tensor.shape)
        return made.copy_(tensor)

    def release(self) -> None:
        for start, size in self.regions:
            LIBC.munmap(start, size)


# -- processes


@dataclass(frozen=True)
class Outcome:
    """What trying an overload showed.

    ``working`` counts the calls that worked as they were, ``tried`` those with impossible numbers; ``faults`` holds the
    signal and the call of those that ended their process, ``others`` the signals of such calls without such numbers.
    """

    working: int
    tried: int
    faults: tuple[tuple[str, str], ...]
    others: tuple[str, ...]


def try_overload(name: str, op: Any, recorded: list[Arguments]) -> Outcome:
    """Every impossible call of an overload, in processes that may end."""
    calls, tried, start = len(recorded), 0, 0
    faults: list[tuple[str, str]] = []
    others: list[str] = []
    left_out: set[int] = set()
    while len(faults) < FAULTS_SHOWN and len(others) < SEARCHES:
        work = partial(_attempts, name, op, recorded, start, frozenset(left_out))
        report, fault = in_child(work)
        found = [line.split()[1] for line in report if line.startswith("calls ")]
        calls = int(found[-1]) if found else calls
        attempts = [line for line in report if line.startswith("try ")]
        tried += len(attempts)
        if fault is None:
            break
        if attempts:
            faults.append((fault, attempts[-1]))
            start = int(attempts[-1].split()[1]) + 1
        else:
            others.append(fault)
            left_out |= {int(line.split()[1]) for line in report[-1:] if line.startswith("search ")}
    return Outcome(calls, tried, tuple(faults), tuple(others))


def _attempts(
    name: str, op: Any, recorded: list[Arguments], start: int, left_out: frozenset[int], tell: Tell
) -> None:
    torch.manual_seed(0)
    calls = recorded or found_calls(op, sum(name.encode()), left_out, tell)
    tell(f"calls {len(calls)}")
    end = time.monotonic() + SECONDS_TO_TRY
    number = 0
    for call in calls:
        for what, arguments in impossible(call):
            for at_end in (True, False):
                number += 1
                if number > start and time.monotonic() < end:
                    tell(f"try {number - 1} {what}: {_shown(call)}")
                    _attempt(op, arguments, Guarded(at_end))


def _attempt(op: Any, arguments: Arguments, guarded: Guarded) -> None:
    args, kwargs = tree_map_only(torch.Tensor, guarded, arguments)
    with suppress(Exception):  # refused, which is right
        _used(op(*args, **kwargs))
    del args, kwargs
    guarded.release()


def _used(result: Any) -> None:
    """Read every element, for a view may reach beyond what it is a view of."""
    for leaf in tree_leaves(result):
        if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu":
            parts = leaf.detach().unbind() if leaf.is_nested else [leaf.detach()]
            for part in parts:
                if part.layout == torch.strided:
                    part.clone()


def _shown(arguments: Arguments) -> str:
    def shown(leaf: Any) -> str:
        if isinstance(leaf, torch.Tensor):
            return f"{str(leaf.dtype)[6:]}{list(leaf.shape)}"
        return repr(leaf)[:40]

    return ", ".join(shown(leaf) for leaf in tree_leaves(arguments))[:200]


def _tell(writing: int, text: str) -> None:
    os.write(writing, text.encode() + b"\n")


def in_child(work: Callable[[Tell], None]) -> tuple[list[str], str | None]:
    """What a child process told, and the name of the signal that ended it, None where it ended by itself or by time."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_limits()
        with suppress(BaseException):
            work(lambda text: _tell(writing, text))
        os._exit(0)
    os.close(writing)
    told, is_over = _read_until(reading, time.monotonic() + 3 * SECONDS_TO_TRY)
    if not is_over:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return told, None if number in (0, signal.SIGXCPU, signal.SIGKILL) else signal.Signals(number).name


def _read_until(descriptor: int, end: float) -> tuple[list[str], bool]:
    """The lines in a pipe, and whether it was closed before the time was over."""
    parts = []
    while (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            part = os.read(descriptor, 1 << 16)
            if not part:
                break
            parts.append(part)
    return b"".join(parts).decode(errors="replace").splitlines(), left > 0


def _in_limits() -> None:
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def takes_integers(op: Any) -> bool:
    """Whether an argument is a tensor, which may hold indices."""
    return any("Tensor" in str(each.type) for each in op._schema.arguments)


@lru_cache(maxsize=1)
def _recorded() -> dict[str, list[Arguments]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return recorded_calls()


def survey(names: Iterable[str] = (), until: float | None = None) -> Iterator[tuple[str, Outcome]]:
    """Each overload with its outcome; all that take tensors, or those named."""
    overloads = admitted_overloads()
    wanted = list(names) or [name for name, op in overloads.items() if takes_integers(op)]
    calls = {**_recorded(), **calls_by_hand()}
    with checked_kernels():  # as a file that nobody trusts is run
        for name in wanted:
            if until is not None and time.monotonic() > until:
                return
            yield name, try_overload(name, overloads[name], calls.get(name, []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="NAME", help="overloads, as aten::take.default"
    )
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long")
    parser.add_argument("--verbose", action="store_true", help="a line for each overload")
    options = parser.parse_args()
    torch.set_num_threads(1)
    until = None if options.seconds is None else time.monotonic() + options.seconds
    seen = with_indices = 0
    for name, outcome in survey(options.only, until):
        seen += 1
        with_indices += outcome.tried > 0
        if outcome.faults or options.verbose:
            print(name, outcome.working, outcome.tried, outcome.others, *outcome.faults, sep="\t", flush=True)
    print(f"{seen} overloads, {with_indices} of them called with impossible numbers", flush=True)


if __name__ == "__main__":
    main()
