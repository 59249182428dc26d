"""Makes two saved graphs to try fx2py on: an exported BERT encoder (.pt2) and a traced module (.pt).

    python examples/export_model.py [FOLDER]

Both are small and have random weights; nothing is downloaded.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertModel


class ResidualBlock(nn.Module):
    """A convolution block with a skip connection, as ``torch.fx.symbolic_trace`` likes it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.relu(image + self.norm(self.convolution(image)))


def tiny_bert() -> BertModel:
    config = BertConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    return BertModel(config).eval()


def export_bert(path: Path) -> None:
    inputs = {
        "input_ids": torch.randint(0, 1000, (1, 16)),
        "attention_mask": torch.ones(1, 16, dtype=torch.int64),
    }
    with torch.no_grad():
        program = torch.export.export(tiny_bert(), (), inputs)
    torch.export.save(program, path)


def trace_block(path: Path) -> None:
    torch.save(torch.fx.symbolic_trace(ResidualBlock(channels=8).eval()), path)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    export_bert(folder / "tiny_bert.pt2")
    trace_block(folder / "residual_block.pt")
    print(f"wrote {folder / 'tiny_bert.pt2'} and {folder / 'residual_block.pt'}")


if __name__ == "__main__":
    main()
