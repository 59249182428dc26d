"""Two processes, each with its own hash seed, write the same folders to the last byte, whatever the options are."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import warnings
from pathlib import Path

import fx2py
from fx2py import GenerateOptions
from fx2py.errors import SplitError
from tests.corpus import CASES
from tests.corpus.formats import FORMATS
from tests.processes import from_new_process

OPTIONS = {
    "plain": GenerateOptions(),
    "optimized": GenerateOptions(optimize=True),
    "whole modules": GenerateOptions(keep_submodules=True),
    "cut": GenerateOptions(split_at=("aten::relu", "aten::add")),
}
NAMES = (
    "symbolic_trace-methods",
    "symbolic_trace-TiedParameters",
    "make_fx_symbolic-pointwise",
    "compile-branches",
    "compile-Autocast",
    "aot_forward-Perceptron",
    "aot_backward-Perceptron",
    "export-Perceptron",
    "export_decomposed-Perceptron",
    "export_non_strict-Perceptron",
)


def digests(saved: dict[str, str]) -> dict[str, str]:
    """The sha256 of each file that the saved graphs become, by graph, options and file."""
    found = {}
    for name, path in saved.items():
        for option, options in OPTIONS.items():
            for file, content in written(path, options).items():
                found[f"{name}, {option}, {file}"] = hashlib.sha256(content).hexdigest()
    return found


def written(path: str, options: GenerateOptions) -> dict[str, bytes]:
    """The files of the folder; none where the graph has nothing to split at."""
    try:
        artifact = fx2py.generate(path, options=options)
    except SplitError:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        artifact.write(Path(folder) / "out")
        files = sorted(path for path in (Path(folder) / "out").rglob("*") if path.is_file())
        return {file.name: file.read_bytes() for file in files}


def digests_elsewhere(saved: dict[str, str], hash_seed: int) -> dict[str, str]:
    return from_new_process(__name__, saved, hash_seed)


def test_two_processes_write_the_same_bytes(tmp_path):
    saved = {}
    for name in NAMES:
        (tmp_path / name).mkdir()
        saved[name] = str(FORMATS["fx2py"](CASES[name].build(), tmp_path / name))
    here = digests(saved)
    for option in OPTIONS:
        assert any(f", {option}, weights.pt" in key for key in here)
    assert here == digests_elsewhere(saved, hash_seed=4711)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(digests(json.load(sys.stdin))))
