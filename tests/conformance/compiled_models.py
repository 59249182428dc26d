"""transformers models through ``torch.compile(backend="fx2py")``, cut in every way that engines cut them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from tests.checking import assert_same_outcome, outcome, seed_generator
from tests.conformance.cases import Case, Row
from tests.conformance.transformer_models import MODEL_SIZES, model

ATTENTION = "aten::scaled_dot_product_attention"
LINEAR = "aten::linear"


@dataclass(frozen=True)
class Configuration:
    """How a model is compiled and called. ``inner`` names the compiler of the pieces, which the model alone is compiled
    by too to compare with; ``rounding`` is what gradients may differ by, as pieces add them in another order.
    """

    split_at: tuple[str, ...] = ()
    inner: str = "eager"
    dynamic: bool | None = None
    training: bool = False
    mode: Callable[[], AbstractContextManager[Any]] = torch.no_grad
    rounding: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        return {"split_at": list(self.split_at), "inner": self.inner}


CONFIGURATIONS: Mapping[str, Configuration] = {
    "eager": Configuration(),
    "split": Configuration((ATTENTION,)),
    "split finer": Configuration((ATTENTION, LINEAR)),
    "dynamic": Configuration((ATTENTION,), "aot_eager", dynamic=True),
    "inference_mode": Configuration((ATTENTION,), "aot_eager", mode=torch.inference_mode),
    "aot_eager": Configuration((ATTENTION, LINEAR), "aot_eager"),
    "training": Configuration((ATTENTION,), "aot_eager", training=True, mode=nullcontext, rounding=1e-4),
    "autocast": Configuration((ATTENTION,), "aot_eager", mode=partial(torch.autocast, "cpu", torch.bfloat16)),
}
INDUCTOR = Configuration((ATTENTION,), "inductor", rounding=1e-4)
"""Slower than all others together: for tests of its own."""


@dataclass(frozen=True)
class CompiledModel:
    """A model compiled by the backend, beside the same one compiled by ``inner`` alone, or not at all."""

    model: nn.Module
    inputs: Mapping[str, Any]
    wanted: Configuration
    folder: TemporaryDirectory[str] = field(default_factory=TemporaryDirectory)

    def check(self) -> None:
        """Raises AssertionError where results or gradients differ."""
        other = copy.deepcopy(self.model)
        alone = other if self.wanted.inner == "eager" else compiled(other, self.wanted.inner, self.wanted)
        ours = compiled(self.model, "fx2py", self.wanted, options=self.wanted.options)
        with self.wanted.mode():
            want, got = (outcome(partial(call, each), (), dict(self.inputs), 0) for each in (alone, ours))
        if self.wanted.inner == "inductor":
            torch.testing.assert_close(got.value, want.value, rtol=self.wanted.rounding, atol=1e-5)
        else:
            assert_same_outcome(got, want)
        if self.wanted.training:
            for one in (got, want):
                sum(leaf.float().sum() for leaf in tree_leaves(one.value) if leaf.requires_grad).backward()
            assert_same_gradients(self.model, other, self.wanted.rounding)

    def text(self) -> str:
        """The code that is generated for each graph."""
        options = {**self.wanted.options, "dump": self.folder.name}
        with self.wanted.mode():
            call(compiled(self.model, "fx2py", self.wanted, options=options), **self.inputs)
        files = sorted(Path(self.folder.name).glob("*/execution_fn.py"))
        return "\n".join(path.read_text("utf-8") for path in files)


def compiled(made: nn.Module, backend: str, wanted: Configuration, **more: Any) -> Callable[..., Any]:
    torch._dynamo.reset()
    return torch.compile(made, backend=backend, dynamic=wanted.dynamic, **more)


def call(model: Callable[..., Any], **inputs: Any) -> dict[str, Any]:
    """The tensors of each part of the result; a cache that is no pytree is left out."""
    seed_generator(1)
    parts = {name: tree_leaves(value) for name, value in model(**inputs).items()}
    return {
        name: [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)] for name, leaves in parts.items()
    }


def assert_same_gradients(one: nn.Module, other: nn.Module, rounding: float) -> None:
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (mine.grad is None) is (theirs.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=rounding, atol=rounding, msg=name)


def compiled_model(name: str, wanted: Configuration) -> CompiledModel:
    config, sizes, inputs = MODEL_SIZES[name]
    made = model(name, config, sizes).train(wanted.training)
    for part in made.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # a compiled dropout draws other numbers than an eager one
    return CompiledModel(made, inputs(), wanted)


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    return {name: partial(cases, name) for name in MODEL_SIZES}


def cases(name: str) -> Iterator[Case]:
    for title, wanted in CONFIGURATIONS.items():
        yield Case(title, partial(compiled_model, name, wanted))


BACKEND = Row("backend", "transformers models through the torch.compile backend", seconds=3600, groups=groups)
