"""What every generated file carries, letter by letter, and how it is recognised, also from an earlier release.

``released.txt`` has a line for each text of a release that a folder may still hold: what it is, the release, its number
of characters and its sha256. A text that turns out to admit too much is struck from it.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
import types
from typing import Literal

from fx2py import runtime, runtime_autograd, runtime_checks, runtime_once, runtime_sizes

Part = Literal["loading", "checking"]

RELEASED = pathlib.Path(__file__).with_name("released.txt")
_MARKER = "# --- what is copied starts here ---\n"
_NOT_CARRIED = ("from __future__ ", "from fx2py")
RULE = "# " + "-" * 86
LOADING = f"{RULE}\n# Loading and binding, the same in every generated file\n"
CHECKING = f"{RULE}\n# Checking inputs, the same in every generated file that does\n"


@functools.cache
def carried_runtime() -> str:
    """The imports and functions that every generated file carries: loading, keeping results, running below autograd."""
    return _carried_together(runtime_once, runtime, runtime_autograd)


@functools.cache
def carried_checks() -> str:
    """The functions that check inputs, and the imports that they need beside the runtime's."""
    return _carried_together(runtime_sizes, runtime_checks, known=carried_runtime())


def after_carried(text: str, part: Part) -> str | None:
    """What follows the carried part that ``text`` starts with; None when it starts with none that fx2py wrote."""
    body = text.lstrip("\n")
    for length, digest in (fingerprint(part), *_released(part)):
        if _digest(body[:length]) == digest:
            return body[length:].lstrip("\n")
    return None


def fingerprint(part: Part) -> tuple[int, str]:
    """The number of characters and the sha256 of a part as it is written today."""
    carried = (carried_runtime() if part == "loading" else carried_checks()).strip("\n")
    return len(carried), _digest(carried)


@functools.cache
def _released(part: Part) -> tuple[tuple[int, str], ...]:
    rows = (line.split() for line in RELEASED.read_text(encoding="utf-8").splitlines())
    return tuple((int(length), digest) for kind, _, length, digest in rows if kind == part)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _carried_together(*modules: types.ModuleType, known: str = "") -> str:
    """The copied parts of modules in their order; what one imports the next does not import again."""
    parts: list[str] = []
    for module in modules:
        lines = "".join((known, *parts)).splitlines(keepends=True)
        parts.append(_carried(module, set(lines)))
    return "\n\n".join(parts)


def _carried(module: types.ModuleType, known: set[str]) -> str:
    head, _, body = pathlib.Path(str(module.__file__)).read_text(encoding="utf-8").partition(_MARKER)
    lines = [line for line in head.splitlines(keepends=True) if line.startswith(("import ", "from "))]
    imports = [line for line in lines if line not in known and not line.startswith(_NOT_CARRIED)]
    return "\n\n\n".join(filter(None, ("".join(imports).strip(), body.strip()))) + "\n"
