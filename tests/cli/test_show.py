"""``fx2py show``: the outline, the code of a module, the page, and what it says where there is nothing to show."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from tests.program.structure.test_structured import Stack


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "stack.pt2"
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Stack(depth=3).eval(), (torch.randn(2, 4, 8),)), path)
    return path


@pytest.fixture
def folder(fx2py, here, graph) -> Path:
    assert fx2py("gen", graph).code == 0
    return here / "stack_fx2py"


def test_prints_the_outline_of_the_newest_folder(fx2py, folder):
    result = fx2py("show")
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines()]
    assert ["(model)", "Stack"] in [row[:2] for row in rows]
    assert ["layers", "3", "×", "Block", "3"] in [row[:5] for row in rows]


def test_a_graph_and_its_folder_are_shown_alike(fx2py, folder, graph):
    of_graph, of_folder = fx2py("show", graph), fx2py("show", folder)
    assert of_graph.out.replace(str(graph), "X") == of_folder.out.replace(str(folder), "X")
    assert fx2py("show", graph, "layers.1.attention").out == fx2py("show", folder, "layers.1.attention").out


def test_writes_nothing(fx2py, here, graph):
    assert fx2py("show", graph).code == 0
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["layers.2.attention", "Attention", "attention"])
def test_prints_the_function_of_a_path_a_class_or_a_name(fx2py, folder, name):
    result = fx2py("show", folder, name)
    assert result.code == 0
    assert result.out.count("def ") == 1
    assert "def attention(" in result.out
    assert "qkv.weight float32[24, 8]" in result.out


def test_an_inline_module_is_shown_by_its_statements(fx2py, folder):
    result = fx2py("show", folder, "layers.2.attention.qkv")
    code = result.out.partition("\n\n")[0]
    assert "weights.qkv.weight" in code
    assert "def " not in code
    assert "inline in  attention, line" in result.out


def test_flat_code_is_shown_by_module_paths(fx2py, here, graph):
    assert fx2py("gen", "--flat", graph).code == 0
    assert "layers.1.attention.qkv.weight" in fx2py("show", "stack_fx2py", "layers.1.attention").out


def test_a_wrong_name_is_one_sentence_with_the_closest_names(fx2py, folder):
    result = fx2py("show", folder, "layers.3.attention")
    assert (result.code, result.out) == (2, "")
    first, second = result.err.splitlines()
    assert first == f"error: {folder} has no module, class or function 'layers.3.attention'."
    assert "layers.2.attention" in second


def test_json_has_every_module_and_where_it_is(fx2py, folder):
    data = json.loads(fx2py("show", folder, "--json").out)
    lines = (folder / "execution_fn.py").read_text().splitlines()
    modules = {each["path"]: each for each in data["modules"]}
    ((first, last),) = modules["layers.0"]["lines"]
    assert any("def block(" in line for line in lines[first - 1 : last])
    assert modules["layers.0"]["class"].endswith("Block")
    assert {each["name"] for each in data["functions"]} >= {"execution_fn", "block", "attention", "norm"}
    assert len(data["weights"]) == 28


def test_json_of_a_module_has_its_code_and_weights(fx2py, folder):
    data = json.loads(fx2py("show", folder, "layers.2.attention", "--json").out)
    assert [each["path"] for each in data["modules"]] == ["layers.2.attention"]
    assert "def attention(" in data["code"]
    assert data["weights"][0]["name"] == "layers.2.attention.qkv.weight"


def test_json_of_a_wrong_name_is_a_document(fx2py, folder):
    result = fx2py("show", folder, "nothing", "--json")
    assert json.loads(result.out)["exit_code"] == result.code == 2


def test_the_page_is_written_whole_or_not_at_all(fx2py, folder, here):
    result = fx2py("show", folder, "--html", "page.html")
    assert result.code == 0
    assert "page       page.html" in result.out
    assert (here / "page.html").read_text().endswith("</html>\n")
    missing = fx2py("show", folder, "--html", "nowhere/page.html")
    assert missing.code == 2
    assert "nowhere/page.html cannot be written" in missing.err
    assert sorted(path.name for path in here.iterdir()) == ["page.html", "stack_fx2py"]


def test_a_page_is_of_the_whole(fx2py, folder):
    assert fx2py("show", folder, "layers.0", "--html", "page.html").code == 2


def test_edited_code_that_is_no_python_says_where(fx2py, folder):
    path = folder / "execution_fn.py"
    path.write_text("x = (\n" + path.read_text())
    result = fx2py("show", folder)
    assert result.code == 2
    assert f"{path} is not Python, line" in result.err


def test_a_pipe_gets_no_escape_codes_and_a_table_of_eighty_columns(fx2py, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = fx2py("show", folder.name)
    assert "\x1b" not in result.out + result.err
    assert max(map(len, result.out.splitlines())) <= 80


def test_an_archive_without_a_graph_is_told_by_what_is_inside(fx2py, here):
    torch.save({"weight": torch.zeros(100), "bias": torch.zeros(3)}, "state.pt")
    result = fx2py("show", "state.pt")
    assert (result.code, result.out) == (2, "")
    first, second, *rest = result.err.splitlines()
    assert first == "error: state.pt holds only weights (a state dict), but no graph."
    assert second == "  Inside are:"
    assert ["data/", "2", "files", "412", "bytes"] in [line.split() for line in rest]


def test_a_compiled_package_says_where_the_graph_is(fx2py, here):
    with zipfile.ZipFile("compiled.pt2", "w") as file:
        for name, text in {
            "archive_format": "pt2",
            "archive_version": "0",
            "data/aotinductor/net/a.so": "x" * 99,
        }.items():
            file.writestr(f"compiled/{name}", text)
    for command in ("show", "gen"):
        result = fx2py(command, "compiled.pt2")
        assert "compiled.pt2 holds what AOTInductor compiled (net), but no graph." in result.err
        assert "torch.export.save(program, path)" in result.err
    assert "data/aotinductor/net/  1 file  99 bytes" in fx2py("show", "compiled.pt2").err


def test_names_in_an_archive_stay_on_their_line(fx2py, here):
    with zipfile.ZipFile("odd.zip", "w") as file:
        file.writestr("a\x1b[31m\nerror: forged", "x")
        file.writestr("b" * 300, "x")
    result = fx2py("show", "odd.zip")
    assert "\x1b" not in result.err
    assert not [line for line in result.err.splitlines() if line.startswith("error: forged")]
    assert max(map(len, result.err.splitlines())) < 100


def test_a_file_of_several_graphs_and_a_damaged_one_say_what_they_always_say(fx2py, here, saved):
    torch.save(
        {"a": torch.fx.symbolic_trace(torch.nn.ReLU()), "b": torch.fx.symbolic_trace(torch.nn.ReLU())},
        "two.pt",
    )
    assert fx2py("show", "two.pt").err == fx2py("gen", "two.pt").err
    (here / "damaged.pt2").write_bytes((saved / "net.pt2").read_bytes()[:-40])
    assert fx2py("show", "damaged.pt2").err == fx2py("gen", "damaged.pt2").err
