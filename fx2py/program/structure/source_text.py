"""What a line of the model's source says of the values that it makes: the names that it assigns, and those that it reads.

A line is text from a file, often only a part of a statement. It is searched for names and never parsed or run.
"""

from __future__ import annotations

import builtins
import keyword
import re
from functools import lru_cache

from fx2py.graph.data import Node, SourceLine
from fx2py.read.origin import parts_between_commas

_RETURN = re.compile(r"return\s+(.+)$")
_RETURNED = re.compile(r"([A-Za-z_]\w*)(?:\.\w+\([^()]*\))*$")
_TARGET = re.compile(r"\*?(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:\[.*\])?(?:\s*:.*)?$")
_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(?!\w)(?!\s*\()(?!\s*=(?!=))")
_OPERATION = re.compile(r"\s(?:[-+*/@]|//)\s")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_NO_VALUES = frozenset(
    {"self", "cls", "torch", "nn", "F", "math", "np", *keyword.kwlist, *dir(builtins)} - {"input"}
)


@lru_cache(maxsize=4096)
def targets_of(code: str) -> tuple[str, ...]:
    """The names that a line assigns to, or the variables that it returns; () where there are none.

    Of ``a, b = x, f(y)`` only ``b`` is made there. An attribute counts by its own name, an item by that of its container,
    and what is returned without a name as ''.
    """
    left, right = _sides(code)
    values = [part.strip() for part in parts_between_commas(right)]
    returned = [_returned(value) for value in values] if _RETURN.match(code) else []
    found = _targets(left) if left else returned
    if len(found) == len(values) > 1:
        found = [name for name, value in zip(found, values, strict=True) if not _IDENTIFIER.fullmatch(value)]
    found = [name for name in found if name != "_"]
    return tuple(found) if any(found) else ()


def _sides(code: str) -> tuple[str, str]:
    """What a line assigns to, '' where it does not, and the value that it assigns, returns or is."""
    depth = 0
    for place, sign in enumerate(code):
        depth += (sign in "[({") - (sign in "])}")
        if sign == "=" and depth == 0:
            before = code[:place]
            before = before.removesuffix("<<").removesuffix(">>")
            if code[place + 1 : place + 2] == "=" or before.endswith(("=", "!", "<", ">")):
                break
            return before.rstrip("+-*/@&|%^ "), code[place + 1 :].strip()
    returned = _RETURN.match(code)
    return "", returned[1] if returned else code


def _targets(left: str) -> list[str]:
    """The names on the left of an assignment; [] where one of them is something else."""
    found: list[str] = []
    for part in map(str.strip, parts_between_commas(left.strip())):
        if part[:1] + part[-1:] in ("()", "[]"):
            found += _targets(part[1:-1])
        elif match := _TARGET.fullmatch(part):
            found.append(match[1])
        elif part:
            return []
    return found


def _returned(value: str) -> str:
    match = _RETURNED.fullmatch(value)
    return match[1] if match and match[1] not in _NO_VALUES else ""


@lru_cache(maxsize=4096)
def names_read(code: str) -> tuple[str, ...]:
    """The variables that a line reads, each once, in the order of the text."""
    found = _NAME.findall(_STRING.sub("", _sides(code)[1]))
    return tuple(dict.fromkeys([name for name in found if name not in _NO_VALUES]))


@lru_cache(maxsize=4096)
def name_given_to(module: str, code: str) -> str:
    """The variable that a line gives first to a module at this path, as in ``self.query(hidden_states)``, or ''."""
    own = module.rpartition(".")[2]
    match = re.search(rf"\.{re.escape(own)}\(\s*([A-Za-z_]\w*)\s*[,)]", code) if own else None
    return match[1] if match else ""


@lru_cache(maxsize=4096)
def operands_of(code: str) -> tuple[str, str]:
    """The names of the two operands of a line that ends in one operation on two values, '' for one without a name."""
    value = _sides(code)[1]
    depth = 0
    flat = []
    for sign in value:
        depth += (sign in "[({") - (sign in "])}")
        flat.append("." if depth else sign)
    found = list(_OPERATION.finditer("".join(flat)))
    if depth or len(found) != 1:
        return "", ""
    sides = (value[: found[0].start()].strip(), value[found[0].end() :].strip())
    left, right = (side if _IDENTIFIER.fullmatch(side) else "" for side in sides)
    return left, right


def line_at(node: Node | None, depth: int) -> SourceLine | None:
    """The line in the module at ``depth`` of the module stack in which a node was recorded."""
    line = node.meta.source if node is not None else None
    while line is not None and line.depth > depth:
        line = line.caller
    return line
