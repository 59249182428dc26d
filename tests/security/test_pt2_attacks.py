"""Archives that make torch.export.load run code: read here, each is inert or refused."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fx2py.errors import UnknownFormatError
from fx2py.graph.data import GraphData
from fx2py.graph.values import Name, Opaque, OpName
from tests.read.archives import (
    CONSTANTS,
    MODEL,
    SAMPLES,
    WEIGHTS,
    members_of,
    read_pt2,
    with_json,
    write_archive,
)

TRAP = "trap_that_an_archive_names"


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.offset = torch.ones(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.offset


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("pt2") / "small.pt2"
    batch = {0: torch.export.Dim("batch", max=64)}
    program = torch.export.export(Small(), (torch.ones(3, 2),), dynamic_shapes=(batch,))
    torch.export.save(program, path)
    return members_of(path)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that exists only if something of the archive ran: the trap module and every payload create it."""
    path = tmp_path / "ran"
    (tmp_path / f"{TRAP}.py").write_text(
        f"import pathlib\npathlib.Path({str(path)!r}).touch()\nTrap = dict\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    assert not path.exists()
    assert TRAP not in sys.modules


def read(folder: Path, members: dict[str, bytes]) -> GraphData:
    return read_pt2(write_archive(folder / "attack.pt2", members))


def call(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


def torch_pickle(path: Path, payload: Any) -> bytes:
    torch.save(payload, path)
    return path.read_bytes()


def test_sample_inputs_are_never_unpickled_in_full(
    tmp_path: Path, members: dict[str, bytes], mark: Path
) -> None:
    payload = torch_pickle(tmp_path / "payload", ((Touch(mark),), {}))
    data = read(tmp_path, {**members, SAMPLES: payload})
    assert data.sample_inputs is None
    assert any("sample inputs" in note for note in data.notes)


@pytest.mark.parametrize(("config", "folder"), [(WEIGHTS, "data/weights"), (CONSTANTS, "data/constants")])
def test_a_pickled_tensor_member_is_refused(
    tmp_path: Path, members: dict[str, bytes], mark: Path, config: str, folder: str
) -> None:
    def pickled(document: Any) -> None:
        for entry in document["config"].values():
            entry["use_pickle"] = True

    changed = with_json(members, config, pickled)
    payload = torch_pickle(tmp_path / "payload", Touch(mark))
    payloads = {name: payload for name in members if name.startswith(folder) and name != config}
    with pytest.raises(UnknownFormatError, match=f"member {folder}/.*pickle"):
        read(tmp_path, {**changed, **payloads})


@pytest.mark.parametrize("member", ["data/weights/model.pt", "data/constants/model.pt"])
def test_a_legacy_pickle_of_all_weights_is_refused(
    tmp_path: Path, members: dict[str, bytes], mark: Path, member: str
) -> None:
    with pytest.raises(UnknownFormatError, match=member):
        read(tmp_path, {**members, member: torch_pickle(tmp_path / "payload", Touch(mark))})


@pytest.mark.parametrize("name", ["opaque_obj_0", "custom_obj_0"])
def test_a_pickled_object_stays_a_name(
    tmp_path: Path, members: dict[str, bytes], mark: Path, name: str
) -> None:
    def added(document: Any) -> None:
        document["config"]["thing"] = {"path_name": name, "is_param": False, "use_pickle": True}

    payload = {f"data/constants/{name}": pickle.dumps(Touch(mark))}
    data = read(tmp_path, {**with_json(members, CONSTANTS, added), **payload})
    assert isinstance(data.root.find("thing"), Opaque)


def test_a_size_expression_is_not_evaluated(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    text = members[MODEL].decode().replace("Symbol('s", f"{call(mark)} or Symbol('s")
    assert call(mark) in text
    with pytest.raises(UnknownFormatError, match="symbolic expression"):
        read(tmp_path, {**members, MODEL: text.encode()})


def test_an_unknown_function_in_a_size_stays_text(
    tmp_path: Path, members: dict[str, bytes], mark: Path
) -> None:
    text = members[MODEL].decode().replace("Symbol('s", f"{TRAP}.Trap(Integer(2)) , Symbol('s")
    with pytest.raises(UnknownFormatError, match="follows the symbolic expression"):
        read(tmp_path, {**members, MODEL: text.encode()})


def test_a_placeholder_name_is_not_code(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    name = f"x={call(mark)}"
    text = members[MODEL].decode().replace('"name": "x"', f'"name": "{name}"')
    data = read(tmp_path, {**members, MODEL: text.encode()})
    assert name in [node.name for node in data.graph.nodes]


def test_a_default_factory_is_not_imported(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    context = {"default_factory_module": TRAP, "default_factory_name": "Trap", "dict_context": ["y"]}
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = {"type": "collections.defaultdict", "context": context, "children_spec": [leaf]}
    data = read(tmp_path, _with_out_spec(members, spec))
    assert data.convention is not None
    assert data.convention.output is not None
    assert data.convention.output.cls == Name(TRAP, "Trap")


def test_an_enum_key_is_not_imported(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    key = {"__enum__": True, "fqn": f"{TRAP}:Trap", "name": "x"}
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = {"type": "builtins.dict", "context": json.dumps([key]), "children_spec": [leaf]}
    data = read(tmp_path, _with_out_spec(members, spec))
    assert data.convention is not None
    assert data.convention.output is not None
    assert data.convention.output.keys


def test_a_compiled_library_is_not_loaded(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    data = read(tmp_path, {**members, "data/aotinductor/model/code.wrapper.so": b"\x7fELF"})
    assert data.graph.placeholders


def test_guards_stay_text(tmp_path: Path, members: dict[str, bytes], mark: Path) -> None:
    def guarded(document: Any) -> None:
        document["guards_code"] = [call(mark)]

    data = read(tmp_path, with_json(members, MODEL, guarded))
    assert data.contract is not None
    assert data.contract.guards == (call(mark),)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("torch.os.system", Name("torch.os", "system")),
        (f"{TRAP}.Trap", Name(TRAP, "Trap")),
        ("torch.ops.aten.from_file.default", OpName("aten", "from_file", "default")),
    ],
)
def test_a_target_stays_a_name(
    tmp_path: Path, members: dict[str, bytes], mark: Path, target: str, expected: Name | OpName
) -> None:
    text = members[MODEL].decode().replace("torch.ops.aten.linear.default", target)
    data = read(tmp_path, {**members, MODEL: text.encode()})
    assert expected in [node.target for node in data.graph.nodes]


def _with_out_spec(members: dict[str, bytes], spec: Any) -> dict[str, bytes]:
    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, spec])

    return with_json(members, MODEL, change)
