"""The numbers that an exported archive writes for dtypes, layouts and memory formats, and the devices it names.

Source: ``ScalarType``, ``Layout`` and ``MemoryFormat`` of torch/_export/serde/schema.py (schema version 8).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import torch

from fx2py.read.documents import field, optional
from fx2py.typed_json import Damaged

T = TypeVar("T")

DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}
STRIDED = 7
LAYOUTS: dict[int, torch.layout] = {
    1: torch.sparse_coo,
    2: torch.sparse_csr,
    3: torch.sparse_csc,
    4: torch.sparse_bsr,
    5: torch.sparse_bsc,
    6: torch._mkldnn,  # type: ignore[attr-defined]
    STRIDED: torch.strided,
}
MEMORY_FORMATS: dict[int, torch.memory_format] = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}


def coded(table: dict[int, T], code: Any) -> T:
    """The entry of a table of this module; Damaged for a code that it does not have."""
    if type(code) is not int or code not in table:
        raise Damaged(f"has the unknown {type(next(iter(table.values()))).__name__} code {code!r:.40}")
    return table[code]


def device_of(record: Any) -> torch.device:
    """The device of a ``{"type", "index"}`` object."""
    return _device(field(record, "type", str), optional(record, "index", int))


@lru_cache(maxsize=64)
def _device(kind: str, index: int | None) -> torch.device:
    try:
        return torch.device(kind) if index is None else torch.device(kind, index)
    except RuntimeError:
        raise Damaged(f"names the unknown device {kind!r:.40}") from None
