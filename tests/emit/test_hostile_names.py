"""Hostile text in every place of a graph where text can stand: refused, or written so that it stays text."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import black
import pytest
import torch

import fx2py
from fx2py import Policy
from fx2py.artifact import Artifact, generate
from fx2py.emit.validate import validate
from fx2py.errors import Fx2pyError, InternalError
from fx2py.graph.data import (
    CallingConvention,
    GraphData,
    InputCheck,
    InputContract,
    ModuleFrame,
    ModuleRecord,
    Node,
    NodeMeta,
    Provenance,
    SourceLine,
    SymMeta,
    TensorMeta,
    Tree,
)
from fx2py.graph.values import Dict, EnumMember, List, Live, Name, OpName, Record, Ref
from fx2py.program.structure.outline import structured
from tests.read.archives import MODEL, members_of, write_archive
from tests.replay.graphs import call, data, output, placeholder

RUN = "__import__('os').system('true')"
PAYLOADS = (
    f"x\n{RUN}\n",
    f"x\r{RUN}",
    f"x;{RUN}",
    f"x=({RUN})",
    f"{{{RUN}}}",
    f"'+{RUN}+'",
    f'"+{RUN}+"',
    f'"""\n{RUN}\n"""',
    f"\\\n{RUN}",
    f"x)\n    {RUN}\n    (",
    f"x\u2028{RUN}",
    f"x\x0c{RUN}",
    f"\u202e{RUN}\u202c",
    f"x\x00{RUN}",
    "\ud800",
    "coding=raw_unicode_escape",
    "x\\u000a" + RUN,
    "# fmt: off",
    "# type: ignore[x]\nimport os",
    "os.system",
    "torch.os.system",
    "torch.load",
    "builtins.eval",
    "__class__.__base__",
    "__globals__",
    "__debug__",
    "__file__",
    "__builtins__",
    "ﬁ",
    "größe",
    "",
    " ",
    ".",
    "a..b",
    "*",
    "**",
    "*x",
    "0",
    "from",
    "None",
    "lambda",
    "match",
    "_",
    "x" * 5000,
    *("self", "torch", "F", "math", "functools", "collections", "os", "operator", "print", "len", "range"),
    *(
        "weights",
        "submods",
        "consts",
        "tensors",
        "device",
        "modules",
        "renamed",
        "execution_fn",
        "load",
        "bind",
    ),
    *("build", "assemble", "Missing", "live", "LIVE", "retarget", "from_bits", "container", "fields_of"),
    *("code", "runtime", "names", "_runtime", "_tables", "__init__", "__path__", "__spec__"),
    *("fast_call", "check_inputs", "graph_module", "Shape", "input_checks", "find_class", "pytree", "Any"),
)
PYTHON_ERRORS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What calls of wrong names and arguments end in, in the graph as in the code."""
pytestmark = pytest.mark.filterwarnings("ignore")
X = Ref("x")
RELU = Name("torch", "relu")


def called(name: str, record: ModuleRecord) -> GraphData:
    node = Node("m", "call_module", name, (X,))
    return data(placeholder("x"), node, output(Ref("m")), children={name: record})


def leaf(**parts: Any) -> ModuleRecord:
    return ModuleRecord(Name("torch.nn.modules.activation", "ReLU"), **parts)


def nested() -> ModuleRecord:
    return data(placeholder("y"), call("z", RELU, Ref("y")), output(Ref("z"))).root


def with_meta(**parts: Any) -> GraphData:
    if "module" in parts:
        parts["stack"] = (ModuleFrame(path := parts.pop("module"), path),)
    node = replace(call("y", RELU, X), meta=NodeMeta(**parts))
    return data(replace(placeholder("x"), meta=NodeMeta(**parts)), node, output(Ref("y")))


def one_value(value: Any) -> GraphData:
    return data(placeholder("x"), call("y", Name("builtins", "str"), value), output((Ref("y"), value)))


def with_tree(tree: Tree, name: str = "x") -> GraphData:
    convention = CallingConvention(((name, tree),), (), tree)
    return replace(data(placeholder("x"), output((X,))), convention=convention)


def with_contract(*checks: InputCheck, **parts: Any) -> GraphData:
    graph = with_tree(Tree("leaf"))
    return replace(graph, contract=InputContract(checks, **parts))


PLACES: dict[str, Callable[[str], GraphData]] = {
    "node name": lambda p: data(placeholder("x"), call(p, RELU, X), output(Ref(p))),
    "placeholder": lambda p: data(Node("x", "placeholder", p), output(X)),
    "second placeholder": lambda p: data(
        placeholder("y"), Node("x", "placeholder", p, (1,)), output((X, Ref("y")))
    ),
    "default": lambda p: data(Node("x", "placeholder", "x", (p,)), output(X)),
    "function module": lambda p: data(placeholder("x"), call("y", Name(p, "f"), X), output(Ref("y"))),
    "function name": lambda p: data(placeholder("x"), call("y", Name("torch", p), X), output(Ref("y"))),
    "operator namespace": lambda p: data(
        placeholder("x"), call("y", OpName(p, "f", "default"), X), output(Ref("y"))
    ),
    "operator name": lambda p: data(placeholder("x"), call("y", OpName("aten", p), X), output(Ref("y"))),
    "operator overload": lambda p: data(
        placeholder("x"), call("y", OpName("aten", "add", p), X, 1), output(Ref("y"))
    ),
    "higher-order operator": lambda p: data(
        placeholder("x"), call("y", OpName("higher_order", p), X), output(Ref("y"))
    ),
    "opaque target": lambda p: data(placeholder("x"), Node("y", "call_function", p, (X,)), output(Ref("y"))),
    "method": lambda p: data(placeholder("x"), Node("y", "call_method", p, (X,)), output(Ref("y"))),
    "attribute read": lambda p: data(
        placeholder("x"), call("y", Name("builtins", "getattr"), X, p), output(Ref("y"))
    ),
    "keyword": lambda p: data(
        placeholder("x"), Node("y", "call_function", RELU, (X,), ((p, 1),)), output(Ref("y"))
    ),
    "method keyword": lambda p: data(
        placeholder("x"), Node("y", "call_method", "sum", (X,), ((p, 1),)), output(Ref("y"))
    ),
    "parameter path": lambda p: data(
        placeholder("x"), Node("w", "get_attr", p), output(Ref("w")), parameters={p: torch.ones(1)}
    ),
    "attribute path": lambda p: data(
        placeholder("x"), Node("w", "get_attr", p), output(Ref("w")), attributes={p: p}
    ),
    "module path": lambda p: called(p, leaf()),
    "graph path": lambda p: called(p, nested()),
    "module class": lambda p: called("m", ModuleRecord(Name("torch.nn", p))),
    "module class home": lambda p: called("m", ModuleRecord(Name(p, "ReLU"))),
    "module attribute": lambda p: called("m", leaf(attributes={p: 1})),
    "module attribute value": lambda p: called("m", leaf(attributes={"inplace": p})),
    "function in a module": lambda p: called(
        "m", leaf(attributes={"inplace": False, "act": Name("torch", p)})
    ),
    "module parameter": lambda p: called("m", leaf(parameters={p: torch.ones(1)})),
    "module buffer": lambda p: called("m", leaf(buffers={p: torch.ones(1)}, non_persistent=frozenset({p}))),
    "module child": lambda p: called("m", leaf(children={p: leaf()})),
    "hook": lambda p: called("m", leaf(hooks=(p,))),
    "text": one_value,
    "bytes": lambda p: one_value(p.encode(errors="replace")),
    "text in a container": lambda p: one_value(List((p, (p,)))),
    "key": lambda p: one_value(Dict(((p, 1),))),
    "enum member": lambda p: one_value(EnumMember(Name("torch.nn.attention", "SDPBackend"), p)),
    "enum class": lambda p: one_value(EnumMember(Name("torch", p), "MATH")),
    "value name": lambda p: one_value(Name("torch", p)),
    "dict class": lambda p: one_value(Dict((("a", 1),), Name("collections", p))),
    "default factory": lambda p: one_value(
        Dict((("a", 1),), Name("collections", "defaultdict"), Name("torch", p))
    ),
    "record class": lambda p: one_value(Record(Name("collections", p), (("a", 1),))),
    "record home": lambda p: one_value(Record(Name(p, "Point"), (("a", 1),))),
    "record field": lambda p: one_value(Record(Name("a", "Point"), ((p, 1),))),
    "constant": lambda p: one_value(Live(object(), p)),
    "source file": lambda p: with_meta(source=SourceLine(p, 1, "code")),
    "source code": lambda p: with_meta(source=SourceLine("model.py", 1, p)),
    "source module": lambda p: with_meta(module=p),
    "annotation": lambda p: with_meta(annotation=p),
    "symbolic shape": lambda p: with_meta(value=TensorMeta(torch.float32, (p, 1))),
    "symbolic value": lambda p: with_meta(value=SymMeta("int", p)),
    "provenance": lambda p: replace(with_meta(), provenance=Provenance(p, f"/tmp/{p}", p, p, p)),
    "note": lambda p: replace(with_meta(), notes=(p,)),
    "input name": lambda p: with_tree(Tree("leaf"), p),
    "input key": lambda p: with_tree(Tree("dict", (Tree("leaf"),), (p,))),
    "input field": lambda p: with_tree(Tree("record", (Tree("leaf"),), (p,), Name("a", "B"))),
    "input class": lambda p: with_tree(Tree("record", (Tree("leaf"),), ("a",), Name(p, p))),
    "result factory": lambda p: with_tree(Tree("defaultdict", (Tree("leaf"),), ("a",), Name("torch", p))),
    "checked size": lambda p: with_contract(InputCheck("x", (p, 2))),
    "checked text": lambda p: with_contract(InputCheck("x", None, True, p)),
    "checked number": lambda p: with_contract(InputCheck("x", None, symbol=p)),
    "range": lambda p: with_contract(InputCheck("x", ("s0",)), ranges=((p, 1, 2), ("s0", 1, 2))),
    "guard": lambda p: with_contract(InputCheck("x", ("s0",)), guards=(p,)),
}


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was executed; the test fails when anything was."""
    calls: list[str] = []
    for module, name in (
        (os, "system"),
        (os, "popen"),
        (os, "execv"),
        (subprocess, "Popen"),
    ):
        monkeypatch.setattr(module, name, lambda *args, _name=name, **kwargs: calls.append(_name))
    yield calls
    assert calls == []


def generated_or_refused(make: Callable[[Any], Artifact], source: Any) -> Artifact | None:
    """The artifact, or None when the source is at fault; an internal error is a fault of fx2py."""
    try:
        return make(source)
    except InternalError:
        raise
    except Fx2pyError:
        return None


def assert_harmless(artifact: Artifact, folder: Path | None = None) -> None:
    """The text is the Program, black leaves it alone, and running it as a file's reaches only what is admitted."""
    assert artifact.program is not None
    validate(structured(artifact.program), artifact.texts)
    for text in artifact.texts:
        assert all(line.isprintable() for line in text.split("\n"))
        assert black.format_str(text, mode=black.Mode()) == text
    with contextlib.suppress(Fx2pyError, *PYTHON_ERRORS):
        artifact.bind(policy=Policy())(torch.ones(2))


def assert_stays_text(place: str, payloads: Sequence[str]) -> None:
    for payload in payloads:
        artifact = generated_or_refused(generate, PLACES[place](payload))
        if artifact is not None:
            assert_harmless(artifact)


@pytest.mark.parametrize("place", PLACES)
def test_hostile_text_stays_text(place: str, executed: list[str]) -> None:
    """Each place with one payload in four; all of them where a name of the file's own could be hidden."""
    first = list(PLACES).index(place) % 4
    assert_stays_text(place, PAYLOADS if place in ("graph path", "module path") else PAYLOADS[first::4])


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_all_hostile_text_stays_text(place: str, executed: list[str]) -> None:
    assert_stays_text(place, PAYLOADS)


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.qqqqqqqqqqqqqqqqqqqq = torch.nn.Parameter(torch.ones(2))
        self.act = torch.nn.ReLU()

    def forward(self, wwwwwwwwwwwwwwwwwwww):
        hidden = self.act(self.linear(wwwwwwwwwwwwwwwwwwww) * self.qqqqqqqqqqqqqqqqqqqq)
        return torch.nn.functional.interpolate(hidden[None], scale_factor=2, mode="nearest")


INJECTIONS = tuple(
    text for text in PAYLOADS if 0 < len(text.encode(errors="replace")) <= 60 and "\ud800" not in text
)


@pytest.mark.parametrize(
    "name", [b"qqqqqqqqqqqqqqqqqqqq", b"wwwwwwwwwwwwwwwwwwww", b"scale_factor", b"nearest", b"ReLU"]
)
def test_hostile_text_in_a_saved_graph_stays_text(name: bytes, tmp_path: Path, executed: list[str]) -> None:
    saved = tmp_path / "saved.pt"
    torch.save(torch.fx.symbolic_trace(Model()), saved)
    with zipfile.ZipFile(saved) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    pickled = next(member for member in members if member.endswith("data.pkl"))
    assert name in members[pickled]
    for index, payload in enumerate(INJECTIONS):
        padded = payload.encode()[: len(name)].ljust(len(name), b"x")
        edited = tmp_path / f"edited_{index}.pt"
        with zipfile.ZipFile(edited, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content.replace(name, padded) if member == pickled else content)
        artifact = generated_or_refused(fx2py.generate, edited)
        if artifact is not None:
            assert_harmless(artifact)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("hostile") / "model.pt2"
    rows = torch.export.Dim("rows", min=2, max=64)
    program = torch.export.export(Model(), (torch.ones(3, 2),), dynamic_shapes=({0: rows},))
    torch.export.save(program, path)
    return members_of(path)


def text_places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every text in a JSON document."""
    if isinstance(document, str):
        yield path
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document) if isinstance(document, list) else ()
    )
    for key, part in items:
        yield from text_places(part, (*path, key))


@pytest.mark.parametrize("payload", [f"x\n{RUN}\n", f'"+{RUN}+"', "torch.os.system", "build"])
def test_hostile_text_in_an_archive_stays_text(
    payload: str, archive: dict[str, bytes], tmp_path: Path, executed: list[str]
) -> None:
    places = list(text_places(json.loads(archive[MODEL])))
    assert len(places) > 50
    for number, place in enumerate(places[::3]):
        document = json.loads(archive[MODEL])
        part = document
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = payload
        members = {**archive, MODEL: json.dumps(document).encode()}
        edited = write_archive(tmp_path / f"edited_{number}.pt2", members)
        artifact = generated_or_refused(fx2py.generate, edited)
        if artifact is not None:
            assert_harmless(artifact)
