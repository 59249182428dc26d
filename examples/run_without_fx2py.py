"""Runs a generated folder with torch alone: fx2py is not imported, nor is the model's own package.

python examples/run_without_fx2py.py FOLDER
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch


def import_folder(folder: Path) -> ModuleType:
    """The package in a folder, wherever it lies; of one that Python finds, ``from tiny_bert_fx2py import load`` will do."""
    spec = importlib.util.spec_from_file_location(folder.stem, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
    return package


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("Say which folder: the one that fx2py gen wrote for the tiny_bert.pt2 of export_model.py.")
    folder = Path(sys.argv[1])
    execute = import_folder(folder).load(device="cpu")
    result = execute(
        input_ids=torch.randint(0, 1000, (1, 16)), attention_mask=torch.ones(1, 16, dtype=torch.int64)
    )
    print("pooler_output", tuple(result.pooler_output.shape), "without fx2py:", "fx2py" not in sys.modules)


if __name__ == "__main__":
    main()
