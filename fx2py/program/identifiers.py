"""Variable names: every name of a generated function is settled here, before any text is written."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

from fx2py.program.ir import TABLE_NAMES

MODULE_ALIASES = {"torch.nn.functional": "F"}
MODULES = frozenset({"torch", "math", "functools", "operator"})
"""The packages that the text of a value may name, and that any file may thus import."""
FROM_RUNTIME = ("check_inputs", "fields_of", "graph_module")
"""What a function may take from the runtime, as it takes its tables."""
MODULE_NAMES = (
    *("__annotations__", "__builtins__", "__cached__", "__doc__", "__file__", "__loader__"),
    *("__module_itself__", "__name__", "__package__", "__path__", "__spec__"),
)
"""What Python and binding themselves put into a module."""
RESERVED = frozenset(
    {
        *keyword.kwlist,
        *keyword.softkwlist,
        *dir(builtins),
        *TABLE_NAMES,
        *FROM_RUNTIME,
        *MODULE_ALIASES.values(),
    }
    | {*MODULES, *MODULE_NAMES}
)
"""What a name must not hide: the language's own names, and those of every generated file."""
_KEYWORDS = frozenset({*keyword.kwlist, "__debug__"})
_SUFFIX = re.compile(r"_(\d+)$")
_LONGEST, _HEAD = 80, 36
_CAPTURED_WORDS = re.compile("_(?:modules|parameters|buffers)(?:_+(?:modules|parameters|buffers))*_+")
"""What stands between the names of modules in an input that torch.compile made of a weight (``l_self_modules_...``)."""


def is_plain_identifier(text: str) -> bool:
    """Whether Python reads ``text`` as one identifier that is spelled the way Python stores it."""
    return text.isidentifier() and text not in _KEYWORDS and unicodedata.normalize("NFKC", text) == text


def identifier_for(text: str) -> str:
    """An identifier as close to ``text`` as Python allows; a keyword gets the number that torch.fx gives it in a file.

    A long one keeps its begin and its end. Different texts can get the same: ``FreshNames`` and ``distinct_identifiers`` keep
    them apart.
    """
    if len(text) <= _LONGEST and is_plain_identifier(text):
        return text
    normal = unicodedata.normalize("NFKC", text)
    allowed = "".join([char if f"_{char}".isidentifier() else " " for char in normal])
    cleaned = _shortened(re.sub(" +", "_", allowed).strip("_"))
    if not cleaned.isidentifier():
        cleaned = f"_{cleaned}"
    return f"{cleaned}_1" if cleaned in _KEYWORDS else cleaned


def _shortened(name: str) -> str:
    """A long name without the words that torch.compile puts between a module's own, then without its middle."""
    if len(name) > _LONGEST:
        name = _CAPTURED_WORDS.sub("_", name)
    return name if len(name) <= _LONGEST else f"{name[:_HEAD]}__{name[_HEAD + 2 - _LONGEST:]}"


def distinct_identifiers(texts: Iterable[str]) -> list[str]:
    """An identifier for each text, in order; where two would be the same, the later one has a number behind it."""
    names = FreshNames(reserved=())
    return [names.fresh(text) for text in texts]


def tensor_name(path: str) -> str:
    """A short name for the tensor at a path: its own and its module's, with what a number counts."""
    *outer, module, own = ["", *path.split(".")]
    name = f"{module}_{own}" if module else own
    return f"{outer[-1]}_{name}" if module.isdigit() and outer[-1:] != [""] else name


class FreshNames:
    """The names taken in one function, ``reserved`` from the start; ``fresh`` hands out each name once.

    That takes amortised constant time.
    """

    def __init__(self, reserved: Iterable[str] = RESERVED) -> None:
        self._taken = set(reserved)
        self._next: dict[str, int] = {}

    @property
    def taken(self) -> frozenset[str]:
        return frozenset(self._taken)

    def reserve(self, name: str) -> None:
        """Take ``name`` as it is."""
        self._taken.add(name)

    def fresh(self, wish: str) -> str:
        """``wish`` as an identifier if it is free, else with the first free numeric suffix."""
        name = identifier_for(wish)
        if name in self._taken:
            stem = _SUFFIX.sub("", name) or name
            number = self._next.get(stem, 1)
            while f"{stem}_{number}" in self._taken:
                number += 1
            self._next[stem] = number + 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name
