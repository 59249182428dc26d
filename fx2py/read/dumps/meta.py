"""What the annotations, comments and input lists of readable dumps record of values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch.utils._dtype_abbrs import dtype_abbrs

from fx2py.errors import printable
from fx2py.graph.data import NO_META, NodeMeta, NumberKind, SourceLine, SymMeta, TensorMeta, ValueMeta
from fx2py.graph.values import List, Name, Size, Value
from fx2py.read.forward.values import ArgumentReader, ForwardFault, dotted, fault, parse_text
from fx2py.read.origin import parts_between_commas
from fx2py.syntax import shown, text_of

_DTYPES: Mapping[str, torch.dtype] = {abbreviation: dtype for dtype, abbreviation in dtype_abbrs.items()}
_TENSOR = re.compile(r"([a-z]\w*)\[([^\[\]]*)\](?:\[([^\[\]]*)\])?([a-z]\w*(?::\d{1,4})?)?")
_SYMBOL = re.compile(r"Sym\((.*)\)")
_INTEGER = re.compile(r"-?\d{1,18}")
_FLOAT_SYMBOL, _RELATION = re.compile(r"zu?f\d|-?\d+\.\d"), re.compile(r"[<>]|\b(?:Eq|Ne|And|Or|Not)\(")
_FILE, _LINE, _CODE = re.compile(r"\bFile: (?=\S)"), re.compile(r":(\d{1,9}) in "), ", code: "
_NO_SOURCE = "# No stacktrace found"
_EXACT = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
_INPUT_NAMES = {"device": Name("torch", "device")}


class PrintedMetas:
    """The metadata that one ``forward`` prints of its nodes: their annotations, and the comment above them."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._sources = list(_sources(lines))

    def __call__(self, annotation: ast.expr | None, line: int) -> NodeMeta:
        """The metadata of the node at a line, counted from one."""
        source = self._sources[line - 1] if line <= len(self._sources) else None
        match annotation:
            case None:
                return NO_META if source is None else NodeMeta(source=source)
            case ast.Constant(value=str(text)):
                return NodeMeta(value=value_meta(text), source=source)
        return NodeMeta(source=source, annotation=text_of(annotation))


def _sources(lines: Iterable[str]) -> Iterator[SourceLine | None]:
    """The source line that each line of the text was traced from."""
    current: SourceLine | None = None
    for line in lines:
        code = line.lstrip()
        if code.startswith(_NO_SOURCE):
            current = None
        elif code.startswith("# ") and (found := _source(code)) is not None:
            current = found
        yield current


def _source(comment: str) -> SourceLine | None:
    """The line in ``# File: model.py:3 in forward, code: ...``; None for other comments."""
    head, mark, code = comment.partition(_CODE)
    file = _FILE.search(head)
    place = _LINE.search(head, head.rfind(",") + 1)
    if not mark or file is None or place is None or place.start() <= file.end():
        return None
    return SourceLine(
        printable(head[file.end() : place.start()]), int(place.group(1)), printable(code.strip())
    )


def value_meta(text: str) -> ValueMeta:
    """What ``"f32[s77, 4][4, 1]cpu"`` or ``"Sym(s77)"`` records; None for other text, tensors of other classes included."""
    if match := _SYMBOL.fullmatch(text):
        return SymMeta(_kind(match.group(1)), match.group(1))
    match = _TENSOR.fullmatch(text)
    if match is None or match.group(1) not in _DTYPES:
        return None
    dtype, shape, stride, device = match.groups()
    try:
        place = None if device is None else torch.device(device)
    except RuntimeError:
        return None
    return TensorMeta(_DTYPES[dtype], _sizes(shape), place, None if stride is None else _sizes(stride))


def _kind(expression: str) -> NumberKind:
    if _RELATION.search(expression):
        return "bool"
    return "float" if _FLOAT_SYMBOL.match(expression) else "int"


def _sizes(text: str) -> tuple[int | str, ...]:
    """The sizes between commas that stand outside parentheses."""
    sizes = [part.strip() for part in parts_between_commas(text) if part.strip()]
    return tuple([int(size) if _INTEGER.fullmatch(size) else size for size in sizes])


def state_metas(constructor: list[str]) -> dict[str, ValueMeta]:
    """The shapes of the parameters and buffers that a minifier's ``__init__`` fills with random numbers.

    Source: ``NNModuleToString`` of torch/_dynamo/debug_utils.py. Other lines, which need not be Python, are skipped.
    """
    found: dict[str, ValueMeta] = {}
    for line in constructor:
        if "torch.rand" not in line:
            continue
        match parse_text(line.strip()):
            case [
                ast.Expr(
                    value=ast.Call(
                        func=ast.Attribute(attr="register_buffer"),
                        args=[ast.Constant(value=str(name)), ast.Call() as made],
                    )
                )
            ]:
                found[name] = _random_tensor(made)
            case [
                ast.Assign(
                    targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                    value=ast.Call(args=[ast.Call() as made]),
                )
            ]:
                found[name] = _random_tensor(made)
    return found


def exact_constants(constructor: list[str]) -> dict[str, torch.Tensor]:
    """The buffers that a minifier's ``__init__`` prints in full: small ones (``MAX_CONSTANT_NUMEL_INLINE``) of integers or bools.

    Floating point numbers are rounded when they are printed, so they are not taken from the text.
    """
    found: dict[str, torch.Tensor] = {}
    for line in constructor:
        match parse_text(line.strip()) if "register_buffer(" in line and line.rstrip().endswith(")") else ():
            case [
                ast.Expr(
                    value=ast.Call(
                        func=ast.Attribute(attr="register_buffer"),
                        args=[ast.Constant(value=str(name)), ast.Call(func=ast.Name(id="tensor")) as printed],
                    )
                )
            ]:
                value = _printed_tensor(printed)
                if value is not None:
                    found[name] = value
    return found


def _printed_tensor(call: ast.Call) -> torch.Tensor | None:
    """The tensor of whole numbers that ``tensor([0, 1], dtype=torch.int32)`` prints; None for any other."""
    given = ArgumentReader(_INPUT_NAMES).keywords(call)
    dtype = given.pop("dtype", None)
    if given or len(call.args) != 1 or not (dtype is None or dtype in _EXACT):
        return None
    try:
        values = ast.literal_eval(call.args[0])
        made = torch.tensor(values, dtype=dtype)  # type: ignore[arg-type]
    except (ValueError, TypeError, RuntimeError, OverflowError, RecursionError):
        return None
    return made if made.dtype in _EXACT and made.numel() else None


def _random_tensor(call: ast.Call) -> ValueMeta:
    """What ``torch.randn([2, 3], dtype=torch.float32)`` makes; ``torch.randint(1, size=[2])`` names its sizes."""
    reader = ArgumentReader(_INPUT_NAMES)
    given = reader.keywords(call)
    sizes = given.get("size") or (reader.value(call.args[0]) if call.args else None)
    dtype = given.get("dtype", torch.float32)
    if dotted(call.func) not in ("torch.randn", "torch.randint") or not isinstance(dtype, torch.dtype):
        return None
    return TensorMeta(dtype, _integers(sizes, call), _device(given.get("device")))


def input_metas(text: str) -> list[ValueMeta]:
    """What ``load_args`` makes, in order, as ``InputWriter`` of torch/_dynamo/debug_utils.py writes it; None for anything else."""
    found: list[ValueMeta] = []
    devices: dict[str, torch.device | None] = {}
    reader = ArgumentReader(_INPUT_NAMES)
    functions = [node for node in parse_text(text) if isinstance(node, ast.FunctionDef)]
    for statement in functions[0].body if functions else ():
        match statement:
            case ast.Assign(targets=[ast.Name(id=storage)], value=ast.Call() as call):
                devices[storage] = _device(reader.keywords(call).get("device"))
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=kind)) as call):
                found.append(_input(kind, call, devices, reader))
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                raise fault(statement, f"of load_args is nothing that a minifier writes: {shown(statement)}")
    return found


def _input(
    kind: str, call: ast.Call, devices: Mapping[str, torch.device | None], reader: ArgumentReader
) -> ValueMeta:
    match kind, call.args:
        case "symint", [size, *_] if type(value := reader.value(size)) is int:
            expression = reader.keywords(call).get("expr")
            return SymMeta("int", expression if type(expression) is str else str(value))
        case "tensor", [ast.Name(id=storage), shape, *stride]:
            given = reader.keywords(call)
            dtype = given.get("dtype", torch.float32)
            if not isinstance(dtype, torch.dtype):
                raise fault(call, f"makes a tensor of no known type: {shown(call)}")
            return TensorMeta(
                dtype,
                _dimensions(shape),
                devices.get(storage),
                _dimensions(stride[0]) if stride else None,
                given.get("requires_grad") is True,
            )
    return None


def _dimensions(node: ast.expr) -> tuple[int | str, ...]:
    """The sizes in ``(s77, 4)``: numbers, or the text of expressions over symbols."""
    if not isinstance(node, ast.Tuple | ast.List):
        raise fault(node, f"has no sizes in {shown(node)}")
    return tuple(
        [
            part.value if isinstance(part, ast.Constant) and type(part.value) is int else text_of(part)
            for part in node.elts
        ]
    )


def _device(value: Value) -> torch.device | None:
    return value if isinstance(value, torch.device) else None


def _integers(value: Value, call: ast.Call) -> tuple[int, ...]:
    items = value.items if isinstance(value, List | Size) else value
    sizes = [item for item in items if type(item) is int] if isinstance(items, tuple) else []
    if not isinstance(items, tuple) or len(sizes) != len(items):
        raise ForwardFault(f"the sizes in {shown(call)} are not integers")
    return tuple(sizes)
