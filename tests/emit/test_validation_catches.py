"""The check is checked: whatever is changed in emitted text, validation notices; layout and comments are free."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

import black
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact, generate
from fx2py.emit.module import Texts
from fx2py.emit.validate import validate
from fx2py.errors import InternalError
from fx2py.graph.values import Dict, EnumMember, List, Name, OpName, Range, Record, Ref, Set, Slice
from fx2py.program.structure.outline import structured
from tests.emit.mutations import mutants
from tests.emit.values import bits_to_float
from tests.replay.graphs import call, data, output, placeholder

NAN_PAYLOAD = bits_to_float(0x7FF8000000000001)


def literals() -> Artifact:
    """Literals of every kind, containers, keywords that are no names, operators, slices, defaults."""
    x = Ref("x")
    return generate(
        data(
            placeholder("x"),
            placeholder("from", 0.0),
            placeholder("scale", (1, True)),
            call("one", Name("torch", "add"), x, 0.0, alpha=1, **{"from": -0.0}),
            call("two", Name("torch", "clamp"), Ref("one"), -1.5, float("inf")),
            call("three", Name("operator", "sub"), Ref("two"), x),
            call("four", Name("operator", "getitem"), Ref("three"), (Slice(1, None, 2), ..., None)),
            call("five", Name("operator", "lt"), Ref("four"), 2),
            call(
                "six",
                Name("some.package", "f"),
                b"ab",
                "text",
                complex(-0.0, 1.0),
                torch.float16,
                Range(0, 3, 1),
            ),
            call("set", Name("operator", "setitem"), x, 0, Ref("six")),
            call("seven", Name("builtins", "getattr"), Ref("six"), "shape"),
            call("eight", Name("operator", "neg"), Ref("seven")),
            call("nine", Name("some.package", "g"), torch.device("cuda:1"), NAN_PAYLOAD, torch.device("cpu")),
            call(
                "ten",
                Name("some.package", "h"),
                EnumMember(Name("m", "E"), "A"),
                Set((1, "a"), True),
                device=None,
            ),
            output(
                (
                    Dict((("a", Ref("five")), ("b", List((Ref("eight"), Ref("nine")))))),
                    Record(Name("a.b", "Point"), (("x", Ref("ten")), ("y", Ref("scale")))),
                    Ref("from"),
                )
            ),
        )
    )


class Layers(nn.Module):
    """Called modules with state of their own, tied weights, a parameter and a buffer used directly."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25), nn.Sequential(nn.BatchNorm1d(2)))
        self.last = nn.Linear(2, 2)
        self.last.weight = self.block[0].weight
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("offset", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.block(x) * self.scale + self.offset)


class LeafBlocks(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return path in ("block", "last")


def layers() -> Artifact:
    model = Layers()
    return fx2py.generate(fx.GraphModule(model, LeafBlocks().trace(model)))


def branches() -> Artifact:
    """A higher-order operator with its branches as functions, exact operators, checked inputs of dynamic size."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor, pair: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            taken = torch.cond(x.sum() > 0, lambda x: (x * self.weight,), lambda x: (x - 1,), (x,))[0]
            return {"out": taken + pair["y"][1:]}

    rows = torch.export.Dim("rows", min=2, max=64)
    shapes = ({0: rows}, {"y": {0: rows + 1}})
    program = torch.export.export(Model(), (torch.ones(4, 3), {"y": torch.ones(5, 3)}), dynamic_shapes=shapes)
    return fx2py.generate(program, options=GenerateOptions(exact_ops=True))


def pieces() -> Artifact:
    """A graph that calls nested graphs, kept as functions."""

    class Piece(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * self.weight, x + 1

    root = nn.Module()
    root.first, root.second = fx.symbolic_trace(Piece()), fx.symbolic_trace(Piece())
    graph = fx.Graph()
    x = graph.placeholder("x")
    first = graph.call_module("first", (x,))
    second = graph.call_module("second", (graph.call_function(operator.getitem, (first, 0)),))
    graph.output((second, graph.call_function(operator.getitem, (first, 1))))
    return fx2py.generate(fx.GraphModule(root, graph), options=GenerateOptions(keep_submodules=True))


class Positions(nn.Module):
    """Two values that depend on no input."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(torch.arange(2, device=x.device), self.table)
        columns = torch.arange(4, device=x.device).cos()
        return x * rows + columns


def once() -> Artifact:
    """A function whose results are kept from one call to the next, and the tuple that it returns."""
    artifact = fx2py.generate(
        torch.export.export(Positions(), (torch.ones(2, 4),)), options=GenerateOptions(optimize=True)
    )
    assert "def compute_once(" in artifact.source
    assert "return (table,), (embedding, cos)" in artifact.source
    return artifact


def handed_over() -> Artifact:
    """Pieces that free their arguments before they end, so that the caller hands them over."""

    def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        left, right = torch.relu(torch.cat((x, y))).chunk(2)
        return torch.sigmoid(left.exp() + right)

    options = GenerateOptions(split_at=("aten::cat", "aten::exp"))
    artifact = fx2py.generate(fx.symbolic_trace(forward), options=options)
    assert "(moved.pop(0))" in artifact.source
    assert "(moved_1.pop(0), moved_1.pop(0))" in artifact.source
    return artifact


def objects() -> Artifact:
    """Modules that are handed to functions as objects, beside one that is only called, and a tensor read anew."""
    root = nn.Module()
    root.first, root.second, root.called = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    graph = fx.Graph()
    x = graph.placeholder("x")
    first = graph.call_function(applied, (graph.get_attr("first"), graph.call_module("called", (x,))))
    second = graph.call_function(applied, (graph.get_attr("second"), first))
    graph.output((second, graph.get_attr("first.weight")))
    artifact = fx2py.generate(fx.GraphModule(root, graph))
    assert 'renamed, ["first", "second"]' in str(artifact.tables)
    return artifact


def applied(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return module(x)


class Stack(nn.Module):
    """Three equal layers, each of a block and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Stack.Block(factor) for factor in (2.0, 3.0, 3.0, 3.0)])
        self.norm = Stack.Norm()

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            centered = x - x.mean(-1, keepdim=True)
            return self.weight * centered * torch.rsqrt(centered.square().mean(-1, keepdim=True) + 1e-6)

    class Block(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.norm, self.proj, self.factor = Stack.Norm(), nn.Linear(4, 8), factor

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            left, right = self.proj(self.norm(x)).split(4, -1)
            return x * self.factor + left.softmax(-1) * right + mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = x[:1].relu()
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


def stack() -> Artifact:
    """Functions for modules, a loop over equal layers, weights by name, a number as an argument."""
    artifact = fx2py.generate(torch.export.export(Stack(), (torch.ones(2, 4),)))
    assert "for layer in weights.layers" in artifact.source
    assert "left, right = " in artifact.source
    return artifact


CASES = (literals, layers, branches, pieces, once, handed_over, objects, stack)


def unnoticed(artifact: Artifact, step: int) -> list[str]:
    """Which of the changes of the text, one in ``step``, validation takes for the same text."""
    program = structured(artifact.program)
    found = []
    changes = list(mutants(artifact.texts, step))
    assert len(changes) > 400 // step
    for what, changed in changes:
        try:
            validate(program, changed)
        except InternalError:
            continue
        found.append(what)
    return found


@pytest.mark.parametrize("case", CASES)
def test_small_changes_of_the_text_are_noticed(case: Callable[[], Artifact]) -> None:
    assert unnoticed(case(), step=7) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_small_change_of_the_text_is_noticed(case: Callable[[], Artifact]) -> None:
    assert unnoticed(case(), step=1) == []


@pytest.mark.parametrize("case", CASES)
def test_layout_and_comments_may_change_freely(case: Callable[[], Artifact]) -> None:
    artifact = case()
    for change in (
        lambda text: ast.unparse(ast.parse(text)),
        lambda text: black.format_str(text, mode=black.Mode(line_length=20)),
        lambda text: text.replace("\n    return ", "\n    # a comment\n    return "),
    ):
        validate(structured(artifact.program), Texts(*map(change, artifact.texts)))


@pytest.mark.parametrize(
    "added", ["def fast_call(module):\n    return None\n", "Missing = None\n", "import os\n"]
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_added_to_either_file_is_noticed(place: int, added: str) -> None:
    artifact = pieces()
    assert artifact.program is not None
    for changed in (artifact.texts[place] + added, added + artifact.texts[place]):
        texts = [*artifact.texts[:place], changed, *artifact.texts[place + 1 :]]
        with pytest.raises(InternalError):
            validate(artifact.program, Texts(*texts))


def test_names_are_compared_to_the_last_part() -> None:
    artifact = generate(
        data(placeholder("x"), call("y", OpName("aten", "add", "Tensor"), Ref("x"), 1), output(Ref("y"))),
        GenerateOptions(exact_ops=True),
    )
    changed = artifact.source.replace("aten.add.Tensor", "aten.add.Scalar")
    with pytest.raises(InternalError):
        validate(artifact.program, artifact.texts._replace(source=changed))
