"""Archives changed on purpose: a member replaced, dropped, added or written twice."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fx2py.graph.data import GraphData
from fx2py.read.pt2.archives import archive_graphs
from fx2py.read.several import chosen

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


def read_pt2(path: Path, model: str | None = None) -> GraphData:
    """The program of an archive, whatever the file looks like to `open_graph`."""
    with archive_graphs(path) as graphs:
        return chosen(path, graphs, model).read()


def members_of(path: Path) -> dict[str, bytes]:
    """The members of an archive by name, without the folder that they share."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write_archive(path: Path, members: dict[str, bytes], twice: str = "") -> Path:
    """An archive with these members; ``twice`` names one that is written a second time."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members.items():
            archive.writestr(f"program/{name}", data)
        if twice:
            archive.writestr(f"program/{twice}", members[twice])
    return path


def with_json(members: dict[str, bytes], name: str, change: Callable[[Any], None]) -> dict[str, bytes]:
    """The members with the JSON document ``name`` changed in place."""
    document = json.loads(members[name])
    change(document)
    return {**members, name: json.dumps(document).encode()}
