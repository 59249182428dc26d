"""Which values have exact text, and which must live in the constants table."""

from __future__ import annotations

import math
import struct
from typing import Any

import torch

from fx2py.graph.values import DefaultDevice, DeviceType, Live

_NAN_BITS = struct.pack("<d", math.nan)


def _float_has_text(value: float) -> bool:
    """nan has text only with the bits of ``math.nan``; a payload or sign cannot be written."""
    return not math.isnan(value) or struct.pack("<d", value) == _NAN_BITS


def needs_slot(value: Any) -> bool:
    """Whether a leaf must be bound through the constants table.

    Devices always are, so that retargeting rebinds a table and leaves the text alone; the rest has no text that
    evaluates back to the same type and bits.
    """
    kind = type(value)
    if kind is float:
        return not _float_has_text(value)
    if kind is complex:
        return not (_float_has_text(value.real) and _float_has_text(value.imag))
    return kind in (torch.device, DeviceType, DefaultDevice, Live)


def constant_name(value: Any) -> str:
    """The readable name of a constant's variable."""
    if isinstance(value, torch.device):
        return f"{value.type}_{value.index}" if value.index is not None else f"{value.type}_device"
    if isinstance(value, DeviceType):
        return f"{value.type}_type"
    if isinstance(value, DefaultDevice):
        return "default_device"
    return "constant"


def bits_of(value: float | complex) -> tuple[str, str]:
    """The bits of a number: the layout that ``struct`` knows, and hexadecimal digits."""
    parts = (value.real, value.imag) if isinstance(value, complex) else (value,)
    layout = "<" + "d" * len(parts)
    return layout, struct.pack(layout, *parts).hex()
