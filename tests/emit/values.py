"""Random values of the value language, as graphs hold them."""

from __future__ import annotations

import struct

import torch
from hypothesis import strategies as st

from fx2py.graph.values import Dict, EnumMember, List, Name, Range, Record, Set, Size, Slice

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
NAMES = (
    "x",
    "größe",
    "self",
    "from",
    "torch",
    "build",
    "a b",
    "__class__",
    "match",
    'quo"te',
    "new\nline",
    "",
)
HARD_TEXT = st.sampled_from(
    [
        '"',
        "'",
        "\"'",
        "\\",
        "\\'",
        "\n",
        "\r\n",
        "\x00",
        "\u2028",
        "\u202e",
        "\ud800",
        '"""',
        "# fmt: off",
        "{}",
        "\x85",
        "é\u0301",
    ]
)


def bits_to_float(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


floats = st.one_of(st.floats(), st.integers(0, 2**64 - 1).map(bits_to_float))
integers = st.one_of(
    st.integers(-3, 10), st.integers(), st.sampled_from([2**63, -(2**63), 2**13500, -(2**13500)])
)
texts = st.lists(st.one_of(st.text(max_size=8), HARD_TEXT), max_size=4).map("".join)
plain = st.one_of(
    *(st.none(), st.booleans(), integers, floats, st.builds(complex, floats, floats), texts),
    *(st.binary(max_size=8), st.just(...), st.sampled_from(DTYPES)),
    st.sampled_from([torch.strided, torch.sparse_coo, torch.channels_last, torch.per_tensor_affine]),
)
enum_members = st.builds(
    EnumMember,
    st.just(Name("torch.nn.attention", "SDPBackend")),
    st.sampled_from(["MATH", "FLASH_ATTENTION"]),
)
names = st.sampled_from(
    [
        Name("torch", "Tensor"),
        Name("builtins", "int"),
        Name("torch.nn.functional", "relu"),
        Name("math", "inf_"),
    ]
)
leaves = st.one_of(plain, enum_members, names)
keys = st.one_of(texts, st.integers(-4, 4), st.none())


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Every container of the value language over ``inner``."""
    items = st.lists(inner, max_size=3).map(tuple)
    pairs = st.lists(st.tuples(keys, inner), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)
    classes = st.sampled_from([None, Name("collections", "OrderedDict")])
    return st.one_of(
        *(items, items.map(List), items.map(Size), st.builds(Slice, inner, inner, inner)),
        *(st.builds(Range, inner, inner, inner), st.builds(Dict, pairs, classes)),
        st.builds(Set, st.lists(keys, max_size=3, unique=True).map(tuple), st.booleans()),
        st.builds(
            Dict,
            pairs,
            st.just(Name("collections", "defaultdict")),
            st.sampled_from([None, Name("builtins", "list")]),
        ),
        st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda fields: Record(Name("a.b", "Outer.Point"), tuple(fields))
        ),
    )


def values(more_leaves: st.SearchStrategy | None = None) -> st.SearchStrategy:
    """Any value; ``more_leaves`` are leaves beside the constant ones, such as references."""
    below = leaves if more_leaves is None else st.one_of(leaves, more_leaves)
    return st.recursive(below, containers, max_leaves=6)
