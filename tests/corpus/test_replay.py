"""For every graph of the corpus the generated code does what the graph does, bit for bit, with and without -O."""

import pytest

import fx2py
from tests.checking import assert_same_behaviour, reference
from tests.corpus import CASES
from tests.corpus.registry import PROGRAM_KINDS
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("case", parameters(representative()))
def test_generated_code_replays_the_graph(case):
    captured = case.capture()
    run, expected = fx2py.generate(case.build()).bind(), reference(captured.graph)
    assert_same_behaviour(run, expected, captured.args, captured.kwargs)
    for args in case.extra_inputs():
        assert_same_behaviour(run, expected, args)


EXPORTED = [name for name, case in CASES.items() if case.kind in PROGRAM_KINDS]
"""The graphs that -O changes: those whose inputs are checked."""


@pytest.mark.parametrize("name", EXPORTED)
def test_optimized_code_replays_an_exported_graph_in_each_call(name):
    captured = CASES[name].capture()
    artifact = fx2py.generate(captured.graph, options=fx2py.GenerateOptions(optimize=True))
    run, expected = artifact.bind(), reference(CASES[name].capture().graph)
    for _ in range(2):
        assert_same_behaviour(run, expected, captured.args, captured.kwargs)
    for args in CASES[name].extra_inputs():
        assert_same_behaviour(run, expected, args)
