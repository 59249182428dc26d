"""Every module of torch's module database in training and evaluation: as a leaf, exported, and as AOT graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from functorch.compile import aot_module
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from tests.conformance.cases import Case, Row, Trial, split_tensors
from tests.corpus.captures import Captured, Recorder, copied


class Called(nn.Module):
    """A module with all arguments of a sample but the tensors, which are passed as one list."""

    def __init__(self, module: nn.Module, filled: Callable[[Any], Any]) -> None:
        super().__init__()
        self.module = module
        self.filled = filled

    def forward(self, tensors: Any) -> Any:
        args, kwargs = self.filled(tensors)
        return self.module(*args, **kwargs)


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    from torch.testing._internal.common_modules import module_db

    return {
        f"{info.name}/{'train' if training else 'eval'}": partial(cases, info, training)
        for info in module_db
        for training in (True, False)
    }


def cases(info: Any, training: bool) -> Iterator[Case]:
    inputs = info.module_inputs_func(info, "cpu", torch.float32, False, training)
    for number, sample in enumerate(inputs):
        captures = CAPTURES if number == 0 else {"leaf": as_leaf}
        for name, capture in captures.items():
            yield Case(f"{name} {number}", partial(captured, capture, info.module_cls, sample, training))


def captured(capture: Callable[..., Trial], cls: type[nn.Module], sample: Any, training: bool) -> Trial:
    made = sample.constructor_input
    module = cls(*made.args, **made.kwargs).train(training)
    given = sample.forward_input
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        module(*given.args, **given.kwargs)
    return capture(module, given.args, given.kwargs)


def as_leaf(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trial:
    class Leaves(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return m is module

    tensors, filled = split_tensors((args, kwargs))
    called = Called(module, filled)
    graph = fx.GraphModule(called, Leaves().trace(called))
    return Trial(graph, (((tensors,), {}), ((tensors,), {})))


def exported(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trial:
    program = torch.export.export(module, args, kwargs, strict=False)
    return Trial(program, ((args, kwargs), (args, kwargs)))


def aot_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trial:
    return as_trial(aot_graphs(module, args, kwargs)[0])


def aot_backward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trial:
    graphs = aot_graphs(module, args, kwargs)
    if len(graphs) < 2:
        raise ValueError("nothing to differentiate")
    return as_trial(graphs[1])


def aot_graphs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Captured]:
    """The forward graph and, where the result depends on something differentiable, the backward graph."""
    args, kwargs = differentiable((args, kwargs))
    recorder = Recorder()
    result = aot_module(module, fw_compiler=recorder.boxed, bw_compiler=recorder.boxed)(*args, **kwargs)
    losses = [leaf.sum() for leaf in tree_leaves(result) if is_differentiable(leaf)]
    if losses:
        torch.stack([loss.real for loss in losses]).sum().backward()
    return recorder.captured


def differentiable(tree: Any) -> Any:
    copies = copied(tree)
    for leaf in tree_leaves(copies):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            leaf.requires_grad_()
    return copies


def is_differentiable(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.requires_grad


def as_trial(found: Captured) -> Trial:
    return Trial(found.graph, ((found.args, found.kwargs),))


CAPTURES: dict[str, Callable[..., Trial]] = {
    "leaf": as_leaf,
    "export": exported,
    "aot forward": aot_forward,
    "aot backward": aot_backward,
}
MODULES = Row("modules", "module_db: leaf, export, AOT forward and backward; train and eval", 3600, groups)
