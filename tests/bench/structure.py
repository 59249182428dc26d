"""Structured code of models of 4, 12 and 48 layers: its length, its names, its planned peak, the time to generate it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
import transformers

import fx2py
from fx2py.graph.data import NodeMeta
from fx2py.program.ir import Program
from fx2py.program.structure.moves import peak_of
from fx2py.program.structure.naming import MOVED
from fx2py.program.structure.outline import structured
from fx2py.program.structure.regions import flat_body
from tests.bench.rows import Row

FEW, SOME, MANY = 4, 12, 48
IDS = torch.arange(16).view(1, 16)
SMALL: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
WORDS: dict[str, Any] = {"vocab_size": 100, "use_cache": False}


def gpt2(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.GPT2Config(vocab_size=100, n_embd=32, n_layer=depth, n_head=2, use_cache=False)
    return transformers.GPT2LMHeadModel(config), {"input_ids": IDS}


def llama(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.LlamaConfig(num_hidden_layers=depth, **SMALL, **WORDS)
    return transformers.LlamaForCausalLM(config), {"input_ids": IDS}


def bert(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.BertConfig(vocab_size=100, num_hidden_layers=depth, **SMALL)
    return transformers.BertModel(config), {"input_ids": IDS}


def t5(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.T5Config(d_model=32, d_ff=64, num_layers=depth, num_heads=2, d_kv=16, **WORDS)
    return transformers.T5Model(config), {"input_ids": IDS, "decoder_input_ids": IDS}


def vit(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.ViTConfig(num_hidden_layers=depth, image_size=32, patch_size=8, **SMALL)
    return transformers.ViTModel(config), {"pixel_values": torch.ones(1, 3, 32, 32)}


def mixtral(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.MixtralConfig(
        num_hidden_layers=depth, num_key_value_heads=1, num_local_experts=4, **SMALL, **WORDS
    )
    return transformers.MixtralForCausalLM(config), {"input_ids": IDS}


def whisper(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    layers: dict[str, Any] = {
        f"{side}_{what}": number
        for side in ("encoder", "decoder")
        for what, number in (("layers", depth), ("attention_heads", 2), ("ffn_dim", 64))
    }
    tokens: dict[str, Any] = {
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    config = transformers.WhisperConfig(
        d_model=32, max_source_positions=50, max_target_positions=50, **layers, **tokens, **WORDS
    )
    return transformers.WhisperModel(config), {
        "input_features": torch.ones(1, 80, 100),
        "decoder_input_ids": IDS,
    }


def mamba(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=depth, state_size=4, **WORDS)
    return transformers.MambaModel(config), {"input_ids": IDS}


def resnet(depth: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[depth] * 4)
    return transformers.ResNetModel(config), {"pixel_values": torch.ones(1, 3, 32, 32)}


MOST_LINES: dict[Callable[[int], tuple[torch.nn.Module, dict[str, Any]]], int] = {
    **dict.fromkeys((gpt2, llama, bert), 350),
    **dict.fromkeys((t5, vit, mixtral, whisper, mamba, resnet), 600),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's code: lines, the shares of deletions and of the model's own names, peaks, seconds."""

    lines: int
    deletions: float
    names: float
    peak: int
    flat_peak: int
    seconds: float
    flat_seconds: float


def measured(model: torch.nn.Module, inputs: dict[str, Any]) -> Measured:
    graph = torch.export.export(model.eval(), (), inputs, strict=False)
    seconds, code = _timed(lambda: fx2py.generate(graph))
    flat_seconds, flat = _timed(lambda: fx2py.generate(graph, options=fx2py.GenerateOptions(flat=True)))
    lines = code.source.splitlines()
    assert flat.program is not None
    return Measured(
        len(lines),
        sum(line.strip().startswith("del ") for line in lines) / len(lines),
        named(code.source, said_by(flat.program)),
        peak_of(flat.program, structured(flat.program)) or 0,
        flat.manifest.memory.planned_peak or 0,
        seconds,
        flat_seconds,
    )


def _timed(make: Callable[[], fx2py.Artifact]) -> tuple[float, fx2py.Artifact]:
    start = process_time()
    made = make()
    return process_time() - start, made


def named(source: str, said: Set[str]) -> float:
    """The share of the variables of the functions that have a name which the model says; a number behind it is left out.

    A variable that is called as the operator which makes its value counts as one without a name.
    """
    found = {
        (function.name, target.id): _is_named(target.id, node, said)
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in ast.walk(node.targets[0])
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store) and target.id != MOVED
    }
    return sum(found.values()) / max(1, len(found))


def _is_named(variable: str, node: ast.Assign, said: Set[str]) -> bool:
    called = node.value.func if isinstance(node.value, ast.Call) else None
    operator = getattr(called, "attr", getattr(called, "id", ""))
    stem = re.sub(r"_\d+$", "", variable)
    return (variable in said or stem in said) and stem != operator


def said_by(program: Program) -> Set[str]:
    """The words in the lines of the model that the graph recorded, and in the paths of its modules and weights."""
    words = {word for weight in program.weights for word in weight.path.split(".")}
    for statement in flat_body(program.entry).statements:
        meta = statement.origin.meta if statement.origin is not None else NodeMeta()
        words.update(word for frame in meta.stack for word in frame.path.split("."))
        line = meta.source
        while line is not None:
            words.update(re.findall(r"[A-Za-z_]\w*", line.code))
            line = line.caller
    return words


def rows() -> Iterator[Row]:
    for make, most in MOST_LINES.items():
        few, some, many = (measured(*make(depth)) for depth in (FEW, SOME, MANY))
        name = f"structured {make.__name__}"
        yield Row(
            f"{name}: lines at {MANY} layers / at {FEW}",
            many.lines / few.lines,
            f"{few.lines}, {some.lines}, {many.lines} lines at {FEW}, {SOME}, {MANY} layers",
            at_most=1.05,
        )
        yield Row(f"{name}: lines, at most", max(few.lines, some.lines, many.lines), at_most=most)
        yield Row(f"{name}: share of del lines", max(few.deletions, many.deletions), at_most=0.12)
        yield Row(f"{name}: share of variables with a name of the model", few.names, at_least=0.8)
        peaks = f"{some.peak:,} bytes, flat {some.flat_peak:,}"
        yield Row(f"{name}: planned peak / flat", some.peak / some.flat_peak, peaks, at_most=1)
        times = f"{many.seconds:.2f} s, flat {many.flat_seconds:.2f} s, {MANY} layers"
        yield Row(f"{name}: time to generate / flat", many.seconds / many.flat_seconds, times, at_most=1)
