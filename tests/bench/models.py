"""Exported models of small width, whose time is mostly dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import exp, log
from time import thread_time
from typing import Any

import torch
import transformers
from torch import fx
from torch.export import ExportedProgram
from torch.fx.graph import CodeGen
from torch.utils._pytree import tree_leaves

import fx2py
from fx2py.bench.timing import interleave, too_noisy
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
    return transformers.T5Model(config), (tokens, None, tokens)


def vit() -> Model:
    config = transformers.ViTConfig(
        hidden_size=64, num_hidden_layers=6, num_attention_heads=4, intermediate_size=128, image_size=32
    )
    return transformers.ViTModel(config), (torch.randn(1, 3, 32, 32),)


def resnet() -> Model:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[3, 4, 6, 3])
    return transformers.ResNetModel(config), (torch.randn(1, 3, 32, 32),)


MODELS: tuple[Callable[[], Model], ...] = (bert, gpt2, t5, vit, resnet)
WAYS = ("FX GraphModule", "ep.module()", "bound overloads", "fx2py", "fx2py -O")


def plain_graph_module(program: ExportedProgram) -> fx.GraphModule:
    """The exported graph as a GraphModule that is called with its flat inputs, without any checks."""
    module = program.module(check_guards=False)
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    graph.set_codegen(CodeGen())
    return fx.GraphModule(module, graph)


def ways_of(program: ExportedProgram, args: tuple[Any, ...]) -> dict[str, Callable[[], Any]]:
    def generated(**options: bool) -> Callable[[], Any]:
        code = fx2py.generate(program, options=fx2py.GenerateOptions(**options))
        return partial(code.bind(), *args)

    flat = tree_leaves(args)
    ways = (
        partial(plain_graph_module(program), *flat),
        partial(program.module(), *args),
        generated(exact_ops=True),
        generated(),
        generated(optimize=True),
    )
    return dict(zip(WAYS, ways, strict=True))


def rows() -> Iterator[Row]:
    speedups: dict[str, list[float]] = {name: [] for name in ("better", "module", "better -O", "module -O")}
    for make in MODELS:
        torch.manual_seed(0)
        model, args = make()
        with torch.no_grad():
            program = torch.export.export(model.eval(), args, strict=False)
            ways = ways_of(program, args)
            expected = ways["ep.module()"]()
            for name in WAYS[2:]:
                assert_same(ways[name](), expected, name)
            timings = interleave(ways, rounds=31, clock=thread_time)
        times = {name: timing.seconds for name, timing in timings.items()}
        better = min(times["FX GraphModule"], times["bound overloads"])
        for suffix, ours in (("", times["fx2py"]), (" -O", times["fx2py -O"])):
            speedups[f"better{suffix}"].append(better / ours)
            speedups[f"module{suffix}"].append(times["ep.module()"] / ours)
        calls = sum(node.op.startswith("call_") for node in program.graph.nodes)
        detail = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in times.items())
        noise = too_noisy(timings)
        yield Row(
            f"{make.__name__}, {calls} calls: ep.module() / fx2py",
            speedups["module"][-1],
            f"{detail} {noise}".strip(),
        )
    bars = {"better": 1.4, "module": 2.2, "better -O": 1.7, "module -O": 2.8}
    for name, bar in bars.items():
        peer = (
            "ep.module()" if name.startswith("module") else "the better of FX GraphModule and bound overloads"
        )
        ours = "fx2py -O" if name.endswith("-O") else "fx2py"
        mean = exp(sum(map(log, speedups[name])) / len(MODELS))
        yield Row(f"models, geometric mean: {peer} / {ours}", mean, "bit-identical results", at_least=bar)
