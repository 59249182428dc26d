"""Hostile files for every reader: each tries to run ``touch MARK`` or to import the trap module.

A writer takes the folder to write into and the mark, and returns the path that a user would open.
"""

from __future__ import annotations

import builtins
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.fx._graph_pickler import GraphPickler

from fx2py.graph_file.writing import save_graph
from fx2py.read import open_graph
from tests.corpus.formats import write_graph_pickler, write_package, write_to_folder
from tests.read.archives import CONSTANTS, MODEL, SAMPLES, WEIGHTS, members_of, with_json, write_archive
from tests.read.graphs import added, traced_block
from tests.security.test_pickle_attacks import BOMBS, HOSTILE_CODE, Call, graph_with, write
from tests.security.test_pt2_attacks import Small

Writer = Callable[[Path, Path], Path]
TRAP = "trap_of_a_graph"
TARGETS = (
    *("os.system", "torch.os.system", "builtins.eval", "builtins.exec", "builtins.open", "subprocess.call"),
    *("torch.load", "torch.hub.load", "torch.ops.load_library", "torch.ops.aten.from_file.default"),
    *("torch.serialization.load", "torch.utils.cpp_extension.load_inline", "torch._dynamo.compile"),
    *(
        f"{TRAP}.f",
        "operator.methodcaller",
        "operator.attrgetter",
        "functools.partial",
        "builtins.__import__",
    ),
    *("pickle.loads", "torch.fx.GraphModule", "torch.jit.load", "torch.from_file", "torch.Tensor.set_"),
)
"""Functions that a graph may name and that no graph may call."""


WALKS = {
    "enum": "read = torch.nn.attention._backend_from_string('__getattribute__')\n"
    "body = torch.ops.higher_order.wrap(read, x, 'backward')\n"
    "function = torch.ops.higher_order.wrap(read, body, '__func__')\n"
    "names = torch.ops.higher_order.wrap(read, function, '__globals__')\n"
    "builtins_1 = names['__builtins__']\n"
    "load = builtins_1['__import__']\n"
    "os_1 = torch.ops.higher_order.wrap(load, 'os')\n"
    "system = torch.ops.higher_order.wrap(read, os_1, 'system')\n"
    "found = torch.ops.higher_order.wrap(system, 'touch {mark}')\n"
    "return found",
    "key": "read = torch.nn.attention._backend_from_string('mro')\n"
    "found = sorted([x], key = read)\nreturn found",
    "pointer": "found = torch._VF._from_blob(4096, [8])\nreturn found",
    "forged": "found = x.new(cdata = 4096)\nreturn found",
    "beyond": "found = torch.ops.aten._reshape_alias.default(x, [1048576], [1])\nreturn found",
}
"""Graphs of admitted functions alone, each of which once led to code or memory that is none of theirs."""


def attacks() -> dict[str, Writer]:
    """Every attack by the reader that it is meant for and its own name."""
    return dict(
        (
            *_pickled(),
            *_in_code(),
            *_targets(),
            *_bombs(),
            *_pt2(),
            *_folders(),
            *_dumps(),
            *_others(),
            *_walks(),
        )
    )


def _calls(mark: Path) -> dict[str, Any]:
    return {
        "system": Call(os.system, f"touch {mark}"),
        "subprocess": Call(subprocess.call, ["touch", str(mark)]),
        "eval": Call(builtins.eval, f"open({str(mark)!r}, 'w')"),
        "import": Call(builtins.__import__, "antigravity"),
        "getattr": Call(builtins.getattr, Call(builtins.__import__, TRAP), "f"),
        "state": Call(torch.nn.functional.softmax, state=(None, {"__defaults__": (1, 2, 3)})),
    }


def _pickled() -> Iterator[tuple[str, Writer]]:
    """Calls in pickles: alone, beside a graph, inside it, and in a dict of a graph and its inputs."""
    wraps: dict[str, Callable[[Any], Any]] = {
        "alone": lambda call: call,
        "beside": lambda call: [call, graph_with()],
        "inside": lambda call: graph_with(extra=call),
        "child": lambda call: graph_with(_modules={"a": call}),
        "buffer": lambda call: graph_with(_buffers={"b": call}),
        "input": lambda call: {"model": graph_with(), "inputs": (call,)},
    }
    for layout in ("zip", "stream", "pickle"):
        for wrap_name, wrap in wraps.items():
            for call_name in _calls(Path()):

                def writer(
                    folder: Path, mark: Path, layout: str = layout, wrap: Any = wrap, name: str = call_name
                ) -> Path:
                    return write(wrap(_calls(mark)[name]), folder / "graph.pt", layout)

                yield f"{layout}-{wrap_name}-{call_name}", writer


def _in_code() -> Iterator[tuple[str, Writer]]:
    """Hostile text as the code and as the imports of a saved graph."""

    def code_of(code: str) -> Writer:
        return lambda folder, mark: write(graph_with(code.replace("{mark}", str(mark))), folder / "graph.pt")

    def imports_of(line: str) -> Writer:
        return lambda folder, mark: write(graph_with(imports=line), folder / "graph.pt")

    for name, code in HOSTILE_CODE.items():
        yield f"code-{name}", code_of(code)
    lines = (
        "import os; os.system('x')",
        f"from {TRAP} import f",
        "import antigravity",
        "from os import system as torch",
    )
    for number, line in enumerate(lines):
        yield f"imports-{number}", imports_of(line)


def _targets() -> Iterator[tuple[str, Writer]]:
    """Well-formed graphs that name a function which no graph may call."""
    for target in TARGETS:
        code = f"\n\ndef forward(self):\n    found = {target}('touch {{mark}}');  return found\n"

        def saved(folder: Path, mark: Path, target: str = target, code: str = code) -> Path:
            imports = f"import {target.partition('.')[0]}\nimport torch"
            return write(graph_with(code.replace("{mark}", str(mark)), imports), folder / "graph.pt")

        def exported(folder: Path, mark: Path, target: str = target) -> Path:
            text = _exported(folder)[MODEL].replace(b"torch.ops.aten.linear.default", target.encode())
            return write_archive(folder / "graph.pt2", {**_exported(folder), MODEL: text})

        def printed(folder: Path, mark: Path, target: str = target) -> Path:
            return _printed(folder, f"found = {target}('touch {mark}')\nreturn found")

        yield f"target_saved-{target}", saved
        yield f"target_exported-{target}", exported
        yield f"target_printed-{target}", printed


def _bombs() -> Iterator[tuple[str, Writer]]:

    def bomb_of(stream: bytes) -> Writer:
        return lambda folder, mark: _raw(folder / "graph.pickle", stream)

    for name, stream in BOMBS.items():
        yield f"bomb-{name}", bomb_of(stream)


def _exported(folder: Path) -> dict[str, bytes]:
    path = folder.parent / "small.pt2"
    if not path.exists():
        batch = {0: torch.export.Dim("batch", max=64)}
        torch.export.save(torch.export.export(Small(), (torch.ones(3, 2),), dynamic_shapes=(batch,)), path)
    return members_of(path)


def _pt2() -> Iterator[tuple[str, Writer]]:
    """What torch.export.load executes of an archive."""

    def archive(change: Callable[[dict[str, bytes], Path, bytes], dict[str, bytes]]) -> Writer:
        def writer(folder: Path, mark: Path) -> Path:
            payload = write(Call(os.system, f"touch {mark}"), folder / "payload").read_bytes()
            return write_archive(folder / "graph.pt2", change(_exported(folder), mark, payload))

        return writer

    def replacing(member: str) -> Writer:
        return archive(lambda members, mark, payload: {**members, member: payload})

    def pickling(config: str) -> Writer:
        return archive(
            lambda members, mark, payload: {
                **{name: payload if name.startswith(config[:12]) else data for name, data in members.items()},
                config: with_json(members, config, pickled)[config],
            }
        )

    def text(old: str, new: str) -> Writer:
        return archive(
            lambda members, mark, payload: {
                **members,
                MODEL: members[MODEL].decode().replace(old, new.replace("MARK", str(mark))).encode(),
            }
        )

    def guards(document: Any) -> None:
        document["guards_code"] = ["__import__('os').system('x')"]

    def pickled(document: Any) -> None:
        for entry in document["config"].values():
            entry["use_pickle"] = True

    def opaque(document: Any) -> None:
        document["config"]["thing"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}

    def spec(kind: str, context: Any) -> Callable[[Any], None]:
        leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
        tree = json.dumps([1, {"type": kind, "context": context, "children_spec": [leaf]}])

        def change(document: Any) -> None:
            document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = tree

        return change

    factory = {"default_factory_module": TRAP, "default_factory_name": "f", "dict_context": ["y"]}
    enum = json.dumps([{"__enum__": True, "fqn": f"{TRAP}:f", "name": "x"}])
    code = "__import__('os').system('touch MARK')"
    yield "pt2-samples", archive(lambda members, mark, payload: {**members, SAMPLES: payload})
    for member in ("data/weights/model.pt", "data/constants/model.pt"):
        yield f"pt2-{member}", replacing(member)
    for config in (WEIGHTS, CONSTANTS):
        yield f"pt2-pickled-{config}", pickling(config)
    yield "pt2-opaque", archive(
        lambda members, mark, payload: {
            **with_json(members, CONSTANTS, opaque),
            "data/constants/opaque_obj_0": payload,
        }
    )
    yield "pt2-library", archive(
        lambda members, mark, payload: {**members, "data/aotinductor/model/code.wrapper.so": b"\x7fELF"}
    )
    yield "pt2-size", text("Symbol('s", f"{code} or Symbol('s")
    yield "pt2-placeholder", text('"name": "x"', f'"name": "x={code}"')
    yield "pt2-guards", archive(lambda members, mark, payload: with_json(members, MODEL, guards))
    yield "pt2-factory", archive(
        lambda members, mark, payload: with_json(members, MODEL, spec("collections.defaultdict", factory))
    )
    yield "pt2-enum", archive(
        lambda members, mark, payload: with_json(members, MODEL, spec("builtins.dict", enum))
    )
    yield "pt2-record", archive(
        lambda members, mark, payload: with_json(members, MODEL, spec(f"{TRAP}.Trap", json.dumps(["y"])))
    )


def _folders() -> Iterator[tuple[str, Writer]]:
    """Folders of ``to_folder`` with hostile text or tensors."""
    changes = {
        "constructor": ("super().__init__()", "open('{mark}', 'w')"),
        "load": ("super().__init__()", "setattr(self, '../x', torch.load(r'/etc/passwd'))"),
        "module": ("super().__init__()", "setattr(self, 'a', eval('1'))"),
        "forward": ("return", "__import__('os').system('touch {mark}'); return"),
        "default": ("forward(self, x", "forward(self, x=open('{mark}', 'w')"),
    }
    for name, (old, new) in changes.items():

        def writer(folder: Path, mark: Path, old: str = old, new: str = new) -> Path:
            path = write_to_folder(added(), folder)
            module = path / "module.py"
            module.write_text(module.read_text().replace(old, new.replace("{mark}", str(mark))))
            return path

        yield f"folder-{name}", writer

    def tensors(folder: Path, mark: Path) -> Path:
        path = write_to_folder(added(), folder)
        torch.save(Call(os.system, f"touch {mark}"), path / "state_dict.pt")
        return path

    def initial(folder: Path, mark: Path) -> Path:
        path = write_to_folder(added(), folder)
        (path / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\n")
        return path

    yield "folder-tensors", tensors
    yield "folder-init", initial


def _printed(folder: Path, body: str, head: str = "self, x") -> Path:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    path = folder / "graph.txt"
    path.write_text(f"class Graph(torch.nn.Module):\n    def forward({head}):\n{lines}\n")
    return path


def _dumps() -> Iterator[tuple[str, Writer]]:
    """Hostile text in every position of a readable dump."""

    def printed_of(body: str, head: str = "self, x") -> Writer:
        return lambda folder, mark: _printed(
            folder, body.replace("{mark}", str(mark)), head.replace("{mark}", str(mark))
        )

    run = "__import__('os').system('touch {mark}')"
    bodies = {
        "statement": f"{run}\nreturn x",
        "argument": f"y = torch.relu({run})\nreturn y",
        "annotation": f"y: {run} = torch.relu(x)\nreturn y",
        "text_annotation": f'y: "f32[{run.replace(chr(34), "")}]" = torch.relu(x)\nreturn y',
        "comment": f"# File: /a.py:1 in f, code: x\\n{run}\ny = torch.relu(x)\nreturn y",
        "comment_marker": "# File: /a.py:1 in f, code: fmt: off  # type: ignore\ny = torch.relu(x)\nreturn y",
        "attribute": f'y = getattr(self, "a\\n{run}\\n")\nz = torch.relu(y)\nreturn z',
        "module": f'y = getattr(self, "\');{run}#")(x)\nreturn y',
        "import": f"import {TRAP}\nreturn x",
        "deep": "y = torch.relu(" + "[" * 50_000 + "\nreturn y",
        "chain": "y = x" + ".a" * 100_000 + "\nreturn y",
    }
    for name, body in bodies.items():
        yield f"dump-{name}", printed_of(body)
    for name, head in (("default", f"self, x={run}"), ("parameter", f"self, x: {run}")):
        yield f"dump-{name}", printed_of("return x", head)
    yield "dump-script", lambda folder, mark: _raw(
        folder / "repro.py",
        f"{run}\nclass Repro(torch.nn.Module):\n    def __init__(self) -> None:\n        {run}\n"
        f"    def forward(self, x):\n        return x\n\ndef load_args(reader):\n    {run}\n".replace(
            "{mark}", str(mark)
        ).encode(),
    )
    yield "dump-class", lambda folder, mark: _raw(
        folder / "graph.txt",
        f"class {run}(torch.nn.Module):\n    def forward(self, x):\n        return x\n".replace(
            "{mark}", str(mark)
        ).encode(),
    )


def _others() -> Iterator[tuple[str, Writer]]:
    def pickler(folder: Path, mark: Path) -> Path:
        name = f"open({str(mark)!r})"[:200]
        stream = GraphPickler.dumps(added())
        return _raw(
            folder / "graph", stream.replace(b"\x8c\x01x", b"\x8c" + bytes([len(name)]) + name.encode())
        )

    def pickler_call(folder: Path, mark: Path) -> Path:
        stream = write_graph_pickler(traced_block(), folder).read_bytes()
        attack = pickle.dumps(Call(os.system, f"touch {mark}"), 4)[2:-1]
        return _raw(folder / "graph", stream[:2] + attack + b"0" + stream[2:])

    def package(folder: Path, mark: Path) -> Path:
        members = _members(write_package(traced_block(), folder))
        call = pickle.dumps(Call(os.system, f"touch {mark}"), 4)
        hostile = {name: call if name.endswith(".pkl") else data for name, data in members.items()}
        return _archive(folder / "package.pt", hostile)

    def package_code(folder: Path, mark: Path) -> Path:
        members = _members(write_package(traced_block(), folder))
        root = next(iter(members)).partition("/")[0]
        code = f"open({str(mark)!r}, 'w')\n".encode()
        return _archive(
            folder / "package.pt", {**members, f"{root}/torch/__init__.py": code, f"{root}/os.py": code}
        )

    def repeated(folder: Path, mark: Path) -> Path:
        members = _members(write(graph_with(), folder / "graph.pt"))
        name = next(name for name in members if name.endswith("data.pkl"))
        with zipfile.ZipFile(folder / "graph.pt", "a") as archive:
            archive.writestr(name, pickle.dumps(Call(os.system, f"touch {mark}")))
        return folder / "graph.pt"

    def packed(folder: Path, mark: Path) -> Path:
        with zipfile.ZipFile(folder / "graph.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("g/data.pkl", b"\x80\x04" + b"N0" * 2**24)
        return folder / "graph.pt"

    yield "pickler-name", pickler
    yield "pickler-call", pickler_call
    yield "package-pickle", package
    yield "package-code", package_code
    yield "zip-repeated", repeated
    yield "zip-packed", packed


def _walks() -> Iterator[tuple[str, Writer]]:
    """What admitted functions give each other, through a saved graph, a printed one and a graph file."""
    for name, body in WALKS.items():

        def saved(folder: Path, mark: Path, body: str = body) -> Path:
            lines = "".join(f"    {line}\n" for line in body.replace("{mark}", str(mark)).split("\n"))
            return write(graph_with(f"\n\ndef forward(self, x):\n{lines}"), folder / "graph.pt")

        def printed(folder: Path, mark: Path, body: str = body) -> Path:
            return _printed(folder, body.replace("{mark}", str(mark)))

        def own(folder: Path, mark: Path, saved: Writer = saved) -> Path:
            save_graph(open_graph(saved(folder, mark)), folder / "graph.fx2py")
            return folder / "graph.fx2py"

        yield f"walk_saved-{name}", saved
        yield f"walk_printed-{name}", printed
        yield f"walk_own-{name}", own


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
