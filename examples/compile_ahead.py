"""A transformer split at its attention, its pieces compiled once and saved; another process loads and runs them.

    python examples/compile_ahead.py [DIR]

The second process has neither the model nor its graph, traces nothing, and needs no C++ compiler.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

import fx2py

ATTENTION = "aten::scaled_dot_product_attention"


class Layer(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            self.qkv(self.norm(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        )
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(x)


def transformer(layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*[Layer() for _ in range(layers)]).eval()


def sample_input() -> torch.Tensor:
    return torch.randn(2, 16, 64, generator=torch.Generator().manual_seed(1))


def compile_ahead(folder: Path) -> torch.Tensor:
    """Compile and save; returns what the model computes."""
    model, x = transformer(), sample_input()
    exported = torch.export.export(model, (x,))
    options = fx2py.GenerateOptions(split_at=(ATTENTION,), compile="inductor")
    artifact = fx2py.generate(exported, options=options).write(folder)
    print(f"compiled: {artifact.manifest.compiled}")
    with torch.no_grad():
        return model(x)


def run_saved(folder: Path, result: Path) -> None:
    """What the other process does."""
    artifact = fx2py.open_artifact(folder)
    execute = artifact.bind()
    print(f"in another process, not used: {artifact.compiled_fault() or 'nothing'}")
    with torch.no_grad():
        torch.save(execute(sample_input()), result)


def main(folder: Path) -> None:
    expected = compile_ahead(folder)
    result = folder.parent / "result.pt"
    subprocess.run([sys.executable, __file__, "--run", str(folder), str(result)], check=True)
    torch.testing.assert_close(torch.load(result), expected)
    print("the compiled pieces gave what the model gives")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_saved(Path(sys.argv[2]), Path(sys.argv[3]))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]) / "transformer_fx2py")
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place) / "transformer_fx2py")
