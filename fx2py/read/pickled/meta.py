"""What pickled nodes record of their results: shapes, dtypes, and symbolic expressions as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fx2py.graph.data import NumberKind, SymMeta, TensorMeta, ValueMeta
from fx2py.graph.symbols import expression_text
from fx2py.read.pickled.records import Built, Global, Mapping, PickleFault
from fx2py.read.pickled.tensors import DTYPES

PICKLER = "torch.fx._graph_pickler"
SYMBOLIC_INT = f"{PICKLER}._SymNodePickleData.unpickle_sym_int"
SYMBOLIC_FLOAT, SYMBOLIC_BOOL = "torch.SymFloat", "torch.SymBool"
_LONGEST_MANTISSA = 32
_FAKE_TENSOR = f"{PICKLER}._TensorPickleData.unpickle"
_METADATA = "torch.fx.passes.shape_prop.TensorMetadata"
_NUMBERS = {"Zero": "0", "One": "1", "NegativeOne": "-1"}
_LIMIT = 10_000


def recorded(obj: Any) -> ValueMeta:
    """The shape and dtype of a recorded tensor, the expression of a recorded number; None where neither is recorded."""
    return _recorded(obj, iter(range(_LIMIT)))


def _recorded(obj: Any, left: Iterator[int]) -> ValueMeta:
    if next(left, None) is None:
        raise PickleFault("what is recorded of a node's result has too many parts")
    if type(obj) in (list, tuple):
        return tuple([_recorded(part, left) for part in obj])
    handler = _RECORDED.get(obj.path) if type(obj) is Built else None
    return None if handler is None else handler(obj)


def _fake_tensor(obj: Built) -> ValueMeta:
    data = attributes(obj.args[0] if obj.args else None)
    metadata = attributes(data.get("metadata"))
    return _tensor(metadata, metadata.get("size"))


def _tensor_metadata(obj: Built) -> ValueMeta:
    names = ("shape", "dtype", "requires_grad", "stride")
    fields = dict(zip(names, obj.args, strict=False)) if type(obj.args) is tuple else {}
    return _tensor(fields, fields.get("shape"))


def _tensor(fields: dict[str, Any], shape: Any) -> TensorMeta | None:
    dtype, device = fields.get("dtype"), fields.get("device")
    kind = DTYPES.get(dtype.path) if type(dtype) is Global else None
    sizes = _sizes(shape)
    if kind is None or sizes is None:
        return None
    return TensorMeta(
        kind, sizes, _device(device), _sizes(fields.get("stride")), fields.get("requires_grad") is True
    )


def _device(obj: Any) -> torch.device | None:
    if type(obj) is not Built or obj.path != "torch.device" or type(obj.args) is not tuple:
        return None
    try:
        return torch.device(*obj.args)
    except (RuntimeError, TypeError):
        return None


def _sizes(obj: Any) -> tuple[int | str, ...] | None:
    items = obj.args[0] if type(obj) is Built and obj.path == "torch.Size" and obj.args else obj
    if type(items) not in (list, tuple):
        return None
    sizes = [item if type(item) is int else symbolic_size(item) for item in items]
    return None if None in sizes else tuple(size for size in sizes if size is not None)


def _symbolic(obj: Built) -> ValueMeta:
    size = symbolic_size(obj)
    return None if size is None else SymMeta("int", str(size))


def symbolic_size(obj: Any) -> int | str | None:
    """The number that a pickled SymInt is, or the text of its expression; None for anything else."""
    if type(obj) is not Built or obj.path != SYMBOLIC_INT or type(obj.args) is not tuple:
        return None
    text = expression_text(_Expression().text(attributes(obj.args[0] if obj.args else None).get("expr")))
    return int(text) if text.lstrip("-").isdecimal() else text


def _symbolic_number(kind: NumberKind) -> Callable[[Built], ValueMeta]:
    def read(obj: Built) -> ValueMeta:
        text = symbolic_text(obj)
        return None if text is None else SymMeta(kind, text)

    return read


def symbolic_text(obj: Built) -> str | None:
    """The expression of a pickled SymFloat or SymBool; None where it holds none."""
    expression = attributes(attributes(obj).get("node")).get("_expr")
    return None if expression is None else expression_text(_Expression().text(expression))


class _Expression:
    """Writes a pickled sympy expression as ``sympy.srepr`` would."""

    def __init__(self) -> None:
        self._left = _LIMIT

    def text(self, obj: Any) -> str:
        self._left -= 1
        if self._left < 0 or type(obj) is not Built:
            raise PickleFault("a symbolic size is damaged or too long")
        name = obj.path.rpartition(".")[2]
        if name in _NUMBERS:
            return f"Integer({_NUMBERS[name]})"
        if type(obj.args) is not tuple:
            raise PickleFault("a symbolic size is damaged")
        if name == "Float":
            return f"Float('{_float(obj.args)!r}')"
        return f"{name}({', '.join([self._part(part) for part in obj.args])})"

    def _part(self, part: Any) -> str:
        if type(part) is int:
            return str(part)
        if type(part) is str:
            return f"'{part}'"
        return self.text(part)


def _float(args: tuple[Any, ...]) -> float:
    """The number of a sympy ``Float``: its sign, hexadecimal mantissa and binary exponent."""
    match args:
        case ((0 | 1 as sign, str(mantissa), int(exponent), _),) if len(mantissa) < _LONGEST_MANTISSA:
            try:
                return math.ldexp(-int(mantissa, 16) if sign else int(mantissa, 16), exponent)
            except (ValueError, OverflowError):
                pass
    raise PickleFault("a symbolic number is damaged")


def attributes(obj: Any) -> dict[str, Any]:
    """The state of a pickled object by name; empty for anything else."""
    return obj.state.by_name() if type(obj) is Built and type(obj.state) is Mapping else {}


_RECORDED: dict[str, Callable[[Built], ValueMeta]] = {
    _FAKE_TENSOR: _fake_tensor,
    _METADATA: _tensor_metadata,
    SYMBOLIC_INT: _symbolic,
    SYMBOLIC_FLOAT: _symbolic_number("float"),
    SYMBOLIC_BOOL: _symbolic_number("bool"),
}
