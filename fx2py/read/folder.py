"""Folders that ``GraphModule.to_folder`` writes: the text of a module, its tensors, and its other submodules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from fx2py.digests import sha256_of
from fx2py.errors import UnknownFormatError
from fx2py.graph.data import GraphData, ModuleRecord, Provenance
from fx2py.graph.names import underscored_names
from fx2py.graph.values import Name, TensorValue, Value, map_leaves
from fx2py.read.archive import Archive
from fx2py.read.forward.statements import Forward, read_method
from fx2py.read.forward.values import ForwardFault, UndefinedName, dotted, fault, parse_text
from fx2py.read.live.modules import module_record
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.pickled.files import check_byte_order, faults_of, root_of
from fx2py.read.pickled.modules import PickledModules, is_module
from fx2py.read.pickled.storages import ArchiveStorages
from fx2py.read.pickled.stream import Built, Pairs, PickleFault
from fx2py.read.pickled.tensors import is_tensor
from fx2py.read.several import Entry, Graphs
from fx2py.syntax import shown

_MAX_TEXT = 2**28
_CODE, _TENSORS = "module.py", "state_dict.pt"
_PRINTED: dict[str, type[torch.nn.Module]] = {
    cls.__name__: cls
    for cls in (
        *(torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d),
        *(torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d),
    )
}
"""The classes that ``to_folder`` writes as their ``repr``; it pickles all others (torch/fx/graph_module.py)."""
_KNOWS_TRAINING = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)

_KEEPS_ALL = "Save the graph with torch.save, which keeps it."
_LOST_MODE = "needs to know whether it was in training mode, which to_folder does not write"


@contextmanager
def folder_graphs(path: Path) -> Iterator[Graphs]:
    """The one GraphModule that a folder holds, which has no name."""
    yield [Entry("", "GraphModule", lambda: _read(path))]


def _read(path: Path) -> GraphData:
    """The GraphModule of a folder.

    Raises UnknownFormatError, naming the file, when it is damaged or lacks what ``to_folder`` does not write: the
    imports of functions outside torch, and the structure of inputs and outputs.
    """
    code = path / _CODE
    with faults_of(code):
        body = _class_body(code)
        forward = _forward(code, body)
        reader = _Folder(path)
        record = replace(reader.record(_method(body, "__init__")), graph=forward.graph)
    provenance = Provenance("to_folder", str(path), sha256_of(code))
    return GraphData(record, provenance, notes=tuple(reader.notes))


def _forward(code: Path, body: list[ast.stmt]) -> Forward:
    method = _method(body, "forward")
    words = " ".join({node.id for node in ast.walk(method) if isinstance(node, ast.Name)})
    known = {**underscored_names(words), "device": Name("torch", "device")}
    try:
        forward = read_method(method, known)
    except UndefinedName as fault:
        raise UnknownFormatError(
            f"{code}: {fault}: to_folder does not write the import of a function outside torch.", _KEEPS_ALL
        ) from None
    if forward.flattens or forward.unflattens:
        raise UnknownFormatError(
            f"{code}: to_folder does not write the structure of the inputs and outputs, which this graph needs.",
            _KEEPS_ALL,
        )
    return forward


class _Folder:
    """The submodules and tensors of one folder.

    As when the folder is run as a program, all tensors come from ``state_dict.pt``, even those of modules pickled to a
    file of their own; tensors that it stores as one are one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._tensors = self._state(path / _TENSORS)
        self._parameters: dict[int, torch.nn.Parameter] = {}

    def record(self, constructor: ast.FunctionDef) -> ModuleRecord:
        children: dict[str, ModuleRecord | None] = {}
        parameters: dict[str, torch.Tensor | None] = {}
        buffers: dict[str, torch.Tensor | None] = {}
        for name, value in _definitions(constructor):
            path = dotted(value.func)
            if path == "torch.empty":
                buffers[name] = self._tensor(name)
            elif path == "torch.nn.Parameter":
                parameters[name] = self._parameter(name)
            elif path == "torch.load":
                children[name] = self._with_state(self._pickled(name), name)
            else:
                children[name] = self._with_state(self._printed(name, value), name)
        return ModuleRecord(GRAPH_MODULE, parameters=parameters, buffers=buffers, children=children)

    def _tensor(self, name: str) -> torch.Tensor:
        if name not in self._tensors:
            raise ForwardFault(f"the values of {name} are not in {_TENSORS} (it was not persistent)")
        return self._tensors[name]

    def _parameter(self, name: str, requires_grad: bool = True) -> torch.nn.Parameter:
        tensor = self._tensor(name)
        if id(tensor) not in self._parameters:
            self._parameters[id(tensor)] = torch.nn.Parameter(tensor, requires_grad)
        return self._parameters[id(tensor)]

    def _with_state(self, record: ModuleRecord, path: str) -> ModuleRecord:
        """The module, and all below it, with the tensors of ``state_dict.pt`` in place of its own."""
        stored: dict[int, torch.Tensor] = {}
        for place, module in record.walk(path):
            for name, tensor in module.parameters.items():
                if tensor is not None:
                    stored[id(tensor)] = self._parameter(f"{place}.{name}", tensor.requires_grad)
            for name, tensor in module.buffers.items():
                if tensor is not None and name not in module.non_persistent:
                    stored[id(tensor)] = self._tensor(f"{place}.{name}")
        return _with_tensors(record, stored, {})

    def _printed(self, name: str, value: ast.Call) -> ModuleRecord:
        """A module of a class of torch, made from its ``repr`` on the meta device, with the stored tensors."""
        cls = _PRINTED.get(dotted(value.func) or "")
        if cls is None:
            raise fault(value, f"holds a module that to_folder does not print: {shown(value)}")
        arguments = {str(keyword.arg): _printed_argument(keyword.value) for keyword in value.keywords}
        try:
            module = cls(*[_printed_argument(arg) for arg in value.args], **arguments, device="meta")
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise fault(value, f"prints a module that cannot be: {error}") from None
        lost = _LOST_MODE if cls in _KNOWS_TRAINING else ""
        return replace(module_record(module), original=None, lost=lost)

    def _pickled(self, name: str) -> ModuleRecord:
        """A module that was pickled to a file; the file is named after the module, whatever path the text gives."""
        path = self._path / f"{name}.pt"
        if path.parent != self._path or not path.is_file():
            raise ForwardFault(f"the file of module {name} is missing")
        with Archive(path) as archive, faults_of(path):
            check_byte_order(archive)
            root = root_of(archive)
            if not is_module(root):
                raise PickleFault("no module is in it")
            modules = PickledModules(ArchiveStorages(archive))
            record = modules.record(root, name)
            self.notes.extend(modules.notes)
            archive.sha256()
            return record

    def _state(self, path: Path) -> dict[str, torch.Tensor]:
        with Archive(path) as archive, faults_of(path):
            check_byte_order(archive)
            root = root_of(archive)
            if type(root) is not Built or root.path != "collections.OrderedDict":
                raise PickleFault("no table of tensors is in it")
            tensors = PickledModules(ArchiveStorages(archive)).tensors
            entries = Pairs(root.pairs).by_name()
            found = {key: tensors.tensor(obj) for key, obj in entries.items() if is_tensor(obj)}
            archive.sha256()
        views: dict[object, torch.Tensor] = {}
        return {key: views.setdefault(_place(tensor), tensor) for key, tensor in found.items()}


def _with_tensors(
    record: ModuleRecord, stored: dict[int, torch.Tensor], made: dict[int, ModuleRecord]
) -> ModuleRecord:
    """The module with the tensors in ``stored`` replaced wherever it holds them; ``stored`` is by identity."""

    def change(value: Value) -> Value:
        return (
            TensorValue(stored.get(id(value.tensor), value.tensor)) if type(value) is TensorValue else value
        )

    if id(record) not in made:
        made[id(record)] = replace(
            record,
            parameters={name: stored.get(id(each), each) for name, each in record.parameters.items()},
            buffers={name: stored.get(id(each), each) for name, each in record.buffers.items()},
            attributes={name: map_leaves(value, change) for name, value in record.attributes.items()},
            children={
                name: child and _with_tensors(child, stored, made) for name, child in record.children.items()
            },
        )
    return made[id(record)]


def _place(tensor: torch.Tensor) -> object:
    """What tells apart views of memory; an empty tensor, which occupies none, is told apart by identity."""
    if tensor.layout is not torch.strided or tensor.is_quantized or not tensor.numel():
        return id(tensor)
    shape = (tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())
    return (tensor.data_ptr(), *shape)


_NUMBERED_MODULE = re.compile(r"^( +)self\.(\d\w*) =", re.MULTILINE)
"""``self.0 = Linear(...)``, as torch 2.10 writes a module of a Sequential: no Python, so that torch cannot load it either."""


def _class_body(path: Path) -> list[ast.stmt]:
    if path.stat().st_size > _MAX_TEXT:
        raise ForwardFault("the graph's code is too long")
    text = _NUMBERED_MODULE.sub(r"\1self['\2'] =", path.read_text("utf-8"))
    classes = [node for node in parse_text(text) if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        raise ForwardFault("the file does not define one class")
    return classes[0].body


def _method(body: list[ast.stmt], name: str) -> ast.FunctionDef:
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    if len(found) != 1:
        raise ForwardFault(f"the class does not define one {name}")
    return found[0]


def _definitions(constructor: ast.FunctionDef) -> Iterator[tuple[str, ast.Call]]:
    """The name and the construction of each module, buffer and parameter that ``__init__`` sets."""
    for statement in constructor.body:
        match statement.value if isinstance(statement, ast.Expr) else statement:
            case ast.Call(
                func=ast.Name(id="setattr"),
                args=[ast.Name(id="self"), ast.Constant(value=str(name)), ast.Call() as value],
            ):
                yield name, value
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="self"), attr="register_buffer"),
                args=[ast.Constant(value=str(name)), ast.Call() as value],
            ):
                yield name, value
            case ast.Call(func=ast.Attribute(attr="__init__" | "load_state_dict")):
                pass
            case ast.Assign(
                targets=[
                    ast.Attribute(value=ast.Name(id="self"), attr=name)
                    | ast.Subscript(value=ast.Name(id="self"), slice=ast.Constant(value=str(name)))
                ],
                value=ast.Call() as value,
            ):
                yield name, value
            case _:
                raise fault(statement, "of __init__ is nothing that to_folder writes")


def _printed_argument(node: ast.expr) -> object:
    """A literal; a bare word is a string, since ``extra_repr`` of torch's modules prints strings without quotes."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise fault(node, f"prints a module with an argument that is no literal: {shown(node)}") from None
