"""The input contract of an exported program as the table against which the generated code checks its inputs."""

from __future__ import annotations

import ast
import collections
import math
from collections.abc import Callable, Iterator

from fx2py.graph.data import CallingConvention, InputCheck, InputContract, Tree
from fx2py.graph.values import ORDERED_DICT, Dict, List, Record, Value
from fx2py.program.ir import FIELDS, InputTable
from fx2py.runtime.checks import Fields, Integer, Shape, container_opener
from fx2py.runtime.sizes import SizeExpression, expression_tree, guard_condition

_CONSTANTS = (bool, int, float, complex, str)
_LOWEST_CHECKED = 3
"""torch.export assumes dynamic sizes of at least 2, but checks no lower bound of 2 or less when the program runs.

Source: ``_check_input_constraints_for_graph`` in torch/_export/utils.py.
"""


def input_table(
    contract: InputContract, convention: CallingConvention
) -> tuple[InputTable | None, tuple[str, ...]]:
    """What is demanded of each parameter, and a note for each part of the contract that no check can express.

    The table is None if there are no parameters, or if contract and calling convention disagree.
    """
    trees = (*convention.args, *convention.kwargs)
    if not trees or sum(tree.leaf_count for _, tree in trees) != len(contract.checks):
        return None, ()
    notes: list[str] = []
    checks = iter(contract.checks)
    demands = tuple((name, _demand(tree, checks, notes)) for name, tree in trees)
    leaves = leaf_demands(demands)
    guards = tuple(_guards(contract.guards, leaves, [name for name, _ in trees], notes))
    return InputTable(demands, tuple(_ranges(contract, leaves)), guards), tuple(notes)


def leaf_demands(demands: tuple[tuple[str, Value], ...]) -> dict[str, object]:
    """What is demanded of each leaf, by the expression that reaches it from the parameters."""
    leaves: dict[str, object] = {}
    for name, demand in demands:
        container_opener(name, demand_object(demand, lambda key: key), leaves)
    return leaves


def demand_object(demand: Value, constant: Callable[[Value], object]) -> object:
    """A demand of the table as the runtime's object; ``constant`` converts a dict key."""
    if type(demand) is tuple:
        return tuple([demand_object(part, constant) for part in demand])
    if type(demand) is List:
        return [demand_object(part, constant) for part in demand.items]
    if type(demand) is Dict:
        made = dict if demand.cls is None else collections.OrderedDict
        return made([(constant(key), demand_object(part, constant)) for key, part in demand.items])
    if type(demand) is Record:
        path, fields, detail = parts_of_fields(demand)
        named = {constant(key): demand_object(part, constant) for key, part in fields.items}
        return Fields(path, named, detail)
    return demand


def parts_of_fields(demand: Record) -> tuple[str, Dict, int | str | None]:
    """The path, fields and detail of a demand of class ``FIELDS``; raises TypeError for another record."""
    path, fields, detail = [part for _, part in demand.fields]
    if not (isinstance(path, str) and isinstance(fields, Dict) and isinstance(detail, int | str | None)):
        raise TypeError(f"{demand} is no demand of {FIELDS}")
    return path, fields, detail


# -- structure and leaves


def _demand(tree: Tree, checks: Iterator[InputCheck], notes: list[str]) -> Value:
    if tree.kind == "leaf":
        return _leaf(next(checks), notes)
    parts = tuple([_demand(child, checks, notes) for child in tree.children])
    if tree.kind == "tuple":
        return parts
    if tree.kind == "list":
        return List(parts)
    if tree.kind == "deque":
        limit = tree.keys[0] if tree.keys else None
        return _fields("collections.deque", tuple(enumerate(parts)), limit)
    named = tuple(zip(tree.keys, parts, strict=True))
    if tree.kind == "dict":
        return Dict(named)
    if tree.kind == "ordereddict":
        return Dict(named, ORDERED_DICT)
    if tree.kind == "defaultdict":
        return _fields("collections.defaultdict", named, None if tree.cls is None else tree.cls.path)
    detail = tree.kind if tree.kind == "namedtuple" else None
    return _fields("" if tree.cls is None else tree.cls.path, named, detail)


def _fields(path: str, named: tuple[tuple[Value, Value], ...], detail: Value) -> Record:
    return Record(FIELDS, (("path", path), ("fields", Dict(named)), ("detail", detail)))


def _leaf(check: InputCheck, notes: list[str]) -> Value:
    if check.shape is not None:
        shape: Shape = Shape(*[_size(check, size, notes) for size in check.shape])
        return shape
    if check.symbol is not None:
        expression = _size(check, check.symbol, notes)
        return Integer(expression) if type(expression) is str else ...
    if not check.constant or check.value is None or type(check.value) not in _CONSTANTS:
        return ...  # ``ep.module()`` does not look at an input that was None at export either
    is_nan = type(check.value) is float and math.isnan(check.value)
    return math.nan if is_nan else check.value


def _size(check: InputCheck, size: int | str, notes: list[str]) -> Value:
    if type(size) is int:
        return size
    try:
        SizeExpression(str(size))
    except (ValueError, RecursionError):
        notes.append(f"the size {size} of the input {check.placeholder} is not checked")
        return ...
    return size


def _ranges(
    contract: InputContract, leaves: dict[str, object]
) -> Iterator[tuple[str, int | None, int | None]]:
    """The ranges that the size of some input must be checked against."""
    demanded = {
        str(size)
        for demand in leaves.values()
        for size in (demand if type(demand) is Shape else [demand] if type(demand) is Integer else [])
    }
    for expression, low, high in contract.ranges:
        low = None if low is None or low < _LOWEST_CHECKED else low
        if expression in demanded and (low, high) != (None, None):
            yield expression, low, high


# -- guards


def _guards(
    texts: tuple[str, ...], leaves: dict[str, object], parameters: list[str], notes: list[str]
) -> Iterator[str]:
    """The guards that the checks of sizes do not imply, as conditions over the inputs as a caller names them."""
    for text in texts:
        try:
            tree = _Renaming(list(leaves), parameters).visit(expression_tree(text))
            guard = ast.unparse(tree)
            guard_condition(guard, leaves)
            follows = _follows_from_sizes(tree, leaves)
        except (ValueError, RecursionError):
            notes.append(f"the guard {text} is not checked")
            continue
        if not follows:
            yield guard


class _Renaming(ast.NodeTransformer):
    """Renames torch's sources of guards, ``L['x'].size()[0]``, to ``x.shape[0]``."""

    def __init__(self, leaves: list[str], parameters: list[str]) -> None:
        self.leaves = leaves
        self.parameters = parameters

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        source, key = node.value, node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(source, ast.Name) and source.id == "L" and key in self.parameters:
            return ast.Name(str(key))
        if isinstance(source, ast.Subscript) and ast.unparse(source) == "L['flat_args']":
            return expression_tree(self._leaf(key))
        if isinstance(source, ast.Subscript) and isinstance(source.slice, ast.Constant):
            variadic = f"{source.slice.value!s}_{key!s}"
            if ast.unparse(source.value) == "L" and variadic in self.parameters:
                return ast.Name(variadic)
        call = source.func if isinstance(source, ast.Call) and not source.args else None
        if isinstance(call, ast.Attribute) and call.attr == "size":
            return ast.Subscript(ast.Attribute(self.visit(call.value), "shape"), node.slice)
        return self.generic_visit(node)

    def _leaf(self, index: object) -> str:
        if type(index) is not int or not 0 <= index < len(self.leaves):
            raise ValueError(f"there is no input {index}")
        return self.leaves[index]


def _follows_from_sizes(guard: ast.expr, leaves: dict[str, object]) -> bool:
    """Whether a guard equates two sizes that are the same linear expression of symbols, so that it always holds."""
    if not isinstance(guard, ast.Compare) or len(guard.ops) != 1 or not isinstance(guard.ops[0], ast.Eq):
        return False
    left, right = (_linear(side, leaves) for side in (guard.left, guard.comparators[0]))
    return left is not None and left == right


def _linear(node: ast.expr, leaves: dict[str, object]) -> dict[str, int] | None:
    """The coefficient of each symbol, with '' for the constant term; None if the expression is not linear."""
    if isinstance(node, ast.Constant):
        return {"": node.value} if type(node.value) is int and node.value else {} if node.value == 0 else None
    if isinstance(node, ast.Name) and node.id not in leaves:
        return {node.id: 1}
    if isinstance(node, ast.Subscript):
        return _linear_size(node, leaves)
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _linear(node.left, leaves), _linear(node.right, leaves)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Add | ast.Sub):
        sign = 1 if isinstance(node.op, ast.Add) else -1
        return _combined(left, right, sign)
    if isinstance(node.op, ast.Mult) and (left.keys() <= {""} or right.keys() <= {""}):
        factor, scaled = (left, right) if left.keys() <= {""} else (right, left)
        return _combined({}, scaled, factor.get("", 0))
    return None


def _linear_size(node: ast.Subscript, leaves: dict[str, object]) -> dict[str, int] | None:
    tensor = ast.unparse(node.value).removesuffix(".shape")
    index = int(ast.unparse(node.slice))
    demand = leaves.get(tensor)
    if type(demand) is not Shape or index >= len(demand) or demand[index] is ...:
        return None
    return _linear(expression_tree(str(demand[index])), {})


def _combined(one: dict[str, int], other: dict[str, int], factor: int) -> dict[str, int]:
    found = {name: one.get(name, 0) + factor * other.get(name, 0) for name in dict.fromkeys([*one, *other])}
    return {name: value for name, value in found.items() if value}
