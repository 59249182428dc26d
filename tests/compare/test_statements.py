"""The code of a folder compared with its graph by reading: what says something else is named, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact
from fx2py.artifact.artifact import program_of
from fx2py.compare import Divergence
from fx2py.compare.differences import differences
from fx2py.compare.meaning import Body, Tables, body_of
from fx2py.compare.statements import compare_statements
from fx2py.emit.parse import ReadNames, read_functions, statements_of
from fx2py.graph.data import GraphData
from fx2py.program.ir import Bind
from fx2py.read import open_graph
from tests.mutants.graphs import Branches, Encoder, InPlace, floats


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.query, self.key = nn.LayerNorm(4, eps=1e-3), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.norm(x)
        query, key = self.query(x), self.key(x)
        scores = torch.softmax(query @ key.transpose(-2, -1) * 0.5, dim=-1)
        return {"scores": scores, "mean": (scores @ query).relu().mean(dim=1, keepdim=True)}


def exported(model: nn.Module, *args: torch.Tensor) -> GraphData:
    return open_graph(torch.export.export(model, args))


@pytest.fixture(scope="module")
def data() -> GraphData:
    return exported(Attention(), torch.ones(2, 3, 4))


def edited(artifact: Artifact, *edits: tuple[str, str]) -> Artifact:
    """The artifact with one text replaced by another, each of which is there."""
    source = artifact.source
    for old, new in edits:
        assert old in source, source
        source = source.replace(old, new)
    return replace(artifact, source=source)


def differing(data: GraphData, artifact: Artifact) -> tuple[Divergence, ...]:
    found = compare_statements(data, artifact)
    assert found.differing is not None, found.unreadable
    return found.differing


def flat_code(data: GraphData) -> Artifact:
    return fx2py.generate(data, options=GenerateOptions(flat=True))


def line_of(artifact: Artifact, text: str) -> int:
    """The one line of the code that holds a text."""
    parts = [line.partition("#")[0] for line in artifact.source.splitlines()]
    lines = [number for number, part in enumerate(parts, 1) if text in part]
    assert len(lines) == 1, lines
    return lines[0]


OPTIONS = [
    GenerateOptions(),
    GenerateOptions(optimize=True),
    GenerateOptions(exact_ops=True),
    GenerateOptions(flat=True),
    GenerateOptions(comments=False),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_generated_code_says_what_its_graph_says(data: GraphData, options: GenerateOptions) -> None:
    assert differing(data, fx2py.generate(data, options=options)) == ()


def test_changed_literal_is_one_statement_with_what_the_graph_knows_of_it(data: GraphData) -> None:
    code = edited(flat_code(data), ("matmul * 0.5", "matmul * 0.25"))
    (found,) = differing(data, code)
    assert (found.found, found.kind, found.node) == ("static", "changed", "mul")
    assert (found.line, found.end_line) == (line_of(code, "matmul * 0.25"),) * 2
    assert (found.expected, found.actual) == ("mul = matmul * 0.5", "mul = matmul * 0.25")
    assert found.source_line.endswith("scores = torch.softmax(query @ key.transpose(-2, -1) * 0.5, dim=-1)")


def test_statement_of_several_lines_is_named_whole_with_its_module(data: GraphData) -> None:
    code = edited(flat_code(data), ("0.001", "0.002"))
    (found,) = differing(data, code)
    assert found.line <= line_of(code, "0.002") <= found.end_line
    assert found.actual == found.expected.replace("0.001", "0.002")
    assert found.module_path == "norm"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.relu(matmul_1)", "torch.sigmoid(matmul_1)"),
        ("torch.softmax(mul, -1)", "torch.softmax(mul, -2)"),
        ("linear @ transpose", "transpose @ linear"),
        ("relu.mean([1], True)", "relu.mean([1])"),
        ("linear_1.transpose(-2, -1)", "linear.transpose(-2, -1)"),
        ("query_weight = weights[2]", "query_weight = weights[4]"),
    ],
)
def test_the_damaged_statement_is_named_alone(data: GraphData, old: str, new: str) -> None:
    code = edited(flat_code(data), (old, new))
    assert [each.line for each in differing(data, code)] == [line_of(code, new)]


def test_a_result_under_another_name_is_named_where_it_gets_the_name(data: GraphData) -> None:
    code = edited(
        flat_code(data),
        ("    linear = F.", "    other = F."),
        ("    linear_1 = F.", "    linear = F."),
        ("    other = F.", "    linear_1 = F."),
    )
    lines = [line_of(code, "linear_1 = F."), line_of(code, "linear = F.")]
    assert [each.line for each in differing(data, code)] == lines


def test_left_out_and_added_statements_are_named_and_what_follows_is_not(data: GraphData) -> None:
    artifact = flat_code(data)
    left_out = edited(artifact, ("relu = torch.relu(matmul_1)", "relu = matmul_1"))
    (found,) = differing(data, left_out)
    assert (found.kind, found.node, found.line) == ("missing", "relu", line_of(left_out, "relu = matmul_1"))
    added = edited(
        artifact,
        ("relu.mean([1], True)", "twice.mean([1], True)"),
        ("    del matmul_1\n", "    del matmul_1\n    twice = relu * 2\n"),
    )
    (found,) = differing(data, added)
    assert (found.kind, found.line) == ("surplus", line_of(added, "twice = relu * 2"))


def test_another_result_is_named_at_the_return(data: GraphData) -> None:
    code = edited(flat_code(data), ('"scores": softmax', '"score": softmax'))
    (found,) = differing(data, code)
    assert (found.kind, found.line) == ("result", line_of(code, "    return"))


# -- what means the same


def renamed(source: str) -> str:
    """Every variable under another name."""
    tree = ast.parse(source)
    names = {
        each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    for each in ast.walk(tree):
        if isinstance(each, ast.Name) and each.id in names:
            each.id = f"v_{each.id[::-1]}"
    return ast.unparse(tree) + "\n"


def without_deletes(source: str) -> str:
    return re.sub(r"^    del .*\n", "", source, flags=re.MULTILINE)


def without_comments(source: str) -> str:
    return re.sub(r" *#.*", "", source)


def linears_exchanged(source: str) -> str:
    """Two statements that do not depend on each other, in the other order."""
    one, other, key = (
        _line(source, start) for start in ("    linear = ", "    linear_1 = ", "    key_bias = ")
    )
    source = source.replace(one, "").replace(other, "")
    return source.replace(key, f"{key}{other}{one}")


def _line(source: str, start: str) -> str:
    return next(line for line in source.splitlines(keepends=True) if line.startswith(start))


def spelled_otherwise(source: str) -> str:
    for old, new in (
        ("matmul * 0.5", "torch.mul(matmul, 0.5)"),
        ("softmax @ linear", "torch.ops.aten.matmul.default(softmax, linear)"),
        ("relu.mean([1], True)", "torch.mean(relu, dim=[1], keepdim=True)"),
    ):
        assert old in source, source
        source = source.replace(old, new)
    return source.replace("torch.ops.aten.matmul.default", "aten_matmul").replace(
        "\ndef ", "\naten_matmul = torch.ops.aten.matmul.default\n\n\ndef ", 1
    )


@pytest.mark.parametrize(
    "change", [renamed, without_deletes, without_comments, linears_exchanged, spelled_otherwise]
)
def test_what_means_the_same_is_no_difference(data: GraphData, change: Callable[[str], str]) -> None:
    artifact = flat_code(data)
    changed = replace(artifact, source=change(artifact.source))
    assert changed.source != artifact.source
    assert differing(data, changed) == ()


def test_a_changed_literal_is_found_among_new_names_and_another_order(data: GraphData) -> None:
    artifact = flat_code(data)
    changed = replace(artifact, source=renamed(linears_exchanged(artifact.source)))
    code = edited(changed, ("v_lumtam * 0.5", "v_lumtam * 0.25"))
    assert [each.line for each in differing(data, code)] == [line_of(code, "v_lumtam * 0.25")]


def test_unused_statements_that_only_look_are_no_difference(data: GraphData) -> None:
    code = edited(flat_code(data), ("    del matmul_1\n", "    del matmul_1\n    seen = torch.mean(relu)\n"))
    assert differing(data, code) == ()


# -- effects


def test_order_of_writes_and_reads_counts() -> None:
    data = exported(InPlace(), *floats((4, 3), (4, 3))(0))
    artifact = flat_code(data)
    assert differing(data, artifact) == ()
    read, write = line_of(artifact, "sum_1 = "), line_of(artifact, "select.add_(")
    (found,) = differing(data, moved(artifact, read, write))
    assert (found.kind, found.line) == ("order", write)
    assert found.expected == "sum_1 = select.sum()"
    assert found.actual == "sum_1 = select.sum(), behind select.add_(select_1)"


def moved(artifact: Artifact, line: int, behind: int) -> Artifact:
    """The code with one line moved behind a later one."""
    lines = artifact.source.splitlines()
    lines = [*lines[: line - 1], *lines[line:behind], lines[line - 1], *lines[behind:], ""]
    return replace(artifact, source="\n".join(lines))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("calls", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x) * self.calls
        self.calls.add_(1)
        return y + 1


def test_order_of_a_write_to_a_weight_and_a_read_of_it_counts() -> None:
    data = exported(Counted(), torch.ones(3))
    code = fx2py.generate(data)
    write = "    weights.calls.add_(1)\n"
    read = next(line for line in code.source.splitlines(True) if "* weights.calls" in line)
    early = edited(code, (write, ""), (read, write + read))
    assert [each.kind for each in differing(data, early)] == ["order"]


def test_order_of_random_numbers_counts() -> None:
    class Noise(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.rand_like(x), torch.randn_like(x)

    data = exported(Noise(), torch.ones(3))
    artifact = flat_code(data)
    code = moved(artifact, line_of(artifact, " = aten_rand_like("), line_of(artifact, " = aten_randn_like("))
    assert {each.kind for each in differing(data, code)} == {"order"}


# -- functions


def test_branch_that_no_input_takes_is_compared_as_any_other() -> None:
    data = exported(Branches(), torch.ones(3, 4))
    code = edited(flat_code(data), ("tanh + 3.0", "tanh + 2.0"))
    (found,) = differing(data, code)
    assert found.function == "true_graph_1" or found.function.startswith("false_graph")
    assert found.line == line_of(code, "tanh + 2.0")


@pytest.fixture(scope="module")
def layers() -> GraphData:
    return exported(Encoder(3), torch.ones(2, 4, 8))


def test_statement_that_serves_three_layers_is_named_once(layers: GraphData) -> None:
    code = edited(fx2py.generate(layers), ("scores * 0.35", "scores * 0.4"))
    (found,) = differing(layers, code)
    assert found.line == line_of(code, "scores * 0.4")
    assert found.serves == ("3 calls of Block", "first layers.0")


@pytest.mark.parametrize(
    ("old", "new"),
    [("weights.norm.weight", "weights.norm.bias"), ("in weights.layers:", "in weights.layers[0:2]:")],
)
def test_structured_code_is_compared_with_its_loops_and_weights(
    layers: GraphData, old: str, new: str
) -> None:
    code = edited(fx2py.generate(layers), (old, new))
    (found,) = differing(layers, code)
    assert found.line <= line_of(code, new) <= found.end_line


def test_flat_code_of_a_graph_says_what_structured_code_says(layers: GraphData) -> None:
    """What the options of the manifest say does not matter to what the code means."""
    flat, structured = (fx2py.generate(layers, options=GenerateOptions(flat=flat)) for flat in (True, False))
    assert differing(layers, replace(flat, manifest=structured.manifest)) == ()
    assert differing(layers, replace(structured, manifest=flat.manifest)) == ()


# -- tables and inputs


def test_changed_tables_are_named_with_their_lines() -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(3, device="cpu")

    data = exported(Model(), torch.ones(2, 3))
    artifact = flat_code(data)
    assert artifact.tables is not None
    for old, new, kind in (('"cpu")]', '"meta")]', "table"), ("Shape(2, 3)", "Shape(2, 4)", "inputs")):
        assert old in artifact.tables, artifact.tables
        tables = artifact.tables.replace(old, new)
        (found,) = differing(data, replace(artifact, tables=tables))
        assert (found.kind, found.file) == (kind, "_tables.py")
        assert new in "\n".join(tables.splitlines()[found.line - 1 : found.end_line])


def test_tables_count_whichever_release_the_manifest_names() -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.tensor([0.1, 0.7], dtype=torch.float32)

    data = exported(Scaled(), torch.ones(2, 2))
    artifact = flat_code(data)
    other = replace(artifact, manifest=replace(artifact.manifest, fx2py="0.3.9"))
    assert differing(data, other) == ()
    assert artifact.tables is not None
    tables = artifact.tables.replace("Shape(2, 2)", "Shape(2, ...)")
    assert tables != artifact.tables
    assert [each.kind for each in differing(data, replace(other, tables=tables))] == ["inputs"]


def test_another_signature_is_named_once(data: GraphData) -> None:
    code = edited(flat_code(data), ("def execution_fn(x, ", "def execution_fn(y, "))
    code = replace(code, source=re.sub(r"([ (])x([,)\n])", r"\1y\2", code.source))
    (found,) = differing(data, code)
    assert (found.kind, found.line) == ("inputs", line_of(code, "def "))


def test_code_that_cannot_be_read_is_left_to_the_runs(data: GraphData) -> None:
    artifact = flat_code(data)
    broken = replace(artifact, source=artifact.source.replace("relu = torch", "relu = = torch"))
    found = compare_statements(data, broken)
    assert found.differing is None
    assert found.unreadable.startswith("execution_fn.py, line ")


def test_code_of_another_graph_is_named_by_what_differs(data: GraphData) -> None:
    other = exported(Encoder(1), torch.ones(2, 4, 8))
    assert differing(other, flat_code(data))


# -- code that Python or its reader would refuse


def test_names_without_a_value_are_named_where_they_should_get_it(data: GraphData) -> None:
    code = edited(flat_code(data), ("    softmax = torch.softmax", "    weights_of = torch.softmax"))
    found = compare_statements(data, code)
    assert found.unreadable
    assert found.differing is not None
    assert [each.line for each in found.differing] == [line_of(code, "weights_of = torch.softmax")]


def test_statements_in_the_wrong_order_are_named(data: GraphData) -> None:
    artifact = flat_code(data)
    code = moved(artifact, line_of(artifact, "matmul = "), line_of(artifact, "mul = matmul"))
    found = compare_statements(data, code).differing or ()
    assert [each.line for each in found] == [line_of(code, "mul = matmul"), line_of(code, "matmul = linear")]


@pytest.mark.parametrize(
    "written",
    [
        "relu = [each for each in [matmul_1]][0]",
        "relu = lambda: matmul_1",
        "with torch.no_grad(): relu = torch.relu(matmul_1)",
    ],
)
def test_statement_of_another_form_is_named_and_the_rest_is_compared(data: GraphData, written: str) -> None:
    code = edited(
        flat_code(data), ("relu = torch.relu(matmul_1)", written), ("matmul * 0.5", "matmul * 0.25")
    )
    found = compare_statements(data, code)
    assert found.unreadable.startswith(f"execution_fn.py, line {line_of(code, written)}: ")
    lines = [line_of(code, "matmul * 0.25"), line_of(code, written)]
    assert found.differing is not None
    assert [each.line for each in found.differing] == lines


def test_use_of_a_deleted_variable_is_named(data: GraphData) -> None:
    code = edited(flat_code(data), ("    mul = matmul * 0.5", "    del linear\n    mul = matmul * 0.5"))
    (found,) = compare_statements(data, code).differing or ()
    assert found.line == line_of(code, "matmul_1 = softmax @ linear")


ALIASES = """
    residual = x
    x = torch.sin(x)
    x = residual + x
    residual = x
    x = torch.cos(x)
    x = residual + x
"""


def body_of_lines(lines: str) -> Body:
    (node,) = statements_of(f"def execution_fn(x):{lines.rstrip()}\n    return x\n")
    assert isinstance(node, ast.FunctionDef)
    (function,) = read_functions([node], ReadNames(modules={"torch": "torch"}))
    return body_of(function, Tables((), (), (), {}))


def test_a_dropped_second_name_is_missing_where_it_stood(data: GraphData) -> None:
    first, second, third = ALIASES.split("    residual = x\n")
    theirs = body_of_lines(f"{first}    residual = x\n{second}{third}")
    (found,) = differences(body_of_lines(ALIASES), theirs, program_of(data))
    assert (found.kind, type(found.ours)) == ("missing", Bind)
    assert "cos" in str(found.place)


def test_a_second_name_that_is_too_much_is_named_itself(data: GraphData) -> None:
    more = ALIASES.replace("    x = torch.cos(x)\n", "    x = torch.cos(x)\n    residual = x\n")
    theirs = body_of_lines(more)
    (found,) = differences(body_of_lines(ALIASES), theirs, program_of(data))
    assert found.place is theirs.given[-1].given


@pytest.mark.parametrize("entry", ["weights[77]", "consts[77]"])
def test_an_entry_that_its_table_does_not_have_is_named(entry: str) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * self.scale).to("meta" if entry == "" else "cpu")

    data = exported(Scaled(), torch.ones(2, 2))
    artifact = flat_code(data)
    table = entry.partition("[")[0]
    assert f"{table}[0]" in artifact.source, artifact.source
    report = fx2py.diff(data, edited(artifact, (f"{table}[0]", entry)))
    assert report.verdict == "different"
    assert report.divergence is not None
    assert report.divergence.line == line_of(edited(artifact, (f"{table}[0]", entry)), entry)
