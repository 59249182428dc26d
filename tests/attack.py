"""Graphs that try to get hold of code, until the time is over: ``python -m tests.attack [--seconds N] [--seed N]``.

Functions, methods, attributes, items, modules and operators are composed at random; what the gate refuses is left out,
and what it admits is run, by the interpreter and as generated code. Nothing that is computed may be code (a callable, a
module, a class, a frame), nor other than the gate says that it is, and no run may import what a graph names, execute text,
write files or start processes. The graphs run in children: a kernel that crashes ends one, and is left out from then on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch._inductor.runtime.hints  # a named tuple there has a method under the name of an attribute
from torch import fx, nn

from fx2py.artifact import artifact
from fx2py.errors import Fx2pyError, UntrustedTargetError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node
from fx2py.graph.values import Attribute, Dict, EnumMember, List, Name, OpName, Record, Ref, Slice
from fx2py.graph_file.writing import save_graph
from fx2py.program.identifiers import FROM_RUNTIME
from fx2py.program.ir import TABLE_NAMES
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy, functions, operators
from fx2py.trust.admitted import ATTRIBUTES, METHODS, OPERATORS, ValueKind
from fx2py.trust.calls import FileModule
from fx2py.trust.data import code_in
from fx2py.trust.graphs import check_graph

TRAP = "trap_of_a_graph"
WORDS = (
    *(
        "__class__",
        "__init__",
        "__globals__",
        "__dict__",
        "__getattribute__",
        "__call__",
        "__reduce_ex__",
        "__self__",
    ),
    *(
        "forward",
        "compile",
        "mro",
        "index",
        "values",
        "indices",
        "sign",
        "type",
        "max",
        "func",
        "register_buffer",
    ),
    *(
        "weight",
        "0",
        "a",
        "cpu",
        "sum",
        "mean",
        "none",
        "i,j->ij",
        "{0.__class__}",
        "{}",
        "MATH",
        TRAP,
        "antigravity",
    ),
    *("torch.DoubleTensor", "device", "dtype", "grad_fn", "__builtins__", "os", "key", "_make", "_replace"),
)
CLASSES = (
    *("builtins.int", "builtins.float", "builtins.bool", "builtins.list", "builtins.dict", "builtins.tuple"),
    *(
        "torch.Tensor",
        "torch.Size",
        "torch.nn.parameter.Parameter",
        "torch.device",
        "torch.SymInt",
        "builtins.slice",
    ),
)
RECORDS = (
    *("functools.partial", "collections.deque", "torch.return_types.sort", "torch.return_types.max"),
    *(
        "inspect.FullArgSpec",
        "torch._inductor.runtime.hints.HalideMeta",
        "torch.nn.utils.rnn.PackedSequence",
        "nowhere.Point",
        "torch.fx.immutable_collections.immutable_list",
    ),
)
LEFT_OUT = frozenset({"torch.Tensor.backward", "backward"})
"""What would run the autograd engine, whose threads outlive a graph's time."""


class Sealed(nn.Module):
    """What the graphs read: tensors, modules that hold others, a nested graph, values."""

    def __init__(self) -> None:
        super().__init__()
        self.box = nn.ParameterDict({"weight": nn.Parameter(torch.ones(2))})
        self.layer = nn.Linear(2, 2)
        self.layers = nn.ModuleList([nn.ReLU(), nn.Linear(2, 2)])
        self.act = nn.TransformerEncoderLayer(2, 1, 2)
        self.inner = fx.symbolic_trace(torch.nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        self.scale = nn.Parameter(torch.ones(2))
        self.pair = (1, [2.0, "a"])
        self.kind = int


PATHS = (
    *(
        "box",
        "layer",
        "layers",
        "layers.0",
        "layers.1",
        "act",
        "inner",
        "scale",
        "pair",
        "kind",
        "layer.weight",
    ),
    *(
        "act.activation",
        "box.weight",
        "layer.forward",
        "layer.type",
        "layers.0.type",
        "box.values",
        "act.T",
        "inner.type",
        "",
        "inner.0",
        "nothing",
    ),
)
MODULES = ("layer", "layers.0", "layers.1", "act", "inner", "box", "layers")


def root(folder: Path) -> GraphData:
    """The file that all graphs stand in, as it is read: what they may reach, and no node yet."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    for path in MODULES:
        graph.call_module(path, (x,))
    for path in ("scale", "pair", "kind"):
        graph.get_attr(path)
    graph.output(x)
    torch.save(fx.GraphModule(Sealed(), graph), folder / "root.pt")
    return open_graph(folder / "root.pt")


def inputs() -> dict[str, Any]:
    """The arguments of every graph, of each kind that a caller may pass."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    named = torch.sort(x)
    return {
        "x": x,
        "items": [x, 1, "a"],
        "table": {"a": x, "values": 2, "index": 3},
        "number": 2,
        "text": "i,j->ij",
        "place": torch.device("cpu"),
        "named": named,
    }


class Composer:
    """Nodes at random, of what stands before them."""

    def __init__(self, choice: random.Random, avoided: frozenset[str]) -> None:
        self._choice = choice
        self._functions = [each for each in sorted(functions.functions()) if each not in avoided | LEFT_OUT]
        self._methods = [each for each in sorted(METHODS) if each not in avoided | LEFT_OUT]
        self._operators = [each for each in sorted(OPERATORS) if each not in avoided and _is_loaded(each)]
        self._higher = [each for each in sorted(operators._HIGHER_ORDER) if each not in avoided]

    def node(self, name: str, known: list[str]) -> Node:
        """The next node; ``known`` are the names of those before it."""
        make = self._choice.choices(
            (
                self._function,
                self._method,
                self._attribute,
                self._item,
                self._path,
                self._module,
                self._operator,
            ),
            (30, 22, 12, 12, 8, 5, 8),
        )[0]
        if self._choice.random() < 0.06:
            make = self._higher_order
        return make(name, known)

    def _function(self, name: str, known: list[str]) -> Node:
        path = self._choice.choice(self._functions)
        if self._choice.random() < 0.25:  # of Python, the functions of which most values come
            path = self._choice.choice(
                [each for each in self._functions if each.startswith(("builtins", "operator"))]
            )
        if self._choice.random() < 0.03:
            path = self._choice.choice(("torch.compile", "torch.cond", "builtins.eval", "torch.enable_grad"))
        module, _, own = path.rpartition(".")
        if module.startswith("torch.Tensor"):
            module, own = "torch", path.removeprefix("torch.")
        schemas = torch._C._jit_get_schemas_for_operator(f"aten::{path.rpartition('.')[2]}")
        if schemas and self._choice.random() < 0.7:
            return Node(
                name, "call_function", Name(module, own), *self._fitting(self._choice.choice(schemas), known)
            )
        return Node(name, "call_function", Name(module, own), self._args(known), self._kwargs(known))

    def _method(self, name: str, known: list[str]) -> Node:
        receiver = Ref(self._choice.choice(known)) if self._choice.random() < 0.9 else self._value(known)
        method = self._choice.choice(self._methods)
        schemas = torch._C._jit_get_schemas_for_operator(f"aten::{method}")
        if schemas and self._choice.random() < 0.7:
            args, kwargs = self._fitting(self._choice.choice(schemas), known)
            return Node(name, "call_method", method, (receiver, *args[1:]), kwargs)
        args = (receiver, *self._args(known, 0))
        return Node(name, "call_method", method, args, self._kwargs(known))

    def _attribute(self, name: str, known: list[str]) -> Node:
        wanted = self._choice.choice((*sorted(ATTRIBUTES), *WORDS))
        args = (Ref(self._choice.choice(known)), wanted, *self._args(known, 0)[: self._choice.random() < 0.1])
        return Node(name, "call_function", Name("builtins", "getattr"), args)

    def _item(self, name: str, known: list[str]) -> Node:
        own = self._choice.choice(("getitem", "getitem", "setitem", "delitem", "contains"))
        args = (Ref(self._choice.choice(known)), self._value(known), self._value(known))
        return Node(name, "call_function", Name("operator", own), args if own == "setitem" else args[:2])

    def _path(self, name: str, known: list[str]) -> Node:
        return Node(name, "get_attr", self._choice.choice(PATHS))

    def _module(self, name: str, known: list[str]) -> Node:
        return Node(name, "call_module", self._choice.choice(MODULES), self._args(known, 1)[:2])

    def _operator(self, name: str, known: list[str]) -> Node:
        namespace, _, own = self._choice.choice(self._operators).partition("::")
        overloads = getattr(getattr(torch.ops, namespace), own).overloads()
        op = OpName(namespace, own, self._choice.choice(overloads))
        if self._choice.random() < 0.8:
            schema = getattr(getattr(getattr(torch.ops, namespace), own), op.overload or "default")._schema
            return Node(name, "call_function", op, *self._fitting(schema, known))
        return Node(name, "call_function", op, self._args(known), self._kwargs(known))

    def _higher_order(self, name: str, known: list[str]) -> Node:
        own = self._choice.choice(self._higher)
        args = list(self._args(known, 2))
        for place in operators.called_places(OpName("higher_order", own)):
            graphs: tuple[Any, ...] = (Attribute("inner"), Attribute("inner"), Attribute("layer"))
            some_op = OpName("aten", "relu", "default")
            called = self._choice.choice(
                (*graphs, some_op, OpName("higher_order", "wrap"), self._value(known))
            )
            args[place : place + 1] = [called]
        return Node(name, "call_function", OpName("higher_order", own), tuple(args), self._kwargs(known))

    def _fitting(self, schema: Any, known: list[str]) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
        """Arguments of the types in a schema, most of them; those with a default are often left out."""
        args: list[Any] = []
        kwargs: list[tuple[str, Any]] = []
        for argument in schema.arguments:
            if argument.has_default_value() and (argument.kwarg_only or self._choice.random() < 0.6):
                continue
            value = (
                self._value(known) if self._choice.random() < 0.08 else self._typed(str(argument.type), known)
            )
            if argument.kwarg_only or len(args) < len(kwargs):
                kwargs.append((argument.name, value))
            else:
                args.append(value)
        return tuple(args), tuple(kwargs)

    def _typed(self, kind: str, known: list[str]) -> Any:
        if kind.startswith("List["):
            inner = kind[5:-1]
            return List(tuple(self._typed(inner, known) for _ in range(self._choice.choice((1, 2, 2)))))
        if kind.startswith("Optional["):
            return None if self._choice.random() < 0.5 else self._typed(kind[9:-1], known)
        if kind == "Tensor":
            return Ref("x") if self._choice.random() < 0.5 else Ref(self._choice.choice(known))
        return self._choice.choice(_TYPED.get(kind, (None, 0, 1)))

    def _args(self, known: list[str], least: int = 1) -> tuple[Any, ...]:
        return tuple(self._value(known) for _ in range(self._choice.randint(least, least + 2)))

    def _kwargs(self, known: list[str]) -> tuple[tuple[str, Any], ...]:
        if self._choice.random() < 0.85:
            return ()
        word = self._choice.choice(
            ("key", "default", "dim", "dtype", "out", "message", "device", "generator", "mode")
        )
        return ((word, self._code() if self._choice.random() < 0.3 else self._value(known)),)

    def _value(self, known: list[str], depth: int = 0) -> Any:
        chance = self._choice.random()
        if chance < 0.55:
            return Ref(self._choice.choice(known))
        if chance < 0.82 or depth > 1:
            return self._literal()
        if chance < 0.86:
            return self._code()
        parts = tuple(self._value(known, depth + 1) for _ in range(self._choice.randint(0, 2)))
        if self._choice.random() < 0.15:
            module, _, own = self._choice.choice(RECORDS).rpartition(".")
            words = ("func", "device", "a", "values")
            return Record(
                Name(module, own), tuple(zip(self._choice.sample(words, len(parts)), parts, strict=True))
            )
        return self._choice.choice((parts, List(parts), Dict(tuple(zip(("a", "b"), parts, strict=False)))))

    def _literal(self) -> Any:
        plain = (None, True, False, 0, 1, -1, 2, 3, 0.5, 1j, torch.float32, torch.int64, torch.strided)
        others = (torch.device("cpu"), torch.contiguous_format, ..., Slice(0, 1), (2, 2), (0,), List((2, 2)))
        return self._choice.choice((*plain, *others, self._choice.choice(WORDS)))

    def _code(self) -> Any:
        module, _, own = self._choice.choice((*CLASSES, "torch.add", "torch.nn.functional.relu")).rpartition(
            "."
        )
        some = (Name(module, own), OpName("aten", "add", "Tensor"), Attribute(self._choice.choice(PATHS)))
        return self._choice.choice((*some, EnumMember(Name("torch.nn.attention", "SDPBackend"), "MATH")))


_TYPED: dict[str, tuple[Any, ...]] = {
    "int": (0, 1, 2, -1),
    "bool": (True, False),
    "float": (0.5, 1.0),
    "number": (1, 2, 0.5),
    "str": ("mean", "sum", "none", "ij,jk->ik", TRAP),
    "Device": (torch.device("cpu"),),
}


def _is_loaded(name: str) -> bool:
    namespace, _, own = name.partition("::")
    return operators.admits(OpName(namespace, own)) and hasattr(getattr(torch.ops, namespace), own)


class Finding(Exception):
    """What a run did that no run may do."""


class Canary:
    """Watches what the process does while a graph runs; ``found`` is what no graph may do."""

    def __init__(self) -> None:
        self._on = False
        self.found: list[str] = []
        sys.addaudithook(self._seen)

    def __enter__(self) -> Canary:
        self.found, self._on = [], True
        return self

    def __exit__(self, *_: Any) -> None:
        self._on = False
        if self.found:
            raise Finding(f"did {self.found[0]}")

    def _seen(self, event: str, args: tuple[Any, ...]) -> None:
        if self._on and (text := _forbidden(event, args)):
            self.found.append(text)


_OF_PYTHON = ("collections/__init__.py", "dataclasses.py", "<frozen importlib._bootstrap>", "typing.py")
_OF_FX2PY = ("fx2py/runtime/modules.py", "<fx2py runtime", "fx2py/artifact/", "fx2py/emit/")
_OF_TRACING = (
    *("torch/fx/experimental/proxy_tensor.py", "torch/_higher_order_ops/utils.py"),
    "torch/fx/operator_schemas.py",  # reads the types of torch's own schemas
)
"""Some higher-order operators trace the graph that they call: the text that is executed then holds torch's own names."""


def _forbidden(event: str, args: tuple[Any, ...]) -> str:
    """What an audited event does that no graph may; '' for all others."""
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return "" if args[0] in ("/dev/null", os.devnull) else f"open {args[0]!r} to write"
    if event == "import" and str(args[0]).partition(".")[0] in (TRAP, "antigravity"):
        return f"import {args[0]}"
    if event in ("exec", "compile") and not _is_own():
        return f"{event} {getattr(args[0], 'co_filename', args[-1])!r} of {_callers()}"
    started = (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "ctypes.dlopen",
        "socket.connect",
    )
    return (
        f"{event} {args!r}"[:200]
        if event in started or event.startswith(("os.remove", "shutil.", "pickle."))
        else ""
    )


def _callers() -> list[str]:
    frame: types.FrameType | None = sys._getframe(3)
    names: list[str] = []
    while frame is not None and len(names) < 12:
        names.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return names


def _is_own() -> bool:
    """Whether text is executed by what defines named tuples, imports modules, or by fx2py's own graph modules."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.endswith(_OF_PYTHON) or any(part in name for part in (*_OF_FX2PY, *_OF_TRACING)):
            return True
        frame = frame.f_back
    return False


_KINDS: dict[ValueKind, tuple[type, ...]] = {
    ValueKind.DEVICE: (torch.device, type(None)),
    ValueKind.LIMITS: (torch.finfo, torch.iinfo),
}


def fault_of(value: Any, kind: Any, name: str) -> str:
    """What is wrong with a value that the gate took for one of ``kind``."""
    if isinstance(kind, FileModule) or kind in (ValueKind.GRAPH, ValueKind.CONTEXT):
        return ""
    if kind is ValueKind.TYPE:
        return "" if isinstance(value, type) else f"{name} is no class"
    code = code_in(value)
    if code is not None:
        return f"{name} holds {code!r}, which is code"
    if kind in _KINDS and not isinstance(value, _KINDS[kind]):
        return f"{name} is a {type(value)}, not {kind}"
    if kind is ValueKind.RESULT and value is not None and type(value).__module__ != "torch.return_types":
        return f"{name} is a {type(value)}, not {kind}"
    return ""


_BOUND = frozenset({*TABLE_NAMES, *FROM_RUNTIME})
"""What binding gives a function, under names that no variable has."""


class Watch:
    """Looks at every variable of generated code, line by line."""

    def __init__(self) -> None:
        self.found = ""

    def __call__(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        if "execution_fn" not in frame.f_code.co_filename:  # not what the file carries along
            return None
        for name, value in frame.f_locals.items():
            held = value if name not in _BOUND else None
            own = isinstance(held, nn.Module | types.FunctionType | types.MethodType | type) or _is_context(
                held
            )
            code = None if own and not isinstance(held, list) else code_in(held)
            if code is not None:
                self.found = f"{name} of the generated code holds {code!r}"
        return self


def _is_context(value: Any) -> bool:
    return isinstance(
        value, torch.amp.autocast_mode.autocast | torch.autograd.grad_mode.set_grad_enabled
    ) or (type(value).__name__ == "_InferenceMode")


class Attack:
    """One graph after another, each grown node by node from what is admitted and runs."""

    def __init__(self, folder: Path, canary: Canary, avoided: frozenset[str]) -> None:
        self._folder = folder
        self._canary = canary
        self._avoided = avoided
        self._base = root(folder)
        self.counts = {"graphs": 0, "nodes": 0, "refused": 0, "failed": 0, "generated": 0, "read anew": 0}
        self.last = ""

    def data(self, nodes: list[Node], result: Any = None) -> GraphData:
        own = [Node(name, "placeholder", name) for name in inputs()]
        graph = Graph((*own, *nodes, Node("output", "output", "output", (result,))))
        record: ModuleRecord = dataclasses.replace(self._base.root, graph=graph)
        return dataclasses.replace(self._base, root=record, convention=None, sample_inputs=None)

    def graph(self, seed: str, steps: int) -> None:
        """Grow one graph; raises Finding."""
        choice = random.Random(seed)
        composer = Composer(choice, self._avoided)
        nodes: list[Node] = []
        for step in range(steps):
            node = composer.node(f"n{step}", [*inputs(), *(each.name for each in nodes)])
            if self._runs([*nodes, node]):
                nodes.append(node)
        self.counts["graphs"] += 1
        self.counts["nodes"] += len(nodes)
        if nodes:
            self._generated(nodes, through_file=choice.random() < 0.1)

    def _runs(self, nodes: list[Node]) -> bool:
        data = self.data(nodes)
        record = data.root
        assert record.graph is not None
        try:
            kinds: Mapping[str, Any] = check_graph(record, record.graph, Policy())
        except UntrustedTargetError:
            self.counts["refused"] += 1
            return False
        self.note(nodes[-1])
        faults: list[str] = []

        class Observer:
            def before(self, path: str, node: Node, operands: tuple[Any, ...]) -> None:
                """Nothing is checked before a node runs."""

            def after(self, path: str, node: Node, value: Any, operands: tuple[Any, ...]) -> None:
                if path in kinds and (fault := fault_of(value, kinds[path], path)):
                    faults.append(fault)

        try:
            with self._canary:
                Reference(data, observe=Observer())(**inputs())
        except Finding as finding:
            raise Finding(f"{finding}\n{_shown(nodes)}") from None
        except Exception:  # most compositions at random fail
            self.counts["failed"] += not faults
            if not faults:
                return False
        finally:
            _reset()
        if faults:
            raise Finding(f"{faults[0]}\n{_shown(nodes)}")
        return True

    def _generated(self, nodes: list[Node], through_file: bool) -> None:
        """The same graph as generated code, which the audit must admit too."""
        data = self.data(nodes)
        try:
            if through_file:
                save_graph(data, self._folder / "graph.fx2py")
                data = open_graph(self._folder / "graph.fx2py")
            made = artifact.generate(data)
        except Fx2pyError:
            return
        try:
            run = made.bind()
        except UntrustedTargetError as refused:
            if (
                "getattr(" in refused.name
            ):  # code reads from a module that is used as one what the graph itself holds
                self.counts["read anew"] += 1
                return
            raise Finding(
                f"the audit refuses what the interpreter runs: {refused}\n{_shown(nodes)}"
            ) from None
        except Fx2pyError:
            return
        watch = Watch()
        try:
            with self._canary:
                sys.settrace(watch)
                run(**inputs())
        except Finding as finding:
            raise Finding(f"generated code {finding}\n{_shown(nodes)}") from None
        except Exception:  # as above
            return
        finally:
            sys.settrace(None)
            _reset()
        self.counts["generated"] += 1
        if watch.found:
            raise Finding(f"{watch.found}\n{_shown(nodes)}")

    def note(self, node: Node) -> None:
        """Leave behind what runs next, for the case that it ends the process."""
        target = node.target
        own = f"{target.namespace}::{target.name}" if isinstance(target, OpName) else str(target)
        self.last = target.name if isinstance(target, OpName) and target.is_higher_order else own
        (self._folder / "last").write_text(self.last)


def _reset() -> None:
    """The modes that a graph may have entered and not left."""
    torch._C._set_grad_enabled(True)
    torch.set_autocast_enabled("cpu", False)
    torch.set_autocast_enabled("cuda", False)
    while torch._C._functorch.peek_interpreter_stack() is not None:
        torch._C._functorch.pop_dynamic_layer_stack()


def _shown(nodes: list[Node]) -> str:
    return "\n".join(
        f"  {each.name} = {each.op} {each.target} {each.args} {dict(each.kwargs)}" for each in nodes
    )


def child(options: argparse.Namespace) -> None:
    """Graphs from one seed on; prints what it counted and found as a line of JSON each."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    signal.signal(signal.SIGALRM, _too_long)
    canary, end = Canary(), time.monotonic() + options.seconds
    attack = Attack(options.folder, canary, frozenset(options.avoided.split()))
    number = options.first
    while number < options.first + options.graphs and time.monotonic() < end:
        signal.alarm(20)
        try:
            attack.graph(f"{options.seed} {number}", options.steps)
        except Finding as finding:
            print(json.dumps({"seed": f"{options.seed} {number}", "finding": str(finding)}), flush=True)
        except TimeoutError:
            pass
        except Exception:  # a fault of the gate or of this file, which must not end the run unseen
            print(
                json.dumps({"seed": f"{options.seed} {number}", "finding": traceback.format_exc()}),
                flush=True,
            )
        signal.alarm(0)
        number += 1
        (options.folder / "number").write_text(f"{number} {json.dumps(attack.counts)}")


def _too_long(*_: Any) -> None:
    raise TimeoutError


def attacks(seconds: float, seed: int, graphs: int = 10**9, steps: int = 24) -> Iterator[dict[str, Any]]:
    """What children find, and last what they tried: ``counts``, and ``crashed``, what ended a process."""
    end = time.monotonic() + seconds
    counts: dict[str, int] = {}
    crashed: list[str] = []
    first = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while time.monotonic() < end and first < graphs:
            (folder / "number").write_text(f"{first} {{}}")
            words = [
                "--child",
                "--first",
                str(first),
                "--graphs",
                str(min(500, graphs - first)),
                "--seed",
                str(seed),
            ]
            words += ["--seconds", str(end - time.monotonic()), "--folder", name, "--steps", str(steps)]
            code, lines = _run_child([*words, "--avoided", " ".join(crashed)], end)
            yield from lines
            reached, _, found = (folder / "number").read_text().partition(" ")
            for key, count in json.loads(found).items():
                counts[key] = counts.get(key, 0) + count
            first = int(reached)
            if code not in (0, None):
                crashed.append((folder / "last").read_text() if (folder / "last").exists() else "nothing")
                first += 1
    yield {"counts": counts, "crashed": crashed}


def _run_child(words: list[str], end: float) -> tuple[int | None, list[dict[str, Any]]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.attack", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            out, _ = process.communicate(timeout=max(60.0, min(600.0, end - time.monotonic() + 60)))
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    lines = [json.loads(line) for line in out.splitlines() if line.startswith('{"seed"')]
    return process.returncode, lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Graphs that try to get hold of code, until the time is over."
    )
    parser.add_argument("--seconds", type=float, default=1800, help="how long (default: 1800)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the graphs (default: 0)")
    parser.add_argument("--graphs", type=int, default=10**9, help="how many graphs at most")
    parser.add_argument(
        "--steps", type=int, default=24, help="how many nodes are tried in each (default: 24)"
    )
    for hidden in ("--folder", "--first", "--avoided"):
        parser.add_argument(
            hidden, type={"--folder": Path, "--first": int}.get(hidden, str), help=argparse.SUPPRESS
        )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    findings = 0
    for line in attacks(options.seconds, options.seed, options.graphs, options.steps):
        if "finding" in line:
            findings += 1
            print(f"seed {line['seed']}: {line['finding']}\n", file=sys.stderr, flush=True)
        else:
            print(", ".join(f"{count:,} {what}" for what, count in line["counts"].items()))
            print(f"crashed the process, a kernel's fault: {', '.join(line['crashed']) or 'nothing'}")
    if findings:
        sys.exit(f"{findings} findings")
    print("nothing was found")


if __name__ == "__main__":
    main()
