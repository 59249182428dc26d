"""Which pieces are compiled, and why others stay generated code; the compiler itself stands aside here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py import Artifact
from fx2py.compile import pieces
from fx2py.errors import ReplayError, UntrustedTargetError


@pytest.fixture(autouse=True)
def a_quick_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def code_and_sizes(traced: pieces.Traced, mode: object) -> bytes:
        return f"{traced.module.code} {traced.input_specs}".encode()

    monkeypatch.setattr(pieces, "compiled_bytes", code_and_sizes)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def compiled(
    function: Callable[..., object], *inputs: object, split_at: tuple[str, ...] = ("torch.relu",)
) -> Artifact:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("state", torch.ones(4))
            self.linear = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        forward = function

    options = fx2py.GenerateOptions(split_at=split_at, compile="inductor")
    return fx2py.generate(fx.symbolic_trace(Model()), options=options, inputs=(inputs, {}))


def names(artifact: Artifact) -> list[str]:
    return [piece.name for piece in artifact.manifest.compiled.pieces]


X = torch.ones(3, 4)


def test_modules_inside_a_piece_become_operators_and_their_weights_inputs() -> None:
    artifact = compiled(lambda self, x: torch.relu(self.linear(x)) + self.linear(x), X)
    assert names(artifact) == ["submod_0", "submod_1", "submod_2"]
    first = artifact.manifest.compiled.pieces[0]
    assert {name.rpartition(".")[2] for name, _ in first.weights} == {"weight", "bias"}
    assert set(dict(first.weights)) <= set(artifact.tensors)


def test_pieces_that_differ_in_a_constant_do_not_share_code() -> None:
    artifact = compiled(lambda self, x: torch.relu(torch.relu(x + 1) + 2) + 1, X)
    files = [piece.file for piece in artifact.manifest.compiled.pieces]
    assert files[0] == files[4] != files[2]
    assert files[1] == files[3]


def test_pieces_of_other_sizes_do_not_share_code() -> None:
    artifact = compiled(lambda self, x: torch.relu(torch.relu(x + 1)[1:] + 1), X)
    files = [piece.file for piece in artifact.manifest.compiled.pieces]
    assert files[1] != files[3]


LEFT_OUT = {
    "it changes what it is given in place": lambda self, x: torch.relu(x.add_(1)),
    "it takes something else than tensors": lambda self, x, n: torch.relu(x) * n,
    "it returns something else than tensors": lambda self, x: (torch.relu(x), x.size(0)),
    "a piece writes to memory that its results share": lambda self, x: torch.relu(x.view(4, 3)).mul_(
        x.view(4, 3).add_(1)
    ),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_a_piece_that_cannot_be_compiled_exactly_stays_generated_code(reason: str) -> None:
    function = LEFT_OUT[reason]
    inputs = (X.clone(), 3) if "n" in function.__code__.co_varnames else (X.clone(),)
    artifact = compiled(function, *inputs)
    assert len(names(artifact)) < len(artifact.manifest.slots)
    assert any(reason in note for note in artifact.manifest.notes), artifact.manifest.notes


def test_a_piece_that_switches_a_mode_for_what_follows_stays_generated_code() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch._C._set_grad_enabled, (True,))
    graph.output(graph.call_function(torch.relu, (graph.call_function(torch.sin, (x,)),)))
    options = fx2py.GenerateOptions(split_at=("torch.relu",), compile="inductor")
    artifact = fx2py.generate(fx.GraphModule({}, graph), options=options, inputs=((X,), {}))
    assert names(artifact) == ["submod_1"]
    assert "it leaves a mode switched" in artifact.manifest.notes[-1]


def test_running_statistics_are_a_change_in_place() -> None:
    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        return torch.relu(nn.functional.batch_norm(x, norm.running_mean, norm.running_var, training=True))

    assert "submod_0" not in names(compiled(forward, X))


def test_sizes_that_vary_are_written_as_such() -> None:
    size = torch.export.Dim("size", min=2, max=64)
    exported = torch.export.export(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (X,), dynamic_shapes={"input": {0: size}}
    )
    options = fx2py.GenerateOptions(split_at=("aten::relu",), compile="inductor")
    artifact = fx2py.generate(exported, options=options)
    assert [piece.inputs[0].shape for piece in artifact.manifest.compiled.pieces] == [(None, 4), (None, 4)]
    given = fx2py.generate(exported, options=options, inputs=((X,), {}))
    assert [piece.inputs[0].shape for piece in given.manifest.compiled.pieces] == [(3, 4), (3, 4)]


def test_a_condition_on_sizes_that_nothing_checks_keeps_a_piece_generated() -> None:
    class Broadcast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) + torch.relu(x).sum()

    size = torch.export.Dim("size", min=2, max=64)
    exported = torch.export.export(Broadcast(), (X,), dynamic_shapes={"x": {0: size}})
    options = fx2py.GenerateOptions(split_at=("aten::relu",), compile="inductor")

    def assuming(traced: pieces.Traced, mode: object) -> bytes:
        assert traced.inputs[0].shape[0] != 5
        return b"holds for other sizes than 5"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "compiled_bytes", assuming)
        artifact = fx2py.generate(exported, options=options)
    assert names(artifact) == []
    assert "hold only where Ne(" in artifact.manifest.notes[-1]


# -- where the sizes come from, and what may run --------------------------------------------------------------------


def test_a_graph_without_records_asks_for_inputs(tmp_path: Path) -> None:
    torch.save(fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), tmp_path / "graph.pt")
    options = fx2py.GenerateOptions(split_at=("torch.nn.ReLU",), compile="inductor")
    with pytest.raises(ReplayError, match="nothing is recorded of the input 'input_1'") as refused:
        fx2py.generate(tmp_path / "graph.pt", options=options)
    assert refused.value.hint == "Pass inputs of your own, as args and kwargs."
    artifact = fx2py.generate(tmp_path / "graph.pt", options=options, inputs=((X,), {}))
    assert names(artifact) == ["submod_0", "submod_1"]


def test_compiling_runs_no_name_that_the_policy_does_not_admit(tmp_path: Path) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(hashlib.sha256, (graph.placeholder("x"),)))
    torch.save(fx.GraphModule({}, graph), tmp_path / "graph.pt")
    options = fx2py.GenerateOptions(compile="inductor")
    with pytest.raises(UntrustedTargetError):
        fx2py.generate(tmp_path / "graph.pt", options=options, inputs=((X,), {}))


def test_a_graph_that_is_cut_nowhere_is_one_piece() -> None:
    artifact = compiled(lambda self, x: {"y": torch.relu(self.linear(x)), "x": x}, X, split_at=())
    assert names(artifact) == ["submod_0"]
    assert artifact.bind()(X)["x"] is X


def test_a_graph_that_was_cut_before_keeps_its_pieces() -> None:
    split = fx2py.split(
        fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))), ["torch.nn.ReLU"]
    )
    options = fx2py.GenerateOptions(compile="inductor")
    artifact = fx2py.generate(split, options=options, inputs=((X,), {}))
    assert names(artifact) == ["submod_0", "submod_1", "submod_2"]


def test_a_graph_that_calls_nothing_has_nothing_to_compile() -> None:
    with pytest.raises(ReplayError, match="calls nothing that could be compiled"):
        compiled(lambda self, x: x, X, split_at=())


def test_where_no_key_can_be_kept_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    artifact = compiled(lambda self, x: torch.relu(x), X)
    assert artifact.manifest.compiled.signature == ""
    assert "are not signed" in artifact.manifest.notes[-1]
    assert artifact.compiled_fault() == ""
    opened = fx2py.open_artifact(artifact.write(tmp_path / "out").folder)
    assert "not compiled by this user" in opened.compiled_fault()
