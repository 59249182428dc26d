"""Two callables run from equal state, inputs and random generators; every effect counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import fx2py
from fx2py.compare import Divergence, EquivalenceReport, NotRun, RunOutcome, Side, diff_callables
from fx2py.compare.report import LeafOutcome
from fx2py.errors import ReplayError, UnsupportedGraphError
from tests.graph.wrappers import Cloned, Flattened, Layer, Quantized, quantized


def diff(reference: Callable[..., Any], candidate: Callable[..., Any], *args: Any) -> EquivalenceReport:
    return diff_callables(Side(reference), Side(candidate), args)


def test_equal_callables_are_equal() -> None:
    report = diff(lambda x: {"y": [x + 1]}, lambda x: {"y": [1 + x]}, torch.randn(3))
    assert report.equal
    assert [leaf.path for leaf in report.outputs] == ["output['y'][0]"]


def test_random_numbers_come_from_equal_generators() -> None:
    before = torch.get_rng_state()
    assert diff(torch.rand_like, torch.rand_like, torch.ones(3)).equal
    assert torch.equal(before, torch.get_rng_state())


def test_generator_consumed_differently_is_a_difference() -> None:
    report = diff(lambda x: x, lambda x: torch.rand(1) * 0 + x, torch.ones(1))
    assert not report.same_random_state
    assert not report.equal


def test_changed_input_is_compared_and_the_callers_tensor_is_untouched() -> None:
    x = torch.zeros(2)
    report = diff(lambda x: x.add_(1).sum(), lambda x: x.add_(1).sum(), x)
    assert report.equal
    assert [leaf.path for leaf in report.mutations] == ["args[0]"]
    assert torch.equal(x, torch.zeros(2))
    report = diff(lambda x: x.add_(1).sum(), lambda x: (x + 1).sum(), x)
    assert not report.equal
    assert report.mutations[0].differences == ("change",)
    assert not diff(lambda x: x.add_(1) * 0, lambda x: x.add_(2) * 0, x).equal


def test_shared_inputs_stay_shared() -> None:
    base = torch.zeros(4)
    seen: list[float] = []

    def call(whole: torch.Tensor, part: torch.Tensor) -> None:
        part.fill_(5)
        seen.append(float(whole[1]))

    assert diff(call, call, base, base[1:3]).equal
    assert seen == [5.0, 5.0]


@pytest.mark.parametrize(
    ("reference", "candidate", "equal"),
    [
        (lambda x: x, lambda x: x, True),
        (lambda x: x, lambda x: x.clone(), False),
        (lambda x: x.view(-1), lambda x: x.view(-1), True),
        (lambda x: x.view(-1), lambda x: x.view(-1).clone(), False),
        (lambda x: [x + 1] * 2, lambda x: [x + 1, x + 1], False),
        (lambda x: list((x + 1).split(1)), lambda x: [part.clone() for part in (x + 1).split(1)], False),
    ],
)
def test_aliasing_is_part_of_the_result(reference: Any, candidate: Any, equal: bool) -> None:
    assert diff(reference, candidate, torch.zeros(2)).equal is equal


def test_equal_exceptions_compare_nothing_and_others_differ() -> None:
    def fail(x: torch.Tensor) -> None:
        raise ValueError("no")

    report = diff(fail, fail, torch.zeros(1))
    assert report.verdict == "not compared"
    assert not report.equal
    assert report.raised == ("ValueError: no", "ValueError: no")
    assert not diff(fail, lambda x: None, torch.zeros(1)).equal
    assert not diff(fail, lambda x: x.no_such_attribute, torch.zeros(1)).equal


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda x: None, "nothing is returned or changed"),
        (lambda x: (), "nothing is returned or changed"),
        (lambda x: x / 0, "every result is NaN"),
        (lambda x: [x.double() / 0, float("nan")], "every result is NaN"),
    ],
)
def test_results_that_are_always_equal_compare_nothing(call: Any, reason: str) -> None:
    report = diff(call, call, torch.zeros(3))
    assert report.verdict == "not compared"
    assert report.runs[0].reason == reason


def test_one_number_among_nans_is_compared() -> None:
    assert diff(lambda x: x / x, lambda x: x / x, torch.tensor([0.0, 1.0])).equal
    assert diff(lambda x: (x / 0, 1), lambda x: (x / 0, 1), torch.zeros(2)).equal
    assert diff(lambda x: x.add_(1) and None, lambda x: x.add_(1) and None, torch.zeros(1)).equal


def test_empty_results_are_compared_by_their_shape() -> None:
    assert diff(lambda x: x[:0], lambda x: x[:0], torch.zeros(2)).equal


EQUAL = RunOutcome((LeafOutcome("output", "1", "1"),))
DIFFERENT = RunOutcome((LeafOutcome("output", "1", "2", ("values",)),))
RAISED = RunOutcome((), raised=("no", "no"))


def statement(line: int, function: str = "execution_fn") -> Divergence:
    return Divergence("static", "changed", line, line, "x + 1", "x + 2", function=function)


def test_one_compared_run_is_enough_and_one_that_differs_decides() -> None:
    assert EquivalenceReport((RAISED, EQUAL)).verdict == "equivalent"
    assert EquivalenceReport((EQUAL, RAISED, DIFFERENT)).verdict == "different"
    assert EquivalenceReport((RAISED, RAISED)).verdict == "not compared"
    assert EquivalenceReport((EQUAL, DIFFERENT)).outputs == DIFFERENT.outputs


def test_statement_that_no_run_settled_makes_the_code_different() -> None:
    assert EquivalenceReport((EQUAL,), (statement(3),)).verdict == "equivalent"
    asleep = (NotRun("true_fn", 1),)
    assert EquivalenceReport((EQUAL,), (statement(3, "true_fn"),), not_run=asleep).verdict == "different"
    assert EquivalenceReport((RAISED,), (statement(3),)).verdict == "different"
    assert EquivalenceReport((EQUAL,), (replace(statement(3), kind="table"),)).verdict == "different"


def test_divergence_is_the_statement_that_causes_the_first_other_result() -> None:
    ran = replace(statement(8), found="dynamic", expected="2", entered=("x: 1",), explains_rest=True)
    report = EquivalenceReport((DIFFERENT,), (statement(3), statement(8)), first_divergent=ran)
    assert report.divergence == replace(statement(8), entered=("x: 1",), explains_rest=True)
    assert replace(report, statements=(statement(3), statement(6), statement(9))).divergence == statement(6)
    assert replace(report, statements=None).divergence is ran
    assert EquivalenceReport((EQUAL,)).divergence is None


def test_a_cause_of_several_lines_has_the_numbers_of_its_own_result() -> None:
    cause = replace(statement(3), end_line=5, node="norm")
    ran = replace(statement(5), found="dynamic", node="norm", entered=("x: 1",), explains_rest=True)
    found = EquivalenceReport((DIFFERENT,), (cause,), first_divergent=ran).divergence
    assert found == replace(cause, entered=("x: 1",), explains_rest=True)


def test_run_that_cannot_be_made_is_not_a_result() -> None:
    def refuse(x: torch.Tensor) -> None:
        raise ReplayError("the inputs do not fit")

    with pytest.raises(ReplayError):
        diff(refuse, refuse, torch.zeros(1))


def test_failing_run_leaves_grad_mode_and_autocast_as_they_were() -> None:
    def fail(x: torch.Tensor) -> None:
        torch._C._set_grad_enabled(False)
        torch.amp.autocast_mode._enter_autocast("cpu", torch.bfloat16, True, True)
        raise ValueError

    assert diff(fail, fail, torch.zeros(1)).verdict == "not compared"
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_state_starts_equal_is_compared_and_is_restored() -> None:
    ours, theirs = torch.zeros(2), torch.full((2,), 9.0)

    def counting(buffer: torch.Tensor, step: float) -> Callable[[], torch.Tensor]:
        return lambda: buffer.add_(step)

    reference, candidate = (Side(counting(buffer, 1.0), {"count": buffer}) for buffer in (ours, theirs))
    report = diff_callables(reference, candidate)
    assert report.equal
    assert [leaf.path for leaf in report.mutations] == ["count"]
    assert (ours.tolist(), theirs.tolist()) == ([0, 0], [9, 9])
    wrong = Side(counting(theirs, 2.0), {"count": theirs})
    assert {leaf.path for leaf in diff_callables(reference, wrong).differing} == {"output", "count"}


def test_two_sides_may_share_their_state() -> None:
    buffer = torch.zeros(2)
    side = Side(lambda: buffer.add_(1), {"count": buffer})
    assert diff_callables(side, side).equal
    assert buffer.tolist() == [0, 0]


def test_code_of_another_graph_is_refused_by_the_weight_that_differs():
    one, other = (torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(2, size))) for size in (3, 4))
    with pytest.raises(ReplayError, match=r"0\.weight is torch\.float32 \[4, 2\], and the graph's is"):
        fx2py.diff(one, fx2py.generate(other), (torch.ones(2),))


def test_code_with_the_weights_of_another_model_is_refused():
    one, other = (torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(2, 3))) for _ in range(2))
    with pytest.raises(
        ReplayError, match=r"other weights than the graph: 6 of 6 numbers of 0\.weight differ"
    ):
        fx2py.diff(one, fx2py.generate(other), (torch.ones(1, 2),))


@pytest.mark.parametrize("cls", [Flattened, Cloned])
def test_weight_of_a_class_of_its_own_is_compared_by_what_it_is_made_of(cls: type[Quantized]) -> None:
    program = torch.export.export(Layer(quantized(cls)), (torch.ones(2, 4),))
    artifact = fx2py.generate(program)
    assert fx2py.diff(program, artifact).equal
    other = torch.export.export(Layer(quantized(cls)), (torch.ones(2, 4),))
    assert fx2py.diff(other, artifact).equal
    other.state_dict["weight"].scale.add_(1)
    with pytest.raises(ReplayError, match="3 of 12 numbers of weight differ"):
        fx2py.diff(other, artifact)


@pytest.mark.parametrize("cls", [Flattened, Cloned])
def test_results_of_a_class_of_its_own_are_compared(cls: type[Quantized]) -> None:
    def made(note: str, change: int) -> Callable[..., Any]:
        return lambda x: cls(x.numbers + change, x.scale, note)

    x = quantized(cls)
    assert diff(made("", 0), made("", 0), x).equal
    assert not diff(made("", 0), made("", 1), x).equal
    (outcome,) = diff(made("", 0), made("other", 0), x).outputs
    assert outcome.differences == ("context",)


def test_changes_inside_a_wrapper_are_seen() -> None:
    def change(x: Quantized) -> None:
        x.scale.mul_(2)

    assert diff(change, change, quantized(Flattened)).equal
    assert not diff(change, lambda x: None, quantized(Flattened)).equal


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_compared(layout: torch.layout) -> None:
    x = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
    assert diff(torch.clone, torch.clone, x).equal
    assert not diff(torch.clone, lambda x: x * 2, x).equal


def test_wrapper_that_cannot_be_written_is_refused_by_name(tmp_path) -> None:
    artifact = fx2py.generate(torch.export.export(Layer(quantized(Flattened)), (torch.ones(2, 4),)))
    with pytest.raises(UnsupportedGraphError, match="weight: is a Flattened"):
        artifact.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
