"""What the variables of a function surely hold, as far as a proof of a native call asks for it."""

from __future__ import annotations

from fx2py.graph.data import Node
from fx2py.graph.values import GETITEM, OpName, Ref
from fx2py.operators.facts import returns_tensor
from fx2py.operators.schema import returns_tensor_list
from fx2py.program.ir import Call


class VariableKinds:
    """The variables that surely hold a tensor, a list of tensors, or a device, whatever the inputs are."""

    def __init__(self) -> None:
        self.tensors: set[str] = set()
        self.tensor_lists: set[str] = set()
        self.devices: set[str] = set()

    def note_result(self, target: str, node: Node, call: Call) -> None:
        """Remember what the call of a node assigns to ``target``."""
        if isinstance(node.target, OpName):
            if returns_tensor(node.target):
                self.tensors.add(target)
            elif returns_tensor_list(node.target):
                self.tensor_lists.add(target)
        elif node.target == GETITEM and len(call.args) == 2:
            source, index = call.args
            if type(source) is Ref and source.name in self.tensor_lists and type(index) is int:
                self.tensors.add(target)
