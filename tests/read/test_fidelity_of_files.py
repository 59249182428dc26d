"""A graph read from any file is the graph that was saved, node for node."""

from pathlib import Path

import pytest

from fx2py.read import open_graph
from tests.corpus import CASES
from tests.corpus.formats import FORMATS
from tests.read.graphs import assert_same_modules

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = ("symbolic_trace", "built", "make_fx", "make_fx_fake", "make_fx_symbolic")
RENAMED_BY_TEXT = {"awkward_node_names"}
FORGOTTEN_BY_FOLDERS = {
    *("namedtuple_output", "wrapped_functions", "enum_argument"),
    *("flattened_inputs", "containers", "joint"),
}
CHOSEN = [case for case in CASES.values() if case.kind in KINDS]


@pytest.mark.parametrize("case", CHOSEN[:: max(1, len(CHOSEN) // 60)], ids=str)
def test_every_format_gives_the_graph_that_was_saved(case, tmp_path: Path):
    built = case.build()
    live = open_graph(built)
    for format_ in sorted(case.savable_as):
        if format_ == "to_folder" and case.name in FORGOTTEN_BY_FOLDERS:
            continue
        if format_ != "graph_pickler" and case.name in RENAMED_BY_TEXT:
            continue
        saved = open_graph(FORMATS[format_](built, tmp_path))
        assert_same_modules(live.root, saved.root)


def test_at_least_forty_graphs_are_compared():
    assert len(CHOSEN[:: max(1, len(CHOSEN) // 60)]) >= 40
