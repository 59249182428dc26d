"""Models compiled while torch logs: what it logged, and the graphs that it logged, live, with what they were called on."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils import _pytree as pytree

import fx2py
from fx2py.graph.data import GraphData, Node, TensorMeta
from fx2py.read import open_graph


@dataclass
class Captured:
    """A graph that a compiler was given: as data, live, and the arguments of its first call."""

    data: GraphData
    live: torch.fx.GraphModule
    args: list[Any] = field(default_factory=list)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("scale", torch.arange(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.dropout(self.norm(self.linear(x)), 0.5, self.training)
        return torch.utils.checkpoint.checkpoint(
            lambda y: y.sin() * self.scale, x, use_reentrant=False
        ).relu()


def _train(function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[Any], None]:
    """Compile, call, and run the backward pass of the result."""

    def run(backend: Any) -> None:
        result = torch.compile(function, backend=backend, fullgraph=True, **options)(*args)
        leaves = [
            leaf
            for leaf in pytree.tree_leaves(result)
            if isinstance(leaf, torch.Tensor) and leaf.requires_grad
        ]
        if leaves:
            total: Any = sum(leaf.abs().sum() for leaf in leaves)
            total.backward()

    return run


def _input(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def _changed(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(y)
    x[0] = y[1]
    return x.view(-1) * y.sum()


def _cond(flag: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.cond(flag, lambda x: x.sin() + 1, lambda x: x.cos(), (x,)) * 2


def _loop(x: torch.Tensor) -> Any:
    from torch._higher_order_ops.while_loop import while_loop

    return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), x))


@torch.compiler.nested_compile_region
def _region(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ w)


def _regions(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return _region(_region(x, w), w).sum()


def _numbers(x: torch.Tensor) -> Any:
    return (
        torch.complex(x, x) * (2 - 3j),
        x.to(torch.float64) * float("inf"),
        -(2**x),
        x // -0.0,
        x[..., None, ::2],
    )


def _random(x: torch.Tensor) -> Any:
    return (
        torch.rand_like(x) + torch.randn(3, 4, dtype=torch.float64),
        torch.randint(0, 9, (3,)),
        torch.bernoulli(x.sigmoid()),
    )


def _mixed(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = x @ x
    with torch.no_grad():
        z = y.cos()
    return y + z


def _constants(x: torch.Tensor) -> torch.Tensor:
    return x[torch.tensor([1, 0])] * torch.tensor(0.125) + torch.tensor([1.5, 2.5, 3.5, 4.5])


def _unbacked(n: torch.Tensor, x: torch.Tensor) -> Any:
    size: Any = n.item()
    return torch.zeros(size), x.nonzero() * 2, x[x > 0].sum()


def _sizes(x: torch.Tensor, n: int) -> Any:
    return x.view(-1, n) * x.shape[0], x.shape[0] // 2 + n, x.new_ones(x.shape[0] * 2, n).sum()


def _bert(backend: Any) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    model = BertModel(config).train()
    result = torch.compile(model, backend=backend)(torch.arange(12).view(2, 6))
    result.pooler_output.sum().backward()


MODELS: dict[str, Callable[[Any], None]] = {
    "training": _train(Block(), _input(5, 4)),
    "training, sizes that vary": _train(Block(), _input(5, 4), dynamic=True),
    "inference": _train(Block().eval().requires_grad_(False), torch.randn(5, 4)),
    "in place": _train(_changed, torch.randn(3, 4), torch.randn(3, 4)),
    "branches": _train(_cond, torch.tensor(True), _input(3)),
    "loop": _train(_loop, torch.randn(3)),
    "regions": _train(_regions, _input(3, 3), torch.randn(3, 3)),
    "numbers": _train(_numbers, torch.randn(3, 4)),
    "random": _train(_random, torch.randn(3, 4)),
    "modes": _train(_mixed, _input(3, 3)),
    "constants": _train(_constants, _input(2, 4)),
    "unbacked sizes": _train(_unbacked, torch.tensor(3), torch.randn(4)),
    "symbolic sizes": _train(_sizes, torch.randn(6, 4), 3, dynamic=True),
    "bert": _bert,
}


def captured(model: Callable[[Any], None], folder: Path) -> tuple[dict[str, Captured], Path, Path]:
    """The graphs of dynamo and AOTAutograd while ``model`` is compiled, by kind; the log and the structured trace."""
    graphs: dict[str, Captured] = {}

    def recording(kind: str, gm: torch.fx.GraphModule, call: Callable[..., Any]) -> Callable[..., Any]:
        kept = graphs[kind] = Captured(open_graph(gm), gm)

        def run(*args: Any) -> Any:
            if not kept.args:
                kept.args.append(_copies(args))
            return call(*args)

        return run

    def compiler(kind: str) -> Callable[..., Any]:
        return lambda gm, inputs: make_boxed_func(recording(kind, gm, gm))

    lower = aot_autograd(
        fw_compiler=compiler("forward"),
        bw_compiler=compiler("backward"),
        inference_compiler=compiler("forward"),
    )

    def backend(gm: torch.fx.GraphModule, inputs: Any) -> Any:
        kept = Captured(open_graph(gm), gm)
        graphs.clear()  # dynamo may capture anew, and the last graph of each kind is meant
        graphs["dynamo"] = kept
        lowered = lower(gm, inputs)

        def run(*args: Any) -> Any:
            if not kept.args:
                kept.args.append(_copies(args))
            return lowered(*args)

        return run

    log, traces = folder / "run.log", folder / "traces"
    with (
        _logging(log, traces),
        torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True),
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        torch._dynamo.reset()
        model(backend)
    (trace,) = traces.glob("*.log")
    return graphs, log, trace


def _copies(args: Any) -> Any:
    return pytree.tree_map(
        lambda leaf: (
            leaf.detach().clone().requires_grad_(leaf.requires_grad)
            if isinstance(leaf, torch.Tensor)
            else leaf
        ),
        args,
    )


@contextlib.contextmanager
def _logging(log: Path, traces: Path) -> Iterator[None]:
    """Lets torch log its graphs to a file and its structured trace to a folder."""
    text = io.StringIO()
    internal = torch._logging._internal
    handler = internal.LazyTraceHandler(str(traces))
    with mock.patch.object(internal, "LOG_TRACE_HANDLER", handler), contextlib.redirect_stderr(text):
        torch._logging.set_logs(graph_code=True, aot_graphs=True)
        try:
            yield
        finally:
            internal.trace_log.removeHandler(handler)
            handler.close()
    torch._logging.set_logs()
    log.write_text(text.getvalue())


KINDS = {
    "__compiled_fn": "dynamo",
    "dynamo_output_graph": "dynamo",
    "Forward graph": "forward",
    "aot_forward_graph": "forward",
    "aot_inference_graph": "forward",
    "Backward graph": "backward",
    "aot_backward_graph": "backward",
}


def kind_of(name: str) -> str | None:
    """Which of the captured graphs a name in a log means; None for one that no compiler was given."""
    return next((kind for part, kind in KINDS.items() if part in name), None)


def same_graph(data: GraphData, captured: Captured) -> None:
    """Assert that a graph read from text is the live one, node by node, and computes the same."""
    live = [node for node in captured.data.graph.nodes if not _is_tensor(node, captured.live)]
    state = [node for node in captured.data.graph.nodes if _is_tensor(node, captured.live)]
    names = {node.name for node in state}
    read = [node for node in data.graph.nodes if node.name not in names]
    assert [_said(node) for node in read] == [_said(node) for node in live]
    for one, other in zip(read, live, strict=True):
        _same_meta(one, other)
    inputs = [node for node in data.graph.placeholders if node.name in names]
    targets = {node.name: str(node.target) for node in state}
    held = [_attribute(captured.live, targets[node.name]) for node in inputs]
    if captured.args:
        _same_results(data, captured, held)


def _is_tensor(node: Node, module: nn.Module) -> bool:
    return node.op == "get_attr" and isinstance(_attribute(module, str(node.target)), torch.Tensor)


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _said(node: Node) -> tuple[str, ...]:
    return node.op, node.name, repr(node.target), repr(node.args), repr(node.kwargs)


def _same_meta(read: Node, live: Node) -> None:
    one, other = read.meta.value, live.meta.value
    if isinstance(one, TensorMeta) and isinstance(other, TensorMeta):
        assert (one.dtype, one.device) == (other.dtype, other.device), read.name
        assert len(one.shape) == len(other.shape), read.name
        assert all(map(_same_size, one.shape, other.shape)), (read.name, one.shape, other.shape)

    if live.meta.source is not None and read.op not in ("placeholder", "output"):
        assert read.meta.source is not None, read.name


def _same_size(one: int | str, other: int | str) -> bool:
    """Whether two sizes are equal, as numbers or as expressions with as many parentheses as one likes."""
    return ast.dump(ast.parse(str(one))) == ast.dump(ast.parse(str(other)))


def _same_results(data: GraphData, captured: Captured, held: list[Any]) -> None:
    expected_args, args = _copies(captured.args[0]), _copies(captured.args[0])
    code = fx2py.generate(data).bind()
    torch.manual_seed(0)
    expected = captured.live(*expected_args)
    torch.manual_seed(0)
    result = code(*held, *args)
    for one, other in zip(
        pytree.tree_leaves((result, args)), pytree.tree_leaves((expected, expected_args)), strict=True
    ):
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == other
