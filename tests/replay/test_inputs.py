"""Inputs come from a file, from beside the graph, or are made to fit what is recorded."""

from __future__ import annotations

import collections
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fx2py.errors import ReplayError
from fx2py.graph.data import NodeMeta, SampleInputs, TensorMeta
from fx2py.graph.values import OpName, Ref
from fx2py.read import open_graph
from fx2py.replay.inputs import admitted, find_inputs, load_inputs
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy
from tests.replay.graphs import call, data, output, placeholder

X = torch.ones(2)


@pytest.mark.parametrize(
    ("saved", "args", "kwargs"),
    [
        (((X,), {"b": 1}), (X,), {"b": 1}),
        ((X, X), (X, X), {}),
        ([X], (X,), {}),
        ({"a": X}, (), {"a": X}),
        (X, (X,), {}),
        ({0: X}, ({0: X},), {}),
    ],
)
def test_file_holds_arguments_in_any_plain_form(tmp_path: Path, saved: Any, args: Any, kwargs: Any) -> None:
    torch.save(saved, tmp_path / "inputs.pt")
    found = load_inputs(tmp_path / "inputs.pt")
    torch.testing.assert_close((found.args, found.kwargs), (args, kwargs))
    assert "inputs.pt" in found.source


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("bomb",)


def test_inputs_file_that_is_no_plain_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save((Bomb(),), tmp_path / "bomb.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("bomb.pt", "raw.pt", "empty.pt", "missing.pt"):
        with pytest.raises(ReplayError, match=name):
            load_inputs(tmp_path / name)
    assert not (tmp_path / "bomb").exists()


def test_inputs_beside_the_graph_are_used_before_made_ones() -> None:
    graph = replace(data(placeholder("x"), output(Ref("x"))), sample_inputs=SampleInputs((X,), {}))
    found = find_inputs(graph)
    assert found.args == (X,)
    assert "stored beside the graph" in found.source


def test_nothing_recorded_says_what_to_pass() -> None:
    with pytest.raises(ReplayError, match=r"'x'.*\n.*args and kwargs"):
        find_inputs(data(placeholder("x"), output(Ref("x"))))


def test_made_inputs_have_the_recorded_kind_and_depend_on_the_seed_alone() -> None:
    recorded = TensorMeta(torch.float16, (2, 3), stride=(1, 2))
    node = replace(placeholder("x"), meta=NodeMeta(recorded))
    graph = data(node, placeholder("y", 5), output(Ref("x")))
    (made,) = find_inputs(graph, seed=1).kwargs.values()
    assert (made.dtype, made.shape, made.stride()) == (torch.float16, (2, 3), (1, 2))
    assert torch.equal(made, find_inputs(graph, seed=1).kwargs["x"])
    assert not torch.equal(made, find_inputs(graph, seed=2).kwargs["x"])
    assert find_inputs(graph, device="meta").kwargs["x"].device.type == "meta"


def test_symbolic_sizes_stay_in_range_and_differ() -> None:
    rows, columns = torch.export.Dim("rows", min=2, max=4), torch.export.Dim("columns", min=6)
    ep = torch.export.export(nn.ReLU(), (torch.ones(3, 7),), dynamic_shapes=({0: rows, 1: columns},))
    graph = open_graph(ep)
    (made,) = find_inputs(replace(graph, sample_inputs=None)).args
    assert 2 <= made.shape[0] <= 4
    assert made.shape[1] >= 6
    Reference(graph)(made)


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 4)
        self.register_buffer("table", torch.randn(7, 4))

    def forward(self, words: torch.Tensor, rows: torch.Tensor, flags: torch.Tensor) -> torch.Tensor:
        return self.words(words.view(-1)) + self.table[rows] * flags[:, None]


def test_indices_stay_below_the_rows_that_they_select() -> None:
    indices = torch.zeros(40, dtype=torch.int64)
    ep = torch.export.export(Lookup(), (indices, indices.clone(), indices.clone()))
    graph = replace(open_graph(ep), sample_inputs=None)
    words, rows, flags = find_inputs(graph).args
    assert 7 <= int(words.max()) < 50
    assert 2 <= int(rows.max()) < 7
    assert int(flags.max()) == 1
    Reference(graph)(words, rows, flags)


def test_indices_of_a_called_module_stay_below_its_rows() -> None:
    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(50, 4)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.words(words)

    gm = torch.fx.symbolic_trace(Caller())
    recorded = NodeMeta(TensorMeta(torch.int64, (40,)))
    graph = open_graph(gm)
    nodes = tuple(
        replace(node, meta=recorded) if node.op == "placeholder" else node for node in graph.graph.nodes
    )
    graph = replace(graph, root=replace(graph.root, graph=replace(graph.graph, nodes=nodes)))
    assert 7 <= int(find_inputs(graph).kwargs["words"].max()) < 50


def test_indices_of_gather_stay_below_the_dimension() -> None:
    table = replace(placeholder("table"), meta=NodeMeta(TensorMeta(torch.float32, (2, 9))))
    index = replace(placeholder("index"), meta=NodeMeta(TensorMeta(torch.int64, (2, 30))))
    graph = data(
        *(table, index, call("g", OpName("aten", "gather", "default"), Ref("table"), 1, Ref("index"))),
        output(Ref("g")),
    )
    assert 2 <= int(find_inputs(graph).kwargs["index"].max()) < 9


def test_inputs_that_hold_code_are_refused(tmp_path: Path) -> None:
    """The restricted unpickler gives out the functions that rebuild tensors, as values."""
    for held in (torch._utils._rebuild_parameter, torch.Tensor, collections.OrderedDict):
        torch.save(([torch.ones(2), {"key": held}], {}), tmp_path / "in.pt")
        with pytest.raises(ReplayError, match=held.__name__):
            admitted(load_inputs(tmp_path / "in.pt"), Policy())
