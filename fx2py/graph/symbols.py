"""Symbolic sizes: the output of ``sympy.srepr``, parsed and written as a Python expression.

The text comes from a file, so nothing is evaluated: ``sympify``, by which torch reads it, calls ``eval``. Unknown functions
stay calls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MAX_DEPTH = 100

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w.]*)|(?P<number>-?\d+)|(?P<text>'[^'\\]*')|(?P<mark>[(),=]))"
)
_SYMBOL = re.compile(r"[A-Za-z_]\w*")
_DECIMAL = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf|nan", re.IGNORECASE)

_ATOM, _POWER, _UNARY, _PRODUCT, _SUM, _COMPARISON, _NOT, _AND, _OR = range(9)

_OPERATORS = {
    "Add": (" + ", _SUM),
    "Mul": ("*", _PRODUCT),
    "FloorDiv": ("//", _PRODUCT),
    "Mod": ("%", _PRODUCT),
    "PythonMod": ("%", _PRODUCT),
    "IntTrueDiv": ("/", _PRODUCT),
    "FloatTrueDiv": ("/", _PRODUCT),
    "Rational": ("/", _PRODUCT),
    "Pow": ("**", _POWER),
    "PowByNatural": ("**", _POWER),
    "FloatPow": ("**", _POWER),
    "Equality": (" == ", _COMPARISON),
    "Unequality": (" != ", _COMPARISON),
    "StrictLessThan": (" < ", _COMPARISON),
    "LessThan": (" <= ", _COMPARISON),
    "StrictGreaterThan": (" > ", _COMPARISON),
    "GreaterThan": (" >= ", _COMPARISON),
    "And": (" and ", _AND),
    "Or": (" or ", _OR),
}
_ASSOCIATIVE = frozenset({"Add", "Mul", "And", "Or"})
_CONSTANTS = {
    "true": "True",
    "false": "False",
    "oo": "inf",
    "int_oo": "inf",
    "nan": "nan",
    "Half": "1/2",
    "pi": "pi",
}


@dataclass(frozen=True, slots=True)
class _Term:
    """The text of an expression, and the precedence of its outermost operator: the higher, the looser it binds."""

    text: str
    binding: int = _ATOM

    def inside(self, binding: int) -> str:
        """The text as an operand, in brackets unless it binds tighter than ``binding``."""
        return self.text if self.binding < binding else f"({self.text})"


@lru_cache(maxsize=4096)
def expression_text(source: str) -> str:
    """The Python expression that ``source`` (``sympy.srepr`` text) stands for; ValueError when it is not such text."""
    parser = _Parser(_tokens(source))
    term = parser.term(0)
    if parser.position != len(parser.tokens):
        raise ValueError("text follows the symbolic expression")
    return term.text


def _tokens(source: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    end = len(source.rstrip())
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            raise ValueError(f"a symbolic expression has an unexpected sign at {position}")
        tokens.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over ``Name(argument, ..., option=value)``; ``position`` is the next token."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.position = 0

    def term(self, depth: int) -> _Term:
        if depth > MAX_DEPTH:
            raise ValueError("a symbolic expression is nested too deeply")
        kind, text = self._next()
        if kind == "number":
            return _Term(text, _UNARY if text.startswith("-") else _ATOM)
        if kind == "text":
            return _Term(text)
        if kind != "name":
            raise ValueError(f"a symbolic expression has an unexpected {text!r}")
        if not self._accept("("):
            return _Term(_CONSTANTS.get(text, text), _PRODUCT if text == "Half" else _ATOM)
        return _call(text, self._arguments(depth + 1))

    def _arguments(self, depth: int) -> list[_Term]:
        """The positional arguments up to the closing bracket; options (``integer=True``) say nothing about the value."""
        found: list[_Term] = []
        while not self._accept(")"):
            term = self.term(depth)
            if self._accept("="):
                self.term(depth)
            else:
                found.append(term)
            if not self._accept(",") and self._peek() != ")":
                raise ValueError("a symbolic expression lacks a closing bracket")
        return found

    def _peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self.position >= len(self.tokens):
            raise ValueError("a symbolic expression ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def _accept(self, mark: str) -> bool:
        if self._peek() != mark:
            return False
        self.position += 1
        return True


def _call(name: str, arguments: list[_Term]) -> _Term:
    if name in ("Symbol", "Float"):
        return _literal(name, arguments)
    if name in ("Integer", "Identity") and len(arguments) == 1:
        return arguments[0]
    if name == "Not" and len(arguments) == 1:
        return _Term(f"not {arguments[0].inside(_NOT)}", _NOT)
    if name in _OPERATORS and len(arguments) >= 2 and (len(arguments) == 2 or name in _ASSOCIATIVE):
        return _operation(name, arguments)
    return _Term(f"{name}({', '.join(argument.text for argument in arguments)})")


def _literal(name: str, arguments: list[_Term]) -> _Term:
    """``Symbol('s0')`` as its name, ``Float('0.5')`` as its decimal text."""
    grammar = _SYMBOL if name == "Symbol" else _DECIMAL
    text = arguments[0].text.strip("'") if arguments else ""
    if not grammar.fullmatch(text):
        raise ValueError(f"a symbolic expression has the {name.lower()} {text[:40]!r}")
    return _Term(text, _UNARY if text.startswith("-") else _ATOM)


def _operation(name: str, operands: list[_Term]) -> _Term:
    sign, binding = _OPERATORS[name]
    if name == "Mul" and operands[0].text == "-1":
        product = sign.join(operand.inside(_PRODUCT) for operand in operands[1:])
        return _Term(f"-{product}", _PRODUCT)
    if name == "Add":
        parts = [operand.inside(_SUM) for operand in operands]
        return _Term(sign.join(parts).replace("+ -", "- "), _SUM)
    return _Term(sign.join(operand.inside(binding) for operand in operands), binding)
