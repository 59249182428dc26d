"""Files that hold several graphs: one is chosen with --model, or each is written with --all."""

import json

import pytest
import torch
from torch.export.pt2_archive._package import package_pt2

LOG = """===== {} =====
class GraphModule(torch.nn.Module):
    def forward(self, x: "f32[2]"):
        {name} = torch.{name}(x);  x = None
        return {name}
"""


def sine(x):
    return torch.sin(x)


def cosine(x):
    return torch.cos(x)


def folders(path):
    return sorted(each.name for each in path.iterdir() if each.is_dir())


@pytest.fixture
def several(here):
    """Files with the graphs ``sin`` and ``cos``, of each kind that can hold several."""
    graphs = {"sin": torch.fx.symbolic_trace(sine), "cos": torch.fx.symbolic_trace(cosine)}
    torch.save(graphs, here / "zip.pt")
    torch.save(graphs, here / "stream.pt", _use_new_zipfile_serialization=False)
    programs = {name: torch.export.export(graph, (torch.ones(2),)) for name, graph in graphs.items()}
    package_pt2(here / "archive.pt2", exported_programs=programs)
    with torch.package.PackageExporter(str(here / "package.pt")) as exporter:
        exporter.extern("**")
        for name, graph in graphs.items():
            exporter.save_pickle("graphs", f"{name}.pkl", graph)
    (here / "text.log").write_text("".join(LOG.format(name, name=name) for name in graphs))
    return here


FILES = ["zip.pt", "stream.pt", "archive.pt2", "package.pt", "text.log"]


@pytest.mark.parametrize("file", FILES)
def test_several_graphs_are_listed_chosen_or_all_written(file, fx2py, several):
    listed = fx2py("gen", file)
    assert listed.code == 2
    assert "holds several graphs" in listed.err
    assert "--model '" in listed.err
    assert "fx2py gen --all" in listed.err
    every = fx2py("gen", file, "--all", "-o", "out")
    assert (every.code, every.err) == (0, "")
    names = folders(several / "out")
    assert len(names) == 2
    sources = [(several / "out" / name / "execution_fn.py").read_text() for name in names]
    assert "cos(" in sources[0]
    assert "sin(" in sources[1]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "command",
    [["run"], ["diff"], ["bench", "--rounds", "5"], ["split", "--at", "torch.cos"]],
    ids=["run", "diff", "bench", "split"],
)
def test_every_command_chooses_with_model(command, file, fx2py, several):
    name, *options = command
    inputs = several / "x.pt"
    torch.save((torch.ones(2),), inputs)
    given = [] if name == "split" else ["--inputs", inputs]
    unnamed = fx2py(name, file, *options, *given)
    assert (unnamed.code, "--model" in unnamed.err) == (2, True)
    model = "graphs/cos.pkl" if file == "package.pt" else "cos"
    assert fx2py(name, file, *options, *given, "--model", model).code == 0
    assert fx2py(name, file, *options, *given, "--model", "tan").code == 2


def test_all_of_a_file_with_one_graph_writes_its_folder(fx2py, here, saved):
    assert fx2py("gen", "--all", saved / "net.pt").code == 0
    assert folders(here) == ["net_fx2py"]


def test_what_cannot_be_read_is_named_and_the_rest_is_written(fx2py, here):
    text = LOG.format("sin", name="sin") + LOG.format("lost", name="lost").replace("return", "retur")
    (here / "text.log").write_text(text)
    result = fx2py("gen", "--all", "text.log", "--json")
    data = json.loads(result.out)
    assert result.code == 2
    assert [each["manifest"]["graph"]["model"] for each in data["graphs"]] == ["sin"]
    assert [(each["model"], "line 10 " in each["error"]) for each in data["failures"]] == [("lost", True)]
    assert folders(here) == ["text.sin_fx2py"]
    assert "error: lost: text.log: line 10 " in fx2py("gen", "--all", "text.log").err


def test_names_of_graphs_lead_nowhere_else(fx2py, here):
    titles = ("../../up", "/etc/up", "a\\b", "..", "UP", "up", "é" * 300, "CON\x1b[31m")
    (here / "text.log").write_text("".join(LOG.format(title, name="sin") for title in titles))
    result = fx2py("gen", "--all", "text.log", "-o", "out")
    assert (result.code, result.err) == (0, "")
    assert len({name.casefold() for name in folders(here / "out")}) == len(titles)
    assert {path.name for path in here.iterdir()} == {"text.log", "out"}


def test_names_that_nobody_can_type_are_chosen_as_they_are_shown(fx2py, here):
    graphs = {"a\n\x1b[31m": torch.fx.symbolic_trace(sine), "b": torch.fx.symbolic_trace(cosine)}
    torch.save(graphs, here / "g.pt")
    every = fx2py("gen", "--all", "g.pt")
    assert every.code == 0
    assert "\x1b" not in every.out
    shown = "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m"
    assert shown in fx2py("gen", "g.pt").err
    assert fx2py("gen", "g.pt", "--model", shown).code == 0


def test_a_folder_of_one_of_several_knows_its_graph(fx2py, several):
    assert fx2py("gen", "--all", "text.log").code == 0
    result = fx2py("diff", "text.cos_fx2py")
    assert (result.code, result.err) == (0, "")


def test_two_files_never_share_a_folder(fx2py, here):
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "text.log").write_text(LOG.format("sin", name="sin") + LOG.format("cos", name="cos"))
    result = fx2py("gen", "--all", "a/text.log", "b/text.log", "-o", "out")
    assert result.code == 2
    assert "would both be written" in result.err
    assert folders(here / "out") == ["text.cos_fx2py", "text.sin_fx2py"]


@pytest.mark.parametrize("option", [["--stdout"], ["--model", "sin"]])
def test_all_goes_with_no_choice_of_one(option, fx2py, several):
    assert fx2py("gen", "--all", "zip.pt", *option).code == 2


def test_diff_takes_the_folder_of_the_graph_and_refuses_that_of_another(fx2py, several):
    assert fx2py("gen", "--all", "archive.pt2").code == 0
    torch.save((torch.ones(2),), several / "x.pt")
    found = fx2py("diff", "archive.pt2", "--model", "cos", "--inputs", "x.pt")
    assert found.code == 0
    assert "archive.cos_fx2py" in found.out
    other = fx2py("diff", "archive.pt2", "archive.sin_fx2py", "--model", "cos", "--inputs", "x.pt")
    assert other.code == 2
    assert "generated from 'sin'" in other.err
