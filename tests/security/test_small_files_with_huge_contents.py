"""Small files that describe something huge: each is refused, or read, in a moment and with little memory."""

import json
import time
import zipfile
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.errors import Fx2pyError, UnknownFormatError, UnsupportedGraphError
from fx2py.graph.symbols import expression_text
from fx2py.read import open_graph
from fx2py.read.dumps.meta import PrintedMetas
from fx2py.read.origin import module_path, module_stack
from fx2py.read.pickled.contents import graphs_in
from fx2py.read.pickled.graphs import recorded, tree_of_pickled
from fx2py.read.pickled.stream import Built, Global, PickleFault
from tests.read.archives import MODEL, members_of
from tests.security.test_pickle_attacks import CODE, graph_with, write
from tests.security.test_pt2_attacks import Small

SECONDS = 15
TWICE = (
    "\n\ndef forward(self, x):\n    a = self.a(x);  x = None\n    b = self.b(a);  a = None\n    return b\n"
)


@pytest.fixture(autouse=True)
def quick():
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS


def refused(path: Path, kind: type[Fx2pyError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        fx2py.generate(path)
    assert str(path) in caught.value.message


# -- what a pickle shares ----------------------------------------------------------------------------------------


def test_modules_that_are_called_twice_at_every_level(tmp_path):
    graph = graph_with(CODE)
    for _ in range(24):
        graph = graph_with(TWICE, _modules={"a": graph, "b": graph})
    refused(write(graph, tmp_path / "graph.pickle", "pickle"), UnsupportedGraphError, "repeats its modules")


def test_a_file_of_few_nodes_is_not_flattened_into_many(tmp_path):
    calls = "".join(f"    x{n + 1} = self.a(x{n});  x{n} = None\n" for n in range(7))
    graph = graph_with(CODE)
    for _ in range(5):
        graph = graph_with(f"\n\ndef forward(self, x0):\n{calls}    return x7\n", _modules={"a": graph})
    path = write(graph, tmp_path / "graph.pickle", "pickle")
    with pytest.raises(UnsupportedGraphError, match=r"more than 1[0-9]{4} parts more") as refused:
        fx2py.generate(path)
    assert "keep_submodules=True" in refused.value.hint
    assert fx2py.generate(path, options=fx2py.GenerateOptions(keep_submodules=True)).source


def test_modules_that_are_called_twice_at_a_few_levels_are_flattened(tmp_path):
    graph = graph_with(CODE)
    for _ in range(6):
        graph = graph_with(TWICE, _modules={"a": graph, "b": graph})
    source = fx2py.generate(write(graph, tmp_path / "graph.pickle", "pickle")).source
    assert source.count("torch.relu(") == 2**6


def test_modules_that_are_called_twice_at_every_level_may_stay_functions(tmp_path):
    graph = graph_with(CODE)
    for _ in range(24):
        graph = graph_with(TWICE, _modules={"a": graph, "b": graph})
    path = write(graph, tmp_path / "graph.pickle", "pickle")
    assert fx2py.generate(path, options=fx2py.GenerateOptions(keep_submodules=True)).source


def test_tuples_that_double_with_every_call(tmp_path):
    double = graph_with("\n\ndef forward(self, x):\n    return (x, x)\n")
    calls = "".join(f"    y{n + 1} = self.f(y{n});  y{n} = None\n" for n in range(24))
    code = f"\n\ndef forward(self, y0):\n{calls}    return y24\n"
    path = write(graph_with(code, _modules={"f": double}), tmp_path / "graph.pickle", "pickle")
    refused(path, UnsupportedGraphError, "repeats its modules")


@pytest.mark.parametrize("pair", [lambda v: (v, v), lambda v: [v, v], lambda v: frozenset([v, (v,)])])
def test_an_attribute_that_holds_itself_twice_at_every_level(pair, tmp_path):
    value = pair(1)
    for _ in range(22):
        value = pair(value) if type(value) is not list else [value, value]
    path = write(graph_with(attr=value), tmp_path / "graph.pickle", "pickle")
    refused(path, UnknownFormatError, "repeats parts of itself")


def test_lists_of_one_list(tmp_path):
    wide = [0] * 2000
    for _ in range(3):
        wide = [wide] * 2000
    assert fx2py.generate(write([wide, graph_with()], tmp_path / "graph.pickle", "pickle")).source


def test_a_graph_is_found_once_by_each_path():
    graph = Built(Global("torch.fx.graph_module", "reduce_graph_module"))
    assert list(graphs_in([graph, [graph]])) == ["0", "1.0"]


def test_a_structure_of_inputs_that_holds_itself_twice_at_every_level():
    spec = Built(Global("torch.utils._pytree", "LeafSpec"), state=[None, None, []])
    for _ in range(40):
        spec = Built(
            Global("torch.utils._pytree", "TreeSpec"), state=[Global("builtins", "list"), None, [spec, spec]]
        )
    with pytest.raises(PickleFault, match="too large"):
        tree_of_pickled(spec)


def test_a_recorded_value_that_holds_itself_twice_at_every_level():
    value = (None,)
    for _ in range(40):
        value = (value, value)
    with pytest.raises(PickleFault, match="too many parts"):
        recorded(value)


# -- archives ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.pt2"
    torch.export.save(torch.export.export(Small(), (torch.ones(3, 2),)), path)
    return members_of(path)


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            kind = zipfile.ZIP_DEFLATED if name.endswith((".json", ".pkl")) else zipfile.ZIP_STORED
            archive.writestr(f"model/{name}", data, kind)
    return path


def test_a_model_that_unpacks_to_a_thousand_times_its_size(tmp_path, members):
    path = packed(tmp_path / "graph.pt2", {**members, MODEL: b'{"a": [' + b"[]," * 20_000_000 + b"[]]}"})
    refused(path, UnknownFormatError, "more than the")


def test_a_packed_archive_of_usual_size_is_read(tmp_path, members):
    assert open_graph(packed(tmp_path / "graph.pt2", members)).graph.nodes


def test_many_members_that_unpack_to_a_thousand_times_their_size(tmp_path):
    empty = b"\x80\x04\x8e" + (2**20).to_bytes(8, "little") + bytes(2**20) + b"."
    bombs = {f"m{number}.pkl": empty for number in range(40)}
    path = packed(tmp_path / "graph.pt", {**bombs, ".data/extern_modules": b""})
    refused(path, UnknownFormatError, "more than the")


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 4000])
def test_a_number_that_no_float_can_be(number, tmp_path, members):
    argument = f'"inputs": [{{"name": "n", "kind": 1, "arg": {{"as_float": {number}}}}}, {{"name": "input"'
    text = members[MODEL].decode().replace('"inputs": [{"name": "input"', argument, 1)
    assert number in text
    refused(packed(tmp_path / "graph.pt2", {**members, MODEL: text.encode()}), UnknownFormatError, "number")


@pytest.mark.parametrize("stack", ["a," + "[" * 400_000 + ",c", "a," + "['" * 200_000, "_modules[" * 100_000])
def test_a_module_path_of_brackets(stack, tmp_path, members):
    document = json.loads(members[MODEL])
    for node in document["graph_module"]["graph"]["nodes"]:
        node["metadata"]["nn_module_stack"] = stack
    changed = {**members, MODEL: json.dumps(document).encode()}
    assert open_graph(packed(tmp_path / "graph.pt2", changed)).graph.nodes


# -- texts -------------------------------------------------------------------------------------------------------


def test_steps_into_modules_are_read_as_before():
    assert module_path("L['self'].layers[0].mlp") == "layers.0.mlp"
    assert module_path("self._modules['a']._modules['b'][1]") == "a.b.1"
    assert module_stack("a,L['self'],X;b,L['self'].b['x'],Y")[-1].path == "b.x"


def test_a_comment_of_many_places_has_none():
    text = f"def forward(self, x):\n    # {'File: a:1 in ' * 20_000}\n    return x"
    assert PrintedMetas(text.split("\n"))(None, 3).source is None


def test_a_comment_names_its_line():
    for place in ("File: /a.py:12 in f", "frame, File: /a,b:1 in.py:12 in f"):
        source = PrintedMetas([f"# {place}, code: y = x, code: z", "return x"])(None, 2).source
        assert (source.line, source.code) == (12, "y = x, code: z")


def test_an_expression_that_ends_in_many_spaces():
    text = f"Add({', '.join(['Integer(1)'] * 20_000)}){' ' * 1_000_000}"
    assert expression_text(text).startswith("1 + 1")


def test_a_formatted_string_of_many_parts(tmp_path):
    code = f"\n\ndef forward(self, x):\n    y = f'{'{x}' * 100_000}'\n    return y\n"
    refused(write(graph_with(code), tmp_path / "graph.pt"), UnknownFormatError, "formatted strings")


def test_a_log_of_many_graphs_of_one_name(tmp_path):
    path = tmp_path / "graphs.txt"
    path.write_text("class G(torch.nn.Module):\n    def forward(self, x):\n        return x\n" * 20_000)
    refused(path, UnknownFormatError, "several graphs")
