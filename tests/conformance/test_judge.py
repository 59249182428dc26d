"""The judge sees what it must: a code generator that goes wrong in any way does not pass."""

import pytest
import torch
from torch import fx

import fx2py
from fx2py.emit.module import Texts
from fx2py.errors import InternalError, UnsupportedGraphError
from tests.conformance.cases import Case, Trial
from tests.conformance.judge import Verdict, judge


def trial() -> Trial:
    return Trial(fx.symbolic_trace(lambda x: x + 1), (((torch.ones(3),), {}),))


class Replaced:
    """An artifact whose code does something else."""

    texts = Texts("replaced")

    def __init__(self, run):
        self.run = run

    def bind(self, policy):
        return self.run


def raising(error):
    def run(*args, **kwargs):
        raise error

    return run


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x + 2,
        lambda x: (x + 1).double(),
        lambda x: x.add_(1),
        lambda x: (torch.rand(1), x + 1)[1],
        raising(ValueError("another")),
    ],
    ids=["value", "type", "mutation", "random state", "exception"],
)
def test_code_that_behaves_differently_is_different(run, monkeypatch):
    monkeypatch.setattr(fx2py, "generate", lambda *args, **kwargs: Replaced(run))
    assert judge(Case("add", trial)).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (UnsupportedGraphError(()), Verdict.REFUSED),
        (InternalError("the text is not the program"), Verdict.FAILED),
        (KeyError("x"), Verdict.FAILED),
    ],
)
def test_what_generation_raises_is_a_refusal_or_a_failure(error, verdict, monkeypatch):
    monkeypatch.setattr(fx2py, "generate", raising(error))
    assert judge(Case("add", trial)).verdict is verdict


def test_what_torch_cannot_capture_is_not_judged():
    assert judge(Case("add", raising(RuntimeError("data dependent")))).verdict is Verdict.NOT_CAPTURED


def test_exception_of_the_graph_must_be_the_exception_of_the_code():
    def failing() -> Trial:
        return Trial(fx.symbolic_trace(lambda x: x @ x), (((torch.ones(3, 2),), {}),))

    assert judge(Case("matmul", failing)).verdict is Verdict.IDENTICAL
