"""Every text, number and key of a JSON document, replaced by something hostile: refused, or generated as data."""

import ast
import copy
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import fx2py
from fx2py.errors import Fx2pyError, InternalError
from fx2py.graph_file.writing import save_graph
from fx2py.read import open_graph
from tests.security.test_pt2_attacks import Small

CODE = "x\"'\n__import__('os').system('touch ran')#"
PAYLOADS = (
    *(CODE, "\u202e\x1b[31m\ud800", "", "__builtins__", "class", "a.b.c", "torch.os.system", "x" * 3000),
    *(10**30, -1, 1e308, None, True, [], {"a": 1}),
)
MEMBERS = {"graph.pt2": "models/model.json", "graph.fx2py": "fx2py_graph.json"}
SAMPLES = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts")
    batch = {0: torch.export.Dim("batch", max=64)}
    program = torch.export.export(Small(), (torch.ones(3, 2),), dynamic_shapes=(batch,))
    torch.export.save(program, path / "graph.pt2")
    save_graph(open_graph(path / "graph.pt2"), path / "graph.fx2py")
    return path


def positions(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every key and every leaf; a key's ends in None."""
    if type(document) is dict:
        yield from ((*path, key, None) for key in document)
    parts = (
        document.items() if type(document) is dict else enumerate(document) if type(document) is list else ()
    )
    for key, part in parts:
        yield from positions(part, (*path, key))
    if type(document) not in (dict, list):
        yield path


def changed(document: Any, path: tuple[Any, ...], payload: Any) -> Any:
    """The document with a payload at a position."""
    result = copy.deepcopy(document)
    *outer, last = path[:-1] if path[-1] is None else path
    place = result
    for step in outer:
        place = place[step]
    if path[-1] is None:
        place[str(payload)] = place.pop(last)
    else:
        place[last] = payload
    return result


@pytest.mark.parametrize("name", MEMBERS)
def test_a_hostile_text_in_any_place_is_refused_or_data(name, folder, tmp_path):
    with zipfile.ZipFile(folder / name) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    changing = next(member for member in members if member.endswith(MEMBERS[name]))
    document = json.loads(members[changing])
    cases = [(path, payload) for path in positions(document) for payload in PAYLOADS]
    for path, payload in random.Random(0).sample(cases, SAMPLES):
        text = json.dumps(changed(document, path, payload)).encode()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, data in {**members, changing: text}.items():
                archive.writestr(member, data)
        check(tmp_path / name, (path, payload))


def generated(path: Path) -> tuple[fx2py.Artifact | None, str]:
    """The artifact of a file, or why the file is refused; what is a fault of fx2py is raised."""
    try:
        return fx2py.generate(path), ""
    except InternalError:
        raise
    except Fx2pyError as error:
        return None, error.message


def check(path: Path, case: Any) -> None:
    artifact, refusal = generated(path)
    if artifact is None:
        assert str(path) in refusal, case
        return
    used = {node.id for node in ast.walk(ast.parse(artifact.source)) if isinstance(node, ast.Name)}
    assert "__import__" not in used, case
    assert all(sign.isprintable() or sign == "\n" for sign in artifact.source), case
    json.dumps(artifact.manifest.to_json())
