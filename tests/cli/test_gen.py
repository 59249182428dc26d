"""``fx2py gen``: what it writes, what it prints, and that it writes whole folders or nothing."""

import ast
import json
import re
import shutil

import torch

import fx2py as library
from tests.program.structure.test_structured import Stack


def files(folder):
    return sorted(path.name for path in folder.iterdir())


GENERATED = [
    *("__init__.py", "__main__.py", "_runtime.py", "_tables.py", "execution_fn.py", "manifest.json"),
    *("sample_inputs.pt", "weights.pt"),
]


def test_writes_a_folder_named_after_the_graph_here(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2")
    assert (result.code, result.err) == (0, "")
    assert files(here) == ["net_fx2py"]
    assert files(here / "net_fx2py") == GENERATED
    assert "def execution_fn(" in result.out
    assert "net_fx2py" in result.out


def test_output_names_the_folder_of_one_graph(fx2py, here, saved):
    assert fx2py("gen", saved / "net.pt2", "-o", "mine").code == 0
    assert files(here / "mine") == GENERATED


def test_several_graphs_get_a_folder_each_below_the_output(fx2py, here, saved):
    shutil.copy(saved / "net.pt", here / "traced.pt")
    result = fx2py("gen", saved / "net.pt2", "traced.pt", "-o", "all")
    assert result.code == 0
    assert files(here / "all") == ["net_fx2py", "traced_fx2py"]
    assert "net_fx2py" in result.out
    assert "traced_fx2py" in result.out


def test_one_bad_graph_of_several_is_reported_and_the_others_are_written(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2", "nowhere.pt")
    assert result.code == 2
    assert result.err.count("error:") == 1
    assert "nowhere.pt" in result.err
    assert files(here) == ["net_fx2py"]


def test_two_graphs_that_would_share_a_folder_are_refused(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2", saved / "net.pt")
    assert result.code == 2
    assert "net_fx2py" in result.err
    assert files(here) == []


def test_generating_again_replaces_the_folder(fx2py, here, saved):
    assert fx2py("gen", saved / "net.pt2").code == 0
    first = (here / "net_fx2py" / "execution_fn.py").read_bytes()
    assert fx2py("gen", saved / "net.pt2").code == 0
    assert (here / "net_fx2py" / "execution_fn.py").read_bytes() == first
    assert files(here) == ["net_fx2py"]


def edit(folder):
    code = folder / "execution_fn.py"
    code.write_text(code.read_text().replace("torch.relu(", "torch.sigmoid("))
    return code.read_text()


def test_a_folder_that_was_edited_is_not_overwritten(fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    edited = edit(here / "net_fx2py")
    result = fx2py("gen", saved / "net.pt2")
    assert result.code == 2
    assert result.err.splitlines()[0] == (
        "error: net_fx2py was edited since it was generated (execution_fn.py)."
    )
    assert "gen --force" in result.err
    assert "gen --keep-edits" in result.err
    assert (here / "net_fx2py" / "execution_fn.py").read_text() == edited
    assert files(here) == ["net_fx2py"]


def test_force_overwrites_edits(fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    edit(here / "net_fx2py")
    assert fx2py("gen", saved / "net.pt2", "--force").code == 0
    assert "torch.relu(" in (here / "net_fx2py" / "execution_fn.py").read_text()


def test_keep_edits_writes_beside_the_folder_and_run_keeps_taking_the_edited_one(fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    edited = edit(here / "net_fx2py")
    result = fx2py("gen", saved / "net.pt2", "--keep-edits")
    assert result.code == 0
    assert "net_fx2py_new" in result.err
    assert "net_fx2py_new" in result.out
    assert (here / "net_fx2py" / "execution_fn.py").read_text() == edited
    assert "torch.relu(" in (here / "net_fx2py_new" / "execution_fn.py").read_text()
    assert json.loads(fx2py("run", "--json").out)["ran"] == "net_fx2py"
    edit(here / "net_fx2py_new")
    assert fx2py("gen", saved / "net.pt2", "--keep-edits").code == 2


def test_keep_edits_beside_the_current_folder(fx2py, here, saved, monkeypatch):
    fx2py("gen", saved / "net.pt2")
    edit(here / "net_fx2py")
    monkeypatch.chdir(here / "net_fx2py")
    assert fx2py("gen", saved / "net.pt2", "-o", ".", "--keep-edits").code == 0
    assert files(here) == ["net_fx2py", "net_fx2py_new"]


def test_a_folder_without_edits_is_replaced_whatever_is_said_of_edits(fx2py, here, saved):
    for option in ("--force", "--keep-edits", "--keep-edits"):
        assert fx2py("gen", saved / "net.pt2", option).code == 0
    assert files(here) == ["net_fx2py"]


def test_edits_cannot_be_kept_and_overwritten(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2", "--force", "--keep-edits")
    assert result.code == 2
    assert "--keep-edits keeps them" in result.err


def test_a_folder_of_the_users_own_is_never_replaced(fx2py, here, saved):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").write_text("years of work")
    result = fx2py("gen", saved / "net.pt2", "-o", "mine")
    assert result.code == 2
    assert "mine" in result.err
    assert files(here / "mine") == ["thesis.tex"]


def test_stdout_is_pure_source_and_writes_nothing(fx2py, here, saved):
    result = fx2py("gen", "--stdout", saved / "net.pt2")
    assert (result.code, result.err) == (0, "")
    ast.parse(result.out)
    assert result.out == library.generate(saved / "net.pt2").source
    assert files(here) == []


def test_stdout_wants_one_graph_and_no_folder(fx2py, here, saved):
    assert fx2py("gen", "--stdout", saved / "net.pt2", saved / "net.pt").code == 2
    assert fx2py("gen", "--stdout", saved / "net.pt2", "-o", "x").code == 2
    assert fx2py("gen", "--stdout", saved / "net.pt2", "--json").code == 2
    assert files(here) == []


def test_stages_show_the_graph_and_the_program_after_each_pass(fx2py, here, saved):
    result = fx2py("gen", "--stages", "-O", saved / "net.pt2")
    assert (result.code, result.err) == (0, "")
    heads = [
        line.removeprefix("# ").partition(":")[0] for line in result.out.splitlines() if line[:2] == "# "
    ]
    assert heads[:2] == ["graph", "lowered"]
    assert heads[2:] == [
        *("built_items", "identities", "metadata_asserts", "conversions", "computed_once", "below_autograd")
    ]
    lines = [line.strip() for line in result.out.splitlines()]
    assert "relu = call_function aten.relu.default(linear)  # f32[2, 3]" in lines
    assert "relu = torch.relu(linear)  # f32[2, 3]" in lines
    assert not files(here)


def test_stages_want_one_graph_and_no_folder(fx2py, here, saved):
    assert fx2py("gen", "--stages", saved / "net.pt2", "-o", "x").code == 2
    assert fx2py("gen", "--stages", saved / "net.pt2", saved / "net.pt").code == 2


def test_no_comments_leaves_the_comments_out(fx2py, here, saved):
    commented = fx2py("gen", "--stdout", saved / "net.pt2").out
    bare = fx2py("gen", "--stdout", "--no-comments", saved / "net.pt2").out
    body = bare[bare.index("def execution_fn(") : bare.index("return")]
    assert "#" not in body
    assert len(bare) < len(commented)


def test_exact_ops_keeps_the_overloads(fx2py, here, saved):
    assert "torch.ops.aten.relu.default" not in fx2py("gen", "--stdout", saved / "net.pt2").out
    assert "torch.ops.aten.relu.default" in fx2py("gen", "--stdout", "--exact-ops", saved / "net.pt2").out


def test_optimized_code_lists_what_was_left_out(fx2py, here, saved):
    result = fx2py("gen", "-O", "--json", saved / "net.pt2")
    (entry,) = json.loads(result.out)["graphs"]
    assert entry["manifest"]["options"]["optimize"] is True
    assert entry["manifest"]["optimizations"] == []
    assert fx2py("diff", "-O", saved / "net.pt2").code == fx2py("run", "-O", saved / "net.pt2").code == 0


def test_json_describes_every_graph(fx2py, here, saved):
    result = fx2py("gen", "--json", saved / "net.pt2")
    (entry,) = json.loads(result.out)["graphs"]
    assert entry["graph"] == str(saved / "net.pt2")
    assert entry["folder"] == "net_fx2py"
    assert entry["manifest"] == json.loads((here / "net_fx2py" / "manifest.json").read_text())


def test_a_pipe_gets_no_escape_codes_and_a_table_of_eighty_columns(fx2py, here, saved, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    other = here / "a_graph_with_a_name_that_is_longer_than_anyone_would_choose_for_a_file_of_theirs.pt2"
    shutil.copy(saved / "net.pt2", other)
    result = fx2py("gen", saved / "net.pt2", other, "nowhere.pt2")
    assert "\x1b" not in result.out + result.err
    assert max(map(len, result.out.splitlines())) <= 80


def test_split_at_keeps_the_pieces_between_the_named_operators_as_functions(fx2py, here, saved):
    assert fx2py("gen", saved / "net.pt2", "--split-at", "aten::relu", "--split-at", "torch.sum").code == 0
    manifest = json.loads((here / "net_fx2py" / "manifest.json").read_text())
    functions = [entry["name"] for entry in manifest["submodules"] if entry["mode"] == "function"]
    assert functions == ["submod_0", "submod_1", "submod_2"]
    assert manifest["options"]["split_at"] == ["aten::relu", "torch.sum"]
    assert fx2py("diff").code == 0


def test_an_operator_that_is_not_there_to_split_at_is_named_and_nothing_is_written(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2", "--split-at", "aten::conv2d")
    assert result.code == 2
    assert "aten::conv2d" in result.err
    assert "torch.ops.aten.relu.default" in result.err
    assert files(here) == []


def test_json_lists_failures_too(fx2py, here, saved):
    (here / "empty.pt").touch()
    result = fx2py("gen", "empty.pt", saved / "net.pt", "--json")
    data = json.loads(result.out)
    assert result.code == 2
    assert [item["graph"] for item in data["graphs"]] == [str(saved / "net.pt")]
    assert [(item["graph"], "is empty" in item["error"]) for item in data["failures"]] == [("empty.pt", True)]


def test_a_pipe_gets_long_code_whole(fx2py, here):
    def long(x):
        for _ in range(200):
            x = x.cos()
        return x

    torch.save(torch.fx.symbolic_trace(long), "long.pt")
    assert fx2py("gen", "long.pt").out.count("cos") >= 200


def on_a_terminal(fx2py, monkeypatch, *arguments):
    """What a command prints where a person reads it, without its colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", fx2py(*arguments).out)


def test_a_terminal_gets_the_outline_and_the_entry_function(fx2py, here, monkeypatch):
    torch.export.save(torch.export.export(Stack(), (torch.randn(2, 4, 8),)), "stack.pt2")
    shown = on_a_terminal(fx2py, monkeypatch, "gen", "stack.pt2")
    assert shown.index("3 × Block") < shown.index("def execution_fn(")
    assert shown.count("def ") == 1
    assert "more lines in stack_fx2py/execution_fn.py" in shown


def test_a_terminal_gets_the_first_lines_where_no_modules_are_known(fx2py, here, monkeypatch):
    def long(x):
        for _ in range(200):
            x = x.cos()
        return x

    torch.save(torch.fx.symbolic_trace(long), "long.pt")
    shown = on_a_terminal(fx2py, monkeypatch, "gen", "long.pt")
    assert "def execution_fn(" in shown
    assert "more lines in long_fx2py/execution_fn.py" in shown
