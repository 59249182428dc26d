"""torch's own ways to run a graph, for the comparison with generated code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch.fx as fx
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from fx2py.replay.inputs import Inputs

LiveSource: TypeAlias = "fx.GraphModule | ExportedProgram"


def by_torch(live: LiveSource, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    """Each way by name, with its inputs: the GraphModule, the interpreter, and the module of an exported program."""
    if not isinstance(live, ExportedProgram):
        return {
            "FX GraphModule": partial(live, *inputs.args, **inputs.kwargs),
            "fx.Interpreter": partial(fx.Interpreter(live).run, *inputs.args, **inputs.kwargs),
        }
    plain = plain_graph_module(live)
    flat = flat_inputs(live, inputs)
    return {
        "FX GraphModule": partial(plain, *flat),
        "fx.Interpreter": partial(fx.Interpreter(plain).run, *flat),
        "ep.module()": partial(live.module(), *inputs.args, **inputs.kwargs),
    }


def plain_graph_module(program: ExportedProgram) -> fx.GraphModule:
    """The exported graph as a GraphModule that is called with its flat inputs, without any checks."""
    module = program.module(check_guards=False)
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule(module, graph)


def flat_inputs(program: ExportedProgram, inputs: Inputs) -> list[Any]:
    """The leaves of the inputs in the order of the program's placeholders."""
    _, keywords = program.call_spec.in_spec.children()
    return tree_leaves((inputs.args, {name: inputs.kwargs[name] for name in keywords.context}))
