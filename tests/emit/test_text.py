"""The one gateway from data to text: what it writes is again the same value, and black leaves it as it is."""

from __future__ import annotations

import ast
import io
import math
import struct
import tokenize

import black
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fx2py.emit import text
from fx2py.errors import InternalError
from fx2py.graph.values import Live, Opaque, Ref
from fx2py.program.exact_text import needs_slot
from tests.emit.values import HARD_TEXT, bits_to_float, floats, plain, texts


def evaluate(written: str) -> object:
    return eval(written, {"torch": torch, "math": math})


def bits(value: object) -> object:
    """The type and every bit of a plain value."""
    if isinstance(value, float):
        return float, struct.pack("<d", value)
    if isinstance(value, complex):
        return complex, struct.pack("<dd", value.real, value.imag)
    return type(value), value


@given(plain.filter(lambda value: not needs_slot(value)))
def test_text_evaluates_to_the_same_type_and_bits(value: object) -> None:
    assert bits(evaluate(text.primitive(value))) == bits(value)


@given(st.one_of(floats, st.builds(complex, floats, floats)))
def test_a_number_needs_a_slot_exactly_when_its_text_loses_bits(value: float | complex) -> None:
    assert needs_slot(value) == (bits(evaluate(text.primitive(value))) != bits(value))


@given(plain.filter(lambda value: not needs_slot(value)))
def test_black_leaves_text_as_it_is(value: object) -> None:
    line = f"x = {text.primitive(value)}\n"
    mode = black.Mode(line_length=10**6)
    assert black.format_str(line, mode=mode) == line


@pytest.mark.parametrize("digits", [4299, 4300, 4301, 20000])
def test_integers_beyond_the_digit_limit_of_python_have_text(digits: int) -> None:
    for value in (10**digits, -(10**digits), 1 - 10**digits):
        assert ast.literal_eval(text.primitive(value)) == value


@pytest.mark.parametrize(
    "value", [-0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e22, math.inf, -math.inf, math.nan]
)
def test_hard_floats_come_back(value: float) -> None:
    assert bits(evaluate(text.primitive(value))) == bits(value)
    for twin in (complex(value, -0.0), complex(-0.0, value)):
        assert bits(evaluate(text.primitive(twin))) == bits(twin)


@pytest.mark.parametrize("payload", [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001])
def test_a_nan_with_a_payload_goes_to_the_constants_table(payload: int) -> None:
    assert needs_slot(bits_to_float(payload))
    assert needs_slot(complex(0.0, bits_to_float(payload)))
    assert not needs_slot(math.nan)


@given(texts)
def test_quoted_text_stands_on_one_printable_line(value: str) -> None:
    written = text.quoted(value)
    assert ast.literal_eval(written) == value
    assert written.isprintable()


@pytest.mark.parametrize(
    "value",
    [object(), Ref("x"), Live(len, ""), Opaque(None), [1], (1,), {1}, torch.ones(1), torch.device("cpu")],
)
def test_other_types_have_no_text(value: object) -> None:
    with pytest.raises(InternalError):
        text.primitive(value)


class Sly(str):
    def __repr__(self) -> str:
        return "__import__('os').system('true')"


class SlyNumber(int):
    def __str__(self) -> str:
        return "__import__('os').system('true')"


@pytest.mark.parametrize("value", [Sly("x"), SlyNumber(3)])
def test_subclasses_of_plain_types_have_no_text(value: object) -> None:
    with pytest.raises(InternalError):
        text.primitive(value)


@pytest.mark.parametrize("name", ["", "a b", "from", "1x", "a.b", "ﬁ", "x\n", "__debug__", "a;b", "None"])
def test_what_is_no_identifier_never_stands_as_one(name: str) -> None:
    with pytest.raises(InternalError):
        text.identifier(name)


@given(
    st.lists(st.one_of(texts, HARD_TEXT, st.sampled_from(["coding", "fmt", "type", ":", "=", " "]))).map(
        "".join
    )
)
def test_a_comment_is_one_comment(value: str) -> None:
    line = f"# {text.comment(value)}"
    tokens = list(tokenize.generate_tokens(io.StringIO(f"{line}\nx = 1\n").readline))
    assert tokens[0].type == tokenize.COMMENT
    assert tokens[0].string.rstrip() == line.rstrip()
    assert line.isprintable()
    assert len(line) <= 162


@pytest.mark.parametrize(
    "pragma",
    ["fmt: off", "fmt:skip", "type: ignore", "TYPE : x", "noqa:E501", "pylint: skip-file", "vim: set"],
)
def test_a_comment_gives_no_tool_an_instruction(pragma: str) -> None:
    name = pragma.partition(":")[0].strip()
    assert f"{name}:" not in text.comment(f"a {pragma} b").replace(" :", ":")


@pytest.mark.parametrize(
    "cookie",
    ["coding: utf-7", "coding=raw_unicode_escape", "-*- CODING:latin-1 -*-", "vim: fileencoding=rot13"],
)
def test_a_comment_cannot_set_the_encoding_of_its_file(cookie: str) -> None:
    source = f"# {text.comment(cookie)}\n# {text.comment(cookie)}\nx = 1\n"
    assert tokenize.detect_encoding(io.BytesIO(source.encode()).readline)[0] == "utf-8"
