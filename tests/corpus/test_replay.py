"""For every graph of the corpus the generated code does what the graph does, bit for bit."""

import pytest

import fx2py
from tests.checking import assert_same_behaviour, reference
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("case", parameters(representative()))
def test_generated_code_replays_the_graph(case):
    captured = case.capture()
    run, expected = fx2py.generate(case.build()).bind(), reference(captured.graph)
    assert_same_behaviour(run, expected, captured.args, captured.kwargs)
    for args in case.extra_inputs():
        assert_same_behaviour(run, expected, args)
