"""Sources as another process generates them: reads ``[[row, group, case], ...]``, writes the sha256 of each."""

from __future__ import annotations

import json
import sys
import warnings
from itertools import groupby

from tests.conformance.cases import cases_of
from tests.conformance.judge import digest
from tests.processes import from_new_process

Address = tuple[str, str, str]


def digests(addresses: list[Address]) -> list[str]:
    """In this process."""
    from tests.conformance.rows import ROWS

    found = []
    for (row, group), members in groupby(addresses, key=lambda address: address[:2]):
        cases = {case.name: case for case in cases_of(ROWS[row].groups()[group])}
        found += [digest(cases[name]) for _, _, name in members]
    return found


def digests_elsewhere(addresses: list[Address], hash_seed: int) -> list[str]:
    """In a new process, with another seed of Python's hashes."""
    return from_new_process(__name__, addresses, hash_seed)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(digests([tuple(address) for address in json.load(sys.stdin)])))
