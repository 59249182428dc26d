"""The ways to run one graph: torch's own callables, fx2py in each mode, and what a person would write by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, cast

import torch
import torch.fx as fx
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from fx2py.artifact import Artifact, generate, submodule_table
from fx2py.distributed.launcher import Alone
from fx2py.emit.module import Texts
from fx2py.graph.data import GraphData
from fx2py.graph.values import Ref
from fx2py.program.ir import Assign, Delete, Program, Slot
from fx2py.program.options import GenerateOptions
from fx2py.replay.inputs import Inputs
from fx2py.trust import Policy

LiveSource: TypeAlias = "fx.GraphModule | ExportedProgram"
Execute: TypeAlias = Callable[..., object]

DEFAULT_MODE = "fx2py"
MODES = {
    DEFAULT_MODE: GenerateOptions(),
    "fx2py --flat": GenerateOptions(flat=True),
    "fx2py -O": GenerateOptions(optimize=True),
    "fx2py --exact-ops": GenerateOptions(exact_ops=True),
    "fx2py --keep-submodules": GenerateOptions(keep_submodules=True),
}


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run a graph, and the number of characters of its source, where it has one."""

    call: Callable[[], object]
    code_bytes: int | None = None


def way(execute: Execute, inputs: Inputs, source: str | None = None) -> Way:
    return Way(partial(execute, *inputs.args, **inputs.kwargs), None if source is None else len(source))


# -- torch ---------------------------------------------------------------------------------------------------------


def by_torch(live: LiveSource, inputs: Inputs) -> dict[str, Way]:
    """The GraphModule, the interpreter, and the module of an exported program."""
    if not isinstance(live, ExportedProgram):
        return {"FX GraphModule": way(live, inputs), "fx.Interpreter": way(fx.Interpreter(live).run, inputs)}
    flat_graph = flat_graph_module(live)
    flat = Inputs(tuple(flat_inputs(live, inputs)))
    return {
        "FX GraphModule": way(flat_graph, flat),
        "fx.Interpreter": way(fx.Interpreter(flat_graph).run, flat),
        "ep.module()": way(live.module(), inputs),
    }


def flat_graph_module(program: ExportedProgram) -> fx.GraphModule:
    """The exported graph as a GraphModule that is called with its flat inputs, without any checks."""
    module = program.module(check_guards=False)
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    graph.set_codegen(fx.graph.CodeGen())  # the copied code generator would flatten the inputs once more
    return fx.GraphModule(module, graph)


def flat_inputs(program: ExportedProgram, inputs: Inputs) -> list[Any]:
    """The leaves of the inputs in the order of the program's placeholders."""
    _, keywords = program.call_spec.in_spec.children()
    return tree_leaves((inputs.args, {name: inputs.kwargs[name] for name in keywords.context}))


# -- fx2py ---------------------------------------------------------------------------------------------------------


def by_fx2py(
    data: GraphData, inputs: Inputs, policy: Policy | None, device: str | torch.device | None
) -> dict[str, Way]:
    """fx2py in each mode, once for those that give the same code, and the hand-written way where one is known.

    Raises ReplayError for a graph of several processes: one of them cannot run it alone.
    """
    default = generate(data)
    Alone().form_groups(default)
    found: dict[str, Way] = {}
    seen: set[Texts] = set()
    for name, options in MODES.items():
        code = generate(data, replace(options, comments=False))
        if code.texts not in seen:
            seen.add(code.texts)
            found[name] = way(code.bind(device, policy=policy), inputs, code.source)
    floor = by_hand(default, default.bind(device, policy=policy))
    return found if floor is None else {**found, "hand-written": way(floor, inputs)}


# -- by hand -------------------------------------------------------------------------------------------------------


def by_hand(code: Artifact, bound: Execute) -> Execute | None:
    """A closure over the bound submodules that does what ``bound`` does; None unless each is called on the last result.

    Nothing that Python runs costs less between two calls.
    """
    order = chain_of(code.program) if code.program is not None else None
    if order is None:
        return None
    table = submodule_table(bound)
    return chain([table[index] for index in order])


def chain(calls: list[Execute]) -> Execute:
    """``x -> calls[-1](...calls[0](x))`` as straight-line code over closure variables."""
    names = [f"call_{index}" for index in range(len(calls))]
    body = "".join([f"        x = {name}(x)\n" for name in names])
    source = f"def make({', '.join(names)}):\n    def run(x):\n{body}        return x\n    return run\n"
    namespace: dict[str, object] = {}
    exec(source, namespace)
    make = cast(Callable[..., Execute], namespace["make"])
    return make(*calls)


def chain_of(program: Program) -> list[int] | None:
    """The submodules that a program calls one after the other, each on the result of the last; None for others."""
    entry = program.entry
    if len(entry.parameters) != 1:
        return None
    current, order = Ref(entry.parameters[0].name), []
    for statement in entry.body:
        if type(statement) is Delete:
            continue
        if type(statement) is not Assign or statement.target is None or statement.call.args != (current,):
            return None
        callee = statement.call.callee
        if type(callee) is not Slot or callee.table != "submods" or statement.call.kwargs:
            return None
        order.append(callee.index)
        current = Ref(statement.target)
    return order if order and entry.result == current else None
