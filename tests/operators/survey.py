"""Writes the table of operators anew: what is measured as the installed torch has it, what is written by hand kept.

python -m tests.operators.survey
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch

from fx2py.operators.facts import read_table
from tests.operators import memory_survey, native_survey

TABLE = Path(str(files("fx2py.operators").joinpath("table.txt")))
MEASURED = ("native", "returns", "memory")
HEAD = """\
# What is known of torch's operators: a record for each overload (add.Tensor), operator (embedding) and function, its facts
# indented below its name. README.md beside this file says what each kind of fact means.
# native, returns and memory were measured with torch {torch} by `make operators`, which keeps the others, written by hand.
"""


def by_hand(records: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The facts that are kept: all but the measured ones of overloads, whose names have a dot and no path."""
    return {
        name: [line for line in lines if not (is_overload(name) and line.split()[0] in MEASURED)]
        for name, lines in records.items()
    }


def is_overload(name: str) -> bool:
    return name.count(".") == 1


def measured() -> dict[str, list[str]]:
    """The facts of every overload that the installed torch has."""
    found = {name: list(lines) for name, lines in native_survey.survey()}
    for name, memory in memory_survey.survey().table().items():
        found.setdefault(name, []).append(f"memory {memory}")
    return found


def written(seen: Mapping[str, list[str]], kept: Mapping[str, list[str]]) -> str:
    """The text of the table, in the order of names; a record without facts is left out."""
    head = HEAD.format(torch=torch.__version__.partition("+")[0])
    records = {name: [*seen.get(name, ()), *kept.get(name, ())] for name in sorted({*seen, *kept})}
    blocks = ("\n".join([name, *(f"  {line}" for line in lines)]) for name, lines in records.items() if lines)
    return "\n".join([head, *blocks, ""])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    TABLE.write_text(written(measured(), by_hand(read_table(TABLE.read_text("utf-8")))), "utf-8")
