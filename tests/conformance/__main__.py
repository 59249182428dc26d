"""Runs the rows and prints the table; exit code 1 unless every graph of every row is replayed alike or refused."""

from __future__ import annotations

import argparse
import linecache
import logging
import operator
import sys
import time
import warnings
from typing import TypeVar

from tests.conformance.cases import Row, cases_of
from tests.conformance.digests import digests_elsewhere
from tests.conformance.judge import judge
from tests.conformance.report import WRONG, Result, fault_line, report, table
from tests.conformance.rows import ROWS

T = TypeVar("T")
AGAIN = 12
shown = 0.0


def main() -> int:
    options = parser().parse_args()
    silence()
    results = []
    for name in options.rows or ROWS:
        results.append(run(ROWS[name], options.limit))
        print(report(results[-1]), flush=True)
    print(table(results))
    return int(any(result.is_wrong or result.is_incomplete for result in results))


def parser() -> argparse.ArgumentParser:
    described = "\n".join(f"  {row.name:10}{row.about}" for row in ROWS.values())
    parser = argparse.ArgumentParser(
        "python -m tests.conformance",
        description=__doc__,
        epilog=f"rows:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row")
    parser.add_argument(
        "--limit", type=int, help="groups (operators, modules, models) of each row, evenly spread"
    )
    return parser


def silence() -> None:
    """What torch says while it captures is no part of the result."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def run(row: Row, limit: int | None) -> Result:
    """All verdicts of a row, and whether two new processes generate the same for a sample."""
    groups = {name: make for name, make in row.groups().items() if name.partition("/")[0] not in row.excluded}
    names = spread(list(groups), limit)
    start = time.monotonic()
    result = Result(row)
    for number, name in enumerate(names):
        if time.monotonic() - start > row.seconds:
            result.not_reached = names[number:]
            break
        for case in cases_of(groups[name]):
            judgement = judge(case)
            result.add(name, judgement)
            if judgement.verdict in WRONG:
                print(fault_line(name, judgement), file=sys.stderr, flush=True)
        linecache.clearcache()
        progress(f"{row.name} {number + 1}/{len(names)} {name}")
    again = [(row.name, *address) for address in spread(result.generated, AGAIN)]
    one, other = (digests_elsewhere(again, hash_seed) for hash_seed in (1, 2))
    result.again = list(zip(again, map(operator.eq, one, other), strict=True))
    result.seconds = time.monotonic() - start
    return result


def progress(line: str) -> None:
    """A line on stderr, at most one every five seconds."""
    global shown
    if time.monotonic() - shown > 5:
        shown = time.monotonic()
        print(line, file=sys.stderr, flush=True)


def spread(items: list[T], limit: int | None) -> list[T]:
    """At most ``limit`` of the items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


if __name__ == "__main__":
    sys.exit(main())
