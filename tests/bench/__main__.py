"""The project's benchmark: ``python -m tests.bench [README]`` prints a table, and puts it between README's marks."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import torch

from tests.bench import compiled, gap, generation, growth, models, peaks, reading, structure
from tests.bench.rows import Row, markdown, put_between

PARTS = (gap, models, compiled, structure, peaks, generation, growth, reading)
"""Modules with a function ``rows``; a new one is added here."""
START, END = "<!-- bench -->\n", "<!-- /bench -->"


def main() -> int:
    torch.set_num_threads(1)
    rows: list[Row] = []
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    for part in PARTS:
        for row in part.rows():
            rows.append(row)
            print(f"{row.what}: {row.value:.2f}", file=sys.stderr)
    table = markdown(rows)
    print(table)
    for readme in map(Path, sys.argv[1:]):
        put_between(readme, START, END, table)
    return 0 if all(row.met for row in rows) else 1


sys.exit(main())
