"""Which graphs of the corpus a plain test run takes, and which wait for ``-m slow``."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.corpus import CASES, Case


def representative() -> set[str]:
    """The first graph of each kind in each family."""
    first: dict[tuple[str, str], str] = {}
    for name, case in CASES.items():
        first.setdefault((case.kind, case.definition.__module__), name)
    return set(first.values())


def one_of_each_kind() -> set[str]:
    first: dict[str, str] = {}
    for name, case in CASES.items():
        first.setdefault(case.kind, name)
    return set(first.values())


def parameters(quick: Iterable[str]) -> list[Any]:
    """Every case as a test parameter; those not named in ``quick`` are marked slow."""
    chosen = set(quick)
    return [
        pytest.param(case, id=name, marks=[] if name in chosen else [pytest.mark.slow])
        for name, case in CASES.items()
    ]


def savable_parameters(quick: Iterable[str], cases: Iterable[Case] = CASES.values()) -> list[Any]:
    """Each case with each file format it can be saved in, as two test parameters."""
    chosen = set(quick)
    return [
        pytest.param(
            case, format_, id=f"{case}-{format_}", marks=[] if str(case) in chosen else [pytest.mark.slow]
        )
        for case in cases
        for format_ in sorted(case.savable_as)
    ]
