"""Models of the sizes that are in use, with random weights, exported to a file: ``python -m tests.bench.large_models NAME FILE``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn import functional

TOKENS = 16
IDS = torch.arange(TOKENS).view(1, TOKENS)
Model = tuple[nn.Module, dict[str, torch.Tensor]]


def llama() -> Model:
    """As Llama 3.2 1B."""
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(config).bfloat16(), {"input_ids": IDS}


def mixtral() -> Model:
    """As Mixtral, of 8 experts each, with 4 layers and narrower."""
    config = transformers.MixtralConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=4,
        num_local_experts=8,
        use_cache=False,
    )
    return transformers.MixtralForCausalLM(config).bfloat16(), {"input_ids": IDS}


def vit() -> Model:
    """As ViT-L/16."""
    config = transformers.ViTConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    )
    return transformers.ViTModel(config), {"pixel_values": torch.randn(1, 3, 224, 224)}


def t5() -> Model:
    """As T5-base."""
    config = transformers.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12, use_cache=False)
    return transformers.T5Model(config), {"input_ids": IDS, "decoder_input_ids": IDS}


def whisper() -> Model:
    """As Whisper medium."""
    sides: dict[str, Any] = {
        f"{side}_{what}": number
        for side in ("encoder", "decoder")
        for what, number in (("layers", 24), ("attention_heads", 16), ("ffn_dim", 4096))
    }
    config = transformers.WhisperConfig(d_model=1024, use_cache=False, **sides)
    inputs = {"input_features": torch.randn(1, 80, 3000).bfloat16(), "decoder_input_ids": IDS}
    return transformers.WhisperModel(config).bfloat16(), inputs


class UNetBlock(nn.Module):
    """Two rounds of a residual block, self-attention and attention to a text, as in the U-Net of Stable Diffusion."""

    def __init__(self, channels: int = 1280, text: int = 768) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(32, channels) for _ in range(4)])
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)])
        self.times = nn.ModuleList([nn.Linear(channels, channels) for _ in range(2)])
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(channels, 8, batch_first=True) for _ in range(2)]
        )
        self.to_text = nn.ModuleList(
            [nn.MultiheadAttention(channels, 8, kdim=text, vdim=text, batch_first=True) for _ in range(2)]
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        for index in range(2):
            hidden = self.convs[2 * index](functional.silu(self.norms[2 * index](x)))
            hidden = hidden + self.times[index](functional.silu(time))[:, :, None, None]
            x = x + self.convs[2 * index + 1](functional.silu(self.norms[2 * index + 1](hidden)))
            places = self.layers[index](x.flatten(2).transpose(1, 2))
            places = places + self.to_text[index](places, text, text)[0]
            x = places.transpose(1, 2).reshape(x.shape)
        return x


def unet_block() -> Model:
    inputs = {
        "x": torch.randn(1, 1280, 16, 16),
        "time": torch.randn(1, 1280),
        "text": torch.randn(1, 77, 768),
    }
    return UNetBlock(), inputs


LARGE: dict[str, Callable[[], Model]] = {
    "llama": llama,
    "mixtral": mixtral,
    "vit": vit,
    "t5": t5,
    "unet_block": unet_block,
    "whisper": whisper,
}


class FirstResult(nn.Module):
    """A model called by position, of which only the first tensor is returned: torch opens its export without transformers."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        result = self.model(**dict(zip(self.names, inputs, strict=True)))
        first: torch.Tensor = result if isinstance(result, torch.Tensor) else result[0]
        return first


def write(name: str, path: str) -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model, inputs = LARGE[name]()
    whole = FirstResult(model.eval().requires_grad_(False), tuple(inputs))
    torch.export.save(torch.export.export(whole, tuple(inputs.values()), strict=False), path)


if __name__ == "__main__":
    write(*sys.argv[1:])
