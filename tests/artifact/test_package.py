"""A generated folder is a package that runs with torch alone: its code beside a runtime that all folders have alike."""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py import Policy, runtime
from fx2py.artifact import generate
from fx2py.emit import embedded
from fx2py.emit.embedded import PACKAGE, RUNTIME, fixed_files
from fx2py.errors import ArtifactError
from fx2py.graph.data import GraphData, ModuleRecord, Node
from fx2py.graph.values import Name, Ref
from tests.checking import reference
from tests.folders import imported
from tests.replay.graphs import data, output, placeholder

X = torch.arange(6.0).view(2, 3)


class Scaled(nn.Module):
    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) * self.factor


class Absent(NamedTuple):
    """Stands for a record whose class is not installed where the folder is loaded."""

    x: Any
    y: Any


class Ten(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 10


def written(place: Path, module: nn.Module) -> Path:
    folder = fx2py.generate(fx.symbolic_trace(module)).write(place).folder
    assert folder is not None
    return folder


def exported() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Scaled(), (X,))


# -- one package, wherever it lies


@pytest.mark.parametrize("name", ["net_fx2py", "net-v1.2 fx2py", "import", "größe", "3"])
def test_a_folder_of_any_name_is_loaded_from_its_path(name: str, tmp_path: Path) -> None:
    module = Scaled()
    assert torch.equal(imported(written(tmp_path / name, module)).load()(X), module(X))


def test_a_folder_is_imported_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    written(tmp_path / "imported_by_name", Ten())
    from imported_by_name import load  # type: ignore[import-not-found]

    assert torch.equal(load()(X), X * 10)


def test_a_copy_of_a_folder_runs_where_the_first_is_gone(tmp_path: Path) -> None:
    folder = written(tmp_path / "first", Ten())
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    shutil.rmtree(folder)
    assert torch.equal(imported(tmp_path / "elsewhere" / "copy").load()(X), X * 10)


def test_two_folders_in_one_process_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    one, two = Scaled(2.0), Scaled(3.0)
    written(tmp_path / "first_of_two", one)
    written(tmp_path / "second_of_two", two)
    import first_of_two  # type: ignore[import-not-found]
    import second_of_two  # type: ignore[import-not-found]

    first, second = first_of_two.load(), second_of_two.load()
    assert torch.equal(first(X), one(X))
    assert torch.equal(second(X), two(X))
    assert first_of_two._runtime is not second_of_two._runtime


def test_the_code_alone_is_a_module_that_needs_torch_only(tmp_path: Path) -> None:
    folder = fx2py.generate(exported()).write(tmp_path / "net").folder
    assert folder is not None
    tree = ast.parse((folder / "execution_fn.py").read_text())
    assert ast.get_docstring(tree) is not None
    assert {type(node) for node in tree.body[1:]} == {ast.Import, ast.FunctionDef}
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["execution_fn"]
    assert len((folder / "execution_fn.py").read_text().splitlines()) <= 60
    namespace: dict[str, object] = {}
    exec((folder / "execution_fn.py").read_text(), namespace)
    taken = inspect.signature(namespace["execution_fn"]).parameters  # type: ignore[arg-type]
    assert list(taken) == ["x", "weights", "check_inputs"]


def test_a_folder_can_be_compiled_by_torch(tmp_path: Path) -> None:
    folder = fx2py.generate(exported()).write(tmp_path / "net").folder
    assert folder is not None
    execute = imported(folder).load()
    compiled = torch.compile(lambda x: execute(x) + 1, backend="eager", fullgraph=True)
    assert torch.equal(compiled(X), execute(X) + 1)


def test_results_of_two_loads_are_of_one_class(tmp_path: Path) -> None:
    graph = fx.Graph()
    graph.output(Absent(graph.placeholder("x"), 1))
    folder = fx2py.generate(fx.GraphModule(nn.Module(), graph)).write(tmp_path / "net").folder
    assert folder is not None
    text = (folder / "_tables.py").read_text()
    (folder / "_tables.py").write_text(text.replace(f"{__name__}.Absent", "absent.Absent"))
    package = imported(folder)
    assert type(package.load()(X)) is type(package.load()(X))


# -- what callers see


def renamed() -> fx.GraphModule:
    graph = fx.Graph()
    x, weights = graph.placeholder("x"), graph.placeholder("weights", default_value=2)
    graph.output(graph.call_function(torch.mul, (x, weights)))
    return fx.GraphModule(nn.Module(), graph)


def variadic() -> GraphData:
    parameters = placeholder("*args"), placeholder("from", 1), placeholder("**kw")
    return data(*parameters, output((Ref("from"),)))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (fx.symbolic_trace(Scaled()), "(x)"),
        (exported(), "(x)"),
        (renamed(), "(x, weights=2)"),
        (variadic(), "(*args, from_1=1, **kw)"),
    ],
    ids=["traced", "exported", "renamed", "variadic"],
)
def test_a_bound_callable_shows_the_inputs_alone(source: object, shown: str, tmp_path: Path) -> None:
    artifact = fx2py.generate(source)  # type: ignore[arg-type]
    folder = artifact.write(tmp_path / "net").folder
    assert folder is not None
    for bound in (artifact.bind(), fx2py.open_artifact(folder).bind(), imported(folder).load()):
        assert str(inspect.signature(bound)) == shown


def test_code_below_autograd_and_older_code_show_the_inputs_alone() -> None:
    golden = Path(__file__).parents[1] / "golden"
    older = fx2py.open_artifact(golden / "schema_2" / "exported").bind()
    assert str(inspect.signature(older)) == "(x, pair)"
    below = runtime.below_autograd(fx2py.generate(exported()).bind(), [])
    assert str(inspect.signature(below)) == "(x)"


NAMES = (
    "load",
    "bind",
    "_runtime",
    "_tables",
    "runtime",
    "code",
    "tensors",
    "names",
    "torch",
    "check_inputs",
)
TAKEN = ("weights", "execution_fn", "container", "__file__", "Shape", "consts", "submods", "device")


@pytest.mark.parametrize("name", [*NAMES, *TAKEN])
def test_a_name_of_the_users_own_collides_with_none_of_the_folder(name: str, tmp_path: Path) -> None:
    """As an input, a weight, a called module and a kept function."""
    root = nn.Module()
    root.holder = nn.Module()
    root.holder.register_parameter(name, nn.Parameter(torch.full((3,), 3.0)))
    root.layers = nn.Module()
    root.layers.add_module(name, nn.Linear(3, 3))
    root.pieces = nn.Module()
    root.pieces.add_module(name, fx.symbolic_trace(Ten()))
    graph = fx.Graph()
    x = graph.placeholder(name)
    called = graph.call_module(f"layers.{name}", (x,))
    kept = graph.call_module(f"pieces.{name}", (called,))
    graph.output(graph.call_function(torch.mul, (kept, graph.get_attr(f"holder.{name}"))))
    source = fx.GraphModule(root, graph)
    options = fx2py.GenerateOptions(keep_submodules=True)
    folder = fx2py.generate(source, options=options).write(tmp_path / "net").folder
    assert folder is not None
    expected = reference(source)(X)  # the code that FX writes hides torch behind an input of that name
    for bound in (fx2py.open_artifact(folder).bind(policy=Policy()), imported(folder).load()):
        assert torch.equal(bound(X), expected)
        assert torch.equal(bound(**{name: X}), expected)


def test_a_module_whose_attribute_is_of_a_package_named_as_a_variable_of_bind_is_missing() -> None:
    record = ModuleRecord(Name("torch.nn", "ReLU"), attributes={"inner": Name("code.parts", "f")})
    node = Node("called", "call_module", "m", (Ref("x"),))
    artifact = generate(data(placeholder("x"), node, output(Ref("called")), children={"m": record}))
    assert "whose name has another meaning" in str(artifact.tables)
    assert "import code" not in str(artifact.tables)


# -- the runtime is fx2py's own, or trusted


@pytest.mark.parametrize("name", [PACKAGE, RUNTIME])
def test_all_folders_have_the_same_runtime(name: str, tmp_path: Path) -> None:
    folders = written(tmp_path / "a", Ten()), fx2py.generate(exported()).write(tmp_path / "b").folder
    assert {(folder or tmp_path).joinpath(name).read_text() for folder in folders} == {fixed_files()[name]}


@pytest.mark.parametrize("name", [PACKAGE, RUNTIME])
@pytest.mark.parametrize("change", ["# a comment\n", "import antigravity\n"])
def test_a_runtime_that_fx2py_did_not_write_is_refused(change: str, name: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "net", Ten())
    (folder / name).write_text(fixed_files()[name] + change)
    with pytest.raises(ArtifactError, match=rf"{name} is not the file of fx2py") as refused:
        fx2py.open_artifact(folder).bind()
    assert "trust_all=True" in refused.value.hint
    assert "antigravity" not in sys.modules


def test_an_edited_runtime_runs_when_it_is_trusted(tmp_path: Path) -> None:
    folder = written(tmp_path / "net", Scaled())
    edited = fixed_files()[RUNTIME].replace(
        "named = with_names(execute, renamed)", "named = lambda x: 'edited'"
    )
    (folder / RUNTIME).write_text(edited)
    assert fx2py.open_artifact(folder).bind(policy=Policy(trust_all=True))(X) == "edited"


def test_the_runtime_of_an_earlier_release_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "net", Scaled())
    earlier = fixed_files()[RUNTIME].replace("the submodules do not fit", "an earlier release refuses")
    (folder / RUNTIME).write_text(earlier)
    known = {RUNTIME: (embedded.fingerprint(earlier),)}
    monkeypatch.setattr(embedded, "released", lambda kind: known.get(kind, ()))
    artifact = fx2py.open_artifact(folder)
    assert torch.equal(artifact.bind()(X), imported(folder).load()(X))
    with pytest.raises(fx2py.Fx2pyError, match="an earlier release refuses"):
        artifact.bind(submods={"absent": len})
    copy = artifact.write(tmp_path / "copy").folder
    assert copy is not None
    assert (copy / RUNTIME).read_text() == earlier


def test_the_files_of_the_runtime_have_no_name_in_common() -> None:
    files = sorted(Path(str(runtime.__file__)).parent.glob("[a-z]*.py"))
    names: Counter[str] = Counter()
    for path in files:
        for node in ast.parse(path.read_text()).body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            names.update(target.id for target in targets if isinstance(target, ast.Name))
            names.update([node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else [])
    assert [name for name, count in names.items() if count > 1] == []
    assert set(runtime.__all__) <= set(names)


def test_the_runtime_needs_the_standard_library_and_torch_alone() -> None:
    tree = ast.parse(fixed_files()[RUNTIME])
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {
        name.partition(".")[0]
        for node in imports
        for name in ([str(node.module)] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert roots <= {*sys.stdlib_module_names, "torch"}
