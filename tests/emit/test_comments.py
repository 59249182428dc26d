"""The comments of structured code: what stands above each function, and which lines of the model are shown."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import fx2py
from fx2py.emit.comments import whole_words
from tests.program.structure.test_structured import Stack


class Gated(nn.Module):
    """Two layers of one class, of which one does more."""

    class Layer(nn.Module):
        def __init__(self, is_gated: bool) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.is_gated = is_gated

        def forward(self, x):
            if self.is_gated:
                x = x * torch.sigmoid(x)
            x = self.fc(x)
            return x.relu() + 1

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer(number % 2 == 1) for number in range(4)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def source_of(model: nn.Module, *shape: int) -> str:
    program = torch.export.export(model.eval(), (torch.rand(shape),))
    return fx2py.generate(program).source


@pytest.fixture(scope="module")
def stack() -> str:
    return source_of(Stack(), 2, 4, 8)


def heading(source: str, function: str) -> list[str]:
    return source.partition(f"\ndef {function}(")[0].rpartition("\n\n")[2].splitlines()


def test_a_heading_says_what_a_function_stands_for_and_what_it_takes(stack: str) -> None:
    class_line, flow, *weights = heading(stack, "attention")
    assert re.fullmatch(r"# Attention, test_structured\.py:\d+ · 3 calls · 864 parameters", class_line)
    assert flow == "# x f32[2, 4, 8], mask f32[4, 4] -> f32[2, 4, 8]"
    assert weights == [
        "# weights: qkv.weight f32[24, 8], qkv.bias f32[24], out.weight f32[8, 8],",
        "# out.bias f32[8]",
    ]


def test_a_second_function_of_a_class_says_in_what_it_differs() -> None:
    source = source_of(Gated(), 2, 8)
    assert not any("unlike" in line for line in heading(source, "layer"))
    assert re.search(r"^# unlike layer, runs line \d+$", "\n".join(heading(source, "layer_1")), re.MULTILINE)


def test_a_line_of_the_model_is_shown_once_in_a_function_and_whole(stack: str) -> None:
    for function in stack.split("\n\n\n"):
        notes = re.findall(r"^    # (\d+  .*)", function, re.MULTILINE)
        assert len(set(notes)) == len(notes)
    assert "  query, key, value = self.qkv(x).split(x.shape[-1], dim=-1)\n" in stack


def test_a_loop_says_which_of_a_list_it_runs_over(stack: str) -> None:
    assert "for layer in weights.layers:  # layers 0 to 2\n" in stack


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("x = self.fc(x)", "x = self.fc(x)"),
        ("x = self.attention(", "x = self.attention(..."),
        ("value = self.function(first_argument, second)", "value = self.function( ..."),
        ("unbroken" * 9, "unbroken" * 3 + "unbr ..."),
    ],
)
def test_no_word_of_a_line_is_cut(code: str, shown: str) -> None:
    assert whole_words(code, 32) == shown
    assert len(shown) <= 32
