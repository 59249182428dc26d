"""An opened folder: usable with torch alone, checked before anything in it runs, kept as it was stored."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py import Artifact, Policy
from fx2py.artifact import is_edited
from fx2py.emit.embedded import fixed_files
from fx2py.emit.module import SOURCE, TABLES
from fx2py.errors import Argument, ArtifactError, ReplayError, UntrustedTargetError
from tests.checking import assert_same
from tests.folders import NO_FX2PY


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.scale = nn.Parameter(torch.arange(3.0))

    def forward(self, x):
        return torch.relu(self.norm(self.linear(x))) * self.scale


@pytest.fixture
def layers() -> fx.GraphModule:
    torch.manual_seed(0)
    return fx.symbolic_trace(Layers().eval())


@pytest.fixture
def folder(layers: fx.GraphModule, tmp_path: Path) -> Path:
    fx2py.generate(layers).write(tmp_path / "out")
    return tmp_path / "out"


def edit(folder: Path, *changes: tuple[str, str]) -> Artifact:
    """The folder after each change of the first file that holds the old text."""
    for old, new in changes:
        texts = {name: (folder / name).read_text() for name in (SOURCE, TABLES, *fixed_files())}
        path = next(name for name, text in texts.items() if old in text)
        (folder / path).write_text(texts[path].replace(old, new, 1))
    return fx2py.open_artifact(folder)


WITHOUT_FX2PY = f"""
{NO_FX2PY}
import torch
sys.path.insert(0, sys.argv[1])
from out import load
print(load()(torch.ones(2, 3)).tolist())
assert not any(name.startswith("fx2py") for name in sys.modules)
"""


def test_the_folder_works_without_fx2py(layers: fx.GraphModule, folder: Path) -> None:
    run = (
        [sys.executable, "-P", "-c", WITHOUT_FX2PY, str(folder.parent)]
        if sys.version_info >= (3, 11)
        else [sys.executable, "-c", WITHOUT_FX2PY, str(folder.parent)]
    )
    done = subprocess.run(
        run, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(layers(torch.ones(2, 3)).tolist())


def test_an_opened_folder_runs_as_the_graph_does(layers: fx.GraphModule, folder: Path) -> None:
    x = torch.randn(4, 3)
    assert torch.equal(fx2py.open_artifact(folder).bind()(x), layers(x))


# -- what was changed --------------------------------------------------------------------------------------------


def test_weights_that_are_not_the_manifests_are_refused(folder: Path) -> None:
    stored = torch.load(folder / "weights.pt", weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in stored.items()}, folder / "weights.pt")
    with pytest.raises(ArtifactError, match=r"weights.pt is not the file that the manifest names"):
        fx2py.open_artifact(folder)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize(
    "stored",
    [pickle.dumps(Trap()), b"", b"garbage", [torch.ones(1)], {"linear.weight": "text"}],
    ids=["pickle that runs", "empty", "garbage", "list", "text"],
)
def test_weights_of_another_kind_are_refused_though_the_manifest_names_them(
    stored: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if isinstance(stored, bytes):
        (folder / "weights.pt").write_bytes(stored)
    else:
        torch.save(stored, folder / "weights.pt")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["weights.pt"] = hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError):
        fx2py.open_artifact(folder)
    assert not (folder / "trapped").exists()


@pytest.mark.parametrize("missing", [SOURCE, TABLES, *fixed_files(), "weights.pt", "manifest.json"])
def test_a_missing_file_is_named(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(ArtifactError, match="out"):
        fx2py.open_artifact(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": 1}', "null", '{"schema": "x"}', "[" * 100_000, "\ufeff{}"]
)
def test_a_damaged_manifest_is_refused(text: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest.json"):
        fx2py.open_artifact(folder)


def test_a_manifest_of_a_newer_schema_says_so(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(ArtifactError, match="Update fx2py"):
        fx2py.open_artifact(folder)


def test_an_edit_that_keeps_the_grammar_runs(layers: fx.GraphModule, folder: Path) -> None:
    artifact = edit(folder, ("torch.relu(", "torch.sigmoid("))
    assert is_edited(artifact)
    x = torch.randn(4, 3)
    assert torch.equal(artifact.bind()(x), torch.sigmoid(layers.norm(layers.linear(x))) * layers.scale)


def test_an_edit_that_leaves_the_grammar_is_refused_with_its_line(folder: Path) -> None:
    artifact = edit(folder, ("def execution_fn", "print('hello')\n\n\ndef execution_fn"))
    with pytest.raises(ArtifactError, match=r"execution_fn.py, line \d+") as refused:
        artifact.bind()
    assert "trust_all=True" in refused.value.hint
    assert callable(artifact.bind(policy=Policy(trust_all=True)))


WAYS_TO_RUN_ANYTHING = {
    "a call": (("torch.relu(", "torch.os.system("),),
    "an import": (("import torch\n", "import os\nimport torch\n"),),
    "an import in use": (("import torch\n", "import os\nimport torch\n"), ("torch.relu(", "os.system(")),
    "a constant": (
        ("consts = []", "consts = [torch.os.system]"),
        ("(x, *, submods, weights)", "(x, *, submods, weights, consts)"),
        ("torch.relu(", "consts[0]("),
    ),
    "a variable": (("    linear = ", "    run = torch.os.system\n    linear = "), ("torch.relu(", "run(")),
    "a method of a module": (('"in_features": 3', '"forward": torch.os.system'),),
    "a hook of a module": (('"in_features": 3', '"_forward_hooks": {0: torch.os.system}'),),
    "a default": (("(x, *", "(x, y=torch.os.system, *"),),
    "an attribute": (("torch.relu(", "torch.relu.__globals__("),),
    "a class": (('"torch.nn.modules.linear.Linear"', '"subprocess.Popen"'),),
    "the runtime": (("    cls = find_class(cls_path)", "    importlib.import_module('os').system('true')"),),
    "a function of the runtime": (
        ("runtime.assemble(code", "runtime.importlib.import_module('os').system(code"),
    ),
    "a package of the runtime": (("modules = {", "modules = runtime.importlib or {"),),
    "the module of the code": (("runtime.assemble(code, ", "runtime.assemble(code.torch, "),),
    "a name of the module of the code": (("modules = {", 'modules = {"run": code.torch, '),),
    "load": (("    return _tables.bind(", "    return exec("),),
    "a decorator": (("def execution_fn", "@torch.os.system\ndef execution_fn"),),
    "a decorator of bind": (("def bind", "@torch.os.system\ndef bind"),),
    "a parameter of bind": (("device=None", "device=torch.os.system('true')"),),
    "an import of the tables": (("def bind", "import antigravity\n\n\ndef bind"),),
    "a statement beside bind": (("def bind", "runtime = open('ran', 'w')\n\n\ndef bind"),),
    "a class of records": (("names = {", 'names = {"Point": torch.os.system, '),),
    "a name twice": (("names = {", 'names = {"Point": runtime.container("a.b", ()), "Point": open, '),),
    "an annotation": (("def execution_fn(x", "def execution_fn(x: torch.os.system('true')"),),
    "a fields_of chain": (("    linear = ", '    run = fields_of(x, ("__class__",))\n    linear = '),),
    "a shadowed import": (("import torch\n", "import os as len\nimport torch\n"),),
}


@pytest.mark.parametrize("way", WAYS_TO_RUN_ANYTHING)
def test_an_edit_that_could_run_anything_is_refused(
    way: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(os, "system", ran.append)
    artifact = edit(folder, *WAYS_TO_RUN_ANYTHING[way])
    with pytest.raises((ArtifactError, UntrustedTargetError, ReplayError)) as refused:
        artifact.bind()
    assert ran == []
    assert "policy=" in refused.value.hint or "submods=" in str(refused.value)


# -- submodules ----------------------------------------------------------------------------------------------------


def test_a_submodule_is_replaced_by_any_callable(folder: Path) -> None:
    bound = fx2py.open_artifact(folder).bind(submods={"linear": lambda x: x, "norm": torch.neg})
    assert torch.equal(bound(-torch.ones(2, 3)), torch.arange(3.0).expand(2, 3))


def test_replacing_does_not_change_the_artifact(layers: fx.GraphModule, folder: Path) -> None:
    artifact = fx2py.open_artifact(folder)
    artifact.bind(submods={"linear": torch.neg})
    assert torch.equal(artifact.bind()(torch.ones(2, 3)), layers(torch.ones(2, 3)))


def test_an_unknown_submodule_is_named_with_those_that_are_known(folder: Path) -> None:
    with pytest.raises(ReplayError, match=r"'liner' is no submodule \(known: linear, norm\)"):
        fx2py.open_artifact(folder).bind(submods={"liner": torch.neg})


def test_what_cannot_be_called_is_refused(folder: Path) -> None:
    with pytest.raises(ReplayError, match="'linear' is given a int, which cannot be called"):
        fx2py.open_artifact(folder).bind(submods={"linear": 3})


def test_a_submodule_that_is_a_part_of_the_code_is_refused_with_the_option_that_keeps_it() -> None:
    split = fx2py.split(fx.symbolic_trace(lambda x: x.relu().cos()), ["torch.relu"])
    with pytest.raises(ReplayError, match="'submod_0' is no submodule") as refused:
        fx2py.generate(split).bind(submods={"submod_0": torch.neg})
    assert "keep_submodules" in refused.value.hint
    kept = fx2py.generate(split, options=fx2py.GenerateOptions(keep_submodules=True))
    assert torch.equal(kept.bind(submods={"submod_0": torch.neg})(torch.ones(2)), (-torch.ones(2)).cos())


def test_binding_again_generates_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = fx2py.open_artifact(folder)
    replacements, x = (torch.neg, torch.abs), torch.ones(2, 3)
    expected = [fx2py.open_artifact(folder).bind(submods={"linear": each})(x) for each in replacements]
    for name in ("translate", "emit", "validate"):
        monkeypatch.setattr(f"fx2py.artifact.artifact.{name}", None)
    assert_same([artifact.bind(submods={"linear": each})(x) for each in replacements], expected, "results")


class Unknown(nn.Module):
    def forward(self, x):
        return x + 1


def folder_that_calls_an_unknown_module(place: Path) -> fx2py.Artifact:
    root = nn.Module()
    root.unknown = Unknown()
    graph = fx.Graph()
    graph.output(graph.call_module("unknown", (graph.placeholder("x"),)))
    return fx2py.open_artifact(fx2py.generate(fx.GraphModule(root, graph)).write(place / "out").folder)


def test_missing_and_surplus_names_are_listed_together(tmp_path: Path) -> None:
    artifact = folder_that_calls_an_unknown_module(tmp_path)
    with pytest.raises(ReplayError, match=r"'unknwon' is no submodule (.|\n)*'unknown' is a"):
        artifact.bind(submods={"unknwon": torch.neg})


def test_a_module_of_an_unadmitted_class_is_asked_for(tmp_path: Path) -> None:
    artifact = folder_that_calls_an_unknown_module(tmp_path)
    with pytest.raises(ReplayError, match=r"pass submods=\{'unknown'"):
        artifact.bind()
    assert artifact.bind(submods={"unknown": torch.neg})(torch.ones(1)).item() == -1
    admitted = Policy(classes=frozenset({f"{__name__}.Unknown"}))
    assert artifact.bind(policy=admitted)(torch.ones(1)).item() == 2


def test_a_live_module_with_hooks_runs_in_full_and_is_not_written_without_them(tmp_path: Path) -> None:
    root = nn.Module()
    root.layer = nn.Identity()
    root.layer.register_forward_hook(lambda module, args, result: result + 1)
    graph = fx.Graph()
    graph.output(graph.call_module("layer", (graph.placeholder("x"),)))
    artifact = fx2py.generate(fx.GraphModule(root, graph))
    assert artifact.bind()(torch.ones(1)).item() == 2
    assert artifact.bind(device="cpu")(torch.ones(1)).item() == 2
    opened = fx2py.open_artifact(artifact.write(tmp_path / "out").folder)
    with pytest.raises(ReplayError, match="_forward_hooks, which no file can hold"):
        opened.bind()


# -- tensors -------------------------------------------------------------------------------------------------------


class Shared(nn.Module):
    """Tied weights, views of one storage, strides of every kind, a frozen parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight
        base = torch.arange(24.0)
        self.register_buffer("rows", base[:12].view(3, 4))
        self.register_buffer("columns", base.view(4, 6).t())
        self.register_buffer("expanded", torch.ones(1).expand(1000, 1000))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x):
        return self.two(self.one(x)) * self.frozen, self.rows, self.columns, self.expanded


@pytest.fixture
def shared(tmp_path: Path) -> Artifact:
    written = fx2py.generate(fx.symbolic_trace(Shared())).write(tmp_path / "out")
    return fx2py.open_artifact(written.folder)


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("move", [lambda a: a, lambda a: a.to("cpu")], ids=["opened", "moved"])
def test_strides_and_sharing_are_kept(shared: Artifact, move: Callable[[Artifact], Artifact]) -> None:
    _, rows, columns, expanded = move(shared).bind()(torch.ones(1, 3))
    assert (columns.stride(), expanded.stride()) == ((1, 6), (0, 0))
    assert storage(rows) == storage(columns)
    rows.fill_(7)
    assert columns[0, 0].item() == 7


def test_an_expanded_tensor_is_stored_without_its_repeats(shared: Artifact) -> None:
    assert shared.folder is not None
    assert (shared.folder / "weights.pt").stat().st_size < 100_000


def test_a_tied_weight_is_stored_and_bound_once(shared: Artifact) -> None:
    weights = [tensor for tensor in shared.tensors.values() if tensor.shape == (3, 3)]
    assert len(weights) == 1
    result = shared.bind()(torch.ones(1, 3))[0].sum()
    (gradient,) = torch.autograd.grad(result, weights)
    assert gradient.shape == (3, 3)


def test_parameters_stay_parameters(shared: Artifact) -> None:
    kinds = {name: (type(tensor), tensor.requires_grad) for name, tensor in shared.tensors.items()}
    assert kinds["frozen"] == (nn.Parameter, False)
    assert kinds["one.weight"] == (nn.Parameter, True)
    assert kinds["rows"] == (torch.Tensor, False)


@pytest.mark.parametrize("name", [SOURCE, TABLES])
@pytest.mark.parametrize("trusted", [False, True])
def test_an_edit_that_is_no_python_is_named_with_its_line(folder: Path, name: str, trusted: bool) -> None:
    text = (folder / name).read_text()
    (folder / name).write_text(f"{text}    x = (\n")
    with pytest.raises(ArtifactError, match=rf"{name}, line \d+, is no Python") as refused:
        fx2py.open_artifact(folder).bind(policy=Policy(trust_all=trusted))
    assert str(Argument.OVERWRITE) in str(refused.value.hint)


def test_weights_that_are_cut_short_are_said_to_be_so(folder: Path) -> None:
    weights = folder / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:300])
    with pytest.raises(ArtifactError, match=r"weights.pt is cut short") as refused:
        fx2py.open_artifact(folder)
    assert f"write {folder} anew from its graph: {Argument.OVERWRITE}" in str(refused.value.hint)
