"""Hints speak of arguments in Python and of options on the command line."""

import ast
import re

import pytest
import torch
from torch import fx, nn

from fx2py.cli.wording import with_options
from fx2py.errors import admitting
from tests.test_rooms import FILES, room


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        (admitting("functions", "a.b"), "--allow a.b"),
        (admitting("ops", "a=b"), "--allow-op a=b"),
        (admitting("classes", "a.B"), "--allow-class a.B"),
        (admitting("trust_all", ""), "--trust"),
        ("model='a'", "--model 'a'"),
    ],
)
def test_an_argument_becomes_its_option(argument, option):
    assert with_options(f"Pass {argument}.") == f"Pass {option}."


def test_only_the_command_line_speaks_of_options():
    for path in FILES:
        if room(path) not in ("cli", "bench"):
            tree = ast.parse(path.read_text())
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            spoken = [text for text in texts if type(text) is str and "torchrun --" not in text]
            assert not [text for text in spoken if re.search(r"(?<![\w-])--[a-z]", text)], path


class Leaf(nn.Module):
    def forward(self, x):
        return x + 1


def test_a_class_of_ones_own_is_asked_for_with_its_option(fx2py, here):
    root = nn.Sequential(Leaf())
    graph = fx.Graph()
    graph.output(graph.call_module("0", (graph.placeholder("x"),)))
    torch.save(fx.GraphModule(root, graph), "leaf.pt")
    torch.save((torch.ones(2),), "inputs.pt")
    assert "--allow-class tests.cli.test_wording.Leaf" in fx2py("gen", "leaf.pt").out
    for command in (("run",), ("diff", "leaf.pt")):
        refused = fx2py(*command, "--inputs", "inputs.pt")
        assert refused.code == 2
        assert "--allow-class tests.cli.test_wording.Leaf" in refused.err
        assert "Policy(" not in refused.err
        assert (
            fx2py(*command, "--inputs", "inputs.pt", "--allow-class", "tests.cli.test_wording.Leaf").code == 0
        )
