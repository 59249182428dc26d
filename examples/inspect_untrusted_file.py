"""Looks into a file that would run a command if it were loaded the usual way.

    python examples/inspect_untrusted_file.py

The file is a saved GraphModule whose graph calls ``os.system``. ``torch.load(..., weights_only=False)`` would execute
its text; fx2py reads it as data, shows what it would do, and refuses to run it.
"""

import os
import tempfile
from pathlib import Path

import torch

import fx2py


def save_hostile_graph(path: Path, marker: Path) -> None:
    """A graph that creates ``marker`` when it is executed."""
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(os.system, (f"touch {marker}",))
    graph.output(x)
    torch.save(torch.fx.GraphModule(torch.nn.Module(), graph), path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, marker = Path(folder) / "model.pt", Path(folder) / "executed"
        save_hostile_graph(path, marker)

        artifact = fx2py.generate(path)
        print(artifact.source)
        try:
            artifact.bind()
        except fx2py.Fx2pyError as refusal:
            print("refused:", refusal)
        assert not marker.exists(), "the file was executed"
        print("nothing was executed")


if __name__ == "__main__":
    main()
