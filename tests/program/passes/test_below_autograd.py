"""Generated code leaves autograd's layers out where nobody could see a difference, and nowhere else."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import fx2py
from tests.checking import assert_same
from tests.conformance.judge import every_graph_below_autograd
from tests.folders import imported

X = torch.arange(8.0).view(2, 4) / 7
Change = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], Any]


class Deep(torch.nn.Module):
    """Enough operators for the checks to pay, views and writes among them; ``change`` makes the result."""

    def __init__(self, change: Change = lambda module, x, y: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(4))
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        y = x
        for _ in range(6):
            y = self.inner(y).view(4, 2).transpose(0, 1).reshape(2, 4)
            y = torch.nn.functional.relu_(y + 1) * 0.5
        return self.change(self, x, y)


def generated(change: Change = lambda module, x, y: y, **options: Any) -> fx2py.Artifact:
    program = torch.export.export(Deep(change), (X,))
    artifact = fx2py.generate(program, options=fx2py.GenerateOptions(**options))
    assert fx2py.diff(program, artifact).equal
    return artifact


def is_marked(artifact: fx2py.Artifact) -> bool:
    passes = [item.pass_name for item in artifact.manifest.optimizations]
    assert ("return runtime.below_autograd(" in str(artifact.tables)) == ("below_autograd" in passes)
    return "below_autograd" in passes


@pytest.fixture
def below(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """One entry for each time that code went below autograd."""
    entered: list[bool] = []
    layers = torch._C._AutoDispatchBelowADInplaceOrView

    def enter() -> Any:
        entered.append(True)
        return layers()

    monkeypatch.setattr(torch._C, "_AutoDispatchBelowADInplaceOrView", enter)
    return entered


@pytest.mark.parametrize("optimize", [False, True])
def test_without_gradients_the_layers_are_left_out_and_the_bits_are_the_same(optimize, below) -> None:
    artifact = generated(optimize=optimize)
    assert is_marked(artifact)
    execute = artifact.bind()
    recorded = execute(X)
    assert recorded.requires_grad
    assert not below
    with torch.no_grad():
        assert_same(execute(X), recorded.detach(), "result")
    assert below


def test_a_result_can_be_used_with_gradients_afterwards() -> None:
    execute = generated().bind()
    with torch.no_grad():
        result = execute(X)
    weight = torch.ones(4, requires_grad=True)
    result.mul_(weight).sum().backward()
    assert weight.grad is not None


class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Wrapped(torch.Tensor):
    """A subclass of which torch's functions are overridden."""


class Everything(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def in_forward_mode(execute: Callable[..., Any]) -> Any:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, torch.ones_like(X))
        return forward_ad.unpack_dual(execute(dual)).tangent


ABOVE: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "a dispatch mode": lambda execute: _within(Watch(), execute),
    "a function mode": lambda execute: _within(Everything(), execute),
    "inference mode": lambda execute: _within(torch.inference_mode(), execute),
    "a tensor subclass": lambda execute: execute(X.as_subclass(Wrapped)),
    "vmap": lambda execute: torch.vmap(execute)(X.expand(3, 2, 4)),
    "jvp": lambda execute: torch.func.jvp(execute, (X,), (torch.ones_like(X),)),
    "forward mode": in_forward_mode,
    "make_fx": lambda execute: make_fx(lambda x: execute(x))(X)(X),
    "torch.compile": lambda execute: torch.compile(execute, backend="eager", fullgraph=True)(X),
    "a number to be negated": lambda execute: execute(torch.complex(X, X).conj().imag),
}


def _within(context: Any, execute: Callable[..., Any]) -> Any:
    with context:
        return execute(X)


@pytest.mark.parametrize("name", ABOVE)
def test_what_looks_on_sees_every_layer(name: str, below: list[bool]) -> None:
    execute, exact = generated().bind(), generated(exact_ops=True).bind()
    with torch.no_grad():
        assert_same(ABOVE[name](execute), ABOVE[name](exact), "result")
    assert not below


def test_on_another_device_than_cpu_and_cuda_every_layer_is_there(below: list[bool]) -> None:
    execute = generated().bind(device="meta")
    with torch.no_grad():
        assert execute(X.to("meta")).shape == X.shape
    assert not below


@pytest.mark.skipif(torch.__version__ < "2.11", reason="torch 2.10 keeps casts that record no gradient")
def test_autocast_keeps_casts_that_record_gradients(below: list[bool]) -> None:
    artifact = generated()
    execute = artifact.bind()
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            execute(X)
        execute(X).sum().backward()
    assert not below
    assert artifact.program is not None
    parameters = [weight.tensor for weight in artifact.program.weights if weight.tensor.requires_grad]
    assert parameters
    assert all(parameter.grad is not None for parameter in parameters)


def test_random_operators_draw_the_same_numbers() -> None:
    def drop(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(y, 0.5, training=True) * 2

    artifact = generated(drop)
    assert is_marked(artifact)
    with torch.no_grad():
        results = []
        for execute in (artifact.bind(), generated(drop, exact_ops=True).bind()):
            torch.manual_seed(1)
            results.append(execute(X))
    assert_same(*results, "result")


def count(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    module.count.add_(1)
    return y


def write(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    return y


UNPROVEN: dict[str, Change] = {
    "a buffer is written to": count,
    "an input is written to": write,
    "a view of an input is returned": lambda module, x, y: (y, x.transpose(0, 1)),
    "a view of a weight is returned": lambda module, x, y: (y, module.inner.weight[0]),
    "two results share memory": lambda module, x, y: (y, y[0]),
    "one result holds several tensors": lambda module, x, y: y.unbind(0),
    "an operator is in no table": lambda module, x, y: torch.cond(y.sum() > 0, torch.sin, torch.cos, (y,)),
    "a result is made of memory that nothing wrote": lambda module, x, y: torch.empty_like(y).fill_(0) + y,
}


@pytest.mark.parametrize("name", UNPROVEN)
def test_code_runs_as_it_stands_where(name: str) -> None:
    assert not is_marked(generated(UNPROVEN[name]))


def test_what_a_caller_passes_may_be_returned_as_it_is(below: list[bool]) -> None:
    execute = generated(lambda module, x, y: (x, y, x)).bind()
    with torch.no_grad():
        first, _, last = execute(X)
    assert below
    assert first is X
    assert last is X


def test_exact_operators_keep_every_layer() -> None:
    assert not is_marked(generated(exact_ops=True))


def test_a_short_graph_is_not_worth_the_checks() -> None:
    program = torch.export.export(torch.nn.Linear(4, 4), (X,))
    assert not is_marked(fx2py.generate(program))


def test_writes_to_inputs_are_counted_as_torch_counts_them() -> None:
    ours, theirs = X.clone(), X.clone()
    with torch.no_grad():
        generated(write).bind()(ours)
        Deep(write)(theirs)
    assert ours._version == theirs._version


def test_a_write_to_an_operand_by_keyword_is_seen() -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch.ops.aten.add_.Tensor, (), {"self": x, "other": 1})
    graph.output(graph.call_function(torch.ops.aten.mul.Tensor, (x, 2)))
    with every_graph_below_autograd():
        execute, given = fx2py.generate(torch.fx.GraphModule({}, graph)).bind(), X.clone()
    with torch.no_grad():
        execute(given)
    assert given._version == 1


def test_an_operator_that_is_replaced_where_autograd_runs_is_called(below: list[bool]) -> None:
    artifact, calls = generated(), []

    def relu_(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        with torch._C._AutoDispatchBelowAutograd():
            return torch.relu_(x)

    with torch.library._scoped_library("aten", "IMPL") as library, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        library.impl("relu_", relu_, "AutogradCPU")
        artifact.bind()(X)
    assert calls
    assert not below


def test_a_list_that_holds_itself_is_refused_as_ever() -> None:
    endless: list[Any] = []
    endless.append(endless)
    execute = generated().bind()
    with torch.no_grad(), pytest.raises(ValueError, match="not a list of 1"):
        execute(endless)


def test_inputs_in_containers_are_looked_at_too(below: list[bool]) -> None:
    class Nested(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = Deep()

        def forward(self, given: dict[str, list[torch.Tensor]]) -> torch.Tensor:
            return self.deep(given["x"][0])

    execute = fx2py.generate(torch.export.export(Nested(), ({"x": [X]},))).bind()
    with torch.no_grad():
        execute({"x": [X]})
        assert len(below) == 1
        execute({"x": [X.as_subclass(Wrapped)]})
    assert len(below) == 1


@pytest.mark.parametrize("edit", [False, True])
def test_edited_code_runs_as_it_stands(edit: bool, tmp_path: Path, below: list[bool]) -> None:
    folder = tmp_path / "out"
    generated().write(folder)
    if edit:
        source = (folder / "execution_fn.py").read_text()
        (folder / "execution_fn.py").write_text(source.replace("* 0.5", "* 0.25"))
    with torch.no_grad():
        fx2py.open_artifact(folder).bind()(X)
    assert bool(below) is not edit


def test_a_folder_alone_leaves_the_layers_out_too(tmp_path: Path, below: list[bool]) -> None:
    generated().write(tmp_path / "out")
    execute = imported(tmp_path / "out").load()
    with torch.no_grad():
        result = execute(X)
    assert below
    assert_same(result, execute(X).detach(), "result")
    listed = json.loads((tmp_path / "out" / "manifest.json").read_text())["optimizations"]
    assert [item["pass_name"] for item in listed] == ["below_autograd"]


def test_weights_that_are_not_plain_keep_every_layer(below: list[bool]) -> None:
    artifact = generated()
    tensors = {name: tensor.detach().as_subclass(Wrapped) for name, tensor in artifact.tensors.items()}
    execute = artifact.binder()(tensors, {})
    with torch.no_grad():
        execute(X)
    assert not below
