"""Two Python values compared leaf by leaf: containers by type and keys, tensors by bits, numbers by bits."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch.fx.immutable_collections import immutable_dict, immutable_list
from torch.utils import _pytree as pytree

from fx2py.compare import tensors
from fx2py.compare.report import LeafOutcome
from fx2py.compare.tolerance import BIT_FOR_BIT, Manner, Tolerance
from fx2py.graph.tensors import is_strided_view, storage_of

Aliases: TypeAlias = Mapping[str, str]
"""What the tensor at a path shared with an input, the state or an earlier leaf, as ``alias_labels`` says it."""

_AS_PLAIN: dict[type, type] = {immutable_list: list, immutable_dict: dict}
"""torch.fx makes the containers among a node's arguments immutable ones, and its interpreter returns them as they are."""
_SHOWN = 60


def compare_leaves(
    path: str,
    expected: object,
    actual: object,
    aliases: tuple[Aliases, Aliases] = ({}, {}),
    have_equal_bits: tensors.EqualBits | None = None,
    manner: Manner = BIT_FOR_BIT,
) -> tuple[LeafOutcome, ...]:
    """One outcome for each leaf of ``expected``, or for the first container that ``actual`` does not share."""
    if not _same_class(expected, actual):
        aspect = "structure" if _parts(expected) is not None or _parts(actual) is not None else "type"
        return (LeafOutcome(path, describe(expected), describe(actual), (aspect,)),)
    ours, theirs = _parts(expected), _parts(actual)
    if ours is None or theirs is None:
        return (_compare_leaf(path, expected, actual, aliases, have_equal_bits, manner),)
    if [key for key, _ in ours] != [key for key, _ in theirs]:
        return (LeafOutcome(path, describe(expected), describe(actual), ("structure",)),)
    found: list[LeafOutcome] = []
    for (key, one), (_, other) in zip(ours, theirs, strict=True):
        found += compare_leaves(f"{path}{key}", one, other, aliases, have_equal_bits, manner)
    return tuple(found)


def leaves_with_paths(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Every leaf of ``value`` with the text of its place, as in ``output[0].logits``."""
    parts = _parts(value)
    if parts is None:
        yield path, value
    else:
        for key, part in parts:
            yield from leaves_with_paths(f"{path}{key}", part)


def _compare_leaf(
    path: str,
    expected: object,
    actual: object,
    aliases: tuple[Aliases, Aliases],
    have_equal_bits: tensors.EqualBits | None,
    manner: Manner,
) -> LeafOutcome:
    if not (isinstance(expected, torch.Tensor) and isinstance(actual, torch.Tensor)):
        differs = () if _same_leaf(expected, actual, manner.close) else ("values",)
        is_telling = expected is not None and not (isinstance(expected, float) and math.isnan(expected))
        return LeafOutcome(
            path, describe(expected), describe(actual), differs, len(differs), is_telling=is_telling
        )
    found = tensors.differences(expected, actual)
    if aliases[0].get(path) != aliases[1].get(path):
        found = (*found, "aliasing")
    found = tuple(aspect for aspect in found if aspect not in manner.ignored)
    if {"type", "dtype", "shape", "layout", "device", "is_quantized", "is_nested"}.intersection(found):
        return LeafOutcome(path, describe(expected), describe(actual), found)
    count, largest = tensors.compare_values(expected, actual, have_equal_bits, manner.close)
    found = (*found, "values") if count else found
    is_telling = bool(found) or not tensors.is_all_nan(expected)
    return LeafOutcome(path, describe(expected), describe(actual), found, count, largest, is_telling)


def _same_class(expected: object, actual: object) -> bool:
    """Whether two values are of one class, or of two namedtuple classes of one name and the same fields.

    Code makes a namedtuple of its own in place of a class that is not loaded.
    """
    one, other = (_AS_PLAIN.get(type(value), type(value)) for value in (expected, actual))
    if one is other or (isinstance(expected, torch.Tensor) and isinstance(actual, torch.Tensor)):
        return True
    if not (pytree.is_namedtuple_class(one) and pytree.is_namedtuple_class(other)):
        return False
    return (one.__name__, getattr(one, "_fields", ())) == (other.__name__, getattr(other, "_fields", ()))


def _parts(value: object) -> list[tuple[str, object]] | None:
    """What a container holds, each with the text of its place in it; None for a leaf."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", part) for name, part in zip(value._fields, value, strict=True)]
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, torch.Size) or not isinstance(value, (tuple, list)):
        if type(value) not in pytree.SUPPORTED_NODES or isinstance(value, torch.Size):
            return None
        value = pytree.SUPPORTED_NODES[type(value)].flatten_fn(value)[0]
    return [(f"[{index}]", part) for index, part in enumerate(value)]


def _same_leaf(expected: object, actual: object, close: Tolerance | None) -> bool:
    if close is not None and isinstance(expected, float | complex) and isinstance(actual, float | complex):
        return not bool(close.exceeded(torch.tensor(expected), torch.tensor(actual)))
    if isinstance(expected, complex) and isinstance(actual, complex):
        return _same_float(expected.real, actual.real) and _same_float(expected.imag, actual.imag)
    if isinstance(expected, float) and isinstance(actual, float):
        return _same_float(expected, actual)
    return expected is actual or bool(expected == actual)


def _same_float(expected: float, actual: float) -> bool:
    both_nan = math.isnan(expected) and math.isnan(actual)
    return both_nan or struct.pack("<d", expected) == struct.pack("<d", actual)


def describe(value: object) -> str:
    """A short description of a value: a tensor by dtype, shape and device, a container by its length, else its text."""
    if isinstance(value, torch.Tensor):
        return tensors.describe(value)
    parts = _parts(value)
    if parts is not None:
        return f"{type(value).__qualname__} of {len(parts)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def as_builtin_containers(value: object) -> object:
    """A result in dicts, lists and tuples only, so that a saved one opens anywhere with ``weights_only=True``."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: as_builtin_containers(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, Mapping):
        return {key: as_builtin_containers(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        each = [field.name for field in dataclasses.fields(value)]
        return {name: as_builtin_containers(getattr(value, name)) for name in each}
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return tuple([as_builtin_containers(part) for part in value])
    return [as_builtin_containers(part) for part in value] if isinstance(value, list | deque) else value


# -- what leaves share


def alias_labels(named: Mapping[str, torch.Tensor], result: object) -> dict[str, str]:
    """For each leaf of ``result`` that aliases another tensor, by its path: ``is NAME`` or ``shares NAME`` (a storage).

    NAME is the first such tensor, among ``named`` or the earlier leaves.
    """
    objects: dict[int, str] = {}
    storages: dict[int, str] = {}
    labels: dict[str, str] = {}
    leaves = [
        (path, leaf) for path, leaf in leaves_with_paths("output", result) if isinstance(leaf, torch.Tensor)
    ]
    for index, (name, tensor) in enumerate([*named.items(), *leaves]):
        storage = _storage(tensor)
        if index >= len(named) and id(tensor) in objects:
            labels[name] = f"is {objects[id(tensor)]}"
        elif index >= len(named) and storage in storages:
            labels[name] = f"shares {storages[storage]}"
        objects.setdefault(id(tensor), name)
        if storage is not None:
            storages.setdefault(storage, name)
    return labels


def _storage(tensor: torch.Tensor) -> int | None:
    if not is_strided_view(tensor) or not tensor.untyped_storage().nbytes():
        return None
    return storage_of(tensor)
