"""The error of each module: nothing differs in equal code, and in edited code it begins where the edit is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import fx2py
from fx2py import Artifact, GenerateOptions
from fx2py.compare.cases import Case
from fx2py.compare.diff import bind_pair
from fx2py.compare.module_errors import ModuleError, module_errors
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from fx2py.replay.inputs import Inputs, recorded_inputs
from tests.program.structure.test_structured import Stack


@pytest.fixture(scope="module")
def data() -> GraphData:
    torch.manual_seed(0)
    return open_graph(torch.export.export(Stack(depth=4).eval(), (torch.randn(2, 4, 8),)))


def errors(data: GraphData, artifact: Artifact) -> dict[str, ModuleError]:
    inputs = recorded_inputs(data.sample_inputs)
    assert inputs is not None
    return {each.path: each for each in module_errors(bind_pair(data, artifact), Case(inputs))}


@pytest.mark.parametrize("flat", [False, True])
def test_equal_code_has_no_error_in_any_module(data: GraphData, flat: bool) -> None:
    found = errors(data, fx2py.generate(data, options=GenerateOptions(flat=flat)))
    assert {f"layers.{layer}.attention" for layer in range(4)} <= set(found)
    assert all(each.is_equal for each in found.values())
    assert found["layers.3"].elements == 64


def test_modules_stand_in_the_order_in_which_they_end(data: GraphData) -> None:
    paths = list(errors(data, fx2py.generate(data)))
    assert paths.index("layers.0.attention") < paths.index("layers.0") < paths.index("layers.1.attention")
    assert paths[-2:] == ["norm", ""]


def test_an_edited_statement_behind_all_modules_shows_in_the_result_of_the_model(data: GraphData) -> None:
    made = fx2py.generate(data)
    (last,) = [line for line in made.source.splitlines() if line.startswith("    return ")][-1:]
    source = made.source.replace(last, f"{last} * 2", 1) if made.source.count(last) == 1 else ""
    found = errors(data, replace(made, source=source, program=None))
    assert [path for path, each in found.items() if not each.is_equal] == [""]


def edited(data: GraphData, call: str) -> Artifact:
    """Flat code in which the attention of the third layer makes another call in place of softmax."""
    made = fx2py.generate(data, options=GenerateOptions(flat=True))
    before, place, after = made.source.partition("# layers.2.attention · ")
    source = before + place + after.replace("torch.softmax(", call, 1)
    assert source != made.source
    return replace(made, source=source, program=None)


def test_an_error_begins_in_the_module_that_was_edited(data: GraphData) -> None:
    found = errors(data, edited(data, "torch.log_softmax("))
    first = next(path for path, each in found.items() if not each.is_equal)
    assert first.startswith("layers.2.attention")
    assert found["layers.1"].is_equal
    later = found["layers.3"]
    assert (later.differing, later.is_comparable) == (64, True)
    assert later.relative is not None
    assert later.relative > 0


def test_code_that_raises_has_the_modules_before_it(data: GraphData) -> None:
    found = errors(data, edited(data, "torch.bmm("))
    assert found["layers.1"].is_equal
    assert "layers.3" not in found


def test_a_graph_without_modules_has_none() -> None:
    data = open_graph(torch.fx.symbolic_trace(lambda x: x.relu()))
    assert module_errors(bind_pair(data, fx2py.generate(data)), Case(Inputs((torch.ones(2),)))) == ()
