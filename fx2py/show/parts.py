"""Parts that several pages have: code in sections, a function each, and tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from fx2py.program.ir import ENTRY
from fx2py.show.definitions import Span
from fx2py.show.highlighted import code_block, highlighted
from fx2py.show.markup import Markup, element
from fx2py.show.outline import Outline


def code_sections(outline: Outline, marked: Collection[int] = ()) -> Iterator[Markup]:
    """The whole text, a section for each function and for what stands between them; ``marked`` lines stand out."""
    lines = highlighted(outline.source, outline.functions)
    last = 0
    for name, function in outline.functions.items():
        yield from _between(outline, lines, last + 1, function.span.first - 1, marked)
        yield _function(outline, name, code_block(lines, function.span, marked))
        last = function.span.last
    yield from _between(outline, lines, last + 1, len(lines), marked)


def _between(
    outline: Outline, lines: Sequence[Markup], first: int, last: int, marked: Collection[int]
) -> Iterator[Markup]:
    """Lines that belong to no function, without the empty ones at both ends."""
    while first <= last and not outline.lines[first - 1].strip():
        first += 1
    while first <= last and not outline.lines[last - 1].strip():
        last -= 1
    if first <= last:
        yield element("section", code_block(lines, Span(first, last), marked), class_="fn")


def _function(outline: Outline, name: str, block: Markup) -> Markup:
    span = outline.functions[name].span
    instances = outline.instances(name)
    classes = ", ".join(dict.fromkeys(each.class_name for each in instances))
    times = sum(each.calls for each in instances)
    calls = "the entry" if name == ENTRY else f"{times} call{'s' * (times != 1)}"
    head = element(
        "h3",
        element("a", name, href=f"#L{span.first}", class_="fname"),
        element("span", classes, class_="cls"),
        element("span", calls, class_="calls"),
        element("span", f"lines {span.first}–{span.last}", class_="calls"),
    )
    return element("section", head, block, class_="fn", data_f=name)


Cell: TypeAlias = "tuple[str, str | int]"
"""What stands in a cell, and what it is sorted by."""


def table_section(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table that the script sorts by any column; a cell is its text and what it is sorted by."""
    head = [element("th", column, scope="col") for column in columns]
    body = [element("tr", *[_cell(text, key) for text, key in row]) for row in rows]
    table = element(
        "table", element("thead", element("tr", *head)), element("tbody", *body), class_="sortable"
    )
    content = table if rows else element("p", "none", class_="none")
    return element(
        "section", element("h2", title), element("div", content, class_="wide"), id=name, aria_label=title
    )


def _cell(text: str, key: str | int) -> Markup:
    if isinstance(key, int):
        return element("td", text, class_="num", data_k=key)
    return element("td", text)
