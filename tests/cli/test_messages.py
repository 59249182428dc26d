"""Hints speak of arguments in Python and of options on the command line."""

import ast
import logging
import pickle
import re

import pytest
import torch
from torch import fx, nn

from fx2py.cli.messages import NoteHandler, with_options
from fx2py.errors import Admit, Argument, Choose, Hint, Supply
from tests.test_rooms import FILES, room


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        (Admit("functions", "a.b"), "--allow a.b"),
        (Admit("ops", "a=b"), "--allow-op a=b"),
        (Admit("classes", "a.B"), "--allow-class a.B"),
        (Admit("trust_all"), "--trust"),
        (Choose("a"), "--model 'a'"),
        (Choose("it's"), '--model "it\'s"'),
        (Supply("a.b"), "artifact.bind(submods={'a.b': a callable}) in Python"),
        (Argument.EVERY_GRAPH, "fx2py gen --all"),
    ],
)
def test_an_argument_becomes_its_option(argument, option):
    assert with_options(Hint("Pass ", argument, ".")) == f"Pass {option}."


def test_a_text_that_only_looks_like_an_argument_stays():
    assert with_options(Hint(str(Admit("functions", "a.b")))) == "policy=Policy(functions={'a.b'})"


@pytest.mark.parametrize("argument", [Admit("ops", "a=b"), Choose("a"), Supply("a"), *Argument])
def test_a_hint_is_the_text_for_python(argument):
    hint = Hint("Pass ", Hint.joined(", ", [argument, argument]), ".")
    assert hint == f"Pass {argument}, {argument}."
    assert pickle.loads(pickle.dumps(hint)).parts == hint.parts


def test_what_is_logged_stays_for_other_handlers_what_it_was(capsys):
    record = logging.LogRecord(
        "fx2py", logging.WARNING, "", 0, "%s.", (Hint("Pass ", Admit("trust_all")),), None
    )
    NoteHandler().emit(record)
    assert "--trust" in capsys.readouterr().err
    assert record.getMessage() == "Pass policy=Policy(trust_all=True)."


def test_only_the_command_line_speaks_of_options():
    for path in FILES:
        if (
            room(path) not in ("cli", "bench") and path.name != "embedded.py"
        ):  # a command line of each folder's own
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
    assert "--allow-class tests.cli.test_messages.Leaf" in fx2py("gen", "leaf.pt").out
    for command in (("run",), ("diff", "leaf.pt")):
        refused = fx2py(*command, "--inputs", "inputs.pt")
        assert refused.code == 2
        assert "--allow-class tests.cli.test_messages.Leaf" in refused.err
        assert "Policy(" not in refused.err
        assert (
            fx2py(*command, "--inputs", "inputs.pt", "--allow-class", "tests.cli.test_messages.Leaf").code
            == 0
        )
