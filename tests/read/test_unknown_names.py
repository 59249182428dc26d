"""Files that name functions, operators and classes that are not here: read all the same, and the manifest lists them."""

import subprocess
import sys

import pytest
import torch
from torch import fx

import fx2py
from fx2py.errors import ReplayError, UntrustedTargetError

LIBRARY = """
import torch

@torch.library.custom_op("away::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2

@twice.register_fake
def _(x):
    return torch.empty_like(x)

class Layer(torch.nn.Module):
    def forward(self, x):
        return x + 1

@torch.fx.wrap
def outside(x):
    return x.sin()
"""
SAVING = """
import pickle, sys, torch, away_library
from torch import fx, nn
from torch.fx._graph_pickler import GraphPickler, Options

class Leaves(fx.Tracer):
    def is_leaf_module(self, module, name):
        return True

def traced(model):
    gm = fx.GraphModule(model, Leaves().trace(model))
    gm._tracer_cls = None
    return gm

class Operator(nn.Module):
    def forward(self, x):
        return torch.ops.away.twice(x) + 1

class Function(nn.Module):
    def forward(self, x):
        return away_library.outside(x)

program = torch.export.export(Operator(), (torch.ones(3),))
for name, model in {"operator": Operator(), "function": Function(), "class": nn.Sequential(away_library.Layer())}.items():
    torch.save(traced(model), f"{name}.pt")
    torch.save(traced(model), f"{name}.stream", _use_new_zipfile_serialization=False)
    open(f"{name}.pickle", "wb").write(pickle.dumps(traced(model)))
torch.export.save(program, "operator.pt2")
open("operator.graphpickle", "wb").write(GraphPickler.dumps(program.graph_module, Options(ops_filter=None)))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of files that a process with the library saved; this one has no such library."""
    folder = tmp_path_factory.mktemp("away")
    (folder / "away_library.py").write_text(LIBRARY)
    (folder / "saving.py").write_text(SAVING)
    subprocess.run(
        [sys.executable, "saving.py"], cwd=folder, capture_output=True, timeout=120, check=True, text=True
    )
    return folder


KINDS = {
    "operator": ("away", "policy=Policy(ops={'away=MODULE'})"),
    "function": ("away_library", "policy=Policy(functions={'away_library.outside'})"),
}


@pytest.mark.parametrize("suffix", ["pt", "stream", "pickle", "pt2", "graphpickle"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_function_or_operator_is_listed_and_refused(saved, kind, suffix):
    if kind == "function" and suffix in ("pt2", "graphpickle"):
        pytest.skip("torch writes no such function in this format")
    library, argument = KINDS[kind]
    artifact = fx2py.generate(saved / f"{kind}.{suffix}")
    assert artifact.manifest.requires == (library,)
    assert library in {target.library for target in artifact.manifest.targets}
    with pytest.raises(UntrustedTargetError) as caught:
        artifact.bind()
    assert argument in caught.value.hint


@pytest.mark.parametrize("suffix", ["pt", "stream", "pickle"])
def test_an_unknown_class_is_listed_and_refused(saved, suffix):
    artifact = fx2py.generate(saved / f"class.{suffix}")
    assert artifact.manifest.requires == ("away_library",)
    assert [entry.cls for entry in artifact.manifest.submodules] == ["away_library.Layer"]
    with pytest.raises(ReplayError) as caught:
        artifact.bind()
    assert "policy=Policy(classes={'away_library.Layer'})" in caught.value.hint
    assert "away_library" not in sys.modules


def test_operators_that_torch_itself_registers_require_nothing():
    graph = fx.Graph()
    x = graph.placeholder("x")
    quantized = graph.call_function(torch.ops.quantization._FloatToBfloat16Quantized.default, (x,))
    graph.output(quantized)
    manifest = fx2py.generate(fx.GraphModule({}, graph)).manifest
    assert [target.library for target in manifest.targets] == ["torch"]
    assert manifest.requires == ()
