"""Every graph of the corpus is made, runs with its inputs, and is savable in the formats that it declares."""

import pytest
import torch
from torch import fx
from torch.export import ExportedProgram

from tests.corpus import CASES
from tests.corpus.captures import runnable
from tests.corpus.formats import FORMATS
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("case", parameters(representative()))
def test_case_runs_with_its_inputs(case):
    captured = case.capture()
    assert isinstance(captured.graph, fx.GraphModule | ExportedProgram)
    run = runnable(captured.graph)
    with torch.random.fork_rng(devices=[]):
        run(*captured.args, **captured.kwargs)
        for args in case.extra_inputs():
            run(*args)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_case_is_savable_in_the_formats_it_declares(case, tmp_path):
    built = case.build()
    for format_ in sorted(case.savable_as):
        assert FORMATS[format_](built, tmp_path).exists()


def test_corpus_holds_graphs_of_every_kind():
    assert len(CASES) >= 200
    assert {case.kind for case in CASES.values()} == {
        *("built", "symbolic_trace", "make_fx", "make_fx_fake", "make_fx_symbolic"),
        *("export", "export_non_strict", "export_decomposed", "compile", "aot_forward", "aot_backward"),
    }
