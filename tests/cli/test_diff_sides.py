"""``fx2py diff`` with something else than a graph and its code: two models, a module, results, a device, double precision."""

import json
import shutil

import pytest
import torch

import fx2py as library

EAGER = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, act=torch.relu):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.act = act

    def forward(self, x):
        hidden = self.act(self.linear(x))
        return {"hidden": hidden, "total": hidden.sum()}

def build():
    return Net().eval()

def other():
    return Net(torch.sigmoid)

def boom():
    raise ValueError("no weights")

nothing = None

def number():
    return 3
"""


@pytest.fixture
def graph(here, saved):
    shutil.copy(saved / "net.pt2", here / "net.pt2")
    (here / "eager.py").write_text(EAGER)
    return here / "net.pt2"


def test_a_module_of_the_users_own_code_runs_on_the_weights_of_the_graph(fx2py, graph):
    result = fx2py("diff", "net.pt2", "--against", "eager.py:build", "--trust")
    assert result.code == 0
    assert "against  eager.py:build" in result.out
    result = fx2py("diff", "net.pt2", "--against", "eager.py:other", "--trust", "--json")
    assert result.code == 1
    assert json.loads(result.out)["outputs"][0]["differing"] == 6


def test_the_users_code_runs_only_when_it_is_trusted(fx2py, graph, here):
    (here / "eager.py").write_text("open('ran', 'w')\n" + EAGER)
    result = fx2py("diff", "net.pt2", "--against", "eager.py:build")
    assert result.code == 2
    assert "--trust" in result.err
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("eager.py:boom", "eager.py:boom raised ValueError: no weights"),
        ("eager.py:number", "eager.py:number returns int, which cannot be called"),
        ("eager.py:nothing", "eager.py has no function nothing"),
        ("eager.py:absent", "eager.py has no function absent"),
        ("absent.py:build", "absent.py of --against is not there"),
        ("eager.py", "--against eager.py names no function"),
        ("eager.py:", "--against eager.py: names no function"),
        ("broken.py:build", "broken.py raised SyntaxError"),
    ],
)
def test_what_is_wrong_with_the_users_code_is_said(fx2py, graph, here, place, said):
    (here / "broken.py").write_text("def build(:\n")
    result = fx2py("diff", "net.pt2", "--against", place, "--trust")
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_results_that_run_saved_are_compared(fx2py, graph, here):
    fx2py("run", "net.pt2", "--output", "results.pt")
    assert fx2py("diff", "net.pt2", "--results", "results.pt").code == 0
    saved = torch.load("results.pt", weights_only=True)
    saved["hidden"][0, 0] += 1
    torch.save(saved, here / "other.pt")
    result = fx2py("diff", "net.pt2", "--results", "other.pt", "--json")
    assert result.code == 1
    assert [each["differing"] for each in json.loads(result.out)["outputs"]] == [1, 0]
    torch.save(torch.ones(3), here / "shape.pt")
    assert fx2py("diff", "net.pt2", "--results", "shape.pt").code == 1


def test_a_file_without_results_is_a_clear_error(fx2py, graph, here):
    (here / "text.pt").write_text("text")
    for name in ("text.pt", "absent.pt"):
        result = fx2py("diff", "net.pt2", "--results", name)
        assert result.code == 2
        assert name in result.err


class Model(torch.nn.Module):
    def __init__(self, act=torch.relu, scale=1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 3)
        self.linear.weight.data.mul_(scale)
        self.act = act

    def forward(self, x):
        return self.act(self.linear(x))


@pytest.fixture
def versions(here):
    x = torch.ones(2, 4)
    models = {"old": Model(), "same": Model(), "act": Model(torch.sigmoid), "tuned": Model(scale=2.0)}
    for name, model in models.items():
        torch.export.save(torch.export.export(model, (x,)), here / f"{name}.pt2")
    torch.export.save(torch.export.export(Model(), (torch.ones(5, 4),)), here / "wide.pt2")
    library.generate("act.pt2").write("act_fx2py")
    library.generate("old.pt2").write("old_fx2py")


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        ("old.pt2", "same.pt2", 0),
        ("old.pt2", "act.pt2", 1),
        ("old.pt2", "tuned.pt2", 1),
        ("old_fx2py", "act_fx2py", 1),
        ("old_fx2py", "same.pt2", 0),
        ("old.pt2", "wide.pt2", 1),
    ],
)
def test_two_models_are_compared_by_statements_and_by_results(fx2py, versions, one, other, code):
    result = fx2py("diff", one, other)
    assert result.code == code, result.out
    assert f"old  {one}" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_what_two_models_do_differently_is_in_the_document(fx2py, versions):
    found = json.loads(fx2py("diff", "old.pt2", "act.pt2", "--json").out)
    assert found["verdict"] == "different"
    (change,) = found["versions"]["changes"]
    assert ("relu" in change["old"], "sigmoid" in change["new"]) == (True, True)
    tuned = json.loads(fx2py("diff", "old.pt2", "tuned.pt2", "--json").out)
    assert tuned["versions"]["same_statements"]
    assert [each["kind"] for each in tuned["versions"]["weights"]] == ["other numbers"]


def test_two_folders_without_their_graphs_are_an_error_that_names_both(fx2py, versions, here):
    (here / "old.pt2").unlink()
    (here / "act.pt2").unlink()
    result = fx2py("diff", "old_fx2py", "act_fx2py")
    assert result.code == 2
    assert "old_fx2py and act_fx2py" in result.err


def test_the_code_may_run_on_another_device(fx2py, graph):
    result = fx2py("diff", "net.pt2", "--device-b", "cpu")
    assert result.code == 0
    if not torch.cuda.is_available():
        result = fx2py("diff", "net.pt2", "--device-b", "cuda")
        assert result.code == 2
        assert "cuda" in result.err


def test_double_precision_says_which_side_is_closer(fx2py, graph, here):
    library.generate("net.pt2").write("net_fx2py")
    found = json.loads(fx2py("diff", "--reference", "float64", "--json").out)
    assert [each["closer"] for each in found["precision"]] == ["neither", "neither"]
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace(" = torch.relu(", " = torch.sigmoid("))
    result = fx2py("diff", "--reference", "float64")
    assert result.code == 1
    assert "graph" in result.out.partition("from float64")[2]


@pytest.mark.parametrize(
    "flags",
    [
        ("--reference", "float16"),
        ("--results", "a.pt", "--device-b", "cpu"),
        ("--results", "a.pt", "--reference", "float64"),
        ("--results", "a.pt", "--cases", "2"),
        ("--close", "--ulp", "1"),
        ("--close", "--rtol", "0.1", "--atol", "0"),
        ("same.pt2", "--reference", "float64"),
        ("same.pt2", "--device-b", "cpu"),
        ("same.pt2", "-O"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fx2py, graph, here, flags):
    shutil.copy(graph, here / "same.pt2")
    result = fx2py("diff", "net.pt2", *flags)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_an_edited_folder_is_named_as_such_whatever_it_is_compared_with(fx2py, graph, here):
    fx2py("run", "net.pt2", "--output", "results.pt")
    library.generate("net.pt2").write("net_fx2py")
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace(" = torch.relu(", " = torch.sigmoid("))
    for flags in (("--results", "results.pt"), ("--against", "eager.py:build", "--trust")):
        result = fx2py("diff", "net.pt2", *flags)
        assert result.code == 1
        assert "graph says" in result.out
        assert "torch.sigmoid(" in result.out
        assert "edited" in result.out
        assert "torch.relu(" in fx2py("diff", "net.pt2", *flags, "--verbose").out
        document = json.loads(fx2py("diff", "net.pt2", *flags, "--json").out)
        assert (len(document["statements"]), len(document["edited"])) == (1, 1)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (("act.pt2",), "Statements that changed"),
        (("same.pt2",), "Both return the same in every case."),
        (("--against", "eager.py:build", "--trust"), "The code"),
    ],
)
def test_a_page_shows_two_models_and_the_users_code_too(fx2py, versions, here, others, said):
    (here / "eager.py").write_text(EAGER)
    result = fx2py("diff", "old.pt2", *others, "--html", "page.html")
    assert "Traceback" not in result.err
    page = (here / "page.html").read_text()
    assert said in page
    assert result.out.split()[0].rstrip(":;") in page


def test_within_a_tolerance_the_statement_is_found_by_running_too(fx2py, graph, here):
    library.generate("net.pt2").write("net_fx2py")
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace(" = torch.relu(", " = torch.sigmoid("))
    found = json.loads(fx2py("diff", "--close", "--json").out)["divergence"]
    assert found["deviations"]
    assert found["explains_rest"]
