"""A saved graph means what the live one means: the same code through every file format, and equal behaviour."""

import ast

import pytest

import fx2py
from fx2py.trust import Policy
from tests.corpus.doors import DOORS
from tests.corpus.selection import needed_by, representative, savable_parameters

pytestmark = pytest.mark.filterwarnings("ignore")


def without_comments(source: str) -> str:
    return ast.unparse(ast.parse(source))


@pytest.mark.parametrize(("case", "door"), savable_parameters(representative()))
def test_every_door_gives_the_same_code(case, door, tmp_path):
    captured = case.capture()
    path = DOORS[door](captured.graph, tmp_path)
    from_file, live = fx2py.generate(path), fx2py.generate(captured.graph)
    assert without_comments(from_file.source) == without_comments(live.source)


@pytest.mark.parametrize(("case", "door"), savable_parameters(representative()))
def test_code_from_every_door_is_equivalent_to_its_graph(case, door, tmp_path):
    captured = case.capture()
    path = DOORS[door](captured.graph, tmp_path)
    policy = Policy(needed_by(case, "functions"), needed_by(case, "ops"), needed_by(case, "classes"))
    report = fx2py.diff(path, args=captured.args, kwargs=captured.kwargs, policy=policy)
    assert report.equal, str(report)
