"""The cases of torch's export database that torch supports, as live programs and as saved archives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.conformance.cases import Case, Row, Trial


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    from torch._export.db.case import SupportLevel
    from torch._export.db.examples import filter_examples_by_support_level

    supported = filter_examples_by_support_level(SupportLevel.SUPPORTED)
    return {name: partial(cases, supported[name]) for name in sorted(supported)}


def cases(example: Any) -> Iterator[Case]:
    for strict in (True, False):
        for archived in (False, True):
            name = f"{'strict' if strict else 'non-strict'}, {'archive' if archived else 'live'}"
            yield Case(name, partial(capture, example, strict, archived))


def capture(example: Any, strict: bool, archived: bool) -> Trial:
    program = torch.export.export(
        example.model,
        example.example_args,
        example.example_kwargs,
        dynamic_shapes=example.dynamic_shapes,
        strict=strict,
    )
    calls = [(example.example_args, example.example_kwargs)]
    if example.extra_args is not None:
        calls.append((example.extra_args, {}))
    path = None
    if archived:
        path = Path(tempfile.mkdtemp(prefix="fx2py-conformance-")) / "example.pt2"
        torch.export.save(program, path)
    return Trial(program, tuple(calls), path)


EXAMPLES = Row(
    "export", "torch._export.db: supported examples, live and as archives", seconds=3600, groups=groups
)
