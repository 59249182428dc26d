"""The ways in which torch makes a graph of a model, one function a way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map_only

Graph: TypeAlias = "fx.GraphModule | ExportedProgram"
Args: TypeAlias = "tuple[Any, ...]"
Kwargs: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True)
class Captured:
    """A graph and the arguments to call it with."""

    graph: Graph
    args: Args
    kwargs: Kwargs = field(default_factory=dict)


def copied(tree: Any) -> Any:
    """``tree`` with every tensor replaced by a leaf of its own that holds the same values."""

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return tree_map_only(torch.Tensor, copy, tree)


def runnable(graph: Graph) -> Callable[..., Any]:
    """What torch itself gives for calling the graph as its model is called."""
    return graph.module() if isinstance(graph, ExportedProgram) else graph


def instance(definition: Any) -> Any:
    """The model itself: a module class is constructed, a function stays as it is."""
    return definition() if isinstance(definition, type) else definition


def built(definition: Any, args: Args, kwargs: Kwargs) -> Captured:
    """The definition makes the graph itself, from the arguments it will be called with."""
    result = definition(*args, **kwargs)
    return result if isinstance(result, Captured) else Captured(result, args, kwargs)


class LeafTracer(fx.Tracer):
    """Traces as torch.fx does, with more module classes kept as leaves."""

    def __init__(self, leaves: tuple[type, ...]) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)


def symbolic_trace(
    definition: Any,
    args: Args,
    kwargs: Kwargs,
    *,
    leaves: tuple[type, ...] = (),
    concrete_args: dict[str, Any] | None = None,
    train: bool = True,
) -> Captured:
    model = instance(definition)
    if isinstance(model, nn.Module):
        model.train(train)
    tracer = LeafTracer(leaves)
    traced = tracer.trace(model, concrete_args)
    return Captured(fx.GraphModule(tracer.root, traced, definition.__name__), args, kwargs)


def make_fx_in_mode(mode: Literal["real", "fake", "symbolic"]) -> Callable[..., Captured]:
    def capture(definition: Any, args: Args, kwargs: Kwargs, **options: Any) -> Captured:
        traced = make_fx(instance(definition), tracing_mode=mode, **options)(*copied(args))
        traced.shape_env = None  # it cannot be pickled, and no run needs it
        return Captured(traced, args, kwargs)

    return capture


def exported(definition: Any, args: Args, kwargs: Kwargs, *, train: bool = False, **options: Any) -> Captured:
    program = torch.export.export(as_module(definition, train), copied(args), copied(kwargs), **options)
    return Captured(program, args, kwargs)


def exported_strict(definition: Any, args: Args, kwargs: Kwargs, **options: Any) -> Captured:
    return exported(definition, args, kwargs, strict=True, **options)


def exported_non_strict(definition: Any, args: Args, kwargs: Kwargs, **options: Any) -> Captured:
    return exported(definition, args, kwargs, strict=False, **options)


def exported_decomposed(definition: Any, args: Args, kwargs: Kwargs, **options: Any) -> Captured:
    program = exported(definition, args, kwargs, **options).graph
    assert isinstance(program, ExportedProgram)
    return Captured(program.run_decompositions(), args, kwargs)


class FunctionModule(nn.Module):
    """A function as a module, which is what export takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


def as_module(definition: Any, train: bool) -> nn.Module:
    model = instance(definition)
    return (model if isinstance(model, nn.Module) else FunctionModule(model)).train(train)


class Recorder:
    """A compiler that keeps each graph it is given with the arguments of its first run, and runs it as it is."""

    def __init__(self) -> None:
        self.captured: list[Captured] = []

    def __call__(self, graph: fx.GraphModule, example_inputs: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self.captured.append(Captured(graph, copied(args)))
            return graph(*args)

        return run

    def boxed(self, graph: fx.GraphModule, example_inputs: Any) -> Callable[..., Any]:
        def run(args: list[Any]) -> Any:
            self.captured.append(Captured(graph, copied(tuple(args))))
            return graph(*args)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run


def run_compiled(
    definition: Any, args: Args, kwargs: Kwargs, backend: Any, train: bool, **options: Any
) -> Any:
    torch._dynamo.reset()
    model = instance(definition)
    if isinstance(model, nn.Module):
        model.train(train)
    return torch.compile(model, backend=backend, **options)(*copied(args), **copied(kwargs))


def compiled(
    definition: Any, args: Args, kwargs: Kwargs, *, train: bool = False, which: int = 0, **options: Any
) -> Captured:
    """What torch.compile hands to its backend; ``which`` picks one graph when the model breaks into several."""
    recorder = Recorder()
    run_compiled(definition, args, kwargs, recorder, train, **options)
    return recorder.captured[which]


def aot_forward(
    definition: Any, args: Args, kwargs: Kwargs, *, train: bool = True, **options: Any
) -> Captured:
    recorder = Recorder()
    backend = aot_autograd(fw_compiler=recorder.boxed, bw_compiler=Recorder().boxed)
    run_compiled(definition, args, kwargs, backend, train, **options)
    return recorder.captured[0]


def aot_backward(
    definition: Any, args: Args, kwargs: Kwargs, *, train: bool = True, **options: Any
) -> Captured:
    recorder = Recorder()
    backend = aot_autograd(fw_compiler=Recorder().boxed, bw_compiler=recorder.boxed)
    result = run_compiled(definition, args, kwargs, backend, train, **options)
    result.sum().backward()
    return recorder.captured[0]


CAPTURES: dict[str, Callable[..., Captured]] = {
    "built": built,
    "symbolic_trace": symbolic_trace,
    "make_fx": make_fx_in_mode("real"),
    "make_fx_fake": make_fx_in_mode("fake"),
    "make_fx_symbolic": make_fx_in_mode("symbolic"),
    "export": exported_strict,
    "export_non_strict": exported_non_strict,
    "export_decomposed": exported_decomposed,
    "compile": compiled,
    "aot_forward": aot_forward,
    "aot_backward": aot_backward,
}
