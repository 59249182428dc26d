"""The reference run does what torch's own interpreter does, over the graphs of the corpus."""

from __future__ import annotations

import pytest

from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, reference
from tests.corpus import Case
from tests.corpus.selection import parameters, representative


def policy_of(case: Case) -> Policy:
    """What the case declares, and text formatting, which reads any attribute and so is never admitted by default."""
    needs = {kind: frozenset(names) for kind, names in case.needs.items()}
    return Policy(**{**needs, "functions": needs.get("functions", frozenset()) | {"torch.Tensor.format"}})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", parameters(representative()))
def test_reference_run_is_torchs_own(case: Case) -> None:
    expected, actual = case.capture(), case.capture()
    run = Reference(open_graph(actual.graph), policy_of(case))
    assert_same_behaviour(run, reference(expected.graph), expected.args, expected.kwargs)
