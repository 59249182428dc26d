"""Measures what operators do with memory: observes each overload on samples and keeps what is proven.

python -m tests.operators.memory_survey    says which overloads were refuted, and why
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import torch
from torch import fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map_only

from fx2py.runtime.autograd import are_plain
from tests.checking import copies, seed_generator
from tests.conformance.cases import split_tensors
from tests.conformance.operators import DTYPES, database
from tests.operators.test_deterministic import TRIVIAL, cast
from tests.operators.test_dtype import SAMPLES
from tests.program.passes.functions import aten, overload_of

Kind = Literal["fresh", "view", "write"]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]

BELOW = torch._C._AutoDispatchBelowADInplaceOrView
SAMPLES_OF_AN_OPERATOR = 6
SAMPLES_OF_AN_OVERLOAD = 60
CASTS = (None, torch.int64, torch.bool, torch.float64)
NEVER_AN_OPERAND = """
    linear.default matmul.default conv1d.default conv2d.default conv3d.default conv_transpose1d.default
    conv_transpose2d.input layer_norm.default group_norm.default rms_norm.default softmax.int log_softmax.int
    scaled_dot_product_attention.default max_pool1d.default max_pool2d.default avg_pool1d.default
    adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_avg_pool3d.default relu6.default selu.default
    outer.default diff.default one_hot.default isfinite.default hstack.default vstack.default
    repeat_interleave.self_int where.Scalar where.ScalarSelf where.ScalarOther
    __and__.Tensor __or__.Tensor __xor__.Tensor min.other max.other"""
"""Operators made of others, of which torch's source shows that no result is an operand, whatever the arguments.

Of the others made of operators no sample shows it: an ``einsum`` that only permutes gives a view.
"""


X = torch.arange(-12.0, 12.0).view(2, 3, 4) / 5
CHANNEL = [torch.arange(1.0, 4.0) / shift for shift in (1, 2, 3, 4)]
GATES = [
    torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((8, 4), (8, 2), (8,), (8,))
]
RECURRENT = (True, 1, 0.0, False, False, False)
MORE_SAMPLES: dict[str, list[Arguments]] = {
    "channel_shuffle.default": [((X[..., None], 1), {})],
    "hardtanh_.default": [((X,), {}), ((X, 0, 6), {})],
    "hardswish_.default": [((X,), {})],
    "hardsigmoid_.default": [((X,), {})],
    "relu6_.default": [((X,), {})],
    "fill_.Tensor": [((X, torch.tensor(2.0)), {})],
    "scatter_.value": [((X, 1, torch.zeros(2, 1, 4, dtype=torch.int64), 1.5), {})],
    "type_as.default": [((X, X), {}), ((X, X.double()), {})],
    "to.other": [((X, X), {}), ((X, X.double()), {})],
    "rand_like.default": [((X,), {})],
    "native_dropout.default": [((X, 0.5, True), {}), ((X, 0.5, False), {}), ((X, 0.0, True), {})],
    "item.default": [((X[0, 0, 0],), {})],
    "_local_scalar_dense.default": [((X[0, 0, 0],), {})],
    "tensor_split.sections": [((X, 2, 2), {})],
    "_native_batch_norm_legit_no_training.default": [((X, *CHANNEL, 0.1, 1e-5), {})],
    "lstm.input": [((X, [torch.zeros(1, 3, 2)] * 2, GATES, *RECURRENT), {})],
    "gru.input": [((X, torch.zeros(1, 3, 2), [gate[:6] for gate in GATES], *RECURRENT), {})],
    "rnn_tanh.input": [((X, torch.zeros(1, 3, 2), [gate[:2] for gate in GATES], *RECURRENT), {})],
}


WITHOUT_TENSORS: dict[str, Kind] = {"_assert_tensor_metadata.default": "fresh", "sym_size.int": "fresh"}
"""Operators that return no tensor and read no memory."""


class Refuted(Exception):
    """An overload does something that no kind of the table allows."""


def tensors_in(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def contents(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A tensor's metadata and every bit of its values."""
    values = tensor.contiguous().reshape(-1).view(torch.uint8).tolist()
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset(), values


def memory(tensor: torch.Tensor) -> list[int]:
    """Every byte of a tensor's storage."""
    return torch.tensor([], dtype=torch.uint8).set_(tensor.untyped_storage()).tolist()


def twins(arguments: Arguments) -> Arguments:
    """The arguments with storages of their own, shared among the copies as among the originals."""
    storages: dict[int, torch.UntypedStorage] = {}

    def twin(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        own = storages.setdefault(storage._cdata, storage.clone())
        place = tensor.storage_offset(), tensor.shape, tensor.stride()
        return torch.empty(0, dtype=tensor.dtype).set_(own, *place)

    made: Arguments = tree_map_only(torch.Tensor, twin, arguments)
    return made


def observe(op: OpOverload, arguments: Arguments) -> Kind:
    """What a call does with memory, the same with autograd's dispatch keys as without; raises Refuted for what fits no kind.

    An operator that draws random numbers draws the same ones each time.
    """
    above, below = twins(arguments), twins(arguments)
    seed_generator(0)
    result = op(*above[0], **above[1])
    seed_generator(0)
    try:
        with BELOW():
            again = op(*below[0], **below[1])
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise Refuted("below autograd it raises") from error
    kind = _kind(op, arguments, above, result)
    if _seen(above, result) != _seen(below, again):
        raise Refuted("below autograd it is different")
    return kind


def _seen(arguments: Arguments, result: Any) -> list[Any]:
    """All that a call leaves behind: its results, whose memory they share, and its arguments."""
    given = tensors_in(arguments)
    made = tensors_in(result)
    shared = [[_share(tensor, other) for other in (*given, *made)] for tensor in made]
    same_objects = [[tensor is other for other in given] for tensor in made]
    others = [str(leaf) for leaf in tree_leaves(result) if not isinstance(leaf, torch.Tensor)]
    return [list(map(contents, made)), shared, same_objects, others, list(map(memory, given))]


def _share(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage()._cdata == other.untyped_storage()._cdata


def _kind(op: OpOverload, original: Arguments, arguments: Arguments, result: Any) -> Kind:
    before, given, made = tensors_in(original), tensors_in(arguments), tensors_in(result)
    if not are_plain(made):
        raise Refuted("a result is no plain tensor")
    written = [memory(old) != memory(new) for old, new in zip(before, given, strict=True)]
    if op._schema.is_mutable:
        return _write(op, before, given, made, written)
    if any(written):
        raise Refuted("it writes, which its schema does not say")
    if any(_share(one, other) for one in made for other in given) or _shares_on_meta(op, original):
        return "view"
    return "fresh" if made == [] or _returns_new_memory(op) else "view"


def _returns_new_memory(op: OpOverload) -> bool:
    """Whether torch promises that results share memory with no operand: only of operators with kernels of their own."""
    is_composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")
    is_annotated = any(each.alias_info is not None for each in op._schema.returns)
    return overload_name(op) in NEVER_AN_OPERAND.split() or not (is_composite or is_annotated)


def _shares_on_meta(op: OpOverload, arguments: Arguments) -> bool:
    """Whether a result shares memory with an operand where the kernels of the CPU are not used, as on other devices."""
    abroad: Arguments = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)
    try:
        made = tensors_in(op(*abroad[0], **abroad[1]))
    except (RuntimeError, TypeError):  # its sizes depend on numbers, or a device is named
        return False
    return any(_share(one, other) for one in made for other in tensors_in(abroad))


def overload_name(op: OpOverload) -> str:
    return f"{op._schema.name.removeprefix('aten::')}.{op._overloadname}"


def _write(op: OpOverload, before: list[Any], given: list[Any], made: list[Any], written: list[bool]) -> Kind:
    """Writes the values of the first operand, which is what is returned, and nothing else."""
    marked = [item.alias_info is not None and item.alias_info.is_write for item in op._schema.arguments]
    others = [changed for new, changed in zip(given, written, strict=True) if not _share(new, given[0])]
    first = (before[0].shape, before[0].stride()) == (given[0].shape, given[0].stride())
    if marked != [True] + [False] * (len(marked) - 1) or torch.Tag.inplace_view in op.tags:
        raise Refuted("it changes something else than the values of its first operand")
    if any(others) or not first or [id(tensor) for tensor in made] != [id(given[0])]:
        raise Refuted("it does not return its first operand")
    return "write"


# -- samples


class Collector(fx.Interpreter):
    """Runs a graph and takes in each call of an ATen overload."""

    def __init__(self, graph: fx.GraphModule, take: Callable[[OpOverload, Arguments], None]) -> None:
        super().__init__(graph)
        self.take = take

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(target, OpOverload) and target.namespace == "aten":
            self.take(target, (args, kwargs))
        return super().call_function(target, args, kwargs)


def samples_by_hand() -> Iterator[tuple[OpOverload, Arguments]]:
    for name, samples in (*SAMPLES.items(), *MORE_SAMPLES.items()):
        for arguments in (*samples, *TRIVIAL.get(name, [])):
            yield from ((overload_of(aten(name)), cast(arguments, dtype)) for dtype in CASTS)


def graphs(wanted: Callable[[str], bool]) -> Iterator[tuple[fx.GraphModule, list[torch.Tensor]]]:
    """The samples of torch's operator database, with operators whole and taken apart."""
    for name, op in database():
        for dtype in DTYPES:
            if wanted(name) and dtype in op.supported_dtypes("cpu"):
                yield from _sampled_graphs(op, dtype)


def _sampled_graphs(op: Any, dtype: torch.dtype) -> Iterator[tuple[fx.GraphModule, list[torch.Tensor]]]:
    samples = op.sample_inputs_func(op, "cpu", dtype, False)
    for _, sample in zip(range(SAMPLES_OF_AN_OPERATOR), samples, strict=False):
        tensors, filled = split_tensors(((sample.input, *sample.args), sample.kwargs))
        for call in filter(None, (op.op, op.inplace_variant)):
            for pre_dispatch in (True, False):
                with suppress(Exception):
                    made = make_fx(partial(_call, call, filled), pre_dispatch=pre_dispatch)(*copies(tensors))
                    yield made, copies(tensors)


def _call(op: Any, filled: Callable[[Any], Any], *tensors: torch.Tensor) -> Any:
    args, kwargs = filled(tensors)
    return op(*args, **kwargs)


class Survey:
    """What was seen of each overload; one that was refuted once stays so."""

    def __init__(self, only: frozenset[str] = frozenset()) -> None:
        self.only = only
        self.kinds: dict[str, set[Kind]] = defaultdict(set)
        self.refuted: dict[str, str] = {}
        self.counts: dict[str, int] = defaultdict(int)

    def take(self, op: OpOverload, arguments: Arguments) -> None:
        name = overload_name(op)
        self.counts[name] += 1
        is_wanted = not self.only or name in self.only
        if not is_wanted or name in self.refuted or self.counts[name] > SAMPLES_OF_AN_OVERLOAD:
            return
        if not are_plain(tensors_in(arguments)):
            return
        try:
            self.kinds[name].add(observe(op, arguments))
        except Refuted as reason:
            self.refuted[name] = str(reason)

    def table(self) -> dict[str, Kind]:
        """The kind of each overload that was never refuted; "view" where any sample shared memory."""
        proven = sorted(name for name, kinds in self.kinds.items() if kinds and name not in self.refuted)
        without = {name: kind for name, kind in WITHOUT_TENSORS.items() if not self.only or name in self.only}
        return {**{name: max(self.kinds[name]) for name in proven}, **without}


def survey(only: frozenset[str] = frozenset()) -> Survey:
    """What is seen of all overloads that the samples call, or of those in ``only``, in their own samples."""
    bases = {name.partition(".")[0] for name in only}
    found = Survey(only)
    with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for op, arguments in samples_by_hand():
            with suppress(RuntimeError, IndexError):
                found.take(op, arguments)
        for graph, inputs in graphs(lambda name: not only or name.rpartition(".")[2] in bases):
            with suppress(Exception):
                Collector(graph, found.take).run(*inputs)
    return found


if __name__ == "__main__":
    print("\n".join(f"{name}: {reason}" for name, reason in survey().refuted.items()))
