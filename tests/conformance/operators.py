"""Every sample of torch's operator database, as graphs of ATen operators and as torch-level calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from tests.conformance.cases import Case, Row, Trial, split_tensors
from tests.corpus.captures import Recorder, run_compiled

DTYPES = (torch.float32, torch.complex64, torch.int64, torch.bool)
UNWRITTEN = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
EXCLUDED = {
    **dict.fromkeys((*UNWRITTEN, "resize_", "resize_as_"), "returns memory that nothing has written"),
    **dict.fromkeys(
        ("linalg.lstsq", "linalg.lstsq.grad_oriented"),
        "one call now and then gives another result than the next, in torch itself",
    ),
}

Groups = Mapping[str, Callable[[], Iterator[Case]]]
Capture = Callable[[Any, Any], Trial]


class Sampled(nn.Module):
    """An operator with all arguments of a sample but the tensors, which are passed as one list."""

    def __init__(self, op: Any, filled: Callable[[Any], Any]) -> None:
        super().__init__()
        self.op = op
        self.filled = filled

    def forward(self, tensors: Any) -> Any:
        args, kwargs = self.filled(tensors)
        return self.op(*args, **kwargs)


def at_aten_level(op: Any, arguments: Any) -> Trial:
    tensors, filled = split_tensors(arguments)

    def call(*tensors: torch.Tensor) -> Any:
        args, kwargs = filled(tensors)
        return op(*args, **kwargs)

    return Trial(make_fx(call)(*[tensor.clone() for tensor in tensors]), ((tuple(tensors), {}),))


def at_torch_level(op: Any, arguments: Any) -> Trial:
    tensors, filled = split_tensors(arguments)
    return Trial(fx.symbolic_trace(Sampled(op, filled)), (((tensors,), {}),))


def through_torch_compile(op: Any, arguments: Any) -> Trial:
    tensors, filled = split_tensors(arguments)
    recorder = Recorder()
    run_compiled(Sampled(op, filled), (tensors,), {}, recorder, train=False)
    if not recorder.captured:
        raise ValueError("torch.compile calls no backend for it")
    found = recorder.captured[0]
    assert isinstance(found.graph, fx.GraphModule)
    return Trial(found.graph, ((found.args, found.kwargs),))


@cache
def database() -> tuple[tuple[str, Any], ...]:
    """Each entry under a name of its own."""
    from torch.testing._internal.common_methods_invocations import op_db

    seen: Counter[str] = Counter()
    named = []
    for op in op_db:
        name = ".".join(filter(None, (op.name, op.variant_test_name)))
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name}#{seen[name]}", op))
    return tuple(named)


def groups(capture: Capture, first_only: bool = False) -> Groups:
    return {
        f"{name}/{str(dtype).removeprefix('torch.')}": partial(cases, op, dtype, capture, first_only)
        for name, op in database()
        for dtype in DTYPES
        if dtype in op.supported_dtypes("cpu") and not (first_only and dtype is not torch.float32)
    }


def cases(op: Any, dtype: torch.dtype, capture: Capture, first_only: bool) -> Iterator[Case]:
    for number, sample in enumerate(op.sample_inputs_func(op, "cpu", dtype, False)):
        arguments = ((sample.input, *sample.args), sample.kwargs)
        yield Case(str(number), partial(capture, op.op, arguments))
        if first_only:
            return


ATEN = Row(
    "aten",
    "op_db: each sample as make_fx traces it",
    seconds=7200,
    groups=partial(groups, at_aten_level),
    excluded=EXCLUDED,
)
TORCH = Row(
    "torch",
    "op_db: each sample through symbolic_trace",
    seconds=7200,
    groups=partial(groups, at_torch_level),
    excluded=EXCLUDED,
)
COMPILE = Row(
    "compile",
    "op_db: the first float sample through torch.compile",
    seconds=3600,
    groups=partial(groups, through_torch_compile, first_only=True),
    excluded=EXCLUDED,
)
