"""What ``fx2py gen`` and ``fx2py split`` show: code, and what it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fx2py.cli.hints import with_options
from fx2py.cli.render import print_fault
from fx2py.cli.terminal import (
    add_row,
    print_code,
    print_facts,
    print_json,
    print_line,
    print_notes,
    print_table,
    stdout,
    table_of,
)

if TYPE_CHECKING:
    from fx2py.artifact.manifest import Manifest, TensorEntry
    from fx2py.cli.gen import Failure, Generated
    from fx2py.cli.split import Split
    from fx2py.program.translate import Stage

SHOWN_LINES = 120
"""Longer code is cut on a screen; the file has it all, and so has a pipe."""


def print_generated(done: Sequence[Generated], failures: Sequence[Failure], as_json: bool) -> None:
    """The code of one graph and a table about it; a table with a row a graph for several; then each failure."""
    if as_json:
        graphs = [_generated_data(item) for item in done]
        print_json({"graphs": graphs, "failures": [_failure_data(each) for each in failures]})
    elif len(done) == 1:
        _print_one(stdout(), done[0])
    elif done:
        _print_several(stdout(), done)
    for failure in failures:
        print_fault(failure.fault, failure.name)


def print_stages(graph: str, stages: Sequence[Stage]) -> None:
    """The listings of the graph and of the first stage, then what each later one changed."""
    from fx2py.program.listing import changes, listing

    console = stdout()
    for name, text in (("graph", graph), (stages[0].name, listing(stages[0].program))):
        print_line(console, f"# {name}", "bold")
        for line in text.splitlines():
            print_line(console, line)
        print_line(console, "")
    for before, after in pairwise(stages):
        lines = list(changes(before.program, after.program))
        print_line(console, f"# {after.name}{'' if lines else ': changed nothing'}", "bold")
        for line in lines:
            print_line(console, line, _CHANGE_STYLES[line[0]])
        print_line(console, "")


_CHANGE_STYLES = {"-": "red", "+": "green"}


def _failure_data(failure: Failure) -> dict[str, str]:
    fault = failure.fault
    said = {"error": with_options(fault.message), "hint": with_options(fault.hint)}
    return {"graph": str(failure.graph), **({"model": failure.name} if failure.name else {}), **said}


def _generated_data(item: Generated) -> dict[str, Any]:
    return {"graph": str(item.graph), "folder": str(item.folder), "manifest": item.manifest.to_json()}


def _print_one(console: Console, item: Generated) -> None:
    code = item.source.splitlines()
    shown_lines = SHOWN_LINES if console.is_terminal else len(code)
    print_code(console, "\n".join(code[:shown_lines]) + "\n")
    console.print()
    if len(code) > shown_lines:
        rest = f"... {len(code) - shown_lines} more lines in {item.folder / 'execution_fn.py'}"
        print_line(console, rest, "dim")
    facts = {
        "graph": f"{item.graph} ({item.manifest.graph.format})",
        "folder": str(item.folder),
        "inputs": ", ".join(entry.name for entry in item.manifest.inputs) or "none",
        "calls": f"{_calls(item.manifest)}, of {len(item.manifest.targets)} functions and operators",
        "modules": str(len(item.manifest.submodules)),
        "tensors": f"{len(_tensors(item.manifest))}, of {_numbers(item.manifest):,} numbers",
    }
    if item.manifest.compiled is not None:
        facts["compiled"] = str(item.manifest.compiled)
    needs = (*item.manifest.requires, *map(_class_needed, item.unadmitted))
    if needs:
        facts["to run"] = f"needs {', '.join(needs)}"
    print_facts(console, facts)
    print_notes(console, item.manifest.notes)


def _class_needed(cls: str) -> str:
    """How a class is given to code that calls a module of it; one of a script cannot be imported."""
    return (
        f"a callable for {cls} (bind it in Python)" if cls.startswith("__main__.") else f"--allow-class {cls}"
    )


def _print_several(console: Console, done: Sequence[Generated]) -> None:
    table = table_of("graph", "folder", "calls", "modules", "tensors", "numbers", "needs")
    for item in done:
        manifest = item.manifest
        amounts = (_calls(manifest), len(manifest.submodules), len(_tensors(manifest)), _numbers(manifest))
        counts = [f"{amount:,}" for amount in amounts]
        add_row(table, item.name or item.graph.name, str(item.folder), *counts, ", ".join(manifest.requires))
    print_table(console, table)


def _calls(manifest: Manifest) -> int:
    return sum(target.calls for target in manifest.targets)


def _tensors(manifest: Manifest) -> list[TensorEntry]:
    """Every stored tensor: what the code itself reads, and what the modules that it calls hold."""
    called = [entry for entry in manifest.submodules if entry.mode == "called"]
    held = [tensor for entry in called for tensor in (*entry.parameters, *entry.buffers)]
    return [*manifest.weights, *held]


def _numbers(manifest: Manifest) -> int:
    return sum(prod(entry.shape) for entry in _tensors(manifest))


def print_split(done: Split, as_json: bool) -> None:
    """A row for each different piece: how often it is used, what goes in, what comes out, and the pieces equal to it."""
    pieces = [entry for entry in done.manifest.submodules if entry.mode == "function"]
    if as_json:
        rows = [asdict(entry) for entry in pieces]
        print_json({"graph": str(done.graph), "file": done.file and str(done.file), "pieces": rows})
        return
    console = stdout()
    table = table_of("piece", "used", "inputs", "result", "also as")
    distinct = [entry for entry in pieces if entry.identical_to is None]
    for entry in distinct:
        inputs = ", ".join(value or "?" for value in entry.inputs)
        others = ", ".join(other.name for other in pieces if other.identical_to == entry.name)
        times = "once" if entry.used == 1 else f"{entry.used} times"
        add_row(table, entry.name, times, inputs, entry.output or "", others)
    print_table(console, table)
    facts = {"graph": str(done.graph), "pieces": f"{len(pieces)}, {len(distinct)} of them different"}
    if done.file is not None:
        facts["file"] = str(done.file)
    print_facts(console, facts)
