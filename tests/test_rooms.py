"""The rooms and the one direction of their imports: what a reader of the README's map may rely on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fx2py

PACKAGE = Path(fx2py.__file__).parent
ORDER = (
    *(
        "errors",
        "arguments",
        "collector",
        "recursion",
        "files",
        "digests",
        "mapped",
        "typed_json",
        "graph",
        "syntax",
        "operators",
        "runtime",
        "graph_file",
        "read",
        "trust",
    ),
    *("replay", "program", "splitting", "emit", "artifact", "distributed", "compile", "compare", "show"),
    "bench",
    *("integrations", "api", "cli", "__main__"),
)
"""Each room may import itself and what stands before it."""
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
ONLY_IN = {"typer": {"cli"}, "rich": {"cli"}, "black": {"emit"}}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "fx2py")


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_point_one_way(path: Path) -> None:
    own = ORDER.index(room(path))
    for name in imported(path):
        top, *below = name.split(".")
        if top == "fx2py" and below and below[0] in ORDER:
            assert ORDER.index(below[0]) <= own, f"{path} imports {name}"
        assert room(path) in ONLY_IN.get(top, {room(path)}), f"{path} imports {name}"


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(path) for path in FILES} <= set(ORDER)


def test_the_reference_knows_nothing_of_what_generates_code() -> None:
    """It reads the graph as data. What the generator decides with is in the rooms after it, and in ``operators``."""
    for name in ("interpreter", "objects", "signature", "contract", "devices", "running"):
        used = {
            each.split(".")[1] for each in imported(PACKAGE / "replay" / f"{name}.py") if "fx2py." in each
        }
        assert used <= {"errors", "graph", "replay", "runtime", "trust"}, f"{name} imports {used}"
