"""Damages to a generated file, of many kinds, each on one line; and changes that change nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Edit = tuple[ast.expr | ast.stmt, str]
Edits = Sequence[Edit]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged text, the kind of damage, and the lines that were changed."""

    kind: str
    lines: frozenset[int]
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every damage of every kind; those whose text is the old one are left out."""
    for kind, damage in KINDS.items():
        for edits in damage(ast.parse(source)):
            changed = _edited(source, edits)
            if changed != source:
                lines = {line for node, _ in edits for line in _lines(node)}
                yield Mutant(kind, frozenset(lines), changed)


def _lines(node: ast.AST) -> range:
    first = getattr(node, "lineno", 0)
    return range(first, (getattr(node, "end_lineno", None) or first) + 1)


def _edited(source: str, edits: Edits) -> str:
    """The text with nodes replaced by texts, each on the lines that it had."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()
    for node, text in sorted(edits, key=lambda each: -each[0].lineno * 10_000 - each[0].col_offset):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        data = data[:start] + text.encode() + b"\n" * data[start:end].count(b"\n") + data[end:]
    return data.decode()


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.For):
            yield node.body


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for body in _bodies(tree):
        yield from (node for node in body if not isinstance(node, ast.For | ast.Delete | ast.Return))


def _assignments(tree: ast.Module) -> Iterator[ast.Assign]:
    """Those of the result of a call, a subscript or an operator to one variable."""
    for node in _statements(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in _statements(tree):
        value = node.value if isinstance(node, ast.Assign | ast.Expr) else None
        if isinstance(value, ast.Call) and not _is_check(value):
            yield value


def _is_check(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "check_inputs"


def _literals(tree: ast.Module) -> Iterator[ast.Constant]:
    for statement in _statements(tree):
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant):
                yield node


# -- literals


def floats(tree: ast.Module) -> Iterator[Edits]:
    for node in _literals(tree):
        if type(node.value) is float:
            for other in (node.value * 2 + 0.125, -node.value or 1.0):
                yield [(node, repr(other))]


def integers(tree: ast.Module) -> Iterator[Edits]:
    for node in _literals(tree):
        if type(node.value) is int:
            yield [(node, repr(node.value + 1))]


def flags(tree: ast.Module) -> Iterator[Edits]:
    for node in _literals(tree):
        if type(node.value) is bool:
            yield [(node, repr(not node.value))]


def dtypes(tree: ast.Module) -> Iterator[Edits]:
    """The dtype of a conversion, or one that is added to a result."""
    other = {"float32": "float64", "int64": "int32", "bool": "int64", "float64": "float32"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in other and ast.unparse(node.value) == "torch":
            yield [(node, f"torch.{other[node.attr]}")]


# -- calls

_OTHERS = {
    "torch.relu": "torch.sigmoid",
    "torch.sin": "torch.cos",
    "torch.cos": "torch.sin",
    "torch.tanh": "torch.sigmoid",
    "torch.exp": "torch.tanh",
    "torch.softmax": "torch.log_softmax",
    "torch.log_softmax": "torch.softmax",
    "F.gelu": "F.silu",
    "F.silu": "F.relu",
    "torch.add": "torch.sub",
    "torch.sub": "torch.add",
    "torch.mul": "torch.add",
    "torch.sigmoid": "torch.tanh",
    "torch.gt": "torch.lt",
    "torch.rand_like": "torch.randn_like",
    "torch.max_pool2d": "torch.nn.functional.avg_pool2d",
}
_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.Div: "*",
    ast.MatMult: "*",
}


def callees(tree: ast.Module) -> Iterator[Edits]:
    for call in _calls(tree):
        other = _OTHERS.get(ast.unparse(call.func))
        if other:
            yield [(call.func, other)]
    for node in _assignments(tree):
        if isinstance(node.value, ast.BinOp):
            sign = _SIGNS.get(type(node.value.op), "-")
            yield [(node.value, f"{ast.unparse(node.value.left)} {sign} {ast.unparse(node.value.right)}")]


def swapped_operands(tree: ast.Module) -> Iterator[Edits]:
    for node in _assignments(tree):
        if isinstance(node.value, ast.BinOp):
            sign = ast.unparse(node.value).removeprefix(ast.unparse(node.value.left)).split()[0]
            yield [(node.value, f"{ast.unparse(node.value.right)} {sign} {ast.unparse(node.value.left)}")]
    for call in _calls(tree):
        names = [each for each in call.args if isinstance(each, ast.Name)]
        if len(names) > 1:
            yield [(names[0], names[1].id), (names[1], names[0].id)]


def other_operands(tree: ast.Module) -> Iterator[Edits]:
    """A variable replaced by another one that holds a value there."""
    for body in _bodies(tree):
        known: list[str] = []
        for node in body:
            if isinstance(node, ast.Delete):
                gone = {
                    each.id
                    for target in node.targets
                    for each in ast.walk(target)
                    if isinstance(each, ast.Name)
                }
                known = [name for name in known if name not in gone]
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                used = [
                    each for each in ast.walk(node.value) if isinstance(each, ast.Name) and each.id in known
                ]
                for each in used[:1]:
                    yield from ([(each, other)] for other in known[-3:] if other != each.id)
                known.append(node.targets[0].id)


def arguments_dropped(tree: ast.Module) -> Iterator[Edits]:
    for call in _calls(tree):
        plain = [each for each in call.args if isinstance(each, ast.Constant)]
        if call.keywords and not any(each.arg in ("weights", "consts") for each in call.keywords):
            rest = [*map(ast.unparse, call.args), *map(ast.unparse, call.keywords[:-1])]
            yield [(call, f"{ast.unparse(call.func)}({', '.join(rest)})")]
        elif plain and call.args[-1] is plain[-1]:
            yield [(call, f"{ast.unparse(call.func)}({', '.join(map(ast.unparse, call.args[:-1]))})")]


def slices(tree: ast.Module) -> Iterator[Edits]:
    for statement in _statements(tree):
        for node in ast.walk(statement):
            if isinstance(node, ast.Slice):
                for bound in (node.lower, node.upper):
                    if isinstance(bound, ast.Constant) and type(bound.value) is int:
                        yield [(bound, repr(max(bound.value - 1, 0)))]


# -- statements


def left_out(tree: ast.Module) -> Iterator[Edits]:
    """The result of a call replaced by what it was given."""
    for node in _assignments(tree):
        names = [
            each
            for each in ast.walk(node.value)
            if isinstance(each, ast.Name) and each.id not in ("torch", "F", "weights", "consts", "submods")
        ]
        names = [each for each in names if not each.id.startswith("aten_")]
        if names and not isinstance(node.value, ast.List):
            yield [(node.value, names[-1].id if isinstance(node.value, ast.Call) else names[0].id)]


def done_twice(tree: ast.Module) -> Iterator[Edits]:
    """A write in place, or any other statement without a result, that is made twice."""
    for node in _statements(tree):
        value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("_") and not _is_check(value):
            target = f"{ast.unparse(node.targets[0])} = " if isinstance(node, ast.Assign) else ""
            yield [(node, f"{ast.unparse(value)}; {target}{ast.unparse(value)}")]


def other_weights(tree: ast.Module) -> Iterator[Edits]:
    """An entry of a table, or a weight by name, replaced by another one."""
    entries = [
        n for n in ast.walk(tree) if isinstance(n, ast.Subscript) and ast.unparse(n.value) == "weights"
    ]
    for node, other in zip(entries, entries[2:], strict=False):
        yield [(node.slice, ast.unparse(other.slice))]
    named = {"norm": "norm_2", "norm_2": "norm", "weight": "bias"}
    for each in ast.walk(tree):
        if isinstance(each, ast.Attribute) and each.attr in named and "weights" in ast.unparse(each):
            yield [(each, f"{ast.unparse(each.value)}.{named[each.attr]}")]


def other_targets(tree: ast.Module) -> Iterator[Edits]:
    """The results of two calls under each other's names."""
    for body in _bodies(tree):
        rows = [
            each
            for each in body
            if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call | ast.BinOp)
        ]
        for one, other in pairwise(rows):
            first, second = one.targets[0], other.targets[0]
            both = isinstance(first, ast.Name) and isinstance(second, ast.Name)
            if both and ast.unparse(first) not in ast.unparse(other.value):
                yield [(first, ast.unparse(second)), (second, ast.unparse(first))]


def other_order(tree: ast.Module) -> Iterator[Edits]:
    """Two statements in the other order."""
    for body in _bodies(tree):
        rows = [each for each in body if isinstance(each, ast.Assign | ast.Expr)]
        for one, other in pairwise(rows):
            if one.lineno == one.end_lineno and other.lineno == other.end_lineno:
                yield [(one, ast.unparse(other)), (other, ast.unparse(one))]


def other_results(tree: ast.Module) -> Iterator[Edits]:
    """What a function returns: its parts exchanged, one doubled, or another variable."""
    for function in _functions(tree):
        node = function.body[-1]
        value = node.value if isinstance(node, ast.Return) else None
        parts = value.elts if isinstance(value, ast.Tuple) else []
        if isinstance(value, ast.Dict):
            parts = value.values
        if len(parts) > 1:
            first, second = map(ast.unparse, parts[:2])
            yield [(parts[0], second), (parts[1], first)]
            yield [(parts[0], second)]
        else:
            names = [
                each for each in function.args.args if isinstance(value, ast.Name) and each.arg != value.id
            ]
            yield from ([(value, each.arg)] for each in names if isinstance(value, ast.Name))


KINDS: dict[str, Callable[[ast.Module], Iterator[Edits]]] = {
    "a float": floats,
    "an integer": integers,
    "a flag": flags,
    "a dtype": dtypes,
    "another function": callees,
    "operands swapped": swapped_operands,
    "another operand": other_operands,
    "an argument dropped": arguments_dropped,
    "a bound of a slice": slices,
    "a statement left out": left_out,
    "a write made twice": done_twice,
    "another weight": other_weights,
    "results exchanged": other_targets,
    "another order": other_order,
    "another result": other_results,
}
