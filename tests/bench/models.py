"""Exported models of small width, whose time is mostly dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import exp, log
from time import thread_time
from typing import Any

import torch
import transformers
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

import fx2py
from fx2py.bench.timing import Timing, interleave, too_noisy
from fx2py.bench.ways import flat_graph_module
from tests.bench.rows import Row
from tests.checking import assert_same

Model = tuple[torch.nn.Module, tuple[Any, ...]]


def bert() -> Model:
    config = transformers.BertConfig(
        vocab_size=100, hidden_size=64, num_hidden_layers=6, num_attention_heads=4, intermediate_size=128
    )
    return transformers.BertModel(config), (torch.arange(8).view(1, 8),)


def gpt2() -> Model:
    config = transformers.GPT2Config(vocab_size=100, n_embd=64, n_layer=12, n_head=4, use_cache=False)
    return transformers.GPT2Model(config), (torch.arange(8).view(1, 8),)


def t5() -> Model:
    config = transformers.T5Config(
        vocab_size=100, d_model=64, d_kv=16, d_ff=128, num_layers=4, num_heads=4, use_cache=False
    )
    tokens = torch.arange(8).view(1, 8)
    return transformers.T5Model(config), (tokens, None, tokens.clone())


def vit() -> Model:
    config = transformers.ViTConfig(
        hidden_size=64, num_hidden_layers=6, num_attention_heads=4, intermediate_size=128, image_size=32
    )
    return transformers.ViTModel(config), (torch.randn(1, 3, 32, 32),)


def resnet() -> Model:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[3, 4, 6, 3])
    return transformers.ResNetModel(config), (torch.randn(1, 3, 32, 32),)


MODELS: tuple[Callable[[], Model], ...] = (bert, gpt2, t5, vit, resnet)
LIMIT = "without Python"
WAYS = ("FX GraphModule", "ep.module()", "bound overloads", "fx2py", "fx2py --flat", "fx2py -O", LIMIT)


class Tensors(torch.nn.Module):
    """A graph called with its tensors alone, which returns its tensors alone, as torch.jit.trace demands."""

    def __init__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> None:
        super().__init__()
        self.graph = graph
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        queue = iter(tensors)
        inputs = [next(queue) if isinstance(item, torch.Tensor) else item for item in self.inputs]
        return [leaf for leaf in tree_leaves(self.graph(*inputs)) if isinstance(leaf, torch.Tensor)]


def without_python(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[[], Any]:
    """The graph's calls made by TorchScript's interpreter, in C++, unchanged: what remains is not Python's time."""
    tensors = tuple(item for item in inputs if isinstance(item, torch.Tensor))
    traced = torch.jit.trace(Tensors(graph, inputs), tensors, check_trace=False)

    def run() -> Any:
        with torch.jit.optimized_execution(False):
            return traced(*tensors)

    return run


def ways_of(program: ExportedProgram, args: tuple[Any, ...]) -> dict[str, Callable[[], Any]]:
    def generated(**options: Any) -> Callable[[], Any]:
        code = fx2py.generate(program, options=fx2py.GenerateOptions(**options))
        return partial(code.bind(), *args)

    flat = tree_leaves(args)
    graph = flat_graph_module(program)
    ways = (
        partial(graph, *flat),
        partial(program.module(), *args),
        generated(exact_ops=True),
        generated(),
        generated(flat=True),
        generated(optimize=True),
        without_python(graph, flat),
    )
    return dict(zip(WAYS, ways, strict=True))


BETTER = "best of FX and overloads"
BARS = (
    (BETTER, "fx2py", 1.4),
    ("ep.module()", "fx2py", 2.2),
    ("fx2py --flat", "fx2py", 0.97),
    (BETTER, "fx2py -O", 1.7),
    ("ep.module()", "fx2py -O", 2.8),
    (BETTER, LIMIT, None),
)


def rows() -> Iterator[Row]:
    speedups: dict[tuple[str, str], list[float]] = {(peer, ours): [] for peer, ours, _ in BARS}
    for make in MODELS:
        calls, timings = measure(make)
        times = {name: timing.seconds for name, timing in timings.items()}
        times[BETTER] = min(times["FX GraphModule"], times["bound overloads"])
        for peer, ours in speedups:
            speedups[peer, ours].append(times[peer] / times[ours])
        detail = ", ".join(f"{name} {timings[name].seconds * 1e3:.2f} ms" for name in WAYS)
        what = f"{make.__name__}, {calls} calls: ep.module() / fx2py"
        noise = ", the machine is noisy" if too_noisy(timings) else ""
        yield Row(what, times["ep.module()"] / times["fx2py"], detail + noise)
    for peer, ours, bar in BARS:
        mean = exp(sum(map(log, speedups[peer, ours])) / len(MODELS))
        detail = "TorchScript's interpreter, the same calls" if ours == LIMIT else "bit-identical results"
        yield Row(f"exported models, geometric mean: {peer} / {ours}", mean, detail, at_least=bar)


def measure(make: Callable[[], Model]) -> tuple[int, dict[str, Timing]]:
    """The number of calls in a model's graph, and how long each way takes; all give the same bits."""
    torch.manual_seed(0)
    model, args = make()
    with torch.no_grad():
        program = torch.export.export(model.eval(), args, strict=False)
        ways = ways_of(program, args)
        expected = ways["ep.module()"]()
        for name in WAYS[2:-1]:
            assert_same(ways[name](), expected, name)
        tensors = [leaf for leaf in tree_leaves(expected) if isinstance(leaf, torch.Tensor)]
        assert_same(list(ways[LIMIT]()), tensors, LIMIT)
        timings = interleave(ways, rounds=51, clock=thread_time)
    return sum(node.op.startswith("call_") for node in program.graph.nodes), timings
