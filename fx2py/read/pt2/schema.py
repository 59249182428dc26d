"""The documents of an exported archive as named tuples, and the numbers that they write for dtypes, layouts and formats.

Source: torch/_export/serde/schema.py (schema version 8), whose ``Graph`` is ``SavedGraph`` here; fields that nothing here
needs are left out. A field that is None by default is missing in the archives of an earlier minor version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch

from fx2py.graph.symbols import expression_text
from fx2py.typed_json import Choice, Damaged, reader

T = TypeVar("T")
VERSION = 8
_CHOICE = reader(Choice)


@dataclass(frozen=True, slots=True)
class SavedDevice:
    type: str
    index: int | None = None


class SavedTensor(NamedTuple):
    """A tensor; its sizes, which are most of a document, are read by ``size_of``."""

    dtype: int
    sizes: tuple[object, ...]
    requires_grad: bool
    device: SavedDevice
    strides: tuple[object, ...]
    storage_offset: object
    layout: int


class NamedArgument(NamedTuple):
    name: str
    arg: Choice
    kind: int | None = None


class SavedNode(NamedTuple):
    target: str
    inputs: tuple[NamedArgument, ...]
    outputs: tuple[Choice, ...]
    metadata: dict[str, object] | None = None
    is_hop_single_tensor_return: bool | None = None
    name: str | None = None


class SavedGraph(NamedTuple):
    """A graph; its nodes are read one by one, so that a fault names the node."""

    inputs: tuple[Choice, ...]
    outputs: tuple[Choice, ...]
    nodes: tuple[object, ...]
    tensor_values: dict[str, SavedTensor]
    sym_int_values: dict[str, Choice] | None = None
    sym_bool_values: dict[str, Choice] | None = None
    sym_float_values: dict[str, Choice] | None = None
    is_single_tensor_return: bool = False


class GraphSignature(NamedTuple):
    """What each input and result stands for: ``InputSpec`` and ``OutputSpec``, read field by field."""

    input_specs: tuple[Choice, ...]
    output_specs: tuple[Choice, ...]


class ModuleCallSignature(NamedTuple):
    in_spec: str
    out_spec: str
    forward_arg_names: tuple[str, ...] | None = None


class ModuleCallEntry(NamedTuple):
    fqn: str
    signature: ModuleCallSignature | None = None


class SavedGraphModule(NamedTuple):
    graph: SavedGraph
    signature: GraphSignature
    module_call_graph: tuple[ModuleCallEntry, ...]
    treespec_namedtuple_fields: dict[str, object] | None = None


class RangeConstraint(NamedTuple):
    min_val: int | None = None
    max_val: int | None = None


class SavedProgram(NamedTuple):
    graph_module: SavedGraphModule
    range_constraints: dict[str, RangeConstraint]
    verifiers: tuple[str, ...] | None = None
    torch_version: str | None = None
    guards_code: tuple[str, ...] | None = None


class PayloadMeta(NamedTuple):
    path_name: str
    is_param: bool = False
    use_pickle: bool = False
    tensor_meta: SavedTensor | None = None


# -- what numbers and choices stand for --------------------------------------------------------------------------

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


def coded(table: dict[int, T], code: object) -> T:
    """The entry of a table of this module; Damaged for a code that it does not have."""
    if type(code) is not int or code not in table:
        raise Damaged(f"has the unknown {type(next(iter(table.values()))).__name__} code {code!r:.40}")
    return table[code]


@lru_cache(maxsize=64)
def device_of(device: SavedDevice) -> torch.device:
    """The device that is named; Damaged when torch knows none of that type."""
    try:
        return torch.device(device.type) if device.index is None else torch.device(device.type, device.index)
    except RuntimeError:
        raise Damaged(f"names the unknown device {device.type!r:.40}") from None


def size_of(size: object) -> int | str:
    """One dimension (``SymInt``): an int, or the text of its expression."""
    value = size.get("as_int") if type(size) is dict and len(size) == 1 else None
    return value if type(value) is int else _expression(_CHOICE(size))


def number_text(number: Choice) -> str:
    """A symbolic number as text, also where it is a literal one."""
    return str(number.value) if type(number.value) in (int, float, bool) else _expression(number)


def _expression(number: Choice) -> str:
    if number.tag != "as_expr":
        raise Damaged(f"has the unknown size {number.tag!r:.40}")
    try:
        return expression_text(number.field("expr_str", str))
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(str(error)) from None
