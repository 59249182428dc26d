"""A few graphs of every row of the conformance table; ``make conformance`` runs them all."""

import linecache

import pytest
import torch

from fx2py import Artifact
from fx2py.integrations import dynamo
from tests.conformance.__main__ import spread
from tests.conformance.cases import cases_of
from tests.conformance.judge import Judgement, Verdict, digest, judge
from tests.conformance.report import Result, report, table
from tests.conformance.rows import ROWS

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = {
    "aten": (
        "add/float32",
        "nn.functional.conv2d/float32",
        "fft.ifft/complex64",
        "bitwise_and/bool",
        "sort/int64",
    ),
    "torch": ("sub/int64", "index_put/float32", "linalg.svd/complex64", "nn.functional.dropout/float32"),
    "compile": ("cumsum/float32", "nn.functional.layer_norm/float32"),
    "export": ("cond_predicate", "dynamic_shape_slicing"),
    "modules": ("nn.BatchNorm1d/train", "nn.LSTM/eval"),
    "models": ("ResNetModel",),
    "backend": ("DistilBertModel", "ResNetModel"),
    "random": ("seed 3",),
}
CASES_OF_GROUP = 4


@pytest.mark.parametrize(("row", "group"), [(row, group) for row in ROWS for group in SAMPLE[row]])
def test_sample_of_the_row_is_replayed_bit_for_bit(row, group):
    for case in spread(cases_of(ROWS[row].groups()[group]), CASES_OF_GROUP):
        judgement = judge(case)
        assert judgement.verdict is Verdict.IDENTICAL, judgement
    linecache.clearcache()


@pytest.mark.parametrize("row", ["aten", "modules", "backend"])
def test_second_capture_of_a_case_generates_the_same_text(row):
    group = SAMPLE[row][0]
    first, second = (cases_of(ROWS[row].groups()[group])[0] for _ in range(2))
    assert digest(first) == digest(second)


def test_compiled_model_that_differs_in_one_bit_is_different(monkeypatch):
    monkeypatch.setattr(dynamo, "fx2py_backend", lambda gm, inputs, **_: Off(gm))
    (case,) = (case for case in cases_of(ROWS["backend"].groups()["ResNetModel"]) if case.name == "eager")
    assert judge(case).verdict is Verdict.DIFFERENT


class Off:
    """A graph whose first result has another value than it should."""

    def __init__(self, gm):
        self.gm = gm

    def __call__(self, *args):
        first, *rest = self.gm(*args)
        return (first.detach().nextafter(torch.tensor(9.0)).requires_grad_(first.requires_grad), *rest)


@pytest.mark.parametrize("verdict", [Verdict.DIFFERENT, Verdict.FAILED])
def test_one_difference_or_failure_makes_the_row_wrong_and_is_named(verdict):
    result = Result(ROWS["aten"])
    result.add("add/float32", Judgement("7", verdict, "result differs in 1 of 3 places"))
    assert result.is_wrong
    assert "add/float32 7: result differs in 1 of 3 places" in report(result)


def test_refusal_is_counted_with_its_reason_and_is_not_wrong():
    result = Result(ROWS["aten"])
    result.add("add/float32", Judgement("7", Verdict.REFUSED, "the symbolic size s0 is no node's result"))
    assert not result.is_wrong
    assert "refused 1: the symbolic size sN is no node's result (first: add/float32 7)" in report(result)
    assert table([result]).splitlines()[-1].split() == ["aten", "1", "0", "1", *["0"] * 5, "0/0", "0"]


def test_another_text_in_another_process_makes_the_row_wrong():
    result = Result(ROWS["aten"], again=[(("aten", "add/float32", "7"), False)])
    assert result.is_wrong
    assert "differs in another process: aten add/float32 7" in report(result)


def test_row_that_was_cut_is_shown_as_incomplete():
    result = Result(ROWS["aten"], not_reached=["add/float32", "sub/float32"])
    assert result.is_incomplete
    assert "INCOMPLETE: 2 groups not reached" in report(result)
    assert "aten (incomplete)" in table([result])


def test_case_that_takes_too_long_makes_the_row_incomplete():
    result = Result(ROWS["aten"])
    result.add("add/float32", Judgement("7", Verdict.OVERDUE, "takes more than 600 seconds"))
    assert result.is_incomplete
    assert "overdue: add/float32 7" in report(result)


@pytest.mark.parametrize(
    ("row", "group", "texts"),
    [
        ("aten", "add/float32", 2),
        ("torch", "add/float32", 1),
    ],
)
def test_every_mode_that_gives_another_text_is_run(row, group, texts, monkeypatch):
    bound = []
    bind = Artifact.bind

    def recorded(artifact, *args, **kwargs):
        bound.append(artifact.source)
        return bind(artifact, *args, **kwargs)

    monkeypatch.setattr(Artifact, "bind", recorded)
    assert judge(cases_of(ROWS[row].groups()[group])[0]).verdict is Verdict.IDENTICAL
    assert len(bound) == len(set(bound)) == texts
