"""Results that are written inside the statement that takes them: when, and that the order of calls and of deaths stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fx2py
from fx2py.emit.expressions import TextScope
from fx2py.emit.module import Texts, statement_text
from fx2py.emit.parse import GrammarError, parse
from fx2py.graph.values import Ref
from fx2py.program.ir import Assign, Call, Delete, Method, Unpack
from fx2py.program.structure.inlined import inlined


class Lines(nn.Module):
    class Layer(nn.Module):
        def forward(self, x, y):
            scaled = torch.rsqrt(x * x + 1e-6) * y
            folded = scaled.reshape(-1).sin()
            return folded + torch.cat([x.neg(), y]).sum()

    def __init__(self) -> None:
        super().__init__()
        self.layer = self.Layer()

    def forward(self, x, y):
        for _ in range(3):
            x = self.layer(x, y).reshape(4, 4)
        return x


def generated() -> fx2py.Artifact:
    program = torch.export.export(Lines(), (torch.rand(4, 4), torch.rand(4, 4)))
    return fx2py.generate(program)


def with_line(old: str, new: str) -> Texts:
    artifact = generated()
    assert old in artifact.source
    return Texts(artifact.source.replace(old, new, 1), artifact.tables)


def test_a_line_of_the_model_is_one_statement() -> None:
    source = generated().source
    assert "scaled = torch.rsqrt(x * x + 1e-06) * y" in source
    assert "folded = torch.sin(scaled.reshape(-1))" in source


def test_calls_inside_a_statement_are_read_in_the_order_in_which_python_makes_them() -> None:
    texts = with_line(
        "    scaled = torch.rsqrt(", "    z = x.mul(y.neg()).add(y.abs(), alpha=2)\n    scaled = torch.rsqrt("
    )
    layer = next(each for each in parse(texts).functions if each.name == "layer")
    start = next(
        index
        for index, each in enumerate(layer.body)
        if isinstance(each, Assign) and each.call.callee == Method("neg")
    )
    assert layer.body[start : start + 6] == (
        Assign(".0", Call(Method("neg"), (Ref("y"),))),
        Assign(".1", Call(Method("mul"), (Ref("x"), Ref(".0")))),
        Delete((".0",)),
        Assign(".2", Call(Method("abs"), (Ref("y"),))),
        Assign("z", Call(Method("add"), (Ref(".1"), Ref(".2")), (("alpha", 2),))),
        Delete((".1", ".2")),
    )


def test_what_a_statement_takes_apart_is_let_go_of_as_its_results_are() -> None:
    texts = with_line("    scaled = torch.rsqrt(", "    a, b = y.neg().split(2)\n    scaled = torch.rsqrt(")
    parsed = parse(texts)
    layer = next(each for each in parsed.functions if each.name == "layer")
    assert Unpack(("a", "b"), Call(Method("split"), (Ref(".0"), 2))) in layer.body
    flat = inlined(parsed.functions, parsed.tables.weight_paths or [])
    assert all(
        not name.startswith(".")
        for each in flat.statements
        if isinstance(each, Delete)
        for name in each.names
    )


@pytest.mark.parametrize(
    "line",
    [
        "z = (x + y) * y",
        "z = x - (y - x)",
        "z = x - y - x",
        "z = (x < y) < x",
        "z = -(x**y)",
        "z = (-x) ** y",
        "z = (x @ y).T",
    ],
)
def test_an_operator_inside_another_has_only_the_parentheses_that_it_needs(line: str) -> None:
    texts = with_line("    scaled = torch.rsqrt(", f"    {line}\n    scaled = torch.rsqrt(")
    layer = next(each for each in parse(texts).functions if each.name == "layer")
    scope = TextScope({}, {}, {})
    written = [text for statement in layer.body for text in statement_text(statement, scope)]
    assert line in written


@pytest.mark.parametrize(
    "line",
    [
        "z = layer(layer(x, y), y)",
        "z = (lambda: x)().neg()",
        "z = x.neg if x else y",
    ],
)
def test_other_calls_inside_statements_are_not_read(line: str) -> None:
    with pytest.raises(GrammarError):
        parse(with_line("    scaled = torch.rsqrt(", f"    {line}\n    scaled = torch.rsqrt("))


def test_an_edited_call_inside_a_statement_is_audited(tmp_path) -> None:
    artifact = generated()
    folder = tmp_path / "edited"
    artifact.write(folder)
    code = folder / "execution_fn.py"
    text = code.read_text()
    assert "sin(scaled.reshape(-1))" in text
    code.write_text(text.replace("sin(scaled.reshape(-1))", "sin(torch.load('f'))"))
    with pytest.raises(fx2py.Fx2pyError, match=r"torch\.load"):
        fx2py.open_artifact(folder).bind(policy=fx2py.Policy())
