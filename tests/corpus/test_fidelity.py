"""A saved graph means what the live one means: the same code through every file format, and equal behaviour."""

import ast

import pytest

import fx2py
from fx2py.errors import ReplayError
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, reference
from tests.corpus import CASES, Case
from tests.corpus.formats import FORMATS, PICKLES
from tests.corpus.selection import one_of_each_kind, savable_parameters

pytestmark = pytest.mark.filterwarnings("ignore")


FLAT = fx2py.GenerateOptions(flat=True)
KEEP_MODULES = ("pt2", "fx2py")
"""Formats that record which module each node comes from, as live graphs do; code of the others is flat."""


def without_comments(source: str) -> str:
    return ast.unparse(_without_outline(source))


def _without_outline(source: str) -> ast.Module:
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:  # a pickle does not record all that it says
        del tree.body[0]
    return tree


class _Lists(ast.NodeTransformer):
    """Every tuple as a list: an exported archive does not say which of them a sequence was."""

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        self.generic_visit(node)
        return ast.List(node.elts, node.ctx)


def as_archives_say(source: str) -> str:
    return ast.unparse(_Lists().visit(_without_outline(source)))


def policy_of(case: Case) -> Policy:
    return Policy(**{kind: frozenset(names) for kind, names in case.needs.items()})


@pytest.mark.parametrize(("case", "format_"), savable_parameters(one_of_each_kind()))
def test_code_from_a_file_is_the_code_of_the_live_graph(case, format_, tmp_path):
    captured = case.capture()
    options = fx2py.GenerateOptions(flat=format_ not in KEEP_MODULES)
    from_file = fx2py.generate(FORMATS[format_](captured.graph, tmp_path), options=options)
    live = fx2py.generate(captured.graph, options=options)
    said = as_archives_say if format_ == "pt2" else without_comments
    assert said(from_file.source) == said(live.source)


PICKLED = [case for case in CASES.values() if "pt" in case.savable_as]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[] if str(case) in one_of_each_kind() else [pytest.mark.slow])
        for case in PICKLED
    ],
)
def test_every_form_of_pickle_gives_the_code_of_the_live_graph(case, tmp_path):
    graph = case.build()
    live = without_comments(fx2py.generate(graph, options=FLAT).source)
    for name, write in PICKLES.items():
        write(graph, tmp_path / name)
        assert without_comments(fx2py.generate(tmp_path / name, options=FLAT).source) == live, name


@pytest.mark.parametrize(("case", "format_"), savable_parameters(one_of_each_kind()))
def test_code_from_a_file_replays_the_live_graph_or_is_refused(case, format_, tmp_path):
    captured = case.capture()
    artifact = fx2py.generate(FORMATS[format_](captured.graph, tmp_path))
    if not case.rebuildable:
        with pytest.raises(ReplayError):
            artifact.bind(policy=policy_of(case))
        return
    run = artifact.bind(policy=policy_of(case))
    assert_same_behaviour(run, reference(captured.graph), captured.args, captured.kwargs)


@pytest.mark.parametrize(
    ("case", "format_"),
    savable_parameters(one_of_each_kind(), [case for case in CASES.values() if case.rebuildable]),
)
def test_diff_finds_a_file_equivalent_to_its_code(case, format_, tmp_path):
    captured = case.capture()
    path = FORMATS[format_](captured.graph, tmp_path)
    report = fx2py.diff(path, args=captured.args, kwargs=captured.kwargs, policy=policy_of(case))
    assert report.equal, str(report)
