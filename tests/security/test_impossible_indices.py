"""Indices that index nothing, in files that nobody trusts: refused, by kernels that would otherwise leave their tensors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fx2py
from fx2py.errors import UntrustedTargetError
from fx2py.graph.values import Name, OpName
from fx2py.trust import Policy
from fx2py.trust.checked_kernels import checked_kernels
from fx2py.trust.operators import INDICES_UNCHECKED
from tests.security.index_survey import admitted_overloads, calls_by_hand, recorded_of, try_overload

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the survey forks, and guards memory by mmap")

ATEN = torch.ops.aten
FAR = 3 * 10**9
CHECKED = (
    *("_embedding_bag", "_embedding_bag_backward", "_embedding_bag_dense_backward", "_ctc_loss"),
    *("_embedding_bag_per_sample_weights_backward", "embedding_dense_backward", "nll_loss_backward"),
    *("max_pool2d_with_indices_backward", "adaptive_max_pool3d_backward", "linalg_ldl_solve"),
)
PACKED = tuple(f"quantized::embedding_bag_{width}_rowwise_offsets" for width in ("byte", "4bit", "2bit"))
CHECKED_BY_TORCH = ("take", "gather", "index_select", "scatter_add", "embedding", "index_put")


def saved(folder: Path, build: Callable[[fx.Graph, fx.Node], Any], *inputs: Any) -> Path:
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    path = folder / "graph.pt"
    torch.save(fx.GraphModule(nn.Module(), graph), path)
    torch.save(inputs or (torch.ones(2),), folder / "in.pt")
    return path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which a kernel may end."""
    called = [sys.executable, "-m", "fx2py", *arguments, "graph.pt", "--inputs", "in.pt"]
    return subprocess.run(called, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [*CHECKED, *CHECKED_BY_TORCH, *PACKED])
def test_an_admitted_operator_leaves_no_tensor(name: str) -> None:
    full = f"{name}.default" if "::" in name else f"aten::{name}.default"
    calls = {**recorded_of(name), **calls_by_hand()}.get(full, [])
    with checked_kernels():
        outcome = try_overload(full, admitted_overloads()[full], calls)
    assert outcome.working > 0
    assert outcome.tried > 10
    assert outcome.faults == ()


def test_without_the_checks_the_survey_finds_the_fault() -> None:
    full = "aten::_embedding_bag_per_sample_weights_backward.default"
    outcome = try_overload(full, admitted_overloads()[full], recorded_of("_embedding_bag")[full])
    assert {signal for signal, _ in outcome.faults} <= {"SIGSEGV", "SIGBUS", "SIGABRT"}
    assert outcome.faults


@pytest.mark.parametrize("name", sorted(INDICES_UNCHECKED))
def test_an_operator_that_believes_indices_is_withheld_by_every_name(name: str) -> None:
    for target in (OpName("aten", name, "default"), Name("torch", name), Name("torch._VF", name)):
        with pytest.raises(UntrustedTargetError):
            Policy().check(target)


@pytest.mark.parametrize("more", [[], ["--trust"]])
@pytest.mark.parametrize("verb", ["run", "diff"])
def test_a_sparse_tensor_beyond_its_size_is_refused_before_it_is_read(
    tmp_path: Path, verb: str, more: list[str]
) -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        sparse = graph.call_function(torch.sparse_coo_tensor, ([[FAR]], [1.0], (2,)))
        return sparse if more else graph.call_method("to_dense", (sparse,))

    saved(tmp_path, build)
    done = command(tmp_path, verb, *more)
    refused = "size is inconsistent with indices" in done.stdout + done.stderr
    assert refused != bool(more)
    assert done.returncode in (0, 2, 3)


@pytest.mark.parametrize("target", [torch.sparse_coo_tensor, torch.sparse_csr_tensor])
@pytest.mark.parametrize("value", [False, 0, "computed"])
def test_a_file_cannot_switch_the_checks_off(tmp_path: Path, target: Any, value: Any) -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        given = graph.call_function(len, (x,)) if value == "computed" else value
        return graph.call_function(target, ([[0]], [1.0], (2,)), {"check_invariants": given})

    path = saved(tmp_path, build)
    with pytest.raises(UntrustedTargetError, match="check_invariants"):
        fx2py.diff(path, fx2py.generate(path), (torch.ones(2),))
    with pytest.raises(UntrustedTargetError, match="check_invariants"):
        fx2py.generate(path).bind()
    assert command(tmp_path, "run").returncode == 2


def test_what_models_need_works_as_before() -> None:
    def results() -> list[torch.Tensor]:
        torch.manual_seed(0)
        table = torch.randn(5, 3, requires_grad=True)
        bags = [
            F.embedding_bag(torch.tensor([0, 4, 4]), table, torch.tensor([0, 2]), mode=mode)
            for mode in ("sum", "max")
        ]
        image = torch.randn(1, 2, 6, 6, requires_grad=True)
        logits = torch.randn(3, 4, requires_grad=True)
        losses = [
            *(bag.sum() for bag in bags),
            F.embedding(torch.tensor([1, 0]), table, padding_idx=0).sum(),
            F.max_pool2d(image, 2).sum(),
            F.adaptive_max_pool2d(image, 2).sum(),
            F.cross_entropy(logits, torch.tensor([0, 3, -100])),
        ]
        torch.autograd.backward(losses)
        made = torch.repeat_interleave(torch.arange(3), torch.tensor([1, 0, 2]), output_size=3)
        return [*losses, table.grad, image.grad, logits.grad, made, torch.eye(3).to_sparse() @ torch.ones(3)]

    expected = results()
    with checked_kernels():
        checked = results()
    assert all(torch.equal(one, other) for one, other in zip(expected, checked, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(expected, results(), strict=True))


def test_the_checks_end() -> None:
    with checked_kernels(), pytest.raises(IndexError, match="pivot 9 is out of range: from 1 to 3"):
        torch.linalg.ldl_solve(torch.eye(3), torch.tensor([1, 2, 9], dtype=torch.int32), torch.ones(3, 1))
    assert not torch.sparse.check_sparse_tensor_invariants.is_enabled()
    assert ATEN.nll_loss_backward(
        torch.ones(()), torch.ones(1, 3), torch.tensor([0]), None, 1, -100, torch.ones(())
    ).any()
