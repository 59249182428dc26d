"""The result of each command: what it holds, the table and the facts that are printed of it, and its JSON.

Results go to stdout. A command under a launcher has a result of every rank, and the first rank prints them. Colour appears
on a terminal only; rich follows ``NO_COLOR`` and ``TERM``. Tables fit 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rich.text import Text

from fx2py.cli import terminal
from fx2py.cli.messages import fault_data, print_fault
from fx2py.errors import Fx2pyError

if TYPE_CHECKING:
    from fx2py.artifact.edits import EditedText
    from fx2py.artifact.manifest import Manifest, SubmoduleEntry, TensorEntry
    from fx2py.bench import BenchReport, BenchRow
    from fx2py.program.translate import Stage
    from fx2py.show.outline import Module, Outline, Row, Selection

T = TypeVar("T")


def with_ranks(ranks: Sequence[dict[str, object]]) -> dict[str, object]:
    """The data of the first rank, and below it those of each where there are several."""
    return ranks[0] if len(ranks) == 1 else {**ranks[0], "ranks": ranks}


def print_ranks(columns: Sequence[terminal.Column[T]], ranks: Sequence[Sequence[T]]) -> None:
    """A table of what every rank has; a column says whose a row is, where there are several."""
    if len(ranks) == 1:
        terminal.print_table(terminal.stdout(), columns, ranks[0])
        return
    whose: terminal.Column[tuple[int, T]] = terminal.Column("rank", lambda row: str(row[0]))
    rows = [(rank, row) for rank, own in enumerate(ranks) for row in own]
    terminal.print_table(terminal.stdout(), [whose, *map(_of_second, columns)], rows)


def _of_second(column: terminal.Column[T]) -> terminal.Column[tuple[int, T]]:
    return terminal.Column(column.name, lambda row: column.cell(row[1]), column.is_number)


def joined(texts: Iterable[str]) -> str:
    """What the ranks have, once where it is the same."""
    return ", ".join(dict.fromkeys(texts))


def edited_facts(edits: Sequence[EditedText]) -> dict[str, str]:
    """What is said of code that was edited since it was generated."""
    return {"edited": ", ".join(map(str, edits))} if edits else {}


def print_edited_lines(edits: Sequence[EditedText]) -> None:
    """The lines that are gone and those that are there, with their numbers."""
    console = terminal.stdout()
    for edit in edits:
        for line in edit.changes:
            style = "green" if line.sign == "+" else "red"
            terminal.print_line(console, f"{line.sign} {edit.file}:{line.number}  {line.text}", style)
    if any(edit.changes for edit in edits):
        console.print()


# -- gen -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generated:
    """A graph that was generated: where it lies, where its code went, what is in it, and the classes to admit.

    ``name`` is its name among those of the file, where all of them were asked for.
    """

    graph: Path
    name: str
    folder: Path
    source: str
    manifest: Manifest
    unadmitted: tuple[str, ...]


class Failure(NamedTuple):
    """A graph that was not generated, or a file of which all graphs were asked for, and why."""

    graph: Path
    name: str
    fault: Fx2pyError


ENTRY = "execution_fn"
SHOWN_LINES = 120
"""Longer code is cut on a screen; the file has it all, and so has a pipe."""

GENERATED: tuple[terminal.Column[Generated], ...] = (
    terminal.Column("graph", lambda row: row.name or row.graph.name),
    terminal.Column("folder", lambda row: str(row.folder)),
    terminal.Column("calls", lambda row: f"{_calls(row.manifest):,}", is_number=True),
    terminal.Column("modules", lambda row: f"{len(row.manifest.submodules):,}", is_number=True),
    terminal.Column("tensors", lambda row: f"{len(_tensors(row.manifest)):,}", is_number=True),
    terminal.Column("numbers", lambda row: f"{_numbers(row.manifest):,}", is_number=True),
    terminal.Column("needs", lambda row: ", ".join(row.manifest.requires)),
)
"""The table of ``gen`` for several graphs."""


def print_generated(done: Sequence[Generated], failures: Sequence[Failure], as_json: bool) -> None:
    """The code of one graph, on a terminal its outline and entry, and facts about it; a table with a row a graph for several; then each failure."""
    if as_json:
        graphs = [
            {"graph": each.graph, "folder": each.folder, "manifest": each.manifest.to_json()} for each in done
        ]
        terminal.print_json({"graphs": graphs, "failures": [_failure_data(each) for each in failures]})
    elif len(done) == 1:
        _print_code_and_facts(done[0])
    elif done:
        terminal.print_table(terminal.stdout(), GENERATED, done)
    for failure in failures:
        print_fault(failure.fault, failure.name)


def _failure_data(failure: Failure) -> dict[str, object]:
    model = {"model": failure.name} if failure.name else {}
    return {"graph": failure.graph, **model, **fault_data(failure.fault)}


def _print_code_and_facts(item: Generated) -> None:
    console = terminal.stdout()
    if console.is_terminal and item.manifest.modules:
        _print_outline_and_entry(item)
    else:
        _print_code(item.folder, item.source, len(item.source.splitlines()))
    terminal.print_facts(console, _facts(item))
    terminal.print_notes(console, item.manifest.notes)


def _print_outline_and_entry(item: Generated) -> None:
    """What a person wants to see first: the modules, and the function that calls them unless it is long."""
    from fx2py.show.outline import outline

    found = outline(item.source, item.manifest, str(item.folder))
    print_outline(found)
    entry = found.functions[ENTRY].span
    if entry.last - entry.first < SHOWN_LINES:
        _print_code(item.folder, found.text([entry]), len(found.lines))
    else:
        terminal.print_line(
            terminal.stdout(), f"To see the code of a module: fx2py show {item.folder} MODULE", "dim"
        )


def _print_code(folder: Path, source: str, lines: int) -> None:
    """Code, on a screen only the first lines of it, and how many more of the ``lines`` the file has."""
    console = terminal.stdout()
    code = source.splitlines()
    shown_lines = min(SHOWN_LINES, len(code)) if console.is_terminal else len(code)
    terminal.print_code(console, "\n".join(code[:shown_lines]) + "\n")
    console.print()
    if lines > shown_lines:
        terminal.print_line(
            console, f"... {lines - shown_lines} more lines in {folder / 'execution_fn.py'}", "dim"
        )


def _facts(item: Generated) -> dict[str, str]:
    manifest = item.manifest
    needs = (*manifest.requires, *map(_class_needed, item.unadmitted))
    return {
        "graph": f"{item.graph} ({manifest.graph.format})",
        "folder": str(item.folder),
        "inputs": ", ".join(entry.name for entry in manifest.inputs) or "none",
        "calls": f"{_calls(manifest)}, of {len(manifest.targets)} functions and operators",
        "modules": str(len(manifest.submodules)),
        "tensors": f"{len(_tensors(manifest))}, of {_numbers(manifest):,} numbers",
        **_weights_fact(manifest),
        **({} if manifest.compiled is None else {"compiled": str(manifest.compiled)}),
        **({"to run": f"needs {', '.join(needs)}"} if needs else {}),
    }


def _weights_fact(manifest: Manifest) -> dict[str, str]:
    """Where the weights are, if not in the folder."""
    origin = manifest.weights_origin
    if origin.mode == "copy":
        return {}
    if origin.mode == "none":
        return {"weights": "not in the folder: load(weights=model.state_dict())"}
    known = "known by size and time, not hashed" if origin.sha256 is None else f"sha256 {origin.sha256:.12}"
    return {"weights": f"in {origin.path} from the folder, {known}"}


def _class_needed(cls: str) -> str:
    """How a class is given to code that calls a module of it; one of a script cannot be imported."""
    return (
        f"a callable for {cls} (bind it in Python)" if cls.startswith("__main__.") else f"--allow-class {cls}"
    )


def _calls(manifest: Manifest) -> int:
    return sum(target.calls for target in manifest.targets)


def _tensors(manifest: Manifest) -> list[TensorEntry]:
    """Every stored tensor: what the code itself reads, and what the modules that it calls hold."""
    called = [entry for entry in manifest.submodules if entry.mode == "called"]
    held = [tensor for entry in called for tensor in (*entry.parameters, *entry.buffers)]
    return [*manifest.weights, *held]


def _numbers(manifest: Manifest) -> int:
    return sum(prod(entry.shape) for entry in _tensors(manifest))


def print_stages(graph: str, stages: Sequence[Stage]) -> None:
    """The listings of the graph and of the first stage, then what each later one changed."""
    from fx2py.program.listing import changes, listing

    console = terminal.stdout()
    for name, text in (("graph", graph), (stages[0].name, listing(stages[0].program))):
        terminal.print_line(console, f"# {name}", "bold")
        for line in text.splitlines():
            terminal.print_line(console, line)
        terminal.print_line(console, "")
    for before, after in pairwise(stages):
        lines = list(changes(before.program, after.program))
        terminal.print_line(console, f"# {after.name}{'' if lines else ': changed nothing'}", "bold")
        for line in lines:
            terminal.print_line(console, line, {"-": "red", "+": "green"}[line[0]])
        terminal.print_line(console, "")


# -- show ----------------------------------------------------------------------------------------------------------


OUTLINE: tuple[terminal.Column[Row], ...] = (
    terminal.Column("module", lambda row: _named_module(row)),
    terminal.Column("calls", lambda row: f"{row.calls:,}" if row.module.cls else "", is_number=True),
    terminal.Column(
        "parameters", lambda row: _abbreviated(row.parameters) if row.parameters else "", is_number=True
    ),
    terminal.Column("result", lambda row: _more(row.module.outputs)),
    terminal.Column("lines", lambda row: _lines(row.module), is_number=True),
)
"""The table of ``show``."""


def print_outline(outline: Outline) -> None:
    """A row for each module, equal layers once, with the inside of the first."""
    from fx2py.show.outline import rows

    terminal.print_table(terminal.stdout(), OUTLINE, rows(outline))


def _named_module(row: Row) -> Text:
    """The last part of a module's path, its class beside it."""
    return terminal.shown(f"{' ' * row.depth}{row.name or '(model)'} ") + terminal.shown(row.what, "dim")


def _abbreviated(count: int) -> str:
    from fx2py.show.outline import abbreviated

    return abbreviated(count)


def _more(values: Sequence[str]) -> str:
    """The first of some values, and how many more there are."""
    return f"{values[0]} +{len(values) - 1}" if len(values) > 1 else "".join(values)


def _lines(module: Module) -> str:
    """Where a module's statements are: the first lines, and a plus where there are more."""
    return f"{module.spans[0]}{'+' if len(module.spans) > 1 else ''}" if module.spans else ""


def print_shown(label: str, outline: Outline, page: Path | None, as_json: bool) -> None:
    """The outline of what is called ``label``, or where its page is."""
    if as_json:
        terminal.print_json(
            {
                "shown": label,
                "page": page,
                "modules": [each.to_json() for each in outline.modules.values()],
                "functions": [_function_data(outline, each) for each in outline.functions],
                "weights": [asdict(each) for each in outline.weights],
            }
        )
        return
    if page is None:
        print_outline(outline)
    counts = f"{len(outline.functions)}, of {len(outline.lines)} lines in all"
    facts = {"shown": label, "functions": counts}
    terminal.print_facts(terminal.stdout(), facts if page is None else {**facts, "page": str(page)})


def print_shown_module(label: str, outline: Outline, selection: Selection, as_json: bool) -> None:
    """The code of the modules or the function that were asked for, then what they are and hold."""
    weights = outline.weights_of(selection.modules[0]) if selection.modules else []
    code = outline.text(selection.spans)
    if as_json:
        terminal.print_json(
            {
                "shown": label,
                "modules": [each.to_json() for each in selection.modules],
                "functions": [_function_data(outline, each) for each in selection.functions],
                "lines": [[span.first, span.last] for span in selection.spans],
                "weights": [asdict(each) for each in weights],
                "code": code,
            }
        )
        return
    console = terminal.stdout()
    terminal.print_code(console, code)
    console.print()
    terminal.print_facts(console, _module_facts(outline, selection))


def _module_facts(outline: Outline, selection: Selection) -> dict[str, str]:
    where = f"{', '.join(selection.functions)}, line{'s' if _is_long(selection) else ''} {joined(map(str, selection.spans))}"
    if not selection.modules:
        return {"function": where}
    module, *others = selection.modules
    prefix = f"{module.path}." if module.path else ""
    weights = [
        f"{each.name.removeprefix(prefix)} {each.dtype}{list(each.shape)}"
        for each in outline.weights_of(module)
    ]
    rest = max(len(weights) - _SHOWN_WEIGHTS, 0)
    facts = {
        "module": f"{module.path or '(model)'}{f' and {len(others)} more' if others else ''}",
        "class": module.cls,
        "inline in" if module.is_inline else "function": where,
        "calls": f"{module.calls}, {module.operators} of operators inside" if module.calls > 1 else "",
        "takes": ", ".join(filter(None, module.inputs)),
        "gives": ", ".join(filter(None, module.outputs)),
        "weights": ", ".join(weights if not rest else [*weights[:_SHOWN_WEIGHTS], f"and {rest} more"]),
    }
    return {name: fact for name, fact in facts.items() if fact}


_SHOWN_WEIGHTS = 12


def _is_long(selection: Selection) -> bool:
    return any("-" in str(span) for span in selection.spans) or len(selection.spans) > 1


def _function_data(outline: Outline, name: str) -> dict[str, object]:
    function = outline.functions.get(name)
    if function is None:
        return {"name": name, "lines": None, "calls": []}
    calls = list(dict.fromkeys(site.name for site in function.calls))
    return {"name": name, "lines": [function.span.first, function.span.last], "calls": calls}


# -- run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """One returned value: where it stands in the result, what it is, and the range of its numbers.

    ``dtype``, ``shape`` and ``device`` are those of a tensor, ``value`` is the text of anything else. ``min``, ``mean``
    and ``max`` leave nan out; they are None where there is no number to order, as in an empty or complex tensor. ``nan``
    counts; it is None for what is not a tensor of numbers.
    """

    path: str
    type: str
    value: str | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    device: str | None = None
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    nan: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The peak bytes of a call's own results: as planned (None where ``unknown`` says why) and as measured."""

    planned: int | None
    unknown: str
    measured: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What was run on what, what came out, the seconds of each call, how each submodule was bound, and notes."""

    label: str
    inputs: str
    outputs: tuple[Summary, ...]
    seconds: tuple[float, ...]
    saved: Path | None = None
    bindings: tuple[tuple[str, str], ...] = ()
    memory: Memory | None = None
    notes: tuple[str, ...] = ()
    edits: tuple[EditedText, ...] = ()


OUTPUTS: tuple[terminal.Column[Summary], ...] = (
    terminal.Column("output", lambda row: row.path),
    terminal.Column("dtype", lambda row: row.dtype or f"{row.type} {row.value}"),
    terminal.Column("shape", lambda row: "" if row.shape is None else str(list(row.shape))),
    terminal.Column("device", lambda row: row.device or ""),
    terminal.Column("min", lambda row: terminal.short(row.min), is_number=True),
    terminal.Column("mean", lambda row: terminal.short(row.mean), is_number=True),
    terminal.Column("max", lambda row: terminal.short(row.max), is_number=True),
    terminal.Column("nan", lambda row: "" if row.nan is None else str(row.nan), is_number=True),
)
"""The table of ``run``."""

BINDINGS: tuple[terminal.Column[tuple[str, str]], ...] = (
    terminal.Column("submodule", lambda row: row[0]),
    terminal.Column("bound as", lambda row: row[1]),
)
"""The table that ``run --verbose`` adds."""


def print_run(ranks: Sequence[Ran], verbose: bool, as_json: bool) -> None:
    """Every value that came out on each rank, what was run on what, and the time of the first."""
    if as_json:
        terminal.print_json(with_ranks([_run_data(ran) for ran in ranks]))
        return
    console, ran = terminal.stdout(), ranks[0]
    print_ranks(OUTPUTS, [each.outputs for each in ranks])
    if verbose:
        terminal.print_table(console, BINDINGS, ran.bindings)
        print_edited_lines(ran.edits)
    calls = "one call" if len(ran.seconds) == 1 else f"median of {len(ran.seconds)} calls"
    facts = {
        "ran": joined(each.label for each in ranks),
        "time": f"{terminal.duration(median(ran.seconds))} ({calls})",
    }
    if ran.saved is not None:
        facts["saved"] = joined(str(each.saved) for each in ranks)
    if ran.memory is not None:
        plan = ran.memory.planned
        facts["planned peak"] = f"unknown: {ran.memory.unknown}" if plan is None else f"{plan:,} bytes"
        facts["measured peak"] = f"{ran.memory.measured:,} bytes"
    terminal.print_facts(console, facts | edited_facts(ran.edits))
    terminal.print_line(console, ran.inputs)
    terminal.print_notes(console, ran.notes)


def _run_data(ran: Ran) -> dict[str, object]:
    return {
        "ran": ran.label,
        "inputs": ran.inputs,
        "outputs": [asdict(row) for row in ran.outputs],
        "submodules": dict(ran.bindings),
        "seconds": ran.seconds,
        "median_seconds": median(ran.seconds),
        "saved": ran.saved,
        "memory": None if ran.memory is None else asdict(ran.memory),
        "notes": ran.notes,
        "edited": [asdict(each) for each in ran.edits],
    }


# -- bench ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Benched:
    """What was timed, and the report."""

    label: str
    report: BenchReport
    edits: tuple[EditedText, ...] = ()


WAYS: tuple[terminal.Column[BenchRow], ...] = (
    terminal.Column("way", lambda row: row.name),
    terminal.Column("time", lambda row: terminal.duration(row.seconds), is_number=True),
    terminal.Column("spread", lambda row: f"{row.spread:.0%}", is_number=True),
    terminal.Column("ratio", lambda row: f"{row.ratio:.2f}", is_number=True),
    terminal.Column("per node", lambda row: terminal.duration(row.per_node), is_number=True),
    terminal.Column(
        "per submodule",
        lambda row: "" if row.per_submodule is None else terminal.duration(row.per_submodule),
        is_number=True,
    ),
    terminal.Column("peak bytes", lambda row: f"{row.peak_bytes:,}", is_number=True),
    terminal.Column(
        "code bytes", lambda row: "" if row.code_bytes is None else f"{row.code_bytes:,}", is_number=True
    ),
)
"""The table of ``bench``."""


def print_bench(done: Benched, verbose: bool, as_json: bool) -> None:
    """A row for each way to run the graph, the first of fx2py being one."""
    report = done.report
    if as_json:
        terminal.print_json(
            {"ran": done.label, **asdict(report), "edited": [asdict(each) for each in done.edits]}
        )
        return
    console = terminal.stdout()
    columns = [each for each in WAYS if each.name != "per submodule" or report.submodule_calls]
    terminal.print_table(console, columns, report.rows)
    facts = {
        "ran": done.label,
        "nodes": str(report.nodes),
        "submodules": f"{report.submodule_calls} calls",
        "rounds": str(report.rounds),
    }
    if verbose:
        print_edited_lines(done.edits)
    terminal.print_facts(console, facts | edited_facts(done.edits))
    terminal.print_line(console, report.inputs)
    if report.noise:
        terminal.print_line(console, report.noise, "bold yellow")


# -- split ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Split:
    """A graph that was split: where it lies, what its pieces are, and the graph file that it was saved in."""

    graph: Path
    pieces: tuple[SubmoduleEntry, ...]
    file: Path | None


def print_split(done: Split, as_json: bool) -> None:
    """A row for each different piece: how often it is used, what goes in, what comes out, and the pieces equal to it."""
    if as_json:
        rows = [asdict(entry) for entry in done.pieces]
        terminal.print_json({"graph": done.graph, "file": done.file, "pieces": rows})
        return
    equal: dict[str | None, list[str]] = {}
    for entry in done.pieces:
        equal.setdefault(entry.identical_to, []).append(entry.name)
    distinct = [entry for entry in done.pieces if entry.identical_to is None]
    console = terminal.stdout()
    terminal.print_table(console, _pieces_table(equal), distinct)
    facts = {"graph": str(done.graph), "pieces": f"{len(done.pieces)}, {len(distinct)} of them different"}
    if done.file is not None:
        facts["file"] = str(done.file)
    terminal.print_facts(console, facts)


def _pieces_table(equal: Mapping[str | None, Sequence[str]]) -> tuple[terminal.Column[SubmoduleEntry], ...]:
    """The table of ``split``; ``equal`` has the names of the pieces that are equal to one."""
    return (
        terminal.Column("piece", lambda row: row.name),
        terminal.Column("used", lambda row: "once" if row.used == 1 else f"{row.used} times"),
        terminal.Column("inputs", lambda row: ", ".join(value or "?" for value in row.inputs)),
        terminal.Column("result", lambda row: row.output or ""),
        terminal.Column("also as", lambda row: ", ".join(equal.get(row.name, ()))),
    )
