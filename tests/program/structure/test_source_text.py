"""Which names a line of a model's source gives to the values that it makes."""

from __future__ import annotations

import pytest

from fx2py.program.structure.source_text import names_read, targets_of


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("hidden_states = self.dense(hidden_states)", ("hidden_states",)),
        ("scores: torch.Tensor = query @ key", ("scores",)),
        ("q, k, v = self.qkv(x).chunk(3, dim=-1)", ("q", "k", "v")),
        ("(q, k), v = self.project(x)", ("q", "k", "v")),
        ("first, *rest = x.split(4, -1)", ("first", "rest")),
        ("out += identity", ("out",)),
        ("x **= 2", ("x",)),
        ("bits <<= shift", ("bits",)),
        ("self.cache[layer] = key", ("cache",)),
        ("out[:, :2] = self.gate(x)", ("out",)),
        ("self.attn_weights = scores.softmax(-1)", ("attn_weights",)),
        ("a, b = x, self.make(x)", ("b",)),
        ("hidden_states, _ = self.attn(x)", ("hidden_states",)),
        ("return logits.float()", ("logits",)),
        ("return torch.stack(steps), hidden.view(-1)", ("", "hidden")),
        ("return self.weight * hidden_states", ()),
        ("return torch.stack(steps)", ()),
        ("return x == y", ()),
        ("if x.shape[0] == 1:", ()),
        ("steps.append(self.out(h))", ()),
        ("f(x)[0](y) = z", ()),
        ("))) = x", ()),
    ],
)
def test_a_line_names_what_it_assigns_or_returns(line: str, names: tuple[str, ...]) -> None:
    assert targets_of(line) == names


def test_what_a_line_reads_stands_on_its_right_side() -> None:
    assert names_read("mask[i] = torch.where(keep, x, scale * y)") == ("keep", "x", "scale", "y")
