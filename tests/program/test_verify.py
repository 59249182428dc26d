"""A Program that breaks an invariant is an internal error, whichever pass made it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fx2py.errors import InternalError
from fx2py.graph.values import Name, Ref
from fx2py.program.ir import (
    Assign,
    Bind,
    Call,
    Delete,
    Function,
    Load,
    Local,
    Parameter,
    Program,
    Slot,
    Statement,
    Weight,
)
from fx2py.program.verify import verify

RELU = Name("torch", "relu")


def relu(target: str | None, source: str) -> Assign:
    return Assign(target, Call(RELU, (Ref(source),)))


def program_of(*body: Statement, result: object = None) -> Program:
    function = Function("execution_fn", (Parameter("x", "x"),), ("weights",), body, result)
    return Program((function,), weights=(Weight("w", torch.ones(1)),))


def test_a_sound_program_passes() -> None:
    """``verify`` raises InternalError where it finds a fault."""
    load = Load("w", Slot("weights", 0))
    verify(program_of(relu("a", "x"), Delete(("x",)), load, relu("b", "a"), Delete(("a",)), result=Ref("b")))


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (program_of(relu("a", "y"), result=Ref("x")), "y is used but not bound"),
        (program_of(relu("x", "x"), result=Ref("x")), "x is bound twice"),
        (
            program_of(relu("a", "x"), Delete(("x",)), relu("b", "x"), result=(Ref("a"), Ref("b"))),
            "x is used but",
        ),
        (program_of(Delete(("y",)), result=Ref("x")), "y is deleted but not bound"),
        (program_of(relu("a", "x"), result=Ref("a")), "x outlives its last use"),
        (
            program_of(relu("a", "x"), Bind("b", 1), Delete(("x",)), result=(Ref("a"), Ref("b"))),
            "x is not deleted right after its last use",
        ),
        (program_of(result=(Ref("x"), Ref("y"))), "the result holds y, which is not bound"),
        (program_of(Load("w", Slot("weights", 1)), result=Ref("x")), "which it is not given"),
        (program_of(Load("s", Slot("submods", 0)), result=Ref("x")), "which it is not given"),
        (program_of(Assign(None, Call(Local("inner"))), result=Ref("x")), "uses inner before it is defined"),
    ],
)
def test_a_broken_program_is_refused(program, problem) -> None:
    with pytest.raises(InternalError, match=problem):
        verify(program)


def test_a_function_stands_before_its_callers() -> None:
    inner = Function("inner", (), (), (), None)
    program = program_of(Assign(None, Call(Local("inner"))), result=Ref("x"))
    verify(replace(program, functions=(inner, program.entry)))
    with pytest.raises(InternalError):
        verify(replace(program, functions=(program.entry, inner)))
