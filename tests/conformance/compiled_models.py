"""Models compiled by ``torch.compile(backend="fx2py")``, as a user has them: results and gradients of the model itself.

Pieces that run as generated code give every bit of the model; pieces that a compiler got give what it does, within
its rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from fx2py.integrations import dynamo
from tests.checking import assert_same, seed_generator
from tests.conformance.cases import Case, Comparison, Row
from tests.conformance.transformer_models import MODEL_SIZES, model

SDPA = "aten::scaled_dot_product_attention"
MANY = [SDPA, "aten::linear", "aten::conv2d"]
"""Every model here holds one of them."""
COMPILED_BY_INDUCTOR = ("BertModel", "LlamaForCausalLM", "ResNetModel")
"""A compilation takes a minute or more."""

ASK_WHETHER_THEY_ARE_COMPILED = ("MambaForCausalLM",)
"""Models that compute another way, with other rounding, while torch captures them."""


@dataclass(frozen=True)
class Way:
    """One way to compile a model and to call it; ``rounding`` is what a compiler of pieces may change, relative to 1."""

    options: Mapping[str, Any] = field(default_factory=dict)
    mode: Callable[[], AbstractContextManager[Any]] = nullcontext
    dynamic: bool | None = None
    trains: bool = False
    rounding: float = 0.0


def autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


WAYS = {
    "eager": Way(),
    "split at sdpa": Way({"split_at": SDPA}),
    "split at sdpa and linear": Way({"split_at": MANY}),
    "dynamic": Way({"split_at": MANY}, dynamic=True),
    "inference mode": Way({"split_at": MANY}, mode=torch.inference_mode),
    "aot_eager": Way({"split_at": MANY, "inner": "aot_eager"}, rounding=1e-6),
    "training": Way({"split_at": MANY}, trains=True),
    "training, aot_eager": Way({"split_at": SDPA, "inner": "aot_eager"}, trains=True, rounding=1e-5),
    "autocast": Way({"split_at": MANY}, mode=autocast),
}
INDUCTOR = {
    "inductor": Way({"inner": "inductor"}, rounding=1e-4),
    "inductor, split at sdpa": Way({"split_at": SDPA, "inner": "inductor"}, rounding=1e-4),
}


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    return {name: partial(cases, name) for name in MODEL_SIZES}


def cases(name: str) -> Iterator[Case]:
    ways = WAYS | INDUCTOR if name in COMPILED_BY_INDUCTOR else WAYS
    for title, way in ways.items():
        yield Case(title, partial(capture, name, way))


def capture(name: str, way: Way) -> Comparison:
    """The model and two inputs, of other sizes where these are dynamic."""
    config, sizes, inputs = MODEL_SIZES[name]
    made, first, second = model(name, config, sizes).train(way.trains), inputs(), inputs()
    calls = (first, {key: larger(value) for key, value in second.items()} if way.dynamic else second)
    other = name in ASK_WHETHER_THEY_ARE_COMPILED
    return Comparison(partial(compare, made, way, calls, other), partial(text, made, way, calls))


def larger(tensor: torch.Tensor) -> torch.Tensor:
    """One more in the batch, and longer where it is a row of tokens."""
    more = torch.cat([tensor, tensor[:1]])
    return more if tensor.is_floating_point() else torch.cat([more, more[:, :3]], 1)


def compare(made: nn.Module, way: Way, calls: tuple[dict[str, Any], ...], as_captured: bool = False) -> None:
    """Raises AssertionError where the compiled model differs, or where a graph that was to be split is not.

    From the model itself or, ``as_captured``, from its graphs as torch runs them.
    """
    theirs = copy.deepcopy(made)
    ours, sources = compiled(made, way)
    expected = torch.compile(theirs, backend="eager", dynamic=way.dynamic) if as_captured else theirs
    for seed, kwargs in enumerate(calls):
        got, want = (results(run, kwargs, way, seed) for run in (ours, expected))
        same(got, want, way.rounding)
    same(state(made), state(theirs), way.rounding)
    if way.options.get("split_at") == MANY:
        assert any("submod_1" in source for source in sources), "no graph was cut"


def text(made: nn.Module, way: Way, calls: tuple[dict[str, Any], ...]) -> str:
    """What is generated for all graphs of the model."""
    run, sources = compiled(made, way)
    results(run, calls[0], way, seed=0)
    return "\n".join(sources)


def compiled(made: nn.Module, way: Way) -> tuple[Callable[..., Any], list[str]]:
    """The compiled model, and the list that gets the source of each of its graphs once it is called."""
    torch._dynamo.reset()
    sources: list[str] = []

    def backend(gm: Any, inputs: Any) -> Callable[..., Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                dynamo, "trace_structured", lambda *_, payload_fn, **__: sources.append(payload_fn())
            )
            return dynamo.fx2py_backend(gm, inputs, options=way.options)

    return torch.compile(made, backend=backend, dynamic=way.dynamic), sources


def results(run: Callable[..., Any], kwargs: dict[str, Any], way: Way, seed: int) -> dict[str, torch.Tensor]:
    """Every tensor that a call gives; where the model trains, it gets its gradients."""
    with torch.random.fork_rng(devices=[]), way.mode():
        seed_generator(seed)
        found = dict(tensors_in(run(**kwargs)))
    if way.trains:
        losses = [tensor.square().mean() for tensor in found.values() if tensor.requires_grad]
        torch.stack(losses).sum().backward()
    return found


def tensors_in(value: Any, path: str = "result") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in a result, those in objects of its own such as caches too."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_in(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from tensors_in(part, f"{path}.{index}")
    elif type(value).__module__.startswith("transformers.cache"):
        yield from tensors_in(vars(value), path)


def state(made: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers and gradients."""
    gradients = {
        f"gradient of {name}": one.grad for name, one in made.named_parameters() if one.grad is not None
    }
    return {**dict(made.named_buffers()), **gradients}


def same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], rounding: float) -> None:
    """Bit for bit, or within the rounding of a compiler."""
    if not rounding:
        return assert_same(got, want, "")
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].requires_grad == tensor.requires_grad, name
        torch.testing.assert_close(got[name], tensor, rtol=rounding, atol=rounding, equal_nan=True)
    return None


COMPILED = Row(
    "backend",
    "transformers models through torch.compile(backend='fx2py'): split, dynamic, training, autocast, compilers",
    seconds=7200,
    groups=groups,
)
