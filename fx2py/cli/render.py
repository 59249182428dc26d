"""Everything that the command line prints; no other module prints.

Results go to stdout, progress and faults to stderr. Colour and live progress appear on a terminal only; rich follows
``NO_COLOR`` and ``TERM``. Tables fit 80 columns.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite, prod
from statistics import median
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fx2py.errors import Fx2pyError, InternalError

if TYPE_CHECKING:
    from fx2py.artifact.manifest import Manifest, TensorEntry
    from fx2py.cli.bench import Benched
    from fx2py.cli.diff import Diffed
    from fx2py.cli.gen import Generated
    from fx2py.cli.run import Ran
    from fx2py.cli.split import Split
    from fx2py.cli.summary import Summary
    from fx2py.compare import EquivalenceReport, LeafOutcome

SHOWN_LINES = 120
"""Longer code is cut on the screen; the file has it all."""


def _stdout() -> Console:
    return Console(highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


def _text(text: str, style: str = "") -> Text:
    """Text as it stands, no markup; what could steer a terminal is shown as its escape (names come from files)."""
    shown = (sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
    return Text("".join(shown), style)


def _print_line(console: Console, text: str, style: str = "") -> None:
    console.print(_text(text, style), soft_wrap=True)


def print_fault(fault: Fx2pyError) -> None:
    """One message: what is wrong, then the next step."""
    console = _stderr()
    label = "" if isinstance(fault, InternalError) else "error: "
    console.print(_text(label, "bold red") + _text(fault.message), soft_wrap=True)
    if fault.hint:
        _print_line(console, fault.hint, "dim")


def print_note(text: str) -> None:
    """A remark beside the result; on stderr, so that it never mixes with what a pipe reads."""
    _print_line(_stderr(), text, "dim")


def print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def print_source(source: str) -> None:
    """The source alone: highlighted on a terminal, byte for byte in a pipe."""
    if sys.stdout.isatty():
        _print_code(_stdout(), source)
    else:
        sys.stdout.write(source)


def _print_code(console: Console, source: str) -> None:
    from rich.syntax import Syntax

    code = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(source)
    code.rstrip()
    console.print(code, soft_wrap=True)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on a terminal while something is under way that may take seconds."""
    console = _stderr()
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal while ``total`` things are worked on; call the result with the name of each that is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = _stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=f"{text} (done: {name})")

        yield advance


# -- gen ---------------------------------------------------------------------------------------------------------


def print_generated(done: Sequence[Generated], as_json: bool) -> None:
    """The code of one graph and a table about it; a table with a row a graph for several."""
    if as_json:
        print_json({"graphs": [_generated_data(item) for item in done]})
    elif len(done) == 1:
        _print_one(_stdout(), done[0])
    elif done:
        _print_several(_stdout(), done)


def _generated_data(item: Generated) -> dict[str, Any]:
    return {"graph": str(item.graph), "folder": str(item.folder), "manifest": item.manifest.to_json()}


def _print_one(console: Console, item: Generated) -> None:
    from fx2py.emit.module import LOADING

    code = item.source.partition(LOADING)[0].rstrip().splitlines()
    _print_code(console, "\n".join(code[:SHOWN_LINES]) + "\n")
    console.print()
    if len(code) > SHOWN_LINES:
        rest = f"... {len(code) - SHOWN_LINES} more lines in {item.folder / 'execution_fn.py'}"
        _print_line(console, rest, "dim")
    facts = {
        "graph": f"{item.graph} ({item.manifest.graph.format})",
        "folder": str(item.folder),
        "inputs": ", ".join(entry.name for entry in item.manifest.inputs) or "none",
        "calls": f"{_calls(item.manifest)}, of {len(item.manifest.targets)} functions and operators",
        "modules": str(len(item.manifest.submodules)),
        "tensors": f"{len(_tensors(item.manifest))}, of {_numbers(item.manifest):,} numbers",
    }
    if item.manifest.requires:
        facts["to run"] = "needs " + ", ".join(item.manifest.requires)
    _print_facts(console, facts)
    for note in item.manifest.notes:
        _print_line(console, f"note: {note}", "yellow")


def _print_several(console: Console, done: Sequence[Generated]) -> None:
    table = _table("graph", "folder", "calls", "modules", "tensors", "numbers", "needs")
    for item in done:
        manifest = item.manifest
        amounts = (_calls(manifest), len(manifest.submodules), len(_tensors(manifest)), _numbers(manifest))
        counts = [f"{amount:,}" for amount in amounts]
        _add_row(table, item.graph.name, str(item.folder), *counts, ", ".join(manifest.requires))
    _print_table(console, table)


def _calls(manifest: Manifest) -> int:
    return sum(target.calls for target in manifest.targets)


def _tensors(manifest: Manifest) -> list[TensorEntry]:
    """Every stored tensor: what the code itself reads, and what the modules that it calls hold."""
    called = [entry for entry in manifest.submodules if entry.mode == "called"]
    held = [tensor for entry in called for tensor in (*entry.parameters, *entry.buffers)]
    return [*manifest.weights, *held]


def _numbers(manifest: Manifest) -> int:
    return sum(prod(entry.shape) for entry in _tensors(manifest))


# -- split -------------------------------------------------------------------------------------------------------


def print_split(done: Split, as_json: bool) -> None:
    """A row a piece: what goes in, what comes out, and the piece that it repeats."""
    pieces = [entry for entry in done.manifest.submodules if entry.mode == "function"]
    if as_json:
        rows = [asdict(entry) for entry in pieces]
        print_json({"graph": str(done.graph), "folder": done.folder and str(done.folder), "pieces": rows})
        return
    console = _stdout()
    table = _table("piece", "inputs", "result", "identical to")
    for entry in pieces:
        inputs = ", ".join(value or "?" for value in entry.inputs)
        _add_row(table, entry.name, inputs, entry.output or "", entry.identical_to or "")
    _print_table(console, table)
    distinct = sum(entry.identical_to is None for entry in pieces)
    facts = {"graph": str(done.graph), "pieces": f"{len(pieces)}, {distinct} of them different"}
    if done.folder is not None:
        facts["folder"] = str(done.folder)
    _print_facts(console, facts)


# -- run ---------------------------------------------------------------------------------------------------------


def print_run(ran: Ran, verbose: bool, as_json: bool) -> None:
    """Every value that came out, what was run on what, and the time."""
    if as_json:
        print_json(_run_data(ran))
        return
    console = _stdout()
    table = _table("output", "dtype", "shape", "device", "min", "mean", "max", "nan")
    for row in ran.outputs:
        shape = "" if row.shape is None else str(list(row.shape))
        numbers = [_number(number) for number in (row.minimum, row.mean, row.maximum)]
        nans = "" if row.nans is None else str(row.nans)
        _add_row(table, row.path, row.kind, shape, row.device or "", *numbers, nans)
    _print_table(console, table)
    if verbose:
        bound = _table("submodule", "bound as")
        for name, manner in ran.bindings:
            _add_row(bound, name, manner)
        _print_table(console, bound)
    calls = "one call" if len(ran.seconds) == 1 else f"median of {len(ran.seconds)} calls"
    facts = {"ran": ran.label, "time": f"{_duration(median(ran.seconds))} ({calls})"}
    if ran.saved is not None:
        facts["saved"] = str(ran.saved)
    if ran.memory is not None:
        plan = ran.memory.planned
        facts["planned peak"] = f"unknown: {ran.memory.unknown}" if plan is None else f"{plan:,} bytes"
        facts["measured peak"] = f"{ran.memory.measured:,} bytes"
    _print_facts(console, facts)
    _print_line(console, ran.inputs)


def _run_data(ran: Ran) -> dict[str, Any]:
    return {
        "ran": ran.label,
        "inputs": ran.inputs,
        "outputs": [_summary_data(row) for row in ran.outputs],
        "submodules": dict(ran.bindings),
        "seconds": list(ran.seconds),
        "median_seconds": median(ran.seconds),
        "saved": None if ran.saved is None else str(ran.saved),
        "memory": None if ran.memory is None else asdict(ran.memory),
    }


def _summary_data(row: Summary) -> dict[str, Any]:
    return {
        "path": row.path,
        "dtype": row.kind,
        "shape": None if row.shape is None else list(row.shape),
        "device": row.device,
        "min": _finite(row.minimum),
        "mean": _finite(row.mean),
        "max": _finite(row.maximum),
        "nan": row.nans,
    }


def _finite(number: float | None) -> float | str | None:
    """JSON has no infinity: it is given as text."""
    return number if number is None or isfinite(number) else str(number)


# -- diff --------------------------------------------------------------------------------------------------------


def print_diff(done: Diffed, as_json: bool) -> None:
    """The outcome of each output, of each changed tensor, and the verdict."""
    if as_json:
        print_json(_diff_data(done))
        return
    console, report = _stdout(), done.report
    table = _table("output", "expected", "outcome")
    for leaf in (*report.outputs, *report.mutations):
        _add_row(table, leaf.path, leaf.expected, _outcome(leaf))
    _print_table(console, table)
    _print_facts(console, {"graph": done.graph, "code": done.code, **_raised(report)})
    _print_line(console, done.inputs)
    if report.equal and report.raised[0] is not None:
        console.print(
            _text("equivalent", "bold yellow") + _text(": both raise this error, so no result was compared")
        )
        _print_line(console, "Pass inputs that the graph accepts with --inputs FILE.")
    elif report.equal:
        console.print(_text("equivalent", "bold green") + _text(": the same, bit for bit, on these inputs"))
    else:
        _print_line(console, "not equivalent", "bold red")


def _diff_data(done: Diffed) -> dict[str, Any]:
    report = done.report
    return {
        "graph": done.graph,
        "code": done.code,
        "inputs": done.inputs,
        "equal": report.equal,
        "outputs": [_leaf_data(leaf) for leaf in report.outputs],
        "mutations": [_leaf_data(leaf) for leaf in report.mutations],
        "raised": {"graph": report.raised[0], "code": report.raised[1]},
        "same_random_state": report.same_random_state,
    }


def _leaf_data(leaf: LeafOutcome) -> dict[str, Any]:
    return {**asdict(leaf), "equal": leaf.equal, "max_difference": _finite(leaf.max_difference)}


def _outcome(leaf: LeafOutcome) -> Text:
    if leaf.equal:
        return _text("equal", "green")
    text = f"differs in {', '.join(leaf.differences)}"
    if leaf.expected != leaf.actual:
        text += f": {leaf.actual}"
    if leaf.differing:
        text += f"; {leaf.differing} elements"
    if leaf.max_difference is not None:
        text += f", at most by {leaf.max_difference:.3g}"
    return _text(text, "red")


def _raised(report: EquivalenceReport) -> dict[str, str]:
    """What either side raised, and a random state that came out different."""
    sides = zip(("graph raised", "code raised"), report.raised, strict=True)
    facts = {side: text for side, text in sides if text is not None}
    return facts if report.same_random_state else {**facts, "random state": "differs afterwards"}


# -- bench -------------------------------------------------------------------------------------------------------


def print_bench(done: Benched, as_json: bool) -> None:
    """A row for each way to run the graph, the first of fx2py being one."""
    report = done.report
    if as_json:
        print_json({"ran": done.label, **asdict(report)})
        return
    console = _stdout()
    table = _table("way", "time", "spread", "ratio", "per node", "peak bytes", "code bytes")
    for row in report.rows:
        numbers = [f"{row.spread:.0%}", f"{row.ratio:.2f}", _duration(row.per_node), f"{row.peak_bytes:,}"]
        size = "" if row.code_bytes is None else f"{row.code_bytes:,}"
        _add_row(table, row.name, _duration(row.seconds), *numbers, size)
    _print_table(console, table)
    _print_facts(console, {"ran": done.label, "nodes": str(report.nodes), "rounds": str(report.rounds)})
    _print_line(console, report.inputs)
    if report.noise:
        _print_line(console, report.noise, "bold yellow")


# -- tables ------------------------------------------------------------------------------------------------------

_NUMERIC = frozenset(
    {"calls", "modules", "tensors", "numbers", "min", "mean", "max", "nan"}
    | {"time", "spread", "ratio", "per node", "peak bytes", "code bytes"}
)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMERIC else "left", overflow="fold")
    return table


def _add_row(table: Table, *cells: str | Text) -> None:
    table.add_row(*[_text(cell) if isinstance(cell, str) else cell for cell in cells])


def _print_table(console: Console, table: Table) -> None:
    console.print(table)
    console.print()


def _print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Named facts, a line each, the names aligned."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        grid.add_row(name, _text(fact))
    console.print(grid)


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
