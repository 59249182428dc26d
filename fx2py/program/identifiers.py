"""Identifiers of generated code: each is chosen here, before any text is written, so that none hides another."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable, Set
from functools import lru_cache

from fx2py.program.ir import TABLE_NAMES

MODULE_ALIASES = {"torch.nn.functional": "F"}
MODULES = frozenset({"torch", "math", "functools", "operator"})
"""The packages that the text of a value may name and that any generated file may import."""
FROM_RUNTIME = ("check_inputs", "fields_of", "graph_module")
"""Functions of the runtime that generated functions take as keyword-only parameters, like the tables."""
MODULE_NAMES = (
    *("__annotations__", "__builtins__", "__cached__", "__doc__", "__file__", "__loader__"),
    *("__module_itself__", "__name__", "__package__", "__path__", "__spec__"),
)
"""Names that Python itself and binding put into a module."""
RESERVED = frozenset(
    {
        *keyword.kwlist,
        *(set(keyword.softkwlist) - {"_"}),
        *dir(builtins),
        *TABLE_NAMES,
        *FROM_RUNTIME,
        *MODULE_ALIASES.values(),
    }
    | {*MODULES, *MODULE_NAMES}
)
"""Names that no variable may hide: those of the language, and those that every generated file uses."""
_KEYWORDS = frozenset({*keyword.kwlist, "__debug__"})
_SUFFIX = re.compile(r"_(\d+)$")
_LONGEST, _HEAD = 80, 36
_CAPTURED_WORDS = re.compile("_(?:modules|parameters|buffers)(?:_+(?:modules|parameters|buffers))*_+")
"""The words between module names in Dynamo's placeholder for a weight: ``l_self_modules_layers_modules_0_...``."""


@lru_cache(2**14)
def is_identifier(text: str) -> bool:
    """Whether ``text`` is an identifier in the NFKC form in which Python stores it, and no keyword."""
    is_normal = text.isascii() or unicodedata.normalize("NFKC", text) == text
    return is_normal and text.isidentifier() and text not in _KEYWORDS


def identifier_for(text: str) -> str:
    """An identifier as close to ``text`` as Python allows.

    A keyword gets the suffix that torch.fx gives it (``_Namespace`` in torch/fx/graph.py). A long text is shortened in
    its middle. Different texts may give the same identifier; ``FreshNames`` and ``distinct_identifiers`` keep them apart.
    """
    if len(text) <= _LONGEST and is_identifier(text):
        return text
    normal = unicodedata.normalize("NFKC", text)
    allowed = "".join([char if f"_{char}".isidentifier() else " " for char in normal])
    cleaned = _shortened(re.sub(" +", "_", allowed).strip("_"))
    if not cleaned.isidentifier():
        cleaned = f"_{cleaned}"
    return f"{cleaned}_1" if cleaned in _KEYWORDS else cleaned


def _shortened(name: str) -> str:
    """A long name without the words that Dynamo puts between the names of modules, then, if still long, without its middle."""
    if len(name) > _LONGEST:
        name = _CAPTURED_WORDS.sub("_", name)
    return name if len(name) <= _LONGEST else f"{name[:_HEAD]}__{name[_HEAD + 2 - _LONGEST:]}"


def distinct_identifiers(texts: Iterable[str]) -> list[str]:
    """An identifier for each text, in order; of two equal ones the later gets a numeric suffix."""
    names = FreshNames(reserved=())
    return [names.fresh(text) for text in texts]


def tensor_name(path: str) -> str:
    """A short name for the tensor at a path: its own name and its module's, or ``layers_0_weight`` for a numbered module."""
    *outer, module, own = ["", *path.split(".")]
    name = f"{module}_{own}" if module else own
    return f"{outer[-1]}_{name}" if module.isdigit() and outer[-1:] != [""] else name


class FreshNames:
    """The names taken in one function, ``reserved`` from the start; ``fresh`` returns each name once.

    ``fresh`` takes amortised constant time, however often the same name is wished for. ``reserved`` is not copied, since
    the functions of a file share what none of them may use.
    """

    def __init__(self, reserved: Collection[str] = RESERVED) -> None:
        self._reserved = reserved if isinstance(reserved, Set) else frozenset(reserved)
        self._own: set[str] = set()
        self._next: dict[str, int] = {}

    @property
    def taken(self) -> frozenset[str]:
        return frozenset(self._reserved | self._own)

    def reserve(self, name: str) -> None:
        """Take ``name`` as it is."""
        self._own.add(name)

    def fresh(self, wish: str) -> str:
        """``wish`` as an identifier if it is free, else with the first free numeric suffix."""
        name = identifier_for(wish)
        if self._is_taken(name):
            stem = _SUFFIX.sub("", name) or name
            number = self._next.get(stem, 1)
            while self._is_taken(f"{stem}_{number}"):
                number += 1
            self._next[stem] = number + 1
            name = f"{stem}_{number}"
        self._own.add(name)
        return name

    def _is_taken(self, name: str) -> bool:
        return name in self._own or name in self._reserved
