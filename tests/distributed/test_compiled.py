"""Pieces with collectives, compiled in one process ahead of the run and called by the ranks together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import fx
from torch._C._distributed_c10d import _resolve_process_group

import fx2py
from fx2py.artifact import Artifact, submodule_table
from fx2py.artifact.compiled_calls import is_compiled
from fx2py.distributed.groups import fake_groups
from fx2py.program.analyses.collectives import Collective
from tests.distributed.graphs import (
    all_reduce,
    every_operator,
    expected_of_every_operator,
    functional,
    saved_graph,
    wait,
)
from tests.distributed.models import save_block
from tests.distributed.ranks import call_ranks, torchrun

WHOLE = fx2py.GenerateOptions(compile="inductor")
ATTENTION = fx2py.GenerateOptions(compile="inductor", split_at=("aten::scaled_dot_product_attention",))


@pytest.fixture(scope="module", autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def names_of_compiled(artifact: Artifact) -> list[str]:
    compiled = artifact.manifest.compiled
    assert compiled is not None
    return [piece.name for piece in compiled.pieces]


# -- a tensor-parallel block ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """Folders ``code.rank0`` and ``code.rank1`` of the block of two ranks, and its result in a single process."""
    folder = tmp_path_factory.mktemp("block")
    expected = save_block(folder, (2,))
    for rank in range(2):
        artifact = fx2py.generate(folder / f"block.rank{rank}.pt2", options=ATTENTION)
        assert names_of_compiled(artifact) == list(artifact.manifest.slots), artifact.manifest.notes
        artifact.write(folder / f"code.rank{rank}")
    return folder, expected


def run_compiled_and_generated() -> None:
    """Every piece is compiled code, and computes what generated code does within a compiler's rounding."""
    dist.init_process_group("gloo")
    artifact = fx2py.open_artifact(f"code.rank{dist.get_rank()}")
    (x,) = torch.load("x.pt")
    with fx2py.RecordedGroups(artifact), torch.no_grad():
        bound = artifact.bind()
        assert all(is_compiled(piece) for piece in submodule_table(bound))
        torch.testing.assert_close(bound(x), artifact.without_compiled().bind()(x))
        assert torch.equal(bound(x), bound(x))
    dist.destroy_process_group()


def test_pieces_with_collectives_are_compiled_and_equal_the_generated_ones(
    block: tuple[Path, torch.Tensor],
) -> None:
    results = call_ranks(2, run_compiled_and_generated, folder=block[0])
    assert [result.code for result in results] == [0, 0], results
    assert not any("unwaited" in result.err for result in results)


def test_torchrun_runs_a_block_that_was_compiled_ahead(block: tuple[Path, torch.Tensor]) -> None:
    folder, expected = block
    arguments = ("code.rank{rank}", "--inputs", "x.pt", "-o", "out.rank{rank}.pt", "--verbose")
    done = torchrun(2, "run", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "compiled code" in done.stdout
    assert "not used" not in done.stderr
    for rank in range(2):
        torch.testing.assert_close(torch.load(folder / f"out.rank{rank}.pt"), expected)


# -- every operator ---------------------------------------------------------------------------------------------------


def run_every_operator() -> None:
    dist.init_process_group("gloo")
    rank, inputs = dist.get_rank(), torch.load("x.pt")
    artifact = fx2py.open_artifact("code")
    with fx2py.RecordedGroups(artifact), torch.no_grad():
        bound = artifact.bind()
        assert [is_compiled(piece) for piece in submodule_table(bound)] == [True]
        found = bound(inputs[rank])
    torch.testing.assert_close(found, expected_of_every_operator(inputs, rank), rtol=0, atol=0)
    dist.destroy_process_group()


def test_a_whole_graph_of_every_collective_is_one_compiled_piece(tmp_path: Path) -> None:
    inputs = [torch.arange(8.0).view(4, 2) + 10 * rank for rank in range(2)]
    torch.save(inputs, tmp_path / "x.pt")
    saved_graph(tmp_path / "graph.pt", every_operator(2))
    artifact = fx2py.generate(tmp_path / "graph.pt", options=WHOLE, inputs=((inputs[0],), {}))
    assert names_of_compiled(artifact) == ["submod_0"], artifact.manifest.notes
    artifact.write(tmp_path / "code")
    results = call_ranks(2, run_every_operator, folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results
    assert not any("unwaited" in result.err for result in results)


# -- one tensor under two names ---------------------------------------------------------------------------------------


def waits_and_writes(graph: fx.Graph, x: fx.Node) -> fx.Node:
    """What a piece waited for is its argument, which it then changes in place."""
    return graph.call_method("relu_", (graph.call_function(wait, (x,)),))


def waits_and_uses_the_older_name(graph: fx.Graph, x: fx.Node) -> tuple[fx.Node, fx.Node]:
    reduced = graph.call_function(functional.all_reduce.default, (x, "sum", "0"))
    graph.call_method("add_", (graph.call_function(wait, (reduced,)), 1))
    return reduced, graph.call_function(torch.relu, (reduced,))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (waits_and_writes, "it changes what it is given in place"),
        (waits_and_uses_the_older_name, "it waits for a tensor and then uses it by an older name"),
    ],
)
def test_what_was_waited_for_is_the_tensor_that_was_waited_for(
    build: object, reason: str, tmp_path: Path
) -> None:
    saved_graph(tmp_path / "graph.pt", build)  # type: ignore[arg-type]
    artifact = fx2py.generate(tmp_path / "graph.pt", options=WHOLE, inputs=((torch.ones(2),), {}))
    assert names_of_compiled(artifact) == []
    assert artifact.manifest.notes == (f"submod_0 stays generated code: {reason}",)


def test_a_write_to_what_an_earlier_piece_waited_for_is_a_write_to_its_memory(tmp_path: Path) -> None:
    def build(graph: fx.Graph, x: fx.Node) -> tuple[fx.Node, fx.Node]:
        reduced = graph.call_function(functional.all_reduce.default, (x, "sum", "0"))
        view = graph.call_method("view", (reduced, -1))
        cut = graph.call_function(torch.sin, (x,))
        waited = graph.call_function(wait, (reduced,))
        return graph.call_method("add_", (waited, cut)), view

    saved_graph(tmp_path / "graph.pt", build)
    options = fx2py.GenerateOptions(compile="inductor", split_at=("torch.sin",))
    artifact = fx2py.generate(tmp_path / "graph.pt", options=options, inputs=((torch.ones(2),), {}))
    assert names_of_compiled(artifact) == ["submod_1"]
    assert "a piece writes to memory that its results share" in artifact.manifest.notes[0]


# -- the groups that stand in while compiling -------------------------------------------------------------------------


def groups_by_name(*names: str) -> list[int | None]:
    """The size of the group of each name, None where there is none."""
    sizes: list[int | None] = []
    for name in names:
        try:
            sizes.append(_resolve_process_group(name).size())
        except RuntimeError:
            sizes.append(None)
    return sizes


def test_groups_are_as_large_as_recorded_and_gone_afterwards() -> None:
    calls = [
        Collective("all_reduce", "pair"),
        Collective("all_gather_into_tensor", "four", 4),
        Collective("all_reduce", "four"),
        Collective("shard_dim_alltoall", "unknown"),
    ]
    with fake_groups(calls):
        assert groups_by_name("pair", "four", "unknown") == [2, 4, None]
    assert groups_by_name("pair", "four", "unknown") == [None] * 3


def compile_between_live_groups() -> None:
    """A live group that has the recorded name is there again, and was never asked to communicate."""
    dist.init_process_group("gloo")
    if dist.get_rank() == 0:
        artifact = fx2py.generate("graph.pt", options=WHOLE, inputs=((torch.ones(2),), {}))
        assert names_of_compiled(artifact) == ["submod_0"], artifact.manifest.notes
    assert _resolve_process_group("0") is dist.group.WORLD
    dist.barrier()
    dist.destroy_process_group()


def test_one_rank_compiles_alone_while_the_groups_are_live(tmp_path: Path) -> None:
    saved_graph(tmp_path / "graph.pt", all_reduce("0"))
    results = call_ranks(2, compile_between_live_groups, folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results
