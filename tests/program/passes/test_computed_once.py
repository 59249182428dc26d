"""What depends on no input is computed once, and again when it could be something else."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.optimizer import _global_optimizer_post_hooks
from torch.utils._python_dispatch import TorchDispatchMode

import fx2py
from fx2py.program.ir import COMPUTE_ONCE
from tests.folders import imported
from tests.graph.wrappers import Cloned, Flattened, Layer, Quantized, quantized

OPTIMIZED = fx2py.GenerateOptions(optimize=True)
X = torch.arange(8.0).view(2, 4)


class Positions(torch.nn.Module):
    """An embedding of positions, as transformers have it; ``change`` is applied to it and the input."""

    def __init__(self, change: Callable[..., Any] = lambda module, positions, x: x + positions) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(6, 4))
        self.register_buffer("count", torch.zeros(4))
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        positions = torch.nn.functional.embedding(torch.arange(2, device=x.device), self.table)
        return self.change(self, positions, x)


def generated(module: torch.nn.Module, *args: torch.Tensor) -> fx2py.Artifact:
    program = torch.export.export(module, args or (X,))
    artifact = fx2py.generate(program, options=OPTIMIZED)
    assert fx2py.diff(program, artifact).equal
    return artifact


def moved(artifact: fx2py.Artifact) -> list[str]:
    return [item.node for item in artifact.manifest.optimizations if item.pass_name == "computed_once"]


class Seen(TorchDispatchMode):
    """The operators that a mode sees."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operators_run(execute: Callable[..., Any]) -> int:
    """How many operators a call runs that no mode watches."""
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        execute(X)
    return sum(
        event.name.startswith("aten::") and event.cpu_parent is None for event in profile.function_events
    )


def test_what_depends_on_no_input_is_a_function_of_its_own_and_runs_once() -> None:
    artifact = generated(Positions())
    assert moved(artifact) == ["arange", "embedding"]
    assert "def compute_once(*, weights, consts):" in artifact.source
    execute = artifact.bind()
    with torch.no_grad():
        execute(X)
    assert operators_run(execute) == 1


def test_a_written_folder_computes_once_without_fx2py(tmp_path) -> None:
    module = Positions()
    generated(module).write(tmp_path / "out")
    execute = imported(tmp_path / "out").load()
    assert torch.equal(execute(X), module(X))
    with torch.no_grad():
        execute(X)
    assert operators_run(execute) == 1
    assert torch.equal(fx2py.open_artifact(tmp_path / "out").bind()(X), module(X))


# -- computed anew


def test_a_weight_that_was_written_to_counts_at_once() -> None:
    module = Positions()
    execute = generated(module).bind()
    with torch.no_grad():
        execute(X)
        module.table.mul_(2)
        assert torch.equal(execute(X), module(X))
        module.table.data = torch.ones(6, 4)
        assert torch.equal(execute(X), module(X))
        module.load_state_dict({"table": torch.zeros(6, 4), "count": torch.zeros(4)})
        assert torch.equal(execute(X), X)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
def test_a_step_of_a_fused_optimizer_counts_though_torch_does_not_count_it(optimizer: Any) -> None:
    module = Positions()
    execute = generated(module).bind()
    with torch.no_grad():
        execute(X)
    module.table.grad = torch.ones(6, 4)
    version = module.table._version
    optimizer([module.table], lr=0.5, fused=True).step()
    assert module.table._version == version
    with torch.no_grad():
        assert torch.equal(execute(X), module(X))


def test_code_that_is_gone_no_longer_counts_steps() -> None:
    before = len(_global_optimizer_post_hooks)
    execute = generated(Positions()).bind()
    assert len(_global_optimizer_post_hooks) == before + 1
    del execute
    gc.collect()
    assert len(_global_optimizer_post_hooks) == before


def test_gradients_reach_a_weight_that_was_read_once() -> None:
    module = Positions()
    execute = generated(module).bind()
    with torch.no_grad():
        execute(X)
    for _ in range(2):
        module.table.grad = None
        execute(X).sum().backward()
        assert module.table.grad is not None
        assert module.table.grad[:2].eq(1).all()


def test_the_default_dtype_of_a_call_is_that_of_its_own_time() -> None:
    class Halves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(4, device=x.device) / 2

    execute = generated(Halves()).bind()
    assert execute(X.double()).dtype is torch.float64
    try:
        torch.set_default_dtype(torch.float64)
        assert execute(X).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert execute(X).dtype is torch.float32


def test_results_of_inference_mode_are_not_kept_for_training() -> None:
    module = Positions().requires_grad_(False)
    execute = generated(module).bind()
    with torch.inference_mode():
        execute(X)
    x = X.clone().requires_grad_()
    (execute(x) * execute(x)).sum().backward()
    assert x.grad is not None


def test_what_a_mode_sees_is_not_kept() -> None:
    execute = generated(Positions()).bind()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad():
        execute(fake.from_tensor(X))
    with torch.no_grad():
        assert type(execute(X)) is torch.Tensor


def test_what_looks_on_sees_what_was_computed_before() -> None:
    module = Positions()
    execute = generated(module).bind()
    with torch.no_grad():
        execute(X)
        with Seen() as seen:
            execute(X)
        assert seen.names == ["aten.arange.default", "aten.embedding.default", "aten.add.Tensor"]
        traced = make_fx(lambda x: execute(x))(X)
        module.table.fill_(5)
        assert torch.equal(traced(X), module(X))


def test_a_weight_in_another_layout_counts_though_nothing_is_written() -> None:
    class Square(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.arange(4.0).view(2, 2), requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2] + self.table * self.table.cumsum(1)

    module = Square()
    execute = generated(module).bind()
    execute(X)
    module.table.data = module.table.data.t()
    assert torch.equal(execute(X), module(X))


def test_a_weight_that_comes_back_to_the_same_place_counts() -> None:
    module = Positions().requires_grad_(False)
    execute = generated(module).bind()
    for number in range(20):
        execute(X)
        module.table.data = torch.empty(0)
        module.table.data = torch.full((6, 4), float(number))
        assert torch.equal(execute(X), module(X))


# -- what stays


def stays(change: Callable[..., Any]) -> None:
    artifact = generated(Positions(change))
    assert COMPUTE_ONCE not in artifact.source


def test_what_is_returned_stays() -> None:
    stays(lambda module, positions, x: (positions, x + positions))


def test_what_is_returned_as_a_view_stays() -> None:
    stays(lambda module, positions, x: (positions.t(), x + positions))


def test_what_is_written_to_stays() -> None:
    stays(lambda module, positions, x: positions.add_(x) * 2)


def test_what_reads_a_weight_that_is_written_to_stays() -> None:
    def change(module: Any, positions: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        module.count.add_(1)
        return x + module.count.neg().exp()

    artifact = generated(Positions(change))
    assert not {"neg", "exp"} & set(moved(artifact))


def test_what_reads_a_weight_stays_beside_writes_to_an_input() -> None:
    stays(lambda module, positions, x: x.add_(1) + positions)


def test_random_numbers_stay() -> None:
    class Noise(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(4, device=x.device).mul(2).add(1)

    assert moved(fx2py.generate(torch.export.export(Noise(), (X,)), options=OPTIMIZED)) == []


def test_writes_to_what_moves_move_with_it() -> None:
    class Summed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            positions = torch.zeros(4, dtype=torch.float32, device=x.device)
            positions.add_(torch.arange(4, device=x.device))
            return x + positions * 2

    artifact = generated(Summed())
    assert moved(artifact) == ["zeros", "arange", "add_", "mul"]
    execute = artifact.bind()
    assert torch.equal(execute(X), execute(X))


def test_large_results_are_not_kept() -> None:
    class Large(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum() + torch.arange(2**18, device=x.device).neg().abs()

    assert moved(generated(Large())) == []


def test_a_mask_on_the_same_device_keeps_nothing_from_being_computed_once() -> None:
    class Masked(torch.nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            causal = torch.arange(4, device=x.device) + torch.arange(2, device=x.device)[:, None]
            return x * (causal > 1) * mask.to(x.device, torch.bool)

    assert "arange" in moved(generated(Masked(), X, torch.ones(2, 4, dtype=torch.int64)))


@pytest.mark.parametrize("recorded", [False, True])
def test_torch_compile_takes_the_code_as_one_graph(recorded: bool) -> None:
    module = Positions()
    execute = generated(module).bind()
    with torch.set_grad_enabled(recorded):
        execute(X)
        compiled = torch.compile(execute, backend="eager", fullgraph=True)
        assert torch.equal(compiled(X), module(X))
        with torch.no_grad():
            module.table.add_(1)
        assert torch.equal(compiled(X), module(X))


def test_results_are_not_kept_where_a_weight_changes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Positions()
    execute = generated(module).bind()
    embedding = torch.embedding

    def disturbed(*args: Any, **kwargs: Any) -> torch.Tensor:
        result = embedding(*args, **kwargs)
        module.table.add_(1)
        return result

    with torch.no_grad():
        monkeypatch.setattr(torch, "embedding", disturbed)
        execute(X)
        monkeypatch.undo()
        assert torch.equal(execute(X), module(X))


LAYOUTS = {
    "coo": torch.Tensor.to_sparse,
    "csr": torch.Tensor.to_sparse_csr,
    "csc": torch.Tensor.to_sparse_csc,
    "bsr": lambda dense: dense.to_sparse_bsr((2, 2)),
    "bsc": lambda dense: dense.to_sparse_bsc((2, 2)),
    "mkldnn": torch.Tensor.to_mkldnn,
}


class Sparse(Positions):
    """Positions beside a weight that has no storage, which it reads in a way that depends on no input."""

    def __init__(self, layout: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(lambda module, positions, x: (x @ module.adjacency.to_dense(), positions + 1))
        self.register_buffer("adjacency", layout(torch.eye(4)))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_what_reads_a_weight_without_a_storage_stays(layout: Callable[[torch.Tensor], torch.Tensor]) -> None:
    artifact = generated(Sparse(layout))
    execute = artifact.bind()
    first, second = execute(X), execute(X)
    assert torch.equal(first[0], X)
    assert torch.equal(first[0], second[0])
    assert "to_dense" not in moved(artifact)


def test_sparse_inputs_of_optimized_code() -> None:
    class Product(torch.nn.Module):
        def forward(self, adjacency: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return torch.sparse.mm(adjacency, x).relu().to(torch.float32)

    artifact = generated(Product(), torch.eye(2).to_sparse(), X)
    assert torch.equal(artifact.bind()(torch.eye(2).to_sparse(), X), X)


@pytest.mark.parametrize("cls", [Flattened, Cloned])
def test_weight_of_a_class_of_its_own(cls: type[Quantized]) -> None:
    artifact = generated(Layer(quantized(cls)))
    assert artifact.bind()(X).shape == (2, 3)
