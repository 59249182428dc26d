"""Typed JSON: what fits its type comes back as that type, and what does not is refused with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from fx2py.typed_json import Choice, Damaged, parse, typed


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    kind: Literal["in", "out"] = "in"
    sizes: tuple[int, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    leaves: dict[str, Leaf]
    children: tuple[Tree, ...] = ()
    pair: tuple[int, str] = (0, "")
    tags: list[str] = field(default_factory=list)


def test_a_document_becomes_dataclasses_with_their_defaults():
    text = '{"leaves": {"a": {"name": "x", "sizes": [1, 2], "later": 7}}, "children": [{"leaves": {}}], "pair": [3, "b"]}'
    inner = Tree({})
    assert typed(Tree, parse(text)) == Tree({"a": Leaf("x", sizes=(1, 2))}, (inner,), (3, "b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "has a list, not a JSON object"),
        ('{"leaves": []}', r"not a JSON object \(at leaves\)"),
        ("{}", r"is missing \(at leaves\)"),
        ('{"leaves": {"a": {"name": 1}}}', r"has an int where a str belongs \(at leaves\.a\.name\)"),
        ('{"leaves": {"a": {"name": null}}}', r"has a NoneType where a str belongs \(at leaves\.a\.name\)"),
        (
            '{"leaves": {"a": {"name": "x", "sizes": [1, true]}}}',
            r"has a bool .* \(at leaves\.a\.sizes\[1\]\)",
        ),
        ('{"leaves": {"a": {"name": "x", "kind": "up"}}}', r"has 'up' where one of 'in', 'out' belongs"),
        ('{"leaves": {"a": {"name": "x", "kind": []}}}', r"has \[\] where one of"),
        ('{"leaves": {}, "pair": [1]}', r"has 1 parts where 2 belong \(at pair\)"),
        ('{"leaves": {}, "pair": [1, 2]}', r"has an int where a str belongs \(at pair\[1\]\)"),
        ('{"leaves": {}, "children": [{"leaves": {}}, {"leaves": 3}]}', r"\(at children\[1\]\.leaves\)"),
        ('{"leaves": {}, "tags": "ab"}', r"has a str where a list belongs \(at tags\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text, words):
    with pytest.raises(Damaged, match=words):
        typed(Tree, parse(text))


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not JSON"), ("[" * 200_000, "nested too deeply"), (b"\xff", "not JSON")]
)
def test_what_is_not_json_is_refused(text, words):
    with pytest.raises(Damaged, match=words):
        parse(text)


def test_a_long_key_does_not_make_a_long_message():
    with pytest.raises(Damaged) as refused:
        typed(dict[str, dict[str, int]], {"k" * 10_000: {"v" * 10_000: "x"}})
    assert len(str(refused.value)) < 300


def test_a_choice_is_read_as_the_type_that_its_tag_asks_for():
    given = typed(Choice, {"as_int": 3})
    assert (given.tag, given.read(int)) == ("as_int", 3)
    with pytest.raises(Damaged, match=r"has an int where a str belongs \(at as_int\)"):
        given.read(str)
    for other in ({}, {"a": 1, "b": 2}, [1], None):
        with pytest.raises(Damaged, match="one field"):
            typed(Choice, other)


@pytest.mark.parametrize(("data", "number"), [(1.5, 1.5), (2, 2.0), ("-Infinity", float("-inf"))])
def test_a_float_may_be_written_as_the_formats_of_torch_do(data, number):
    assert typed(float, data) == number


@pytest.mark.parametrize("data", [True, None, "1.5", 2**2000, [1.0]])
def test_other_data_is_not_a_float(data):
    with pytest.raises(Damaged, match="where a number belongs"):
        typed(float, data)
