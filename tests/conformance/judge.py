"""The verdict on one case: generated code against torch's interpreter, call by call."""

from __future__ import annotations

import copy
import dataclasses
import enum
import hashlib
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import black
import pytest
import torch
from torch import fx
from torch.export import ExportedProgram

import fx2py
from fx2py.emit.module import Texts
from fx2py.errors import Fx2pyError, InternalError
from fx2py.program.ir import LIVE
from fx2py.program.passes import below_autograd
from fx2py.read import open_graph
from fx2py.trust import Policy
from tests.checking import Outcome, assert_same_outcome, outcome, reference, seed_generator
from tests.conformance.cases import Case, Comparison, Trial

OPTIONS = (
    fx2py.GenerateOptions(),
    fx2py.GenerateOptions(exact_ops=True, keep_submodules=True),
    fx2py.GenerateOptions(optimize=True),
)
STATEFUL = frozenset({"get_attr", "call_module"})
SLOWEST = 600
MODE = black.Mode(target_versions={black.TargetVersion.PY310})


class Verdict(enum.Enum):
    IDENTICAL = "identical"
    REFUSED = "refused"
    DIFFERENT = "different"
    FAILED = "failed"
    OVERDUE = "overdue"
    NOT_CAPTURED = "not captured"


@dataclass(frozen=True)
class Judgement:
    case: str
    verdict: Verdict
    detail: str = ""


class Overdue(BaseException):
    """A case took longer than ``SLOWEST`` seconds."""


def judge(case: Case) -> Judgement:
    """Whatever a case does ends in a verdict; only what stops the whole run is raised."""
    try:
        with time_limit(SLOWEST):
            return _judge(case)
    except Overdue:
        return Judgement(case.name, Verdict.OVERDUE, f"takes more than {SLOWEST} seconds")


def _judge(case: Case) -> Judgement:
    try:
        trial = captured(case)
    except Exception as error:
        return Judgement(case.name, Verdict.NOT_CAPTURED, in_short(error))
    try:
        with every_graph_below_autograd():
            trial.compare() if isinstance(trial, Comparison) else compare(trial)
    except AssertionError as difference:
        return Judgement(case.name, Verdict.DIFFERENT, in_short(difference))
    except InternalError as error:
        return Judgement(case.name, Verdict.FAILED, in_short(error))
    except Fx2pyError as refusal:
        return Judgement(case.name, Verdict.REFUSED, in_short(refusal))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Judgement(case.name, Verdict.FAILED, f"{in_short(error)} ({place.filename}:{place.lineno})")
    return Judgement(case.name, Verdict.IDENTICAL)


def captured(case: Case) -> Trial | Comparison:
    """The case's graph, captured from a fixed random state."""
    with torch.random.fork_rng(devices=[]):
        seed_generator(0)
        random.seed(0)
        return case.capture()


def compare(trial: Trial) -> None:
    """Raises AssertionError where code generated with any of ``OPTIONS`` does not do what the graph does.

    Options that give the same text as earlier ones are not run again.
    """
    wanted = outcomes(reference(fresh(trial.graph)), trial)
    wanted_below: list[Outcome] = []
    judged: set[Texts] = set()
    for options in OPTIONS:
        artifact = fx2py.generate(trial.path or fresh(trial.graph), options=options)
        if artifact.texts not in judged:
            judged.add(artifact.texts)
            run = artifact.bind(policy=Policy() if trial.path else None)
            for got, want in zip(outcomes(run, trial), wanted, strict=True):
                assert_same_outcome(got, want)
            if artifact.program is not None and artifact.program.below_autograd:
                wanted_below = wanted_below or outcomes(unrecorded(reference(fresh(trial.graph))), trial)
                for got, want in zip(outcomes(unrecorded(run), trial), wanted_below, strict=True):
                    assert_same_outcome(got, want)
        if trial.text_too:
            again = fx2py.generate(trial.path or trial.graph, options=options).texts
            assert artifact.texts == again, "a second generation gives another text"
            for text in filter(None, again):
                assert text == black.format_str(text, mode=MODE), "black changes the text"


def unrecorded(run: Callable[..., Any]) -> Callable[..., Any]:
    """Without gradients, where generated code skips Autograd and ADInplaceOrView."""
    wrapped: Callable[..., Any] = torch.no_grad()(run)
    return wrapped


@contextmanager
def every_graph_below_autograd() -> Iterator[None]:
    """Code skips autograd's dispatch keys where that is proven, however short it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(below_autograd, "FEWEST", 0)
        patch.setattr(below_autograd, "FEWEST_A_PARAMETER", 0)
        yield


def fresh(graph: fx.GraphModule | ExportedProgram) -> fx.GraphModule | ExportedProgram:
    """The graph with state of its own, where a run could change it."""
    if isinstance(graph, fx.GraphModule) and all(node.op not in STATEFUL for node in graph.graph.nodes):
        return graph
    return copy.deepcopy(graph)


def outcomes(run: Callable[..., Any], trial: Trial) -> list[Outcome]:
    return [outcome(run, args, kwargs, seed) for seed, (args, kwargs) in enumerate(trial.calls)]


def digest(case: Case) -> str:
    """The sha256 of what is generated for a case, or the refusal; torch writes no file twice with the same bytes."""
    trial = captured(case)
    try:
        if isinstance(trial, Comparison):
            return hashlib.sha256(trial.text().encode()).hexdigest()
        data = dataclasses.replace(open_graph(trial.path or trial.graph), provenance=LIVE)
        said = str(fx2py.generate(data).texts)
    except Fx2pyError as refusal:
        said = str(refusal)
    return hashlib.sha256(said.encode()).hexdigest()


def in_short(error: BaseException) -> str:
    """The class and the first lines of an error, as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def overdue(number: int, frame: Any) -> None:
        raise Overdue

    previous = signal.signal(signal.SIGALRM, overdue)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
