"""What ``fx2py diff`` found: the verdict and what to look at first, then each case; and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text

from fx2py.cli.results import joined, print_ranks, with_ranks
from fx2py.cli.terminal import (
    Column,
    print_facts,
    print_json,
    print_line,
    print_notes,
    print_table,
    short,
    shown,
    stdout,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fx2py.compare import Deviation, Divergence, EquivalenceReport, LeafOutcome
    from fx2py.compare.report import NotRun, RunOutcome, Verdict


@dataclass(frozen=True, slots=True)
class Diffed:
    """What was compared and how closely, the report, the code's files by name, and what they do not hold of the graph."""

    graph: str
    code: str
    manner: str
    report: EquivalenceReport
    texts: Mapping[str, str]
    notes: tuple[str, ...] = ()


SHOWN_LEAVES = 12
"""The table shows so many outputs; the JSON has all of them."""

LEAVES: tuple[Column[LeafOutcome], ...] = (
    Column("output", lambda row: row.path),
    Column("expected", lambda row: row.expected),
    Column("outcome", lambda row: _outcome(row)),
    Column("elements", lambda row: f"{row.differing:,}" if row.differing else "", is_number=True),
    Column("largest", lambda row: short(row.max_difference), is_number=True),
)
"""The table of outputs: how many elements differ, and by how much at most."""

CASES: tuple[Column[RunOutcome], ...] = (
    Column("case", lambda row: row.case),
    Column("call", lambda row: str(row.call), is_number=True),
    Column("outcome", lambda row: _of_run(row)),
)
"""The table of calls."""


def verdict_of(ranks: Sequence[Diffed]) -> Verdict:
    """That of all ranks together: one that differs, or that compared nothing, decides."""
    verdicts = {done.report.verdict for done in ranks}
    ordered: tuple[Verdict, ...] = ("different", "not compared", "equivalent")
    return next(each for each in ordered if each in verdicts)


def print_diff(ranks: Sequence[Diffed], as_json: bool) -> None:
    """The verdict, each output of the call that decided it on each rank, then all calls."""
    verdict = verdict_of(ranks)
    if as_json:
        data = with_ranks([_data(done) for done in ranks])
        print_json({**data, "verdict": verdict, "equal": verdict == "equivalent"})
        return
    console, reports = stdout(), [done.report for done in ranks]
    console.print(shown(verdict, _STYLES[verdict]) + shown(_headline(ranks, verdict)), soft_wrap=True)
    console.print()
    _print_places(console, next(done for done in ranks if done.report.verdict == verdict))
    leaves = [_most_telling(each) for each in reports]
    print_ranks(LEAVES, [each[:SHOWN_LEAVES] for each in leaves])
    hidden = sum(max(len(each) - SHOWN_LEAVES, 0) for each in leaves)
    if hidden:
        print_line(console, f"... and {hidden:,} more; --json has all of them", "dim")
        console.print()
    print_table(console, CASES, reports[0].runs)
    facts = {"graph": joined(done.graph for done in ranks), "code": joined(done.code for done in ranks)}
    print_facts(console, facts | _facts(reports[0]))
    print_notes(console, ranks[0].notes)


_CONTEXT = 3
_SHOWN_PLACES = 8
_WIDTH = 80


def _print_places(console: Console, done: Diffed) -> None:
    """The statement to look at first with the lines around it, and where else the code says something else."""
    place = done.report.divergence
    if place is None:
        return
    print_line(console, f"{place.file}:{place.line}", "bold")
    for number, line in _around(done.texts.get(place.file, ""), place):
        is_meant = place.line <= number <= place.end_line
        text = f"{'>' if is_meant else ' '} {number:>5}  {line}"
        print_line(
            console, text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}...", "red" if is_meant else "dim"
        )
    console.print()
    print_facts(console, _facts_of_place(place))
    others = [
        each for each in done.report.statements or () if each.line != place.line or each.file != place.file
    ]
    for each in others[:_SHOWN_PLACES]:
        print_line(console, f"also {each.file}:{each.line}: {each.actual or each.kind}", "yellow")
    if len(others) > _SHOWN_PLACES:
        print_line(
            console, f"and {len(others) - _SHOWN_PLACES:,} more statements; --json has all of them", "dim"
        )
    console.print()


def _around(source: str, place: Divergence) -> Iterator[tuple[int, str]]:
    """The lines of a place and three before and after it, with their numbers."""
    lines = source.splitlines()
    first, last = max(place.line - _CONTEXT, 1), min(place.end_line + _CONTEXT, len(lines))
    for number in range(first, last + 1):
        yield number, lines[number - 1]


def _facts_of_place(place: Divergence) -> dict[str, str]:
    verb = "says" if place.found == "static" else "gives"
    facts = {f"graph {verb}": place.expected, f"code {verb}": place.actual}
    facts |= {"module": place.module_path, "model": place.source_line, "node": place.node}
    facts["within"] = ", ".join(place.chain)
    facts["also for"] = ", ".join(place.serves)
    facts["entered"] = "; ".join(place.entered)
    facts["result"] = "; ".join(map(_deviation, place.deviations))
    if place.explains_rest is not None:
        facts["later"] = "all that differs later follows" if place.explains_rest else "more differs by itself"
    return {name: fact for name, fact in facts.items() if fact}


def _deviation(found: Deviation) -> str:
    """How far apart two results are, in a line."""
    parts = [f"{found.dtype}{list(found.shape)}, {found.differing:,} elements differ"]
    parts += [] if found.largest is None else [f"at most by {found.largest:.3g}"]
    parts += [] if found.worst is None else [f"at {list(found.worst)}"]
    parts += [] if found.relative is None else [f"relative {found.relative:.3g}"]
    parts += [] if found.ulps is None else [f"{found.ulps:,} ulps"]
    parts += [f"NaN {found.nans[0]:,} and {found.nans[1]:,}"] if any(found.nans) else []
    return ", ".join(
        parts
        + ([f"inf {found.infinities[0]:,} and {found.infinities[1]:,}"] if any(found.infinities) else [])
    )


_STYLES: dict[Verdict, str] = {
    "equivalent": "bold green",
    "different": "bold red",
    "not compared": "bold yellow",
}


def _headline(ranks: Sequence[Diffed], verdict: Verdict) -> str:
    report = next(done.report for done in ranks if done.report.verdict == verdict)
    run = report.shown
    if verdict == "not compared":
        return f": {report.reason.removesuffix('.')}. Pass inputs with --inputs FILE."
    if verdict == "equivalent":
        cases = dict.fromkeys(each.case for each in report.runs if each.verdict == "equivalent")
        return f": the same, {ranks[0].manner}, {_counted(len(cases), 'case')}"
    if run.verdict != "different":
        return ": a statement that no case ran says something else"
    return f" in call {run.call} of the case '{run.case}'"


def _counted(count: int, noun: str) -> str:
    return f"in {count} {noun}{'' if count == 1 else 's'}"


def _most_telling(report: EquivalenceReport) -> tuple[LeafOutcome, ...]:
    """The outputs that differ, else all of them."""
    return report.differing or (*report.outputs, *report.mutations)


def _outcome(leaf: LeafOutcome) -> Text:
    if not leaf.is_deterministic:
        return shown("not deterministic", "yellow")
    if leaf.equal:
        return shown("equal", "green")
    text = f"differs in {', '.join(leaf.differences)}"
    return shown(text if leaf.expected == leaf.actual else f"{text}: {leaf.actual}", "red")


def _of_run(run: RunOutcome) -> Text:
    if run.verdict == "equivalent":
        return shown("equal", "green")
    one, other = (text and text.partition(":")[0] for text in run.raised)
    if run.verdict == "not compared":
        return shown(f"not compared: {f'both raise {one}' if one else run.reason}", "yellow")
    if run.raised[0] != run.raised[1]:
        return shown(f"differs: graph {_does(one)}, code {_does(other)}", "red")
    leaves = [leaf.path for leaf in run.leaves if not leaf.equal]
    return shown("differs" if leaves else "differs in the random state afterwards", "red")


def _does(raised: str | None) -> str:
    return "returns" if raised is None else f"raises {raised}"


def _facts(report: EquivalenceReport) -> dict[str, str]:
    """What either side raised, what did not run, and what is not deterministic."""
    sides = zip(("graph raised", "code raised"), report.raised, strict=True)
    facts = {side: text for side, text in sides if text is not None}
    if report.not_run:
        facts["not run"] = ", ".join(map(_of_function, report.not_run))
    if report.nondeterministic:
        facts["not deterministic"] = ", ".join(report.nondeterministic)
    return facts


def _of_function(function: NotRun) -> str:
    return f"{function.function} (line {function.line}{', ' if function.what else ''}{function.what})"


# -- JSON ----------------------------------------------------------------------------------------------------------


def _data(done: Diffed) -> dict[str, object]:
    report = done.report
    places = None if report.statements is None else [asdict(each) for each in report.statements]
    divergence = report.divergence
    data = {
        "graph": done.graph,
        "code": done.code,
        "compared": done.manner,
        **_run_data(report.shown),
        "verdict": report.verdict,
        "equal": report.equal,
        "divergence": None if divergence is None else asdict(divergence),
        "statements": places,
        "unreadable": report.unreadable,
        "reason": report.reason,
        "cases": [{"case": run.case, "call": run.call, **_run_data(run)} for run in report.runs],
        "not_run": [asdict(each) for each in report.not_run],
        "nondeterministic": report.nondeterministic,
        "notes": done.notes,
    }
    return {name: _finite(value) for name, value in data.items()}


def _run_data(run: RunOutcome) -> dict[str, object]:
    return {
        "verdict": run.verdict,
        "reason": run.reason,
        "outputs": _leaves(run.outputs),
        "mutations": _leaves(run.mutations),
        "raised": {"graph": run.raised[0], "code": run.raised[1]},
        "same_random_state": run.same_random_state,
    }


def _leaves(leaves: Iterable[LeafOutcome]) -> list[dict[str, object]]:
    return [{**asdict(leaf), "equal": leaf.equal} for leaf in leaves]


def _finite(value: object) -> object:
    """JSON has no infinity and no NaN: they are given as text."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
