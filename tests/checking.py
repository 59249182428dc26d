"""How the tests compare a candidate with its reference: values, types, bits, mutation, aliasing, random state, errors.

Written without fx2py, so that it can judge fx2py's own comparison too.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.fx.graph import CodeGen
from torch.fx.immutable_collections import immutable_dict, immutable_list
from torch.utils._pytree import tree_leaves


def reference(source: fx.GraphModule | ExportedProgram) -> Callable[..., Any]:
    """What ``source`` means: torch's interpreter over its nodes, or the module of an exported program."""
    return source.module() if isinstance(source, ExportedProgram) else Reference(source)


class Reference(fx.Interpreter):
    """torch's interpreter, called as the graph's own forward is: keywords, defaults, variadic parameters."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.bound: dict[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if type(self.graph._codegen) is not CodeGen:
            return self.run(*args, **kwargs)
        self.bound = bind(self.graph, args, kwargs)
        return self.run(*self.bound.values())

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.bound[target] if target in self.bound else super().placeholder(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Nested graphs are interpreted too: the code that torch makes of them has faults of its own."""
        module = self.fetch_attr(target)
        if not isinstance(module, fx.GraphModule) or module._forward_hooks or module._forward_pre_hooks:
            return module(*args, **kwargs)
        return Reference(module)(*args, **kwargs)

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return plain(args), plain(kwargs)


def plain(value: Any) -> Any:
    """``value`` with the immutable containers that torch.fx stores in a graph replaced by the builtin ones that its code makes."""
    if type(value) is immutable_list:
        return [plain(part) for part in value]
    if type(value) is immutable_dict:
        return {key: plain(part) for key, part in value.items()}
    if type(value) is tuple:
        return tuple([plain(part) for part in value])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(plain(part) for part in value))
    return value


def bind(graph: fx.Graph, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The value that each placeholder receives, as Python would bind the arguments."""
    positional, named = list(args), dict(kwargs)
    bound: dict[str, Any] = {}
    for node in graph.find_nodes(op="placeholder"):
        target = node.target
        if target.startswith("**"):
            bound[target], named = named, {}
        elif target.startswith("*"):
            bound[target], positional = tuple(positional), []
        elif target in named:
            bound[target] = named.pop(target)
        elif positional:
            bound[target] = positional.pop(0)
        elif node.args:
            bound[target] = node.args[0]
        else:
            raise TypeError(f"missing argument {target!r}")
    if positional or named:
        raise TypeError("too many arguments")
    return bound


@dataclass(frozen=True)
class Outcome:
    """What one call did: its value or the type of its exception, its arguments afterwards, the random state."""

    value: Any
    error: type[BaseException] | None
    arguments: Any
    random_state: torch.Tensor


def outcome(call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int) -> Outcome:
    """Runs ``call`` on copies of the arguments, from a fixed random state."""
    args, kwargs = copies((args, dict(kwargs)))
    value: Any = None
    error: type[BaseException] | None = None
    with torch.random.fork_rng(devices=[]):
        seed_generator(seed)
        try:
            value = call(*args, **kwargs)
        except Exception as raised:
            error = type(raised)
        return Outcome(value, error, (args, kwargs), torch.get_rng_state())


def seed_generator(seed: int) -> None:
    """Seeds the default generator alone: ``torch.manual_seed`` keeps a stack trace a call where there is no device."""
    torch.default_generator.manual_seed(seed)


def copies(arguments: Any) -> Any:
    """A deep copy, of sparse tensors too."""
    leaves = tree_leaves(arguments)
    sparse = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.layout is not torch.strided]
    return copy.deepcopy(arguments, {id(tensor): tensor.clone() for tensor in sparse})


def assert_same_behaviour(
    candidate: Callable[..., Any],
    expected: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    calls: int = 2,
) -> None:
    """Both do the same, call after call, so that state which one call leaves for the next is compared too."""
    for call in range(calls):
        want = outcome(expected, args, kwargs or {}, seed=call)
        got = outcome(candidate, args, kwargs or {}, seed=call)
        assert_same_outcome(got, want)


def assert_same_outcome(got: Outcome, want: Outcome) -> None:
    """Both calls gave or raised the same, and left the same behind."""
    assert got.error is want.error, f"raised {got.error}, expected {want.error}"
    assert_same(got.value, want.value, "result")
    assert_same(got.arguments, want.arguments, "arguments")
    assert sharing((got.value, got.arguments)) == sharing((want.value, want.arguments)), "aliasing differs"
    assert torch.equal(got.random_state, want.random_state), "random state differs"


def sharing(tree: Any) -> list[int]:
    """For each tensor of ``tree`` the number of the first tensor that shares its storage."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    first: dict[int, int] = {}
    return [
        first.setdefault(tensor.untyped_storage()._cdata, index)
        for index, tensor in enumerate(tensors)
        if tensor.layout is torch.strided
    ]


def assert_same(got: Any, want: Any, where: str) -> None:
    """Equal in type and in every bit, down to the leaves."""
    assert type(got) is type(want), f"{where}: {type(got)} is not {type(want)}"
    if isinstance(want, torch.Tensor):
        assert_same_tensor(got, want, where)
    elif isinstance(want, Mapping):
        assert_same(list(got.keys()), list(want.keys()), f"keys of {where}")
        for key in want:
            assert_same(got[key], want[key], f"{where}[{key!r}]")
    elif isinstance(want, list | tuple):
        assert len(got) == len(want), f"{where}: {len(got)} items, expected {len(want)}"
        for index, (one, other) in enumerate(zip(got, want, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif dataclasses.is_dataclass(want) and not isinstance(want, type):
        for field in dataclasses.fields(want):
            assert_same(getattr(got, field.name), getattr(want, field.name), f"{where}.{field.name}")
    else:
        assert same_leaf(got, want), f"{where}: {got!r} is not {want!r}"


def same_leaf(got: Any, want: Any) -> bool:
    if isinstance(want, complex):
        return same_float(got.real, want.real) and same_float(got.imag, want.imag)
    return same_float(got, want) if isinstance(want, float) else bool(got == want)


def same_float(got: float, want: float) -> bool:
    return struct.pack("d", got) == struct.pack("d", want) or (math.isnan(got) and math.isnan(want))


def assert_same_tensor(got: torch.Tensor, want: torch.Tensor, where: str) -> None:
    for aspect in ("dtype", "shape", "device", "layout", "requires_grad", "is_quantized"):
        one, other = getattr(got, aspect), getattr(want, aspect)
        assert one == other, f"{aspect} of {where}: {one}, expected {other}"
    if want.layout is not torch.strided:
        got, want = got.to_dense(), want.to_dense()
    assert got.stride() == want.stride(), f"stride of {where}: {got.stride()}, expected {want.stride()}"
    assert got.is_conj() == want.is_conj(), f"conjugation of {where}"
    if want.is_quantized:
        assert (got.q_scale(), got.q_zero_point()) == (want.q_scale(), want.q_zero_point()), where
        got, want = got.int_repr(), want.int_repr()
    same = same_bits(got.detach(), want.detach())
    assert bool(same.all()), f"{where} differs in {int((~same).sum())} of {same.numel()} places"


INTEGER_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Where two tensors hold the same bits, or both hold a nan."""
    if want.is_complex():
        return same_bits(torch.view_as_real(got.resolve_conj()), torch.view_as_real(want.resolve_conj()))
    integers = INTEGER_OF_SIZE[want.element_size()]
    same = got.contiguous().view(integers) == want.contiguous().view(integers)
    if not want.is_floating_point():
        return same
    return same | (got.double().isnan() & want.double().isnan())
