"""The spellings of an operator: which nodes of a graph call it, at whatever level the graph was captured."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

import torch

from fx2py.arguments import Kind, require, shown
from fx2py.errors import SplitError
from fx2py.graph.data import ModuleRecord, Node
from fx2py.graph.names import callable_name, dotted_name
from fx2py.graph.values import Name, OpName
from fx2py.operators.schema import schema_of, schemas_of

_ATEN_HOMES = {
    "torch": "",
    "torch.nn.functional": "",
    "torch.linalg": "linalg_",
    "torch.fft": "fft_",
    "torch.special": "special_",
}
"""The prefix of ATen's operators for the functions of each namespace: ``torch.fft.rfft`` is ``aten::fft_rfft``."""

_OPERATOR_WORDS = {
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "and_": "__and__",
    "or_": "__or__",
    "xor": "__xor__",
    "inv": "bitwise_not",
    "invert": "bitwise_not",
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "ipow": "pow_",
    "itruediv": "div_",
    "ifloordiv": "floor_divide_",
}
"""The functions of ``operator`` that have another name in ATen."""

_SDPA = "aten::scaled_dot_product_attention"
_LOWERED = {
    f"aten::_scaled_dot_product_{kind}": _SDPA
    for kind in (
        *("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention"),
        *("attention_math", "attention_math_for_mps", "fused_attention_overrideable"),
    )
}
"""The operators that an operator becomes when torch chooses a kernel (aten/src/ATen/native/transformers/attention.cpp)."""

_NAMED_AS_CLASS = (
    "Linear",
    "Bilinear",
    "Embedding",
    "GELU",
    "ReLU",
    "SiLU",
    "Mish",
    "Softmax",
    "Sigmoid",
    "Tanh",
)
_MODULE_OPERATORS = {
    **{name: name.lower() for name in (*_NAMED_AS_CLASS, "Dropout", "Conv1d", "Conv2d", "Conv3d")},
    **{f"BatchNorm{rank}d": "batch_norm" for rank in (1, 2, 3)},
    "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm",
    "RMSNorm": "rms_norm",
    "LogSoftmax": "log_softmax",
}
"""The operator that a module of ``torch.nn`` calls, by the name of its class."""

_OPERATOR_TEXT = re.compile(r"(?:torch\._?ops\.)?(\w+)(?:::|\.)(\w+)(?:\.(\w+))?")
_PATH_TEXT = re.compile(r"[\w*?\[\]!-]+(?:\.[\w*?\[\]!-]+)*")
_OPS = ("torch.ops.aten.", "torch._ops.aten.")
_SPELLINGS = (
    "Operators are written as 'aten::linear', 'torch.nn.functional.linear', 'torch.nn.Linear' or 'layers.0'."
)
_FUNCTION_HOMES: dict[str, object] = {
    "torch": torch,
    "torch.nn": torch.nn,
    "torch.nn.functional": torch.nn.functional,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
    "torch.Tensor": torch.Tensor,
    "operator": operator,
    "math": math,
}
"""The objects of the namespaces whose functions and classes a graph may name."""


OpSpec: TypeAlias = str | Callable[..., object]
OpSpecs: TypeAlias = OpSpec | Iterable[OpSpec]
"""One operator, or several."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One operator as a user wrote it, in each reading that its text allows.

    ``operator`` is ``aten::add`` and ``overload`` its overload, when the text can mean one; ``function`` the dotted
    path of a function; ``path`` the parts of a module path, in which ``*`` stands for any one part.
    """

    text: str
    operator: str
    overload: str | None
    function: str
    path: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        """What this may be called without its namespace, in lower case: as an operator, and as a function or module."""
        names = (self.operator.rpartition("::")[2], self.path[-1])
        return frozenset(name.lower() for name in names if name)

    def matches(self, node: Node, record: ModuleRecord | None) -> bool:
        """Whether the node is a call of this operator; ``record`` is the module that a call_module node calls."""
        if node.op == "call_module":
            return self._is_path(str(node.target)) or self._is_module(record)
        if isinstance(node.target, Name) and node.target.path == self.function:
            return True
        base, overload = _operator(node)
        if not base or self.operator not in (base, _LOWERED.get(base)):
            return False
        return overload is None or self.overload in (None, overload) or self.operator != base

    def module_of(self, node: Node) -> str:
        """The part of the node's module path that this spelling names; '' where it names none."""
        parts = _module(node).split(".")[: len(self.path)]
        return ".".join(parts) if self._is_path(".".join(parts)) else ""

    def _is_path(self, path: str) -> bool:
        parts = path.split(".")
        return len(parts) == len(self.path) and all(map(fnmatchcase, parts, self.path))

    def _is_module(self, record: ModuleRecord | None) -> bool:
        if record is None or record.graph is not None:
            return False
        name = record.cls
        if name.module.startswith("torch.nn.modules"):
            public = f"torch.nn.{name.qualname}"
            return self.function in (name.path, public) or "" != self.operator == _module_operator(name)
        return self.function == name.path


def spelled(op: OpSpec) -> Spelling:
    """The operator that a text or a live function, operator or class names."""
    text = op if isinstance(op, str) else str(callable_name(op) or op)
    path = tuple(text.split("."))
    name = dotted_name(text) if len(path) > 1 and "::" not in text else None
    if isinstance(name, OpName):
        return Spelling(text, f"{name.namespace}::{name.name}", name.overload, name.path, path)
    if name is not None and name.module.partition(".")[0] in ("torch", "operator"):
        return Spelling(text, _function_operator(name), None, name.path, path)
    return Spelling(text, *_operator_of_text(text), text if name is None else name.path, path)


def each_of(ops: OpSpecs, name: str = "ops") -> tuple[OpSpec, ...]:
    """The operators as a tuple; a single one, also as text, counts as one.

    Raises OptionError, with the ``name`` of the argument, for anything else, and SplitError for a name that cannot
    occur in any graph.
    """
    require(name, ops, _OPERATORS)
    each = (ops,) if isinstance(ops, str) or callable(ops) else tuple(ops)
    for op in each:
        require(f"an operator of {name}", op, _OPERATOR)
        require_spelling(op)
    return each


def _is_operator(value: object) -> bool:
    return isinstance(value, str) or callable(value)


_OPERATOR = Kind("text or a function", _is_operator)
_OPERATORS = Kind(
    "an operator or several, each text or a function",
    lambda value: _is_operator(value)
    or (isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)),
)


def require_spelling(op: OpSpec) -> None:
    """Raise SplitError for text that is not a name, or a callable that has none: no graph can contain either."""
    if isinstance(op, str):
        if not (_OPERATOR_TEXT.fullmatch(op) or _PATH_TEXT.fullmatch(op)):
            raise SplitError(f"{shown(op)} is no name of an operator, function or module.", _SPELLINGS)
    elif callable_name(op) is None:
        raise SplitError(f"{shown(op)} has no name that a graph could call it by.", _SPELLINGS)


def require_known(op: OpSpec) -> None:
    """Raise SplitError for text that names something which the installed torch does not have.

    Only needed before there is a graph: what a graph contains is found in it.
    """
    one = spelled(op)
    home, _, word = one.text.rpartition(".")
    is_of_torch = one.text.startswith((*_OPS, "aten::"))
    missing = (home in _FUNCTION_HOMES and not hasattr(_FUNCTION_HOMES[home], word)) or (
        is_of_torch and one.operator.startswith("aten::") and not _is_operator_there(one)
    )
    if missing:
        raise SplitError(f"torch {torch.__version__} has no {shown(one.text)}.", _SPELLINGS)


def _is_operator_there(one: Spelling) -> bool:
    """Whether torch has an operator, or else a method or function, that a graph may call by this spelling."""
    word = one.operator.removeprefix("aten::")
    op = OpName("aten", word, one.overload)
    if schemas_of(op):
        return one.overload is None or schema_of(op) is not None
    homes = ((torch.Tensor, ""), *((_FUNCTION_HOMES[home], prefix) for home, prefix in _ATEN_HOMES.items()))
    return any(word.startswith(prefix) and hasattr(home, word[len(prefix) :]) for home, prefix in homes)


def names_of(node: Node) -> tuple[str, ...]:
    """Every name that a node of a graph can be split at by: its operator or function, and the modules around it."""
    if not node.op.startswith("call_"):
        return ()
    operator, _ = _operator(node)
    function = str(node.target) if isinstance(node.target, Name) and not operator else ""
    parts = _module(node).split(".")
    modules = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return tuple([name for name in (operator, function, *modules) if name])


def _module(node: Node) -> str:
    """The path of the module that a node calls or was traced in; '' where the graph does not record it."""
    return str(node.target) if node.op == "call_module" else node.meta.module


def _operator_of_text(text: str) -> tuple[str, str | None]:
    found = _OPERATOR_TEXT.fullmatch(text)
    return (f"{found[1]}::{found[2]}", found[3]) if found else ("", None)


def _operator(node: Node) -> tuple[str, str | None]:
    """The operator that a node calls, with its overload where the node names one; '' for anything else."""
    target = node.target
    if isinstance(target, OpName):
        return f"{target.namespace}::{target.name}", target.overload
    if isinstance(target, Name):
        return _function_operator(target), None
    return (f"aten::{target}", None) if node.op == "call_method" else ("", None)


def _function_operator(name: Name) -> str:
    if name.module == "operator":
        return f"aten::{_OPERATOR_WORDS.get(name.qualname, name.qualname)}"
    if name.module == "torch" and name.qualname.startswith("Tensor."):
        return f"aten::{name.qualname.removeprefix('Tensor.')}"
    if name.module.startswith("torch.nn") and name.qualname in _MODULE_OPERATORS:
        return _module_operator(name)
    prefix = _ATEN_HOMES.get(name.module)
    return (
        ""
        if prefix is None or "." in name.qualname
        else f"aten::{prefix}{name.qualname.removeprefix(prefix)}"
    )


def _module_operator(name: Name) -> str:
    word = _MODULE_OPERATORS.get(name.qualname)
    return "" if word is None else f"aten::{word}"
