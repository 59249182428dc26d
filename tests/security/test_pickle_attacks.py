"""Pickles that make torch.load run code or exhaust the machine: read here, each is inert or refused at once."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch

from fx2py.errors import Fx2pyError, UnknownFormatError
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from tests.read.graphs import added

BODY = {
    "training": True,
    "_parameters": {},
    "_buffers": {},
    "_modules": {},
    "_non_persistent_buffers_set": set(),
}
CODE = "\n\ndef forward(self, x):\n    relu = torch.relu(x);  x = None\n    return relu\n"


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def graph_with(code=CODE, imports="import torch", **attributes):
    """A saved GraphModule of our own making."""
    body = {**BODY, "_code": code, **attributes}
    return Call(torch.fx.graph_module.reduce_graph_module, body, imports)


def write(obj, path: Path, layout: str = "zip") -> Path:
    if layout == "zip":
        torch.save(obj, path)
    elif layout == "stream":
        torch.save(obj, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(obj, 4))
    return path


def read_or_refused(path: Path) -> GraphData | None:
    """What the file holds; None where it is refused with a fault that names it."""
    try:
        return open_graph(path)
    except UnknownFormatError as error:
        if str(path) not in error.message:
            raise
        return None


def raw(stream: bytes, path: Path) -> Path:
    path.write_bytes(stream)
    return path


@pytest.fixture
def mark(tmp_path):
    """A file that exists only if something of the file ran."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


@pytest.fixture(autouse=True)
def quick():
    started = time.process_time()
    yield
    assert time.process_time() - started < 10


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
@pytest.mark.parametrize(
    "wrap", [lambda call: call, lambda call: [call, graph_with()]], ids=["alone", "beside"]
)
def test_calls_are_never_made(layout, wrap, mark, tmp_path):
    calls = [
        Call(os.system, f"touch {mark}"),
        Call(subprocess.call, ["touch", str(mark)]),
        Call(builtins.eval, f"open({str(mark)!r}, 'w')"),
        Call(builtins.exec, f"open({str(mark)!r}, 'w')"),
        Call(Path.touch, mark),
        Call(builtins.__import__, "antigravity"),
    ]
    for number, call in enumerate(calls):
        read_or_refused(write(wrap(call), tmp_path / f"{number}.pt", layout))
    assert not mark.exists()


def test_calls_in_attributes_stay_names(mark, tmp_path):
    graph = graph_with(
        extra=Call(os.system, f"touch {mark}"), other=Call(builtins.eval, f"open({str(mark)!r}, 'w')")
    )
    attributes = open_graph(write(graph, tmp_path / "g.pt")).root.attributes
    assert attributes["extra"].cls.qualname == "system"


def test_state_set_on_a_function_changes_nothing(tmp_path):
    defaults = torch.nn.functional.relu.__defaults__
    graph = graph_with(extra=Call(torch.nn.functional.softmax, state=(None, {"__defaults__": (1, 2, 3)})))
    stream = b"\x80\x04ctorch.nn.functional\nrelu\n(dN\x8c\x0c__defaults__K\x07\x85s\x86b."
    for path in (write(graph, tmp_path / "g.pt"), raw(stream, tmp_path / "raw")):
        read_or_refused(path)
    assert torch.nn.functional.relu.__defaults__ == defaults


HOSTILE_CODE = {
    "import": "import os\n",
    "statement": "__import__('os').system('touch {mark}')\n",
    "default": "def forward(self, x=__import__('os').system('touch {mark}')):\n    return x\n",
    "annotation": "def forward(self, x: __import__('os').system('touch {mark}')):\n    return x.no()\n    x\n",
    "decorator": "@__import__('os').system\ndef forward(self, x):\n    return x\n",
    "lambda": "def forward(self, x):\n    y = (lambda: x)()\n    return y\n",
    "comprehension": "def forward(self, x):\n    y = torch.cat([a for a in x])\n    return y\n",
    "walrus": "def forward(self, x):\n    y = torch.relu((z := x))\n    return y\n",
    "f_string": "def forward(self, x):\n    y = torch.relu(f'{open(1)}')\n    return y\n",
    "call_in_argument": "def forward(self, x):\n    y = torch.relu(open('{mark}', 'w'))\n    return y\n",
    "class": "class A:\n    open('{mark}', 'w')\ndef forward(self, x):\n    return x\n",
    "two_functions": CODE + "def again(self):\n    return 1\n",
    "nested_function": "def forward(self, x):\n    def f(): pass\n    return x\n",
    "await": "async def forward(self, x):\n    return x\n",
    "global": "def forward(self, x):\n    global torch\n    return x\n",
    "star_import": "from os import *\ndef forward(self, x):\n    return x\n",
    "null": "def forward(self, x):\n    return '\0'\n",
    "parentheses": "def forward(self, x):\n    return " + "(" * 100_000,
    "signs": "def forward(self, x):\n    return " + "-" * 200_000 + "1\n",
    "attributes": "def forward(self, x):\n    y = x" + ".a" * 200_000 + "\n    return y\n",
    "digits": "def forward(self, x):\n    return " + "9" * 100_000 + "\n",
}


@pytest.mark.parametrize("name", HOSTILE_CODE)
def test_hostile_code_is_refused_unexecuted(name, mark, tmp_path):
    graph = graph_with(HOSTILE_CODE[name].replace("{mark}", str(mark)))
    path = write(graph, tmp_path / "g.pt")
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(path)
    assert str(path) in caught.value.message


def test_hostile_import_lines_import_nothing(mark, tmp_path):
    trap = tmp_path / "trap_of_a_graph.py"
    trap.write_text(f"open({str(mark)!r}, 'w')\n")
    code = "\n\ndef forward(self, x):\n    y = f(x)\n    return y\n"
    data = open_graph(write(graph_with(code, "from trap_of_a_graph import f"), tmp_path / "g.pt"))
    assert str(data.graph.nodes[1].target) == "trap_of_a_graph.f"
    for imports in ("import os; os.system('x')", "from os import system as x; x()", "from . import y"):
        with pytest.raises(UnknownFormatError):
            open_graph(write(graph_with(imports=imports), tmp_path / "h.pt"))


def test_hostile_node_names_of_graph_pickler_stay_text(mark, tmp_path):
    stream = torch.fx._graph_pickler.GraphPickler.dumps(added())
    name = f"open({str(mark)!r})"[:200]
    changed = stream.replace(b"\x8c\x01x", b"\x8c" + bytes([len(name)]) + name.encode())
    path = raw(changed, tmp_path / "g")
    data = read_or_refused(path)
    assert data is None or name in [node.target for node in data.graph.nodes]


def bomb(*operations: bytes) -> bytes:
    return b"\x80\x04" + b"".join(operations) + b"."


BOMBS = {
    "bytearray": bomb(b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"),
    "huge_bytes": bomb(b"\x8e" + struct.pack("<Q", 2**62)),
    "huge_bytearray": bomb(b"\x96" + struct.pack("<Q", 2**40)),
    "huge_text": bomb(b"\x8d" + struct.pack("<Q", 2**63)),
    "huge_integer": bomb(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "negative_integer": bomb(b"\x8b" + struct.pack("<i", -5)),
    "huge_frame": bomb(b"\x95" + struct.pack("<Q", 2**60)),
    "huge_memo": bomb(b"Nr\xff\xff\xff\xff"),
    "frozenset_of_range": bomb(b"cbuiltins\nfrozenset\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R"),
    "shared_tuples": bomb(b"N", b"\x94h\x00" + b"".join(b"2\x86" for _ in range(5000))),
    "deep_tuples": bomb(b"N", b"\x85" * 500_000),
    "deep_lists": bomb(b"]" * 200_000, b"a" * 199_999),
    "deep_calls": bomb(b"c__main__\nf\n" * 50_000, b"N\x85R" * 49_999),
    "deep_marks": bomb(b"(" * 500_000),
    "own_list": bomb(b"]\x94h\x00a"),
    "own_dict": bomb(b"}\x94N h\x00s".replace(b" ", b"")),
    "no_stop": b"\x80\x04N",
    "underflow": bomb(b"0" * 3),
    "unknown_protocol": b"\x80\x63N.",
    "extension": bomb(b"\x82\x01"),
    "out_of_band": bomb(b"\x97"),
    "old_instance": bomb(b"(ios\nsystem\n"),
    "surrogate": bomb(b"\x8c\x03\xed\xa0\x80"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_no_time(name, tmp_path):
    path = raw(BOMBS[name], tmp_path / "bomb")
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(path)
    assert str(path) in caught.value.message


def in_attribute(payload: bytes, path: Path) -> Path:
    """A whole graph as a pickle that holds ``payload`` as an attribute."""
    marker = "payload to replace"
    stream = pickle.dumps(graph_with(extra=marker), 2)
    text = b"X" + struct.pack("<I", len(marker)) + marker.encode()
    assert text in stream
    return raw(stream.replace(text, payload), path)


@pytest.mark.parametrize(
    "payload",
    [
        b"N" + b"2\x86" * 60,
        b"N" + b"\x85" * 100_000,
        b"cbuiltins\nfrozenset\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R",
        b"cbuiltins\nset\ncbuiltins\nset\n)R\x85R",
        b"ctorch\ndevice\nX\x03\x00\x00\x00zzz\x85R",
        b"ccollections\nOrderedDict\nK\x01\x85R",
        b"ctorch._utils\n_rebuild_tensor_v2\nN\x85R",
        b"cbuiltins\ncomplex\nX\x01\x00\x00\x00x\x85R",
        b"cdill._dill\n_eval_repr\nX\x08\x00\x00\x00print(1)\x85R",
        b"cdill._dill\n_eval_repr\nX\x63\xea\x00\x00f'" + b"{x}" * 20_000 + b"'\x85R",
    ],
    ids=range(10),
)
def test_bombs_inside_a_graph_are_refused_or_inert(payload, tmp_path):
    path = in_attribute(payload, tmp_path / "g.pickle")
    data = read_or_refused(path)
    assert data is None or data.graph.nodes


def with_tensor(path: Path, offset, size, stride, count=4) -> Path:
    """A saved graph whose buffer is a view of a storage of four floats, as described."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "0", "cpu", count) if obj is Path else None

    tensor = Call(torch._utils._rebuild_tensor_v2, Path, offset, size, stride, False, {})
    stream = io.BytesIO()
    Pickler(stream, 2).dump(graph_with(_buffers={"b": tensor}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("g/data.pkl", stream.getvalue())
        archive.writestr("g/byteorder", "little")
        archive.writestr("g/data/0", bytes(16))
    return path


def test_a_fitting_view_is_read(tmp_path):
    assert open_graph(with_tensor(tmp_path / "g.pt", 0, (2, 2), (2, 1))).root.buffers["b"].shape == (2, 2)


@pytest.mark.parametrize(
    ("offset", "size", "stride", "count"),
    [
        (0, (5,), (1,), 4),
        (1, (4,), (1,), 4),
        (0, (2, 2), (3, 1), 4),
        (0, (2,), (2**62,), 4),
        (-1, (2,), (1,), 4),
        (0, (2,), (-1,), 4),
        (0, (-2,), (1,), 4),
        (0, (2,), (), 4),
        (0, (2.0,), (1,), 4),
        (0, (10**30,), (0,), 4),
        (0, (0, 10**30), (1, 1), 4),
        (0, (1,), (1,), 5),
        (0, (1,), (1,), -1),
        ("0", (1,), (1,), 4),
    ],
    ids=range(14),
)
def test_views_beyond_their_storage_are_refused(offset, size, stride, count, tmp_path):
    with pytest.raises(UnknownFormatError, match=r"g\.pt: "):
        open_graph(with_tensor(tmp_path / "g.pt", offset, size, stride, count))


def test_a_repeated_member_is_refused(tmp_path):
    path = with_tensor(tmp_path / "g.pt", 0, (1,), (1,))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("g/data.pkl", pickle.dumps(Call(os.system, "true")))
    with pytest.raises(UnknownFormatError, match="twice"):
        open_graph(path)


def test_a_member_that_unpacks_to_a_bomb_is_refused(tmp_path):
    path = tmp_path / "g.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("g/data.pkl", b"\x80\x04" + b"N0" * 2**25)
    with pytest.raises(UnknownFormatError, match="more than"):
        open_graph(path)


def test_hostile_folders_run_nothing(mark, tmp_path):
    folder = tmp_path / "folder"
    added().to_folder(folder, "Graph")
    module = folder / "module.py"
    text = module.read_text()
    attacks = [
        (text.replace("super().__init__()", f"open({str(mark)!r}, 'w')"), "nothing that to_folder writes"),
        (text + f"\nopen({str(mark)!r}, 'w')\n", None),
        (text.replace("super().__init__()", "setattr(self, 'a', Linear(10**400, 1))"), "module.py"),
        (
            text.replace("super().__init__()", "setattr(self, '../x', torch.load(r'/etc/passwd'))"),
            "is missing",
        ),
        (text.replace("super().__init__()", "setattr(self, 'a', eval('1'))"), "does not print"),
        ("import os\n", "does not define one class"),
        (text.encode() + b"\xff", "module.py"),
    ]
    for hostile, message in attacks:
        module.write_bytes(hostile if isinstance(hostile, bytes) else hostile.encode())
        if message is None:
            open_graph(folder)
            continue
        with pytest.raises(Fx2pyError, match=message):
            open_graph(folder)


def test_names_from_a_file_cannot_break_a_message(tmp_path):
    graphs = {"a\n\x1b[2J": graph_with(), "b": graph_with(_modules={"c\n": 3})}
    path = write(graphs, tmp_path / "g.pt")
    for model in (None, "b"):
        with pytest.raises(UnknownFormatError) as caught:
            open_graph(path, model=model)
        assert all(line.isprintable() for line in str(caught.value).split("\n"))
    with pytest.raises(UnknownFormatError, match="control characters"):
        open_graph(raw(b"\x80\x04\x8c\x03o\ns\x8c\x06system\x93.", tmp_path / "h"))
