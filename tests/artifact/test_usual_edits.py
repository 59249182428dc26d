"""The usual edits of a generated folder run without --trust, in flat code and in structured code, and do what they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fx2py
from fx2py.compare.statements import compare_statements
from fx2py.errors import ArtifactError
from fx2py.graph.data import GraphData
from fx2py.program.options import GenerateOptions
from fx2py.read import open_graph


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8, eps=0.001)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        normed = self.norm(x)
        gate = torch.tanh(self.up(normed))
        down = self.down(gate)
        dropped = self.drop(down)
        return x + dropped


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer() for _ in range(3)])
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


X = torch.linspace(-1, 1, 16).reshape(2, 8)
Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Model().eval(), (X,))


@pytest.fixture(scope="module")
def graph(program: torch.export.ExportedProgram) -> GraphData:
    return open_graph(program)


@pytest.fixture(scope="module", params=["flat", "structured"])
def folder(request: pytest.FixtureRequest, program: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "model_fx2py"
    options = GenerateOptions(flat=request.param == "flat", comments=False)
    fx2py.generate(program, options=options).write(path)
    return path


@pytest.fixture
def edited(folder: Path) -> Callable[[Edit], fx2py.Artifact]:
    """The folder opened with a change of its code."""
    source = folder / "execution_fn.py"
    text = source.read_text()

    def open_with(edit: Edit) -> fx2py.Artifact:
        changed = edit(text)
        assert changed != text
        ast.parse(changed)
        source.write_text(changed)
        try:
            return fx2py.open_artifact(folder)
        finally:
            source.write_text(text)

    return open_with


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def after(part: str, added: str) -> Edit:
    """Add lines after the first one that holds ``part``, as deep as it; ``{x}`` is the variable that it assigns."""

    def edit(text: str) -> str:
        found = lines(text)
        place = next(index for index, line in enumerate(found) if part in line and " = " in line)
        indent = found[place][: len(found[place]) - len(found[place].lstrip())]
        target = found[place].split(" = ")[0].strip()
        new = [f"{indent}{line.replace('{x}', target)}\n" for line in added.splitlines()]
        return "".join([*found[: place + 1], *new, *found[place + 1 :]])

    return edit


def replaced(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def without_dropout(text: str) -> str:
    """``y = torch.dropout(x, 0.1, False)`` commented out, ``y = x`` in its place."""
    found = []
    for line in lines(text):
        target, sign, call = line.partition(" = torch.dropout(")
        found.append(line if not sign else f"# {line}{target} = {call.split(',')[0]}\n")
    return "".join(found)


def renamed(text: str) -> str:
    target = next(line for line in lines(text) if "torch.tanh(" in line).split(" = ")[0].strip()
    return re.sub(rf"(?<![.\w]){target}\b(?!\()", "my_gate", text)


SAME_RESULT: dict[str, Edit] = {
    "print a shape": after("torch.tanh(", "print({x}.shape)"),
    "print several things": after(
        "torch.tanh(", 'print("after tanh", {x}.dtype, {x}.device, {x}.shape[-1], sep=" ")'
    ),
    "print a mean": after("torch.tanh(", "print({x}.mean())"),
    "print a formatted text": after(
        "torch.tanh(", 'print(f"{{x}.mean().item():.3f} {{x}.shape=} {{x}.max()!r}")'
    ),
    "print statistics": after(
        "torch.tanh(", "print({x}.min().item(), {x}.max(), {x}.std(), {x}.sum(), {x}.abs().mean())"
    ),
    "print what is not finite": after(
        "torch.tanh(", "print(torch.isnan({x}).any(), {x}.isinf().sum().item())"
    ),
    "assert that nothing is nan": after("torch.tanh(", "assert not torch.isnan({x}).any()"),
    "assert with a text": after(
        "torch.tanh(", 'assert {x}.isfinite().all(), f"{{x}.shape} {{x}.isnan().sum()}"'
    ),
    "assert a shape and a dtype": after(
        "torch.tanh(", "assert {x}.shape == (2, 16) and {x}.dtype in (torch.float32, torch.float64)"
    ),
    "assert a range": after("torch.tanh(", "assert -1.0 <= {x}.min() <= {x}.max() <= 1.0"),
    "look where something is wrong": after(
        "torch.tanh(", "if {x}.isnan().any() or {x}.shape[0] > 9:\n    print({x})\n    breakpoint()"
    ),
    "insert a cast": after("torch.tanh(", "{x} = {x}.float()"),
    "cast to and fro": after("torch.tanh(", "{x} = {x}.double().to(torch.float32)"),
    "a new intermediate": after("torch.tanh(", "extra = {x} * 2 + {x}.mean()\nextra = torch.relu(extra)"),
    "rename a variable": renamed,
    "drop a dropout": without_dropout,
    "write what a call takes": replaced("torch.dropout(", "torch.nn.functional.dropout("),
    "a comment": after("torch.tanh(", "# here"),
}
OTHER_RESULT: dict[str, Edit] = {
    "change a literal": replaced("0.001", "0.5"),
    "swap an activation": replaced("torch.tanh(", "torch.relu("),
    "another operator": replaced("torch.tanh(", "F.gelu("),
    "calls in calls": replaced("torch.tanh(", "torch.sigmoid(2 * -"),
    "clamp in place": after("torch.tanh(", "{x} *= 0.5"),
    "scale": after("torch.tanh(", "{x} = {x} / ({x}.norm() + 1e-6)"),
    "take apart": after(
        "torch.tanh(", "first, second = {x}.chunk(2, -1)\n{x} = torch.cat([second, first], dim=-1)"
    ),
}


@pytest.mark.parametrize("name", SAME_RESULT)
def test_a_look_changes_nothing(name: str, edited: Callable[[Edit], fx2py.Artifact], folder: Path) -> None:
    expected = fx2py.open_artifact(folder).bind(policy=fx2py.Policy())(X)
    assert torch.equal(edited(SAME_RESULT[name]).bind(policy=fx2py.Policy())(X), expected)


@pytest.mark.parametrize("name", OTHER_RESULT)
def test_a_change_of_what_is_computed_runs(
    name: str, edited: Callable[[Edit], fx2py.Artifact], folder: Path
) -> None:
    expected = fx2py.open_artifact(folder).bind(policy=fx2py.Policy())(X)
    result = edited(OTHER_RESULT[name]).bind(policy=fx2py.Policy())(X)
    assert result.shape == expected.shape
    assert not torch.equal(result, expected)


def test_what_is_printed_is_what_the_code_computed(edited: Callable[[Edit], fx2py.Artifact], capsys) -> None:
    look = after(
        "torch.tanh(", 'print("here", {x}.shape, f"{{x}.shape[1]:>4}|{{x}.dtype!s}", sep="; ", end="\\n\\n")'
    )
    edited(look).bind(policy=fx2py.Policy())(X)
    printed = capsys.readouterr().out.split("\n\n")
    assert printed[0] == "here; torch.Size([2, 16]);   16|torch.float32"
    assert len(printed) in (2, 4)  # flat code has three layers, of which the first is edited


def test_an_assertion_that_fails_is_raised_as_python_does(edited: Callable[[Edit], fx2py.Artifact]) -> None:
    call = edited(after("torch.tanh(", 'assert {x}.max() > 5, f"only {{x}.shape}"')).bind(
        policy=fx2py.Policy()
    )
    with pytest.raises(AssertionError, match=r"only torch.Size\(\[2, 16\]\)"):
        call(X)


def test_an_intermediate_is_returned_beside_the_result(edited: Callable[[Edit], fx2py.Artifact]) -> None:
    def returned(text: str) -> str:
        *rest, last = lines(text)
        value = last.removeprefix("    return ").strip()
        added = f"    saved = {{}}\n    saved['mean'] = {value}.mean()\n    return {value}, saved, [{value}.sum()]\n"
        return "".join([*rest, added])

    result, saved, (total,) = edited(returned).bind(policy=fx2py.Policy())(X)
    assert torch.equal(saved["mean"], result.mean())
    assert torch.equal(total, result.sum())


def test_lines_in_another_order_compute_the_same(
    edited: Callable[[Edit], fx2py.Artifact], folder: Path
) -> None:
    both = "first = {x} + 1\nsecond = {x} - 1\n{x} = first * second"
    swapped = "second = {x} - 1\nfirst = {x} + 1\n{x} = first * second"
    one, other = (
        edited(after("torch.tanh(", text)).bind(policy=fx2py.Policy())(X) for text in (both, swapped)
    )
    assert torch.equal(one, other)


MISTAKES = {
    "a name that is not there": (
        after("torch.tanh(", "print(nothing.mean())"),
        "the name 'nothing' is not defined",
    ),
    "a value after its end": (after("torch.tanh(", "y = {x} + 1\ndel y\nprint(y)"), "'y' was deleted before"),
    "a loop": (
        after("torch.tanh(", "while True:\n    pass"),
        "a while loop is not a statement that fx2py reads",
    ),
    "a choice": (
        after("torch.tanh(", "if {x}.max() > 0:\n    {x} = {x} + 1"),
        "an if stands around more than print, assert and breakpoint",
    ),
    "a package": (after("torch.tanh(", "print(np.asarray({x}))"), "the name 'np' is not defined"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_edit_that_cannot_be_read_is_named_with_its_line(
    name: str, edited: Callable[[Edit], fx2py.Artifact]
) -> None:
    edit, reason = MISTAKES[name]
    with pytest.raises(
        ArtifactError, match=r"execution_fn.py, line \d+: .* so it cannot be audited"
    ) as refused:
        edited(edit).bind(policy=fx2py.Policy())
    assert reason in refused.value.message


LOOKS = ("print", "assert", "look")


@pytest.mark.parametrize("name", [name for name in SAME_RESULT if name.startswith(LOOKS)])
def test_a_look_is_no_statement_that_says_something_else(
    name: str, edited: Callable[[Edit], fx2py.Artifact], graph: GraphData
) -> None:
    assert compare_statements(graph, edited(SAME_RESULT[name])).differing == ()


def test_what_a_look_changes_in_place_says_something_else(
    edited: Callable[[Edit], fx2py.Artifact], graph: GraphData
) -> None:
    assert compare_statements(graph, edited(after("torch.tanh(", "print({x}.add_(1))"))).differing
