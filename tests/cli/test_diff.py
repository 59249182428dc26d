"""``fx2py diff``: its verdict, its exit code and what it compares when arguments are left out."""

import json
import re
import shutil

import pytest
import torch

import fx2py as library


@pytest.fixture
def graph(here, saved):
    """net.pt2 in the current directory and net_fx2py generated from it."""
    shutil.copy(saved / "net.pt2", here / "net.pt2")
    library.generate("net.pt2").write("net_fx2py")
    return here / "net.pt2"


@pytest.fixture
def wrong(graph, here):
    """net_fx2py edited so that it computes something else."""
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace("torch.relu(", "torch.sigmoid("))
    return graph


def test_equal_code_is_equivalent(fx2py, graph):
    result = fx2py("diff", "net.pt2", "net_fx2py")
    assert (result.code, result.err) == (0, "")
    assert "equivalent" in result.out
    for output in ("hidden", "total"):
        assert output in result.out


def test_code_that_computes_something_else_is_not(fx2py, wrong):
    result = fx2py("diff", "net.pt2", "net_fx2py")
    assert result.code == 1
    assert "different" in result.out
    assert "hidden" in result.out


def test_without_arguments_compares_the_newest_folder_with_its_graph(fx2py, graph):
    result = fx2py("diff")
    assert result.code == 0
    assert "net_fx2py" in result.out
    assert "net.pt2" in result.out


def test_a_graph_alone_is_compared_with_its_folder_here(fx2py, wrong):
    assert fx2py("diff", "net.pt2").code == 1


def test_a_graph_without_a_folder_is_generated_in_memory(fx2py, here, saved):
    assert fx2py("diff", saved / "net.pt2").code == 0
    assert list(here.iterdir()) == []


def test_a_folder_alone_is_compared_with_its_graph(fx2py, wrong):
    assert fx2py("diff", "net_fx2py").code == 1


def test_a_graph_that_moved_is_a_clear_error(fx2py, graph, here):
    graph.rename(here / "elsewhere.pt2")
    result = fx2py("diff")
    assert result.code == 2
    assert "net.pt2" in result.err
    assert fx2py("diff", "elsewhere.pt2", "net_fx2py").code == 0


def test_a_graph_that_changed_is_a_clear_error(fx2py, graph, saved):
    shutil.copy(saved / "net.pt", graph)
    result = fx2py("diff")
    assert result.code == 2
    assert "net.pt2" in result.err
    assert "changed" in result.err


def test_json_holds_the_verdict(fx2py, wrong):
    result = fx2py("diff", "--json")
    assert result.code == 1
    assert json.loads(result.out)["equal"] is False


def test_given_inputs_are_used(fx2py, graph, tmp_path):
    torch.save((torch.full((2, 4), float("nan")),), tmp_path / "nan.pt")
    assert fx2py("diff", "--inputs", tmp_path / "nan.pt").code == 0
    result = fx2py("diff", "--inputs", tmp_path / "nan.pt", "--cases", 1)
    assert result.code == 3
    assert "not compared: every result is NaN" in result.out


def test_a_folder_of_another_graph_is_an_error_that_names_both(fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    refused = fx2py("diff", saved / "net.pt", "net_fx2py")
    assert refused.code == 2
    assert "net.pt2 (sha256 " in refused.err
    assert "net.pt as it is now (sha256 " in refused.err


# -- what is run, and what it says


def test_several_cases_of_two_calls_are_run_and_listed(fx2py, graph):
    data = json.loads(fx2py("diff", "--json").out)
    assert data["verdict"] == "equivalent"
    assert [each["call"] for each in data["cases"]] == [1, 2] * 4
    assert data["cases"][0]["case"] == "recorded inputs"
    assert len(json.loads(fx2py("diff", "--json", "--cases", 6).out)["cases"]) == 12


def test_inputs_may_be_given_several_times(fx2py, graph, here):
    for name in ("one.pt", "two.pt"):
        torch.save((torch.randn(2, 4),), here / name)
    result = fx2py("diff", "--inputs", "one.pt", "--inputs", "two.pt", "--cases", 1, "--json")
    assert [each["case"] for each in json.loads(result.out)["cases"]] == ["one.pt"] * 2 + ["two.pt"] * 2


def test_a_missing_inputs_file_is_trouble(fx2py, graph):
    result = fx2py("diff", "--inputs", "nowhere.pt")
    assert result.code == 2
    assert "nowhere.pt" in result.err


class Branch(torch.nn.Module):
    def forward(self, x):
        return torch.cond((x.abs() < 1e9).all(), lambda x: x + 1, lambda x: x - 1, (x,))


def test_a_branch_that_no_case_took_is_listed_and_fails_a_strict_run(fx2py, here):
    torch.export.save(torch.export.export(Branch(), (torch.ones(3),)), here / "branch.pt2")
    result = fx2py("diff", "branch.pt2")
    assert result.code == 0
    assert "not run  false_graph_0 (line " in result.out
    assert fx2py("diff", "branch.pt2", "--strict").code == 1
    assert fx2py("diff", "branch.pt2", "--json").code == 0


def test_a_graph_that_raises_on_every_input_is_not_compared(fx2py, here, saved):
    torch.save((torch.ones(3, 3),), here / "wrong.pt")
    result = fx2py("diff", saved / "net.pt", "--inputs", "wrong.pt", "--json")
    assert result.code == 3
    data = json.loads(result.out)
    assert (data["verdict"], data["equal"]) == ("not compared", False)
    assert data["reason"] == "both sides raise the same error"
    assert data["raised"]["graph"] == data["raised"]["code"] != None  # noqa: E711


def test_a_small_difference_is_within_a_tolerance(fx2py, graph, here):
    code = here / "net_fx2py" / "execution_fn.py"
    scaled = re.sub(r"(    \w+ = )(torch\.relu\(.*\))", r"\1torch.mul(\2, 1.0000001)", code.read_text())
    assert scaled != code.read_text()
    code.write_text(scaled)
    assert fx2py("diff").code == 1
    for flags in (["--close"], ["--rtol", "1e-5", "--atol", "1e-6"], ["--ulp", "8"]):
        result = fx2py("diff", *flags)
        assert (result.code, result.err) == (0, ""), (flags, result.out)
        assert "within" in result.out


def test_half_a_tolerance_is_a_clear_error(fx2py, graph):
    result = fx2py("diff", "--rtol", "1e-5")
    assert result.code == 2
    assert "rtol and atol must be given together" in result.err


def test_the_report_fits_80_columns(fx2py, wrong):
    result = fx2py("diff")
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.out.startswith("different")


def test_the_statement_is_shown_with_three_lines_around_it(fx2py, wrong, here):
    lines = (here / "net_fx2py" / "execution_fn.py").read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if re.match(r"    \w+ = torch\.sigmoid\(", line))
    result = fx2py("diff")
    assert f"execution_fn.py:{number}\n" in result.out
    shown = [line for line in result.out.splitlines() if line[:1] in "> " and line[2:7].strip().isdecimal()]
    assert [int(line[2:7]) for line in shown] == list(range(number - 3, min(number + 3, len(lines)) + 1))
    (marked,) = [line for line in shown if line.startswith(">")]
    assert f">{number:>6}  {lines[number - 1]}".startswith(marked.removesuffix("..."))
    assert re.search(r"graph says  \w+ = torch\.relu\(", result.out)
    assert re.search(r"code says   \w+ = torch\.sigmoid\(", result.out)
    found = json.loads(fx2py("diff", "--json").out)["divergence"]
    assert (found["line"], found["node"]) == (number, "relu")


def test_the_page_shows_the_verdict_and_the_code(fx2py, here, saved):
    assert fx2py("gen", saved / "net.pt2").code == 0
    equal = fx2py("diff", "--html", "page.html")
    assert equal.code == 0
    page = (here / "page.html").read_text()
    assert "equivalent" in page
    assert "def </span>" in page or "execution_fn" in page
    source = here / "net_fx2py" / "execution_fn.py"
    source.write_text(source.read_text().replace("torch.relu(", "torch.sigmoid("))
    assert fx2py("diff", "--html", "page.html").code == 1
    assert "verdict different" in (here / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_named(fx2py, here, saved):
    result = fx2py("diff", saved / "net.pt2", "--html", "nowhere/page.html")
    assert result.code == 2
    assert "nowhere/page.html cannot be written" in result.err
