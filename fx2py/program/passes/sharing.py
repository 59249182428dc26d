"""Alias analysis: which variables of a function may share memory, which memory is written to, which leaves it.

The lists below are proven by running each operator. A fresh result shares memory with nothing; what any other call
returns may be any of its operands. A call that is on no list may also write to all of them. Weights share memory where
they lie in one storage.
"""

from __future__ import annotations

from fx2py.graph.tensors import storage_of
from fx2py.graph.values import GETITEM, OpName, Ref
from fx2py.program.ir import (
    CHECK_INPUTS,
    FIELDS_OF,
    Assign,
    Bind,
    Function,
    Load,
    Local,
    Program,
    Statement,
)
from fx2py.program.liveness import leaves, used_names
from fx2py.program.passes.rewriting import arguments_of, operator_of


def _overloads(names: str) -> frozenset[str]:
    return frozenset(names.split())


COMPUTING = _overloads(
    """clone.default index.Tensor gather.default index_select.default masked_fill.Scalar repeat.default
    embedding.default constant_pad_nd.default roll.default relu.default neg.default abs.default triu.default
    tril.default add.Tensor sub.Tensor mul.Tensor div.Tensor rsub.Scalar pow.Tensor_Scalar maximum.default
    minimum.default min.other max.other clamp.default stack.default cat.default cumsum.default diff.default
    tanh.default sigmoid.default exp.default log.default sqrt.default rsqrt.default cos.default sin.default
    where.self where.Scalar where.ScalarSelf where.ScalarOther
    eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar
    ge.Tensor ge.Scalar logical_not.default logical_and.default logical_or.default
    __and__.Tensor __or__.Tensor bitwise_not.default
    zeros_like.default ones_like.default full_like.default new_ones.default new_zeros.default new_full.default
    zeros.default ones.default full.default arange.default arange.start arange.start_step"""
)
"""Fresh results that follow from the operands, torch's default dtype and its number of threads alone."""
FRESH = COMPUTING | _overloads(
    """linear.default addmm.default mm.default bmm.default matmul.default conv1d.default conv2d.default
    layer_norm.default batch_norm.default group_norm.default gelu.default silu.default softplus.default
    scaled_dot_product_attention.default softmax.int mean.dim mean.default sum.dim_IntList
    max_pool2d.default"""
)
VIEWS = _overloads(
    """alias.default contiguous.default detach.default expand.default flatten.using_ints narrow.default permute.default
    reshape.default select.int slice.Tensor squeeze.default squeeze.dim squeeze.dims t.default transpose.int
    unsqueeze.default view.default unfold.default split.Tensor split_with_sizes.default chunk.default unbind.int
    to.dtype to.device to.dtype_layout"""
)
"""What follows from the operands alone, and may share memory with them."""
_READING = FRESH | VIEWS | frozenset({"dropout.default", "_assert_tensor_metadata.default", "sym_size.int"})
WRITING = frozenset({"add_.Tensor", "mul_.Tensor", "relu_.default", "fill_.Scalar", "copy_.default"})
"""Calls that write to their first operand and return it."""


class Sharing:
    """The classes of variables that may share memory: each is known by one of its names."""

    def __init__(self, function: Function, program: Program) -> None:
        self._parents: dict[str, str] = {}
        self._written: list[str] = []
        self._storages: dict[int, str] = {}
        for statement in function.body:
            self._learn(statement, program)
        result = [part.name for part in leaves(iter((function.result,))) if type(part) is Ref]
        self.leaving = frozenset(map(self.class_of, result))
        self.written = frozenset(map(self.class_of, self._written))

    def class_of(self, name: str) -> str:
        """The name by which the class of a variable is known."""
        root = name
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while name != root:
            self._parents[name], name = root, self._parents.get(name, name)
        return root

    def _learn(self, statement: Statement, program: Program) -> None:
        names = used_names(statement)
        if isinstance(statement, Load):
            self._learn_load(statement, program)
        elif isinstance(statement, Assign):
            if overload_name(statement) not in FRESH:
                self._join(statement.target, names)
            self._written += _written_names(statement)
        elif isinstance(statement, Bind):
            self._join(statement.target, names)

    def _learn_load(self, load: Load, program: Program) -> None:
        if load.slot.table == "weights":
            storage = storage_of(program.weights[load.slot.index].tensor)
            self._join(load.target, [self._storages.setdefault(storage, load.target)])

    def _join(self, target: str | None, names: list[str]) -> None:
        joined = [*([] if target is None else [target]), *names]
        for name in joined[1:]:
            self._parents[self.class_of(name)] = self.class_of(joined[0])


def overload_name(statement: Statement) -> str:
    """``add.Tensor`` for the ATen operator that a statement calls; '' for other statements."""
    op = operator_of(statement)
    return "" if op is None else f"{op.name}.{op.overload}"


def _written_names(statement: Assign) -> list[str]:
    """The variables whose memory a call may write to."""
    name, callee = overload_name(statement), statement.call.callee
    if name == "batch_norm.default":
        op = OpName("aten", "batch_norm", "default")
        return [] if arguments_of(op, statement.call).get("training") is False else used_names(statement)
    if name in _READING or callee in (GETITEM, Local(CHECK_INPUTS), Local(FIELDS_OF)):
        return []
    if name in WRITING:
        return [part.name for part in statement.call.args[:1] if type(part) is Ref]
    return used_names(statement)


def writes(statement: Statement) -> bool:
    """Whether a statement may write to memory that it did not make."""
    return isinstance(statement, Assign) and bool(_written_names(statement))


def touched_names(statement: Statement) -> list[str]:
    """The variables that a statement reads or makes."""
    made = None if not isinstance(statement, (Assign, Bind)) else statement.target
    return [*used_names(statement), *([] if made is None else [made])]
