"""Generated code as HTML: coloured, each line with an anchor, calls linked to the functions that they call."""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fx2py.show.definitions import Definition, Span
from fx2py.show.markup import Markup, element, escape, joined

_CHUNK = 200
"""The lines of one block: a browser skips the layout of blocks that are out of view."""
_PLAIN_NAMES = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A highlighted part of the text: its range, its class, and the line or weight that it links to."""

    start: tuple[int, int]
    end: tuple[int, int]
    kind: str
    line: int = 0
    weight: str = ""

    def markup(self, text: str) -> Markup:
        if self.line:
            return element("a", text, class_=self.kind, href=f"#L{self.line}", data_f=text)
        return element("span", text, class_=self.kind, data_w=self.weight or False)


def highlighted(source: str, functions: Mapping[str, Definition]) -> list[Markup]:
    """Each line of a Python text as HTML, without its end.

    Classes: ``k`` keyword, ``s`` string, ``m`` number, ``c`` comment, ``d`` the name of a function where it is defined,
    ``f`` where it is called, ``w`` weights, ``v`` a variable.
    """
    lines = source.splitlines()
    done: list[list[str]] = [[] for _ in lines]
    ends = [0] * len(lines)
    for piece in _pieces(source, lines, functions):
        for number in range(piece.start[0], piece.end[0] + 1):
            text = lines[number - 1]
            start = piece.start[1] if number == piece.start[0] else 0
            end = piece.end[1] if number == piece.end[0] else len(text)
            done[number - 1] += [escape(text[ends[number - 1] : start]), piece.markup(text[start:end])]
            ends[number - 1] = end
    rest = [escape(text[end:]) for text, end in zip(lines, ends, strict=True)]
    return [joined([*map(Markup, parts), last]) for parts, last in zip(done, rest, strict=True)]


def code_block(
    lines: Sequence[Markup], span: Span, marked: Collection[int] = (), *, is_excerpt: bool = False
) -> Markup:
    """Some lines of a text as one block with numbers; ``marked`` ones stand out.

    Each line is the target of links, except in an excerpt, which a page may show beside the whole code.
    """
    rows = [
        element(
            "span",
            lines[number - 1],
            "\n",
            id=False if is_excerpt else f"L{number}",
            class_="l hit" if number in marked else "l",
            data_n=number,
        )
        for number in range(span.first, span.last + 1)
    ]
    chunks = [
        element("span", *rows[start : start + _CHUNK], class_="chunk")
        for start in range(0, len(rows), _CHUNK)
    ]
    return element("pre", element("code", *chunks))


def _pieces(source: str, lines: Sequence[str], functions: Mapping[str, Definition]) -> Iterator[_Piece]:
    readings = {each.start: each for one in functions.values() for each in one.readings}
    plain = _PLAIN_NAMES | _module_level(lines)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    past = (0, 0)
    before = ""
    for token, after in zip(tokens, [each.string for each in tokens[1:]] + [""], strict=True):
        if token.start < past:
            continue
        reading = readings.get(token.start)
        if reading is not None and token.type == tokenize.NAME:
            past = reading.end
            yield _Piece(token.start, past, "w", weight=".".join(map(str, reading.steps)))
        elif token.type == tokenize.NAME:
            line = functions[token.string].line if token.string in functions and before != "." else 0
            kind = _kind_of_name(token.string, before, after, bool(line), plain)
            if kind:
                yield _Piece(token.start, token.end, kind, line if kind == "f" else 0)
        elif token.type in _KINDS:
            yield _Piece(token.start, token.end, _KINDS[token.type])
        before = token.string


_KINDS = {
    tokenize.COMMENT: "c",
    tokenize.STRING: "s",
    tokenize.NUMBER: "m",
    **{
        getattr(tokenize, name): "s"
        for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
        if hasattr(tokenize, name)
    },
}


def _kind_of_name(name: str, before: str, after: str, is_function: bool, plain: Collection[str]) -> str:
    if keyword.iskeyword(name):
        return "k"
    if before == ".":
        return ""
    if before == "def":
        return "d"
    if is_function:
        return "f"
    is_keyword = after == "=" and before in ("(", ",")
    return "" if name in plain or is_keyword else "v"


def _module_level(lines: Sequence[str]) -> frozenset[str]:
    """The names that a text imports or defines at module level, which are no variables."""
    found: set[str] = set()
    for words in (line.split() for line in lines if line[:1].isidentifier()):
        if words[0] in ("import", "from"):
            found |= {part for word in words[1:] for part in word.strip(",").split(".")}
        elif len(words) > 1 and words[1] == "=":
            found.add(words[0])
    return frozenset(found)
