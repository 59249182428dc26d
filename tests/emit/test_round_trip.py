"""Any Program comes back from its text, black leaves the text as it is, and no process writes it differently."""

from __future__ import annotations

import ast
import dataclasses
import os
import subprocess
import sys

import black
import pytest
from hypothesis import given, settings

from fx2py.emit.module import emit
from fx2py.emit.validate import validate
from fx2py.graph.values import Ref, map_leaves
from fx2py.program.exact_text import needs_slot
from fx2py.program.ir import Assign, Bind, Function, Parameter, Program
from fx2py.program.options import GenerateOptions
from tests.emit.programs import programs

pytestmark = pytest.mark.filterwarnings("ignore")
"""Random calls look odd to the compiler, and random values are long."""


def printable(program: Program) -> Program:
    """The Program with None for each number without text, as lowering puts those into the constants table."""

    def clean(value):
        return map_leaves(value, lambda leaf: None if needs_slot(leaf) else leaf)

    def clean_statement(statement):
        if isinstance(statement, Bind):
            return dataclasses.replace(statement, value=clean(statement.value))
        if isinstance(statement, Assign):
            call = statement.call
            kwargs = tuple((name, clean(value)) for name, value in call.kwargs)
            call = dataclasses.replace(call, args=tuple(map(clean, call.args)), kwargs=kwargs)
            return dataclasses.replace(statement, call=call)
        return statement

    functions = tuple(
        dataclasses.replace(f, body=tuple(map(clean_statement, f.body)), result=clean(f.result))
        for f in program.functions
    )
    return dataclasses.replace(program, functions=functions)


def check(program: Program) -> None:
    texts = emit(program)
    validate(program, texts)
    for text in texts:
        compile(text, "generated", "exec")
        assert black.format_str(text, mode=black.Mode()) == text
    assert emit(program) == texts


@settings(max_examples=20)
@given(programs().map(printable))
def test_a_program_comes_back_from_its_text(program: Program) -> None:
    check(program)


@pytest.mark.slow
@settings(max_examples=400)
@given(programs().map(printable))
def test_many_programs_come_back_from_their_text(program: Program) -> None:
    check(program)


@settings(max_examples=10)
@given(programs().map(printable))
def test_comments_change_nothing_but_comments(program: Program) -> None:
    """``validate`` raises where code without comments says something else than the program."""
    bare, commented = (emit(program, GenerateOptions(comments=comments)) for comments in (False, True))
    validate(program, bare)
    assert ast.dump(ast.parse(bare.source)) == ast.dump(ast.parse(commented.source))


def test_black_leaves_a_whole_file_as_it_is() -> None:
    program = Program((Function("execution_fn", (Parameter("x", "x"),), (), (), Ref("x")),))
    for text in emit(program):
        assert black.format_str(text, mode=black.Mode()) == text


UNORDERED = """
import torch
from fx2py.artifact import generate
from fx2py.artifact.manifest import manifest_text
from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import EnumMember, Name, Ref, sorted_set
from tests.replay.graphs import call, data, output, placeholder
from fx2py.graph.data import Node

words = {"gamma", "beta", "alpha", "delta", ("tuple", 1), None, 3, -3, 2.5}
leaf = ModuleRecord(
    Name("torch.nn", "Module"),
    buffers={"c": torch.ones(1), "a": torch.ones(1), "b": torch.ones(1)},
    non_persistent=frozenset({"c", "a", "b"}),
)
graph = data(
    placeholder("x"),
    call("first", Name("builtins", "len"), sorted_set(tuple(words), frozen=False)),
    call("second", Name("builtins", "len"), sorted_set(tuple(words), frozen=True)),
    call("third", Name("builtins", "dict"), **{word: 1 for word in ("z", "y", "from")}),
    Node("called", "call_module", "leaf", (Ref("x"),)),
    output((Ref("first"), Ref("second"), Ref("third"), Ref("called"))),
    children={"leaf": leaf},
)
artifact = generate(graph)
print(artifact.texts, manifest_text(artifact.manifest))
"""


def test_the_text_does_not_depend_on_the_process() -> None:
    written = set()
    for seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", UNORDERED], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        written.add(done.stdout)
    assert len(written) == 1
