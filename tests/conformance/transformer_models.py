"""Small models of the transformers library with random weights, as torch.compile hands them to its backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from tests.conformance.cases import Case, Row, Trial
from tests.corpus.captures import Recorder, run_compiled

TEXT = {
    "vocab_size": 32,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
DECODER = {
    **TEXT,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 32,
}


def tokens() -> dict[str, Any]:
    return {"input_ids": torch.randint(1, 32, (2, 6))}


def images() -> dict[str, Any]:
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


def images_with_tokens() -> dict[str, Any]:
    return {**tokens(), **images()}


def tokens_to_tokens() -> dict[str, Any]:
    return {**tokens(), "decoder_input_ids": torch.randint(1, 32, (2, 4))}


def speech_to_tokens() -> dict[str, Any]:
    return {"input_features": torch.randn(1, 8, 40), "decoder_input_ids": torch.randint(1, 32, (1, 4))}


MODEL_SIZES: dict[str, tuple[str, dict[str, Any], Callable[[], dict[str, Any]]]] = {
    "BertModel": ("BertConfig", TEXT, tokens),
    "DistilBertModel": (
        "DistilBertConfig",
        {"vocab_size": 32, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        tokens,
    ),
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}, tokens),
    "T5Model": (
        "T5Config",
        {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
        tokens_to_tokens,
    ),
    "LlamaForCausalLM": ("LlamaConfig", DECODER, tokens),
    "Qwen2ForCausalLM": ("Qwen2Config", DECODER, tokens),
    "MixtralForCausalLM": (
        "MixtralConfig",
        {**DECODER, "num_local_experts": 2, "num_experts_per_tok": 1},
        tokens,
    ),
    "MambaForCausalLM": (
        "MambaConfig",
        {"vocab_size": 32, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2},
        tokens,
    ),
    "ViTModel": (
        "ViTConfig",
        {**{name: TEXT[name] for name in TEXT if name != "vocab_size"}, "image_size": 32, "patch_size": 16},
        images,
    ),
    "CLIPModel": (
        "CLIPConfig",
        {
            "projection_dim": 8,
            "text_config": {**TEXT, "max_position_embeddings": 32, "eos_token_id": 31},
            "vision_config": {
                **{name: TEXT[name] for name in TEXT if name != "vocab_size"},
                "image_size": 32,
                "patch_size": 16,
            },
        },
        images_with_tokens,
    ),
    "ResNetModel": (
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"},
        images,
    ),
    "ConvNextModel": ("ConvNextConfig", {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}, images),
    "WhisperModel": (
        "WhisperConfig",
        {
            "vocab_size": 32,
            "num_mel_bins": 8,
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_source_positions": 20,
            "max_target_positions": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        speech_to_tokens,
    ),
}
"""Model class, configuration class with tiny sizes, and inputs."""


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    return {name: partial(cases, name) for name in MODEL_SIZES}


def cases(name: str) -> Iterator[Case]:
    for training in (False, True):
        yield Case("train" if training else "eval", partial(capture, name, training))


def capture(name: str, training: bool) -> Trial:
    """The largest graph; its calls are what torch.compile passed to it."""
    config, sizes, inputs = MODEL_SIZES[name]
    recorder = Recorder()
    run_compiled(model(name, config, sizes), (), inputs(), recorder, training)
    largest = max(recorder.captured, key=lambda captured: len(captured.graph.graph.nodes))
    return Trial(largest.graph, ((largest.args, largest.kwargs),))


def model(name: str, config: str, sizes: dict[str, Any]) -> nn.Module:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    made: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**sizes))
    return made


MODELS = Row(
    "models", "transformers models through torch.compile; eval and train", seconds=3600, groups=groups
)
