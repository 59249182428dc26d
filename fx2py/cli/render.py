"""What ``run``, ``diff`` and ``bench`` show, and what every command says beside its result.

Results go to stdout, progress and faults to stderr. Colour and live progress appear on a terminal only; rich follows
``NO_COLOR`` and ``TERM``. Tables fit 80 columns.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from rich.text import Text

from fx2py.cli.hints import with_options
from fx2py.cli.terminal import (
    add_row,
    duration,
    faults,
    is_silent,
    live,
    out,
    print_code,
    print_facts,
    print_json,
    print_line,
    print_notes,
    print_table,
    short,
    shown,
    shown_lines,
    stderr,
    stdout,
    table_of,
    who,
    write,
)
from fx2py.errors import Fx2pyError, InternalError

if TYPE_CHECKING:

    from fx2py.cli.bench import Benched
    from fx2py.cli.diff import Diffed
    from fx2py.cli.run import Ran
    from fx2py.cli.summary import Summary
    from fx2py.compare import EquivalenceReport, LeafOutcome


def print_fault(fault: Fx2pyError, name: str = "") -> None:
    """One message: what is wrong, with which graph of the file where it has a name, then the next step."""
    console = faults()
    label = who() if isinstance(fault, InternalError) else f"{who()}error: "
    message = with_options(f"{name}: {fault.message}" if name else fault.message)
    console.print(shown(label, "bold red") + shown_lines(message), soft_wrap=True)
    if fault.hint:
        print_line(console, with_options(fault.hint), "dim")


def print_traceback(fault: Exception) -> None:
    """Where a fault was raised, for those who look for its cause."""
    for line in "".join(traceback.format_exception(fault)).splitlines():
        print_line(faults(), line)


def print_note(text: str) -> None:
    """A remark beside the result; on stderr, so that it never mixes with what a pipe reads."""
    print_line(stderr(), with_options(text), "dim")


def print_source(source: str) -> None:
    """The source alone: highlighted on a terminal, byte for byte in a pipe."""
    if out().isatty():
        print_code(stdout(), source)
    else:
        write(source)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on a terminal while something is under way that may take seconds."""
    console = stderr()
    if is_silent() or not console.is_terminal:
        yield
        return
    from rich.spinner import Spinner

    with live(console, Spinner("dots", shown(text), style="status.spinner")):
        yield


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal while ``total`` things are worked on; call the result with the name of each that is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = stderr()
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,  # see terminal.live
        redirect_stderr=False,
        disable=is_silent() or not console.is_terminal,
    ) as bar:
        task = bar.add_task(text, total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=shown(f"{text} (done: {name})").plain)

        yield advance


# -- several ranks -----------------------------------------------------------------------------------------------

T = TypeVar("T")


def _rank_column(ranks: Sequence[object]) -> tuple[str, ...]:
    return ("rank",) if len(ranks) > 1 else ()


def _by_rank(ranks: Sequence[Sequence[T]]) -> Iterator[tuple[tuple[str, ...], T]]:
    """What every rank has, each with the cell that says whose it is, where there are several."""
    for rank, items in enumerate(ranks):
        for item in items:
            yield ((str(rank),) if len(ranks) > 1 else ()), item


def _each(texts: Iterable[str]) -> str:
    """What the ranks have, once where it is the same."""
    return ", ".join(dict.fromkeys(texts))


def _with_ranks(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of the first rank, and below it those of each where there are several."""
    return ranks[0] if len(ranks) == 1 else {**ranks[0], "ranks": ranks}


# -- run ---------------------------------------------------------------------------------------------------------


def print_run(ranks: Sequence[Ran], verbose: bool, as_json: bool) -> None:
    """Every value that came out on each rank, what was run on what, and the time of the first."""
    if as_json:
        print_json(_with_ranks([_run_data(ran) for ran in ranks]))
        return
    console, ran = stdout(), ranks[0]
    table = table_of(*_rank_column(ranks), "output", "dtype", "shape", "device", "min", "mean", "max", "nan")
    for rank, row in _by_rank([each.outputs for each in ranks]):
        shape = "" if row.shape is None else str(list(row.shape))
        numbers = [short(number) for number in (row.minimum, row.mean, row.maximum)]
        nans = "" if row.nans is None else str(row.nans)
        kind = row.dtype or f"{row.type} {row.value}"
        add_row(table, *rank, row.path, kind, shape, row.device or "", *numbers, nans)
    print_table(console, table)
    if verbose:
        bound = table_of("submodule", "bound as")
        for name, manner in ran.bindings:
            add_row(bound, name, manner)
        print_table(console, bound)
    calls = "one call" if len(ran.seconds) == 1 else f"median of {len(ran.seconds)} calls"
    facts = {"ran": _each(each.label for each in ranks), "time": f"{duration(median(ran.seconds))} ({calls})"}
    if ran.saved is not None:
        facts["saved"] = _each(str(each.saved) for each in ranks)
    if ran.memory is not None:
        plan = ran.memory.planned
        facts["planned peak"] = f"unknown: {ran.memory.unknown}" if plan is None else f"{plan:,} bytes"
        facts["measured peak"] = f"{ran.memory.measured:,} bytes"
    print_facts(console, facts)
    print_line(console, ran.inputs)
    print_notes(console, ran.notes)


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
        "notes": list(ran.notes),
    }


def _summary_data(row: Summary) -> dict[str, Any]:
    return {
        "path": row.path,
        "type": row.type,
        "value": row.value,
        "dtype": row.dtype,
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


def print_diff(ranks: Sequence[Diffed], as_json: bool) -> None:
    """The outcome of each output and of each changed tensor on each rank, and the verdict."""
    reports = [done.report for done in ranks]
    equal = all(report.equal for report in reports)
    if as_json:
        print_json({**_with_ranks([_diff_data(done) for done in ranks]), "equal": equal})
        return
    console, done, report = stdout(), ranks[0], reports[0]
    table = table_of(*_rank_column(ranks), "output", "expected", "outcome")
    for rank, leaf in _by_rank([(*each.outputs, *each.mutations) for each in reports]):
        add_row(table, *rank, leaf.path, leaf.expected, _outcome(leaf))
    print_table(console, table)
    facts = {"graph": _each(each.graph for each in ranks), "code": _each(each.code for each in ranks)}
    print_facts(console, facts | {name: fact for each in reports for name, fact in _raised(each).items()})
    print_line(console, done.inputs)
    print_notes(console, done.notes)
    if equal and report.raised[0] is not None:
        console.print(
            shown("equivalent", "bold yellow") + shown(": both raise this error, so no result was compared")
        )
        print_line(console, "Pass inputs that the graph accepts with --inputs FILE.")
    elif equal:
        console.print(shown("equivalent", "bold green") + shown(": the same, bit for bit, on these inputs"))
    else:
        print_line(console, "not equivalent", "bold red")


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
        "notes": list(done.notes),
    }


def _leaf_data(leaf: LeafOutcome) -> dict[str, Any]:
    return {**asdict(leaf), "equal": leaf.equal, "max_difference": _finite(leaf.max_difference)}


def _outcome(leaf: LeafOutcome) -> Text:
    if leaf.equal:
        return shown("equal", "green")
    text = f"differs in {', '.join(leaf.differences)}"
    if leaf.expected != leaf.actual:
        text += f": {leaf.actual}"
    if leaf.differing:
        text += f"; {leaf.differing} elements"
    if leaf.max_difference is not None:
        text += f", at most by {leaf.max_difference:.3g}"
    return shown(text, "red")


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
    console = stdout()
    per_submodule = ("per submodule",) if report.submodule_calls else ()
    table = table_of("way", "time", "spread", "ratio", "per node", *per_submodule, "peak bytes", "code bytes")
    for row in report.rows:
        shares = [duration(share) for share in (row.per_node, row.per_submodule) if share is not None]
        size = "" if row.code_bytes is None else f"{row.code_bytes:,}"
        numbers = [f"{row.spread:.0%}", f"{row.ratio:.2f}", *shares, f"{row.peak_bytes:,}", size]
        add_row(table, row.name, duration(row.seconds), *numbers)
    print_table(console, table)
    print_facts(
        console,
        {
            "ran": done.label,
            "nodes": str(report.nodes),
            "submodules": f"{report.submodule_calls} calls",
            "rounds": str(report.rounds),
        },
    )
    print_line(console, report.inputs)
    if report.noise:
        print_line(console, report.noise, "bold yellow")
