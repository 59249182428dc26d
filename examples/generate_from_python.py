"""From a live module to checked Python, without the command line.

python examples/generate_from_python.py
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

import fx2py


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, scale: float = 0.5) -> dict[str, torch.Tensor]:
        gate = torch.sigmoid(self.project(x))
        return {"gated": x * gate * scale, "gate": gate}


def main() -> None:
    torch.manual_seed(0)
    graph = torch.fx.symbolic_trace(Gate())

    artifact = fx2py.generate(graph)
    print(artifact.source)

    x = torch.randn(2, 8)
    report = fx2py.diff(graph, artifact, args=(x,))
    print("bit for bit equal:", report.equal)

    execute = artifact.bind()
    assert torch.equal(execute(x)["gated"], graph(x)["gated"])

    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "gate_fx2py"
        artifact.write(folder)
        print("written:", ", ".join(sorted(path.name for path in folder.iterdir())))
        assert torch.equal(fx2py.open_artifact(folder).bind()(x)["gate"], graph(x)["gate"])


if __name__ == "__main__":
    main()
