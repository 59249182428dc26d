"""The text of symbolic sizes."""

from __future__ import annotations

import pytest
import sympy
from torch.utils._sympy.functions import FloorDiv, Mod

from fx2py.graph.symbols import MAX_DEPTH, expression_text

a, b = sympy.Symbol("s0", integer=True, positive=True), sympy.Symbol("u1", integer=True)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (a + b - 1, "s0 + u1 - 1"),
        (2 * a * (b + 1), "2*s0*(u1 + 1)"),
        (3 * FloorDiv(a, 2), "3*(s0//2)"),
        (Mod(a + 1, 3), "(s0 + 1)%3"),
        (-a * b, "-s0*u1"),
        ((-2) ** a, "(-2)**s0"),
        (sympy.Max(a, b), "Max(s0, u1)"),
        (sympy.And(sympy.Lt(a, b), sympy.Ge(b, 2)), "u1 >= 2 and s0 < u1"),
        (sympy.oo, "inf"),
    ],
)
def test_an_expression_is_written_as_python_would(expression: sympy.Basic, text: str) -> None:
    assert expression_text(sympy.srepr(expression)) == text


@pytest.mark.parametrize(
    "source",
    [
        "",
        "Add(",
        "Symbol('a b')",
        "Integer(1) Integer(2)",
        "x;y",
        "Float('one')",
        "f(" * (MAX_DEPTH + 2),
    ],
)
def test_other_text_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="symbolic expression"):
        expression_text(source)
