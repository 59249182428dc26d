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

_TARGETS = re.compile(
    r"\(?\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*,?\s*\)?\s*(?::[^=]+)?(?:[-+*/@&|]|//|\*\*)?=(?!=)"
)
_RETURN = re.compile(r"return\s+(.+)$")
_RETURNED = re.compile(r"([A-Za-z_]\w*)(?:\.\w+\([^()]*\))*$")
_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(?!\w)(?!\s*\()(?!\s*=(?!=))")
_OPERATION = re.compile(r"\s(?:[-+*/@]|//)\s")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_NO_VALUES = frozenset(
    {"self", "cls", "torch", "nn", "F", "math", "np", *keyword.kwlist, *dir(builtins)} - {"input"}
)


@lru_cache(maxsize=4096)
def targets_of(code: str) -> tuple[str, ...]:
    """The names that a line assigns to, or the variables that it returns; () where there are none."""
    match = _TARGETS.match(code)
    if match:
        return tuple([name.strip() for name in match[1].split(",")])
    returned = _RETURN.match(code)
    found = (
        [_RETURNED.fullmatch(part.strip()) for part in parts_between_commas(returned[1])]
        if returned
        else [None]
    )
    return tuple([each[1] for each in found if each]) if all(found) and "self" not in code[:12] else ()


@lru_cache(maxsize=4096)
def names_read(code: str) -> tuple[str, ...]:
    """The variables that a line reads, each once, in the order of the text."""
    found = _NAME.findall(_STRING.sub("", _value(code)))
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
    value = _value(code)
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


def _value(code: str) -> str:
    """What stands on the right of an assignment, or behind ``return``."""
    match = _TARGETS.match(code)
    if match:
        return code[match.end() :].strip()
    returned = _RETURN.match(code)
    return returned[1] if returned else code


def line_at(node: Node | None, depth: int) -> SourceLine | None:
    """The line in the module at ``depth`` of the module stack in which a node was recorded."""
    line = node.meta.source if node is not None else None
    while line is not None and line.depth > depth:
        line = line.caller
    return line
