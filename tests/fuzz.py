"""Damaged files until the time is over, one reader after the other: ``python -m tests.fuzz [--seconds N] [--seed N]``.

A file must be read, or refused with one sentence that names it, in bounded time; anything else is kept and shown.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fx2py.errors import Fx2pyError
from fx2py.read import open_graph
from tests.corpus.formats import FORMATS
from tests.read.graphs import traced_block
from tests.security.test_pt2_attacks import Small

SLOWEST = 20.0
Damage = Callable[[bytes, random.Random], bytes]


def flip_bits(data: bytes, choice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(choice.randint(1, 8)):
        changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(data))
    size = choice.randint(1, 32)
    return data[:start] + choice.randbytes(size) + data[start + size :]


def cut(data: bytes, choice: random.Random) -> bytes:
    return data[: choice.randrange(len(data))]


def leave_out(data: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(data))
    return data[:start] + data[start + choice.randint(1, 64) :]


def repeat(data: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(data))
    piece = data[start : start + choice.randint(1, 64)]
    return data[:start] + piece * choice.randint(2, 50) + data[start:]


def swap(data: bytes, choice: random.Random) -> bytes:
    """Two pieces in each other's places: still well-formed words, in the wrong order."""
    size = choice.randint(1, 32)
    first, second = sorted(choice.randrange(len(data)) for _ in range(2))
    if second - first < size:
        return overwrite(data, choice)
    parts = (data[:first], data[second : second + size], data[first + size : second])
    return b"".join((*parts, data[first : first + size], data[second + size :]))


DAMAGES: tuple[Damage, ...] = (flip_bits, overwrite, cut, leave_out, repeat, swap)


@dataclass(frozen=True)
class Subject:
    """One file of a saved graph: what is opened, which file of it is damaged, and its bytes."""

    name: str
    opened: Path
    damaged: Path
    data: bytes


def subjects(folder: Path) -> list[Subject]:
    """A saved graph for every reader; of a folder, both its text and its tensors."""
    graph, program = traced_block(), torch.export.export(Small(), (torch.ones(3, 2),))
    found = []
    for name, write in FORMATS.items():
        place = folder / name
        place.mkdir()
        path = write(program if name == "pt2" else graph, place)
        files = [path / "module.py", path / "state_dict.pt"] if path.is_dir() else [path]
        found += [Subject(f"{name}:{file.name}", path, file, file.read_bytes()) for file in files]
    stream, text, printed = folder / "stream.pt", folder / "graph.txt", folder / "program.txt"
    torch.save(graph, stream, _use_new_zipfile_serialization=False)
    text.write_text(graph.print_readable(print_output=False))
    printed.write_text(str(program))
    return [*found, *(Subject(path.name, path, path, path.read_bytes()) for path in (stream, text, printed))]


def fault_of(subject: Subject, data: bytes) -> str:
    """What is wrong with how the damaged file was taken; empty when it was read or refused as it must be."""
    subject.damaged.write_bytes(data)
    started = time.process_time()
    try:
        open_graph(subject.opened)
    except Fx2pyError as error:
        if str(subject.opened) not in error.message or "\n" in error.message:
            return f"the message does not name the file in one line: {error.message}"
    except Exception:  # the purpose of the run: nothing else may come out of a reader
        return traceback.format_exc()
    spent = time.process_time() - started
    return f"took {spent:.0f} seconds" if spent > SLOWEST else ""


def fuzz(seconds: float, seed: int, kept: Path) -> int:
    """Damages each reader's file for its share of the time; returns how many faults were found, and keeps their files."""
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        found = subjects(Path(folder))
        for subject in found:
            choice, tried, wrong = random.Random(f"{seed} {subject.name}"), 0, 0
            end = time.monotonic() + seconds / len(found)
            while time.monotonic() < end:
                data = choice.choice(DAMAGES)(subject.data, choice)
                tried += 1
                if fault := fault_of(subject, data):
                    wrong += 1
                    kept.mkdir(exist_ok=True)
                    (kept / f"{subject.name.replace(':', '_')}.{tried}").write_bytes(data)
                    print(fault, file=sys.stderr)
            subject.damaged.write_bytes(subject.data)
            print(f"{subject.name:28} {tried:7} files  {wrong:4} faults", flush=True)
            faults += wrong
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Damages saved graphs and reads them, until the time is over."
    )
    parser.add_argument(
        "--seconds", type=float, default=300, help="how long, over all readers (default: 300)"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses the damages (default: 0)")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz_faults"), help="where files that show faults go"
    )
    options = parser.parse_args()
    faults = fuzz(options.seconds, options.seed, options.keep)
    if faults:
        sys.exit(f"{faults} faults; their files are in {options.keep}")


if __name__ == "__main__":
    main()
