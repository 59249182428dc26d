"""What ``fx2py diff`` found: the verdict and what to look at first, then each case; and the same as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from fx2py.cli.results import edited_facts, joined, print_edited_lines, print_ranks, with_ranks
from fx2py.cli.terminal import (
    Column,
    cut,
    print_facts,
    print_json,
    print_line,
    print_notes,
    print_table,
    short,
    shown,
    stdout,
)
from fx2py.cli.version_results import print_versions, versions_data

if TYPE_CHECKING:
    from rich.console import Console

    from fx2py.artifact.edits import EditedText
    from fx2py.compare import Deviation, Divergence, EquivalenceReport, LeafOutcome
    from fx2py.compare.report import NotRun, Precision, RunOutcome, Verdict
    from fx2py.compare.tolerance import Tolerance
    from fx2py.compare.versions import VersionDiff


@dataclass(frozen=True, slots=True)
class Diffed:
    """What was compared and how closely, the report, the code's files by name, and what they do not hold of the graph."""

    graph: str
    code: str
    manner: str
    report: EquivalenceReport
    texts: Mapping[str, str]
    notes: tuple[str, ...] = ()
    kinds: tuple[str, str] = ("graph", "code")
    versions: VersionDiff | None = None
    edits: tuple[EditedText, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """That of the report; two models that cannot be run alike are different where their statements or weights are."""
        found = self.report.verdict
        if found != "not compared" or self.versions is None:
            return found
        is_same = self.versions.same_statements and not self.versions.weights
        return "not compared" if is_same else "different"


def named(close: Tolerance | None) -> str:
    """How closely results are compared."""
    return "bit for bit" if close is None else str(close)


SHOWN_LEAVES = 12
"""The table shows so many outputs; the JSON has all of them."""

LEAVES: tuple[Column[LeafOutcome], ...] = (
    Column("output", lambda row: row.path),
    Column("expected", lambda row: row.expected),
    Column("outcome", lambda row: _outcome(row)),
    Column("elements", lambda row: f"{row.differing:,}" if row.differing else "", is_number=True),
    Column("largest", lambda row: _largest(row), is_number=True),
)
"""The table of outputs: how many elements differ, and by how much at most."""


def _cases(kinds: tuple[str, str]) -> tuple[Column[tuple[RunOutcome, ...]], ...]:
    """The table of cases, each with its calls; ``kinds`` are words for the two sides."""
    return (
        Column("case", lambda row: row[0].case),
        Column("calls", lambda row: str(len(row)), is_number=True),
        Column("outcome", lambda row: _of_case(row, kinds)),
    )


PRECISION: tuple[Column[Precision], ...] = (
    Column("from float64", lambda row: row.path),
    Column("graph", lambda row: short(row.graph), is_number=True),
    Column("code", lambda row: short(row.code), is_number=True),
    Column("closer", lambda row: row.closer),
)
"""The table of distances from the graph in double precision."""


def verdict_of(ranks: Sequence[Diffed]) -> Verdict:
    """That of all ranks together: one that differs, or that compared nothing, decides."""
    verdicts = {done.verdict for done in ranks}
    ordered: tuple[Verdict, ...] = ("different", "not compared", "equivalent")
    return next(each for each in ordered if each in verdicts)


def print_diff(ranks: Sequence[Diffed], verbose: bool, as_json: bool) -> None:
    """The verdict, each output of the call that decided it on each rank, then all calls."""
    verdict = verdict_of(ranks)
    if as_json:
        data = with_ranks([_data(done) for done in ranks])
        print_json({**data, "verdict": verdict, "equal": verdict == "equivalent"})
        return
    console, reports = stdout(), [done.report for done in ranks]
    console.print(shown(verdict, _STYLES[verdict]) + shown(_headline(ranks, verdict)), soft_wrap=True)
    console.print()
    _print_places(console, next(done for done in ranks if done.verdict == verdict))
    if ranks[0].versions is not None:
        print_versions(ranks[0].versions)
    leaves = [_most_telling(each) for each in reports]
    print_ranks(LEAVES, [each[:SHOWN_LEAVES] for each in leaves])
    hidden = sum(max(len(each) - SHOWN_LEAVES, 0) for each in leaves)
    if hidden:
        print_line(console, f"... and {hidden:,} more; --json has all of them", "dim")
        console.print()
    if reports[0].precision:
        print_table(console, PRECISION, reports[0].precision)
    kinds = ranks[0].kinds
    print_table(console, _cases(kinds), _by_case(reports[0].runs))
    facts = {kinds[0]: joined(done.graph for done in ranks), kinds[1]: joined(done.code for done in ranks)}
    if verbose:
        print_edited_lines(ranks[0].edits)
    print_facts(console, facts | _facts(reports[0], kinds) | edited_facts(ranks[0].edits))
    print_notes(console, ranks[0].notes)


_CONTEXT = 3
_SHOWN_PLACES = 8
_WIDTH = 80


def _print_places(console: Console, done: Diffed) -> None:
    """The statement to look at first with the lines around it, and the other statements that differ."""
    place = done.report.divergence
    if place is None:
        return
    print_line(console, f"{place.file}:{place.line}", "bold")
    is_missing = place.kind == "missing"
    for number, line in _around(done.texts.get(place.file, ""), place):
        if is_missing and number == place.line:
            indent = line[: len(line) - len(line.lstrip())]
            print_line(console, cut(f">        {indent}{place.expected}  (missing)", _WIDTH), "red")
        is_meant = place.line <= number <= place.end_line and not is_missing
        text = cut(f"{'>' if is_meant else ' '} {number:>5}  {line}", _WIDTH)
        print_line(console, text, "red" if is_meant else "dim")
    console.print()
    print_facts(console, _facts_of_place(place))
    others = [
        each for each in done.report.statements or () if each.line != place.line or each.file != place.file
    ]
    for each in others[:_SHOWN_PLACES]:
        what = f"{each.expected}  (missing before it)" if each.kind == "missing" else each.actual or each.kind
        print_line(console, cut(f"also {each.file}:{each.line}: {what}", _WIDTH), "yellow")
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
    expected, actual = _where_they_part(place.expected, place.actual)
    if place.kind == "missing":
        actual = "nothing: the statement is missing"
    elif place.kind == "surplus":
        expected = "nothing: the statement is too much"
    facts = {f"graph {verb}": expected, f"code {verb}": actual}
    facts |= {"module": place.module_path, "model": place.source_line, "node": place.node}
    facts["within"] = ", ".join(place.chain)
    facts["also for"] = ", ".join(place.serves)
    facts["entered"] = "; ".join(place.entered)
    for deviation in place.deviations[:1]:
        facts |= _deviation(deviation)
    if place.explains_rest is not None:
        facts["later"] = "all that differs later follows" if place.explains_rest else "more differs by itself"
    width = _WIDTH - max(map(len, facts)) - 2
    return {name: cut(fact, width) for name, fact in facts.items() if fact}


def _where_they_part(expected: str, actual: str) -> tuple[str, str]:
    """Two statements from a little before the first place where they differ, so that it is on the screen."""
    texts = [re.sub(r"(?<=[(\[{]) | (?=[)\]}])", "", text) for text in (expected, actual)]
    if max(map(len, texts)) <= _WIDTH // 2:
        return texts[0], texts[1]
    pairs = enumerate(zip(*texts, strict=False))
    parted = next((place for place, (one, other) in pairs if one != other), min(map(len, texts)))
    start = parted - _WIDTH // 4
    ours, theirs = (text if start <= 3 else f"...{text[start:]}" for text in texts)
    return ours, theirs


def _deviation(found: Deviation) -> dict[str, str]:
    """How far apart two results are."""
    parts = [f"{found.dtype}{list(found.shape)}, {found.differing:,} elements differ"]
    parts += [f"NaN {found.nans[0]:,} and {found.nans[1]:,}"] if any(found.nans) else []
    parts += [f"inf {found.infinities[0]:,} and {found.infinities[1]:,}"] if any(found.infinities) else []
    off = [] if found.largest is None else [f"at most {found.largest:.3g}"]
    off += [f"at {list(found.worst)}"] if found.worst else []
    off += [] if found.relative is None else [f"relative {found.relative:.3g}"]
    off += [] if found.ulps is None else [f"{found.ulps:,} ulps"]
    return {"result": ", ".join(parts), "off by": ", ".join(off)}


_STYLES: dict[Verdict, str] = {
    "equivalent": "bold green",
    "different": "bold red",
    "not compared": "bold yellow",
}


def _headline(ranks: Sequence[Diffed], verdict: Verdict) -> str:
    report = next(done.report for done in ranks if done.verdict == verdict)
    run = report.shown
    if verdict == "different" and report.verdict == "not compared":
        return f"; not run: {report.reason}"
    if verdict == "not compared":
        return f": {report.reason.removesuffix('.')}. Pass inputs with --inputs FILE."
    if verdict == "equivalent":
        cases = dict.fromkeys(each.case for each in report.runs if each.verdict == "equivalent")
        unseen = len(report.differing_unseen)
        others = f"; {_counted(unseen, 'statement')} written otherwise" if unseen else ""
        return f": the same, {ranks[0].manner}, in {_counted(len(cases), 'case')}{others}"
    if run.verdict != "different":
        return f": a statement says something else, {_why_unseen(report)}"
    return f" in call {run.call} of the case '{run.case}'"


def _why_unseen(report: EquivalenceReport) -> str:
    """Why a statement counts that makes no difference in any case."""
    if report.tried:
        return "and other values than those of the cases show it" if report.tried[0].entered else "untried"
    return "which no case ran" if report.divergence in report.unsettled else "and no case compares anything"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _most_telling(report: EquivalenceReport) -> tuple[LeafOutcome, ...]:
    """The outputs that differ, else all of them."""
    return report.differing or (*report.outputs, *report.mutations)


def _largest(leaf: LeafOutcome) -> str:
    """The largest difference; where there is none among finite numbers, what the numbers are instead."""
    is_other = leaf.differing > 0 and leaf.max_difference is None and leaf.expected == leaf.actual
    return "NaN or inf" if is_other and "float" in leaf.expected else short(leaf.max_difference)


def _outcome(leaf: LeafOutcome) -> Text:
    if not leaf.is_deterministic:
        return shown("not deterministic", "yellow")
    if leaf.equal:
        return shown("equal", "green")
    text = f"differs in {', '.join(leaf.differences)}"
    return shown(text if leaf.expected == leaf.actual else f"{text}: {leaf.actual}", "red")


def _by_case(runs: Iterable[RunOutcome]) -> list[tuple[RunOutcome, ...]]:
    return [tuple(calls) for _, calls in groupby(runs, key=lambda run: run.case)]


def _of_case(calls: Sequence[RunOutcome], kinds: tuple[str, str]) -> Text:
    """The outcome of the first call that differs, or that compared nothing, else of all."""
    telling = next((run for run in calls if run.verdict == "different"), None)
    telling = telling or next((run for run in calls if run.verdict == "not compared"), calls[0])
    is_later = telling.verdict == "different" and telling.call > 1
    return _of_run(telling, kinds) + shown(f" in call {telling.call}" if is_later else "", "red")


def _of_run(run: RunOutcome, kinds: tuple[str, str]) -> Text:
    if run.verdict == "equivalent":
        return shown("equal", "green")
    one, other = (text and text.partition(":")[0] for text in run.raised)
    if run.verdict == "not compared":
        return shown(f"not compared: {f'both raise {one}' if one else run.reason}", "yellow")
    if run.raised[0] != run.raised[1]:
        return shown(f"differs: {kinds[0]} {_does(one)}, {kinds[1]} {_does(other)}", "red")
    leaves = [leaf.path for leaf in run.leaves if not leaf.equal]
    return shown("differs" if leaves else "differs in the random state afterwards", "red")


def _does(raised: str | None) -> str:
    return "returns" if raised is None else f"raises {raised}"


def _facts(report: EquivalenceReport, kinds: tuple[str, str]) -> dict[str, str]:
    """What either side raised, what did not run, and what is not deterministic."""
    sides = zip(kinds, report.raised, strict=True)
    facts = {f"{side} raised": text for side, text in sides if text is not None}
    if report.unreadable:
        facts["not read"] = f"{report.unreadable}; only the runs compare all of the code"
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
    return {
        done.kinds[0]: done.graph,
        done.kinds[1]: done.code,
        "compared": done.manner,
        **_run_data(report.shown),
        "verdict": done.verdict,
        "equal": done.verdict == "equivalent",
        "divergence": None if divergence is None else asdict(divergence),
        "statements": places,
        "unreadable": report.unreadable,
        "reason": report.reason,
        "cases": [{"case": run.case, "call": run.call, **_run_data(run)} for run in report.runs],
        "precision": [{**asdict(each), "closer": each.closer} for each in report.precision],
        "not_run": [asdict(each) for each in report.not_run],
        "tried": [asdict(each) for each in report.tried],
        "nondeterministic": report.nondeterministic,
        "versions": None if done.versions is None else versions_data(done.versions),
        "notes": done.notes,
        "edited": [asdict(each) for each in done.edits],
    }


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
