"""Expressions of Python as values: both kinds of text read the same literals, and refuse what is not a value."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

import pytest

from fx2py.emit.parse import CodeReader, GrammarError, ReadNames
from fx2py.graph.values import DEFAULTDICT, Dict, List, Name, Range, Set, Size, Slice, Value
from fx2py.read.forward.values import ArgumentReader, ForwardFault
from fx2py.syntax import NotPython, ValueReader, parsed, shown


def of_fx() -> ValueReader:
    return ArgumentReader({"collections": Name("collections", "abc")})


def of_fx2py() -> ValueReader:
    return CodeReader(ReadNames(modules={"torch": "torch", "collections": "collections"}))


READERS = pytest.mark.parametrize("reader", [of_fx, of_fx2py])


def value(text: str, reader: ValueReader) -> Value:
    return reader.value(ast.parse(text, mode="eval").body)


@READERS
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("None", None),
        ("True", True),
        ("-3", -3),
        ("-0.5", -0.5),
        ("'it\\'s'", "it's"),
        ("b'\\xff'", b"\xff"),
        ("...", ...),
        ("(1, (2,), [])", (1, (2,), List(()))),
        ("[1, [2]]", List((1, List((2,))))),
        ("{1: 'a', 'b': [2]}", Dict(((1, "a"), ("b", List((2,)))))),
        ("{2, 1}", Set((1, 2))),
        ("set()", Set(())),
        ("frozenset({2, 1})", Set((1, 2), frozen=True)),
        ("frozenset()", Set((), frozen=True)),
        ("slice(1, None, 2)", Slice(1, None, 2)),
        ("slice(3)", Slice(None, 3, None)),
        ("range(0, 8, 2)", Range(0, 8, 2)),
        ("range(8)", Range(0, 8, 1)),
        ("torch.Size([2, 3])", Size((2, 3))),
        ("complex(1.0, -0.0)", complex(1.0, -0.0)),
    ],
)
def test_literals_containers_and_constructors_are_values(
    reader: Callable[[], ValueReader], text: str, meant: Value
) -> None:
    read = value(text, reader())
    assert read == meant
    assert type(read) is type(meant)


def test_classes_of_dicts_are_values() -> None:
    ordered = value("collections.OrderedDict([('a', 1)])", of_fx2py())
    assert ordered == Dict((("a", 1),), Name("collections", "OrderedDict"))
    counted = value("collections.defaultdict(None, {'a': 1})", of_fx2py())
    assert counted == Dict((("a", 1),), DEFAULTDICT)


def test_the_sign_of_a_zero_is_kept() -> None:
    assert math.copysign(1, value("-0.0", of_fx2py())) == -1  # type: ignore[arg-type]
    number = value("(-0-0j)", of_fx())
    assert isinstance(number, complex)
    assert (math.copysign(1, number.real), math.copysign(1, number.imag)) == (-1, -1)


@READERS
@pytest.mark.parametrize(
    "text",
    [
        *("lambda: 1", "[x for x in ()]", "(x := 1)", "f'{1}'", "1 if 2 else 3", "not 1", "1 < 2", "1 or 2"),
        *(
            "{**{}}",
            "[*[]]",
            "slice(*[1])",
            "slice(**{'x': 1})",
            "slice()",
            "slice(1, 2, 3, 4)",
            "range('a', **{})",
        ),
        *("set(items=[1])", "set(1)", "frozenset([1], True)", "torch.Size(3)", "torch.Size({1})"),
        *(
            "complex(1, 2)",
            "complex('1')",
            "-(1, 2)",
            "-'a'",
            "~1",
            "+1",
            "1 + 2",
            "await_it",
            "open('x')",
            "__import__('os')",
        ),
        *("'a'.join([])", "[1][0]", "(1).real"),
    ],
)
def test_what_is_no_value_is_refused(reader: Callable[[], ValueReader], text: str) -> None:
    with pytest.raises((ForwardFault, GrammarError)):
        value(text, reader())


@pytest.mark.parametrize(
    "text", ["1j", "-1j", "(1-2j)", "(-0-0j)", "1 + complex(1.0, 2.0)", "-complex(1.0, 2.0)"]
)
def test_only_the_text_of_fx_holds_complex_literals(text: str) -> None:
    with pytest.raises(GrammarError):
        value(text, of_fx2py())


@pytest.mark.parametrize("text", ["\0", "(" * 5_000, "x = = 1", f"f'{'{x}' * 20_000}'"])
def test_text_that_cannot_be_parsed_is_not_python(text: str) -> None:
    with pytest.raises(NotPython):
        parsed(text)


def test_a_large_expression_is_not_written_out_in_a_message() -> None:
    assert shown(ast.parse(f"[{'x, ' * 1000}]", mode="eval").body) == "a List of many parts"
    assert len(shown(ast.parse("x" * 1000, mode="eval").body)) < 70
