"""Generated code to look at: a small model with several layers, and one whose names are markup."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import fx2py
from fx2py import Artifact, GenerateOptions
from fx2py.artifact.manifest import Manifest, ModuleRow
from fx2py.show.outline import Outline, outline
from tests.program.structure.test_structured import Stack

LAYERS = 12
HOSTILE = "</script><script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
QUOTES = '" onmouseover="alert(1)" \''
REVERSED = "abc\u202edef\u2028"


@functools.cache
def stack(*, flat: bool = False, **options: Any) -> Artifact:
    """The code of a model of twelve layers."""
    torch.manual_seed(0)
    program = torch.export.export(Stack(depth=LAYERS).eval(), (torch.randn(2, 4, 8),))
    return fx2py.generate(program, options=GenerateOptions(flat=flat, **options))


def outline_of(artifact: Artifact) -> Outline:
    return outline(artifact.source, artifact.manifest, "execution_fn.py")


class _Named(nn.Module):
    """A layer whose modules have names that are markup."""

    def __init__(self) -> None:
        super().__init__()
        for name in (HOSTILE, IMAGE, QUOTES):
            self.add_module(name.replace(".", ""), nn.Linear(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in self.children():
            x = each(x).relu().sin() + x.cos().exp()
        return x


def hostile() -> tuple[str, Manifest]:
    """A text and a manifest in which whatever may come from a file is markup."""
    program = torch.export.export(nn.Sequential(_Named(), _Named()).eval(), (torch.randn(2, 8),))
    made = fx2py.generate(program)
    rows = [
        *(
            replace(each, cls=f"{IMAGE}.{HOSTILE}", inputs=(IMAGE,), outputs=(QUOTES,))
            for each in made.manifest.modules
        ),
        *(ModuleRow(f"{REVERSED}.{each}", QUOTES, each) for each in (HOSTILE, IMAGE, QUOTES)),
    ]
    weights = [replace(each, dtype=IMAGE) for each in made.manifest.weights]
    targets = [replace(each, name=f"{each.name}.{HOSTILE}", library=IMAGE) for each in made.manifest.targets]
    graph = replace(made.manifest.graph, path=f"/x/{IMAGE}.pt2", model=HOSTILE)
    manifest = replace(
        made.manifest, modules=tuple(rows), weights=tuple(weights), targets=tuple(targets), graph=graph
    )
    body = f"    # {HOSTILE} {REVERSED}\n    'text {IMAGE} &amp; <!--'\n    return"
    return made.source.replace("    return", body), manifest
