"""A saved graph means what the live one means: the same code through every file format, and equal behaviour."""

import ast

import pytest

import fx2py
from fx2py.errors import ReplayError
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, reference
from tests.corpus import CASES, Case
from tests.corpus.doors import DOORS
from tests.corpus.selection import one_of_each_kind, savable_parameters

pytestmark = pytest.mark.filterwarnings("ignore")


def without_comments(source: str) -> str:
    return ast.unparse(ast.parse(source))


def policy_of(case: Case) -> Policy:
    return Policy(**{kind: frozenset(names) for kind, names in case.needs.items()})


@pytest.mark.parametrize(("case", "door"), savable_parameters(one_of_each_kind()))
def test_code_from_a_file_is_the_code_of_the_live_graph(case, door, tmp_path):
    captured = case.capture()
    from_file = fx2py.generate(DOORS[door](captured.graph, tmp_path))
    live = fx2py.generate(captured.graph)
    assert without_comments(from_file.source) == without_comments(live.source)


@pytest.mark.parametrize(("case", "door"), savable_parameters(one_of_each_kind()))
def test_code_from_a_file_replays_the_live_graph_or_is_refused(case, door, tmp_path):
    captured = case.capture()
    artifact = fx2py.generate(DOORS[door](captured.graph, tmp_path))
    if not case.rebuildable:
        with pytest.raises(ReplayError):
            artifact.bind(policy=policy_of(case))
        return
    run = artifact.bind(policy=policy_of(case))
    assert_same_behaviour(run, reference(captured.graph), captured.args, captured.kwargs)


@pytest.mark.parametrize(
    ("case", "door"),
    savable_parameters(one_of_each_kind(), [case for case in CASES.values() if case.rebuildable]),
)
def test_diff_finds_a_file_equivalent_to_its_code(case, door, tmp_path):
    captured = case.capture()
    path = DOORS[door](captured.graph, tmp_path)
    report = fx2py.diff(path, args=captured.args, kwargs=captured.kwargs, policy=policy_of(case))
    assert report.equal, str(report)
