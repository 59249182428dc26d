"""The first statement whose result differs is named, with what it read and how far its result is off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact
from fx2py.compare import Divergence
from fx2py.compare.cases import Case
from fx2py.compare.deviations import deviations
from fx2py.compare.digests import Digests
from fx2py.compare.stepping import first_divergence
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from fx2py.replay.inputs import Inputs
from fx2py.trust import Policy
from tests.mutants.graphs import Encoder, floats

PLAIN = GenerateOptions(flat=True, comments=False)
STRUCTURED = GenerateOptions(comments=False)
TRUSTING = Policy(trust_all=True)
GOLDEN = Path(__file__).parents[1] / "golden"


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x):
        return x + torch.relu(self.linear(self.norm(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer() for _ in range(4)])
        self.batch = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count.add_(1)
        for layer in self.layers:
            x = layer(x)
        x = torch.cond(x.sum() > 0, lambda x: x.sin() * 2, lambda x: x.cos() - 1, (x,))
        return self.drop(self.batch(x)) * self.count, x.amax(-1)


@pytest.fixture(scope="module")
def graph() -> GraphData:
    torch.manual_seed(0)
    return open_graph(torch.export.export(Model(), (torch.randn(4, 8),)))


def case(*args: torch.Tensor) -> Case:
    return Case(Inputs(args))


CASE = case(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)) + 1)


def found(graph: GraphData, options: GenerateOptions, old: str, new: str) -> tuple[Divergence | None, str]:
    """What is found in code with one text replaced, and the source."""
    artifact = fx2py.generate(graph, options=options)
    assert old in artifact.source, artifact.source
    damaged = replace(artifact, source=artifact.source.replace(old, new, 1), program=None)
    divergence = first_divergence(graph, damaged, CASE, policy=TRUSTING)
    return divergence, damaged.source


def lines(divergence: Divergence, source: str) -> str:
    return "\n".join(source.splitlines()[divergence.line - 1 : divergence.end_line])


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        STRUCTURED,
        replace(PLAIN, optimize=True),
        replace(PLAIN, keep_submodules=True),
        replace(PLAIN, exact_ops=True),
    ],
)
def test_code_that_does_what_the_graph_does_has_no_divergence(
    graph: GraphData, options: GenerateOptions
) -> None:
    artifact = fx2py.generate(graph, options=options)
    assert first_divergence(graph, artifact, CASE) is None


@pytest.mark.parametrize(
    ("options", "old", "new", "said", "node"),
    [
        (PLAIN, "relu_2 = torch.relu(linear_2)", "relu_2 = torch.sigmoid(linear_2)", "sigmoid", "relu_2"),
        (PLAIN, "add_2 = add_1 + relu_2", "add_2 = add_1 + norm_bias", "+ norm_bias", "add_2"),
        (PLAIN, "mul = sin * 2", "mul = sin * 3", "* 3", "mul"),
        (PLAIN, "(gt, true_graph_0, false", "(gt, false_graph_0, false", "gt, false_graph_0", "cond"),
        (PLAIN, "weights[18]", "weights[21]", "weights[21]", "count"),
        (PLAIN, "relu_3 = torch.relu(linear_3)", "relu_3 = linear_3.double()", "double", "relu_3"),
        (PLAIN, "count.add_(1)", "count.add_(2)", "add_(2)", "add_"),
        (PLAIN, "    0.1,", "    0.2,", "0.2", "batch_norm"),
        (PLAIN, "0.5, True", "0.25, True", "0.25", "dropout"),
        (PLAIN, "return mul, amax", "return amax, mul", "return amax", "output"),
        (STRUCTURED, "torch.relu(", "torch.sigmoid(", "sigmoid", "relu"),
        (STRUCTURED, "x = x + ", "x = x - ", "x = x - ", "add"),
        (STRUCTURED, "layer(x, layer_)", "layer(x * 2, layer_)", "x * 2", ""),
        (STRUCTURED, "in weights.layers:", "in weights.layers[1:4]:", "layers[1:4]", ""),
        (STRUCTURED, "        x = layer(", "        y = layer(", "y = layer", ""),
        (
            STRUCTURED,
            "true_graph_0, false_graph_0, (",
            "false_graph_0, true_graph_0, (",
            "false_graph_0, true",
            "cond",
        ),
        (replace(PLAIN, optimize=True), "torch.sin(", "torch.cos(", "torch.cos(", "sin"),
        (replace(PLAIN, keep_submodules=True), "torch.amax(", "torch.amin(", "amin", "amax"),
    ],
)
def test_the_statement_that_differs_is_named(
    graph: GraphData, options: GenerateOptions, old: str, new: str, said: str, node: str
) -> None:
    divergence, source = found(graph, options, old, new)
    assert divergence is not None
    assert said in lines(divergence, source)
    assert divergence.node == node


def test_a_statement_that_is_left_out_is_named_at_its_place(graph: GraphData) -> None:
    old = "    batch_num_batches_tracked.add_(1)\n"
    divergence, source = found(graph, PLAIN, old, "")
    assert divergence is not None
    assert (divergence.kind, divergence.node) == ("missing", "add__1")
    assert "batch_weight = " in lines(divergence, source)


def test_a_finding_says_what_was_read_and_how_far_the_result_is_off(graph: GraphData) -> None:
    divergence, _ = found(graph, PLAIN, "relu_2 = torch.relu(linear_2)", "relu_2 = linear_2 + 0.25")
    assert divergence is not None
    assert divergence.module_path == "layers.2"
    assert "test_stepping.py" in divergence.source_line
    assert divergence.entered == ("linear_2: float32[4, 8] cpu",)
    (off,) = divergence.deviations
    assert (off.dtype, off.shape, off.nans, off.infinities) == ("float32", (4, 8), (0, 0), (0, 0))
    assert off.differing == 32
    assert off.largest is not None
    assert off.largest >= 0.25
    assert divergence.explains_rest is True


def test_two_faults_are_not_said_to_be_one(graph: GraphData) -> None:
    artifact = fx2py.generate(graph, options=PLAIN)
    source = artifact.source.replace("torch.relu(", "torch.sigmoid(").replace("sin * 2", "sin * 3")
    divergence = first_divergence(graph, replace(artifact, source=source, program=None), CASE)
    assert divergence is not None
    assert (divergence.node, divergence.explains_rest) == ("relu", False)


def test_a_shared_statement_is_named_with_its_layer_and_all_that_it_serves(graph: GraphData) -> None:
    old, new = "x = x + ", "x = 2 * x if x[0, 0] > -100 else x + "
    divergence, _ = found(graph, STRUCTURED, old, new)
    assert divergence is not None
    assert divergence.chain == ("layer 1 of 4", "layer")
    assert divergence.serves == ("layers.0", "layers.1", "layers.2", "layers.3")


def test_code_that_raises_is_named_by_its_line(graph: GraphData) -> None:
    divergence, source = found(graph, STRUCTURED, "x = x + ", "x = x @ ")
    assert divergence is not None
    assert "x = x @ " in lines(divergence, source)
    assert divergence.actual.startswith("raised RuntimeError: mat1 and mat2 shapes")
    assert divergence.chain == ("layer 1", "layer")


def test_edits_that_only_show_something_are_not_blamed(graph: GraphData) -> None:
    artifact = fx2py.generate(graph, options=PLAIN)
    source = artifact.source.replace(
        "    mul = dropout", "    print('here')\n    scaled = 2\n    mul = dropout"
    )
    assert first_divergence(graph, replace(artifact, source=source), CASE, policy=TRUSTING) is None


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        y = x * self.count
        self.count.add_(1)
        return y.clamp(max=0.5)


def test_a_difference_that_shows_in_the_second_call_only_is_found() -> None:
    graph = open_graph(torch.export.export(Counting(), (torch.ones(3),)))
    artifact = fx2py.generate(graph, options=PLAIN)
    damaged = replace(artifact, source=artifact.source.replace("None, 0.5", "None, 0.6"), program=None)
    assert damaged.source != artifact.source
    assert first_divergence(graph, damaged, case(torch.ones(3)), calls=1) is None
    divergence = first_divergence(graph, damaged, case(torch.ones(3)))
    assert divergence is not None
    assert divergence.node == "clamp"


class Loop(nn.Module):
    def forward(self, x):
        def body(n, x):
            return n + 1, x * 1.5

        return torch.while_loop(lambda n, x: n < 4, body, (torch.tensor(0), x))[1]


def test_a_statement_in_the_body_of_a_loop_operator_is_named() -> None:
    graph = open_graph(torch.export.export(Loop(), (torch.ones(3),)))
    artifact = fx2py.generate(graph, options=PLAIN)
    damaged = replace(artifact, source=artifact.source.replace("1.5)", "1.25)"), program=None)
    divergence = first_divergence(graph, damaged, case(torch.ones(3)))
    assert divergence is not None
    assert "1.25)" in lines(divergence, damaged.source)
    assert divergence.chain == ("while_loop_body_graph_0",)


class Random(nn.Module):
    def forward(self, x):
        return torch.empty_like(x).fill_(2) * x


def test_memory_that_nothing_has_written_yet_is_no_divergence() -> None:
    graph = open_graph(torch.export.export(Random(), (torch.ones(3),)))
    artifact = fx2py.generate(graph, options=PLAIN)
    damaged = replace(artifact, source=artifact.source.replace(" * ", " + "), program=None)
    divergence = first_divergence(graph, damaged, case(torch.ones(3)))
    assert divergence is not None
    assert divergence.node == "mul"


@pytest.mark.parametrize("new", ["torch.sigmoid(linear)", "torch.relu(linear) * 2"])
def test_code_of_an_earlier_release_is_stepped_through(new: str) -> None:
    artifact = fx2py.open_artifact(GOLDEN / "schema_1")
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    weights = dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), artifact.tensors.values(), strict=True))
    model.load_state_dict(weights)
    graph = open_graph(torch.export.export(model, (torch.ones(2, 3),)))
    assert first_divergence(graph, artifact, case(torch.ones(2, 3))) is None
    damaged: Artifact = replace(artifact, source=artifact.source.replace("torch.relu(linear)", new))
    divergence = first_divergence(graph, damaged, case(torch.ones(2, 3)), policy=TRUSTING)
    assert divergence is not None
    assert new in lines(divergence, damaged.source)
    assert divergence.node == "relu"


def test_statements_of_every_form_report_in_edited_code(graph: GraphData) -> None:
    new = """relu_2 = torch.relu(linear_2)
    first = second = relu_2
    if linear_2.dim() == 2:
        with torch.no_grad():
            for _ in range(2):
                relu_2 *= 1.0
            halves: tuple = (relu_2 * 0.5, relu_2 * 0.5)
            first, second = halves
    try:
        relu_2 = halves[0] + second + 1
    finally:
        del first
    while False:
        pass
"""
    divergence, source = found(graph, PLAIN, "relu_2 = torch.relu(linear_2)\n", new)
    assert divergence is not None
    assert "halves[0] + second + 1" in lines(divergence, source)


# -- digests and deviations


def digest(value: object) -> bytes | None:
    return Digests({})(value)


def test_digests_tell_what_diff_tells() -> None:
    one = torch.tensor([1.0, float("nan"), 0.0])
    other = torch.tensor([1.0, -float("nan"), 0.0])
    assert digest(one) == digest(other)
    assert digest([one, {"a": 2}]) == digest((other, [2]))
    assert digest(torch.zeros(2)) != digest(-torch.zeros(2))
    for changed in (one.double(), one.reshape(1, 3), one.clone().requires_grad_()):
        assert digest(one) != digest(changed)
    square = torch.arange(4.0).reshape(2, 2)
    assert digest(square) != digest(square.t().contiguous().t())
    assert digest(2) != digest(2.0)
    assert digest(torch.nn.ReLU()) is None


def test_large_and_strange_tensors_have_digests() -> None:
    large = torch.zeros(3, 1 << 21)
    assert digest(large) == digest(large.clone())
    large[2, -1] = 1
    assert digest(large) != digest(torch.zeros(3, 1 << 21))
    assert digest(torch.zeros(1).expand(1 << 40)) == digest(torch.zeros(1).expand(1 << 40))
    sparse = torch.eye(3).to_sparse()
    assert digest(sparse) != digest((torch.eye(3) * 2).to_sparse())
    assert digest(torch.zeros(0)) is not None


def test_deviations_count_what_is_off() -> None:
    expected = torch.tensor([[1.0, 2.0, float("nan")], [0.0, float("inf"), -4.0]])
    actual = torch.tensor([[1.0, 2.5, 1.0], [-0.0, float("inf"), float("nan")]])
    (found,) = deviations(expected, actual)
    assert (found.differing, found.largest, found.relative, found.worst) == (4, 0.5, 0.25, (0, 1))
    assert (found.nans, found.infinities) == ((1, 1), (1, 1))
    one = torch.tensor(1.0)
    (found,) = deviations(one, torch.nextafter(one, torch.tensor(2.0)))
    assert (found.ulps, found.worst, found.shape) == (1, (), ())
    (found,) = deviations(torch.tensor([-0.0, 1e-45]), torch.tensor([0.0, -1e-45]))
    assert (found.differing, found.ulps) == (2, 2)
    assert deviations(torch.ones(2), torch.ones(3)) == ()
    assert deviations([torch.ones(2)], [torch.ones(2)]) == ()


def test_an_assertion_that_fails_in_a_function_is_named_by_its_own_line() -> None:
    data = open_graph(torch.export.export(Encoder(3).eval(), floats((2, 4, 8))(0)))
    made = fx2py.generate(data)
    head, _, rest = made.source.partition("    return ")
    source = f"{head}    assert weights is None\n    return {rest}"
    report = fx2py.diff(data, replace(made, source=source, program=None))
    line = head.count("\n") + 1
    assert report.verdict == "different"
    assert report.first_divergent is not None
    assert report.first_divergent.line == line
