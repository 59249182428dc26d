"""The page of a comparison: the verdict, where to look first, the error of each module, and the code with its lines marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fx2py.compare.module_errors import ModuleError
from fx2py.compare.report import (
    Deviation,
    Divergence,
    EquivalenceReport,
    LeafOutcome,
    RunOutcome,
    Verdict,
)
from fx2py.compare.versions import VersionDiff
from fx2py.emit.module import SOURCE
from fx2py.show.definitions import Span
from fx2py.show.highlighted import code_block, highlighted
from fx2py.show.markup import Markup, document, element, joined
from fx2py.show.outline import Outline, paths_around
from fx2py.show.parts import code_sections, table_section
from fx2py.show.plot import error_plot, error_text


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared and how closely, what came out, and the outline of the code; ``errors`` of its modules, in order.

    ``verdict`` is that of the whole, ``kinds`` are words for the two sides. Of two ``versions`` of a model there is no code
    to show.
    """

    one: str
    other: str
    manner: str
    verdict: Verdict
    report: EquivalenceReport
    outline: Outline | None = None
    errors: tuple[ModuleError, ...] = ()
    notes: tuple[str, ...] = ()
    kinds: tuple[str, str] = ("graph", "code")
    versions: VersionDiff | None = None


def diff_page(done: Compared) -> str:
    """One self-contained HTML page of a comparison."""
    report = done.report
    title = f"{done.verdict}: {done.one}"
    body = joined(
        [
            element(
                "header",
                element("h1", done.one, " ", element("small", f"and {done.other}")),
                element("p", f"compared {done.manner}", class_="facts"),
            ),
            element(
                "main",
                _verdict(done),
                *_place(report, done.outline),
                *_versions(done.versions),
                *_plot(done),
                _leaves((*report.outputs, *report.mutations)),
                _cases(report.runs),
                *_statements(report),
                *_rest(done),
                *_code(report, done.outline),
            ),
        ]
    )
    return document(title, body, ("base.css", "diff.css"))


def _code(report: EquivalenceReport, outline: Outline | None) -> Iterator[Markup]:
    if outline is not None:
        yield element("h2", "The code")
        yield element("div", *code_sections(outline, _marked(report, outline)), class_="source")


def _marked(report: EquivalenceReport, outline: Outline) -> frozenset[int]:
    """The lines of every statement that differs."""
    found = [report.divergence, *(report.statements or ())]
    return frozenset(
        line
        for each in found
        if each is not None and each.file == SOURCE
        for line in range(each.line, min(each.end_line, len(outline.lines)) + 1)
    )


# -- the verdict and the place ---------------------------------------------------------------------------------------


def _verdict(done: Compared) -> Markup:
    kind = "uncompared" if done.verdict == "not compared" else done.verdict
    return element(
        "p", element("b", done.verdict), element("span", _verdict_text(done)), class_=f"verdict {kind}"
    )


def _verdict_text(done: Compared) -> str:
    report = done.report
    if done.verdict == "equivalent":
        return "Both return the same in every case."
    if done.verdict == "not compared":
        return f"{report.reason.removesuffix('.')}."
    run = report.shown
    if run.verdict == "different":
        return f"The two differ in call {run.call} of the case {run.case!r}."
    return "A statement of the code differs from its graph, though the results of no case show it."


def _place(report: EquivalenceReport, outline: Outline | None) -> Iterator[Markup]:
    found = report.divergence
    if found is None:
        return
    yield element("h2", "Where to look first")
    excerpt = [] if outline is None else _excerpt(outline, found)
    facts = [
        part
        for name, value, kind in _facts(found)
        for part in (element("dt", name), element("dd", value, class_=kind or False))
    ]
    yield element("div", *excerpt, element("dl", *facts), class_="place")


_AROUND = 3
"""Lines shown before and after a statement."""


def _excerpt(outline: Outline, found: Divergence) -> list[Markup]:
    """The statement with the lines around it; none where it stands in another file."""
    count = len(outline.lines)
    if found.file != SOURCE or not 0 < found.line <= count:
        return []
    last = min(max(found.line, found.end_line), count)
    span = Span(max(1, found.line - _AROUND), min(count, last + _AROUND))
    lines = highlighted(outline.source, outline.functions)
    marked = () if found.kind == "missing" else range(found.line, last + 1)
    return [code_block(lines, span, marked, is_excerpt=True)]


def _facts(found: Divergence) -> Iterator[tuple[str, str, str]]:
    """The name, the text and the class of each fact of a place."""
    where = f"{found.file}, line {found.line}" if found.line else found.file
    if found.kind == "missing":
        where = f"a statement is missing before {where}"
    yield "place", (
        element("a", where, href=f"#L{found.line}") if found.file == SOURCE and found.line else where
    ), ""
    yield from _given("within", " › ".join(found.chain))
    yield from _given("function", found.function)
    yield from _given("module", found.module_path)
    yield from _given("node", found.node)
    yield from _given("model", found.source_line)
    yield "graph says", found.expected or "nothing", "expected"
    yield "code says", found.actual or "nothing", "actual"
    yield from _given("also for", ", ".join(found.serves))
    yield from _given("entered", ", ".join(found.entered))
    for each in found.deviations:
        yield "result", _deviation(each), ""
    if found.explains_rest is not None:
        yield "later", (
            "all that differs later follows from it"
            if found.explains_rest
            else "more differs later than follows from it"
        ), ""


def _given(name: str, text: str) -> Iterator[tuple[str, str, str]]:
    if text:
        yield name, text, ""


def _deviation(each: Deviation) -> str:
    parts = [f"{each.dtype}{list(each.shape)}: {each.differing:,} elements differ"]
    if each.largest is not None:
        parts.append(f"at most by {each.largest:.3g}")
    if each.relative is not None:
        parts.append(f"{each.relative:.3g} of the graph's number")
    if each.ulps is not None:
        parts.append(f"{each.ulps:,} representable numbers between")
    if each.worst is not None:
        parts.append(f"most at {list(each.worst)}")
    for what, (one, other) in (("NaN", each.nans), ("infinite", each.infinities)):
        if one or other:
            parts.append(f"{one:,} and {other:,} {what}")
    return ", ".join(parts)


# -- the model -------------------------------------------------------------------------------------------------------


def _plot(done: Compared) -> Iterator[Markup]:
    if not done.errors:
        return
    yield element("h2", "Error down the model")
    first = next((each for each in done.errors if not each.is_equal), None)
    text = (
        "Every module gives the same numbers in the first call; what differs is something else, or in a later one."
        if first is None
        else f"{first.path or 'The result of the model'} is the first that differs: {error_text(first)}."
    )
    yield element("p", text)
    yield error_plot(plotted(done.errors), {} if done.outline is None else _lines(done.outline))


_MOST_ROWS = 300


def plotted(errors: Sequence[ModuleError]) -> list[ModuleError]:
    """The modules that a plot shows: those with others inside, the outermost ones, and all beside the first that differs.

    Of very many, those that are deepest inside are left out.
    """
    outer = {path for each in errors for path in paths_around(each.path)}
    first = next((each for each in errors if not each.is_equal), None)
    beside = {each.path for each in errors if first is not None and _outer(each) == _outer(first)}
    depths = {
        each.path: 0 if each.path in beside else each.path.count(".")
        for each in errors
        if each.path in outer | beside or each.path.count(".") < 2
    }
    deepest = max(depths.values(), default=0)
    while len(depths) > _MOST_ROWS and deepest:
        deepest -= 1
        depths = {path: depth for path, depth in depths.items() if depth <= deepest}
    return [each for each in errors if each.path in depths]


def _outer(error: ModuleError) -> str:
    """The path of the module around one."""
    return error.path.rpartition(".")[0]


def _lines(outline: Outline) -> Mapping[str, int]:
    return {path: each.spans[0].first for path, each in outline.modules.items() if each.spans}


def _versions(diff: VersionDiff | None) -> Iterator[Markup]:
    """What changed from one version of a model to another: modules, statements and weights."""
    if diff is None:
        return
    yield element("p", f"{diff.kept:,} statements mean the same in both.", class_="facts")
    tables: list[tuple[str, str, tuple[str, ...], list[tuple[str | int, ...]]]] = [
        (
            "modules",
            "Modules that changed",
            ("module", "class", "added", "dropped", "changed", "kept"),
            [
                (each.path or "(model)", each.cls, each.added, each.dropped, each.changed, each.kept)
                for each in diff.modules
            ],
        ),
        (
            "changes",
            "Statements that changed",
            ("module", "what", "old", "new", "model"),
            [(each.module, each.kind, each.old, each.new, each.source_line) for each in diff.changes],
        ),
        (
            "weights",
            "Weights that changed",
            ("what", "old", "new"),
            [(each.kind, each.old, each.new) for each in diff.weights],
        ),
    ]
    if diff.signatures is not None:
        tables.append(("inputs", "Inputs", ("old", "new"), [diff.signatures]))
    for name, title, columns, rows in tables:
        if rows:
            yield table_section(name, title, columns, [[(str(cell), cell) for cell in row] for row in rows])


def _leaves(leaves: Sequence[LeafOutcome]) -> Markup:
    rows = [
        (
            (each.path, each.path),
            (each.expected, each.expected),
            (_outcome(each), _outcome(each)),
            (f"{each.differing:,}" if each.differing else "", each.differing),
            ("" if each.max_difference is None else f"{each.max_difference:.3g}", 0),
        )
        for each in leaves
    ]
    return table_section(
        "outputs", "Outputs", ("output", "expected", "outcome", "elements", "at most by"), rows
    )


def _outcome(leaf: LeafOutcome) -> str:
    if not leaf.is_deterministic:
        return "not deterministic"
    return "equal" if leaf.equal else f"differs in {', '.join(leaf.differences)}"


def _cases(runs: Sequence[RunOutcome]) -> Markup:
    rows = [((run.case, run.case), (str(run.call), run.call), (run.verdict, run.verdict)) for run in runs]
    return table_section("cases", "Cases", ("case", "call", "outcome"), rows)


def _statements(report: EquivalenceReport) -> Iterator[Markup]:
    if report.statements and len(report.statements) > 1:
        rows = [
            (
                (
                    (
                        element("a", f"{each.file}:{each.line}", href=f"#L{each.line}")
                        if each.file == SOURCE and each.line
                        else each.file
                    ),
                    each.line,
                ),
                (each.function, each.function),
                (each.expected, each.expected),
                (each.actual, each.actual),
            )
            for each in report.statements
        ]
        yield table_section(
            "statements", "Statements that differ", ("line", "function", "graph", "code"), rows
        )


def _rest(done: Compared) -> Iterator[Markup]:
    """What the comparison could not settle."""
    report = done.report
    notes = [
        *(
            f"{side} raised {text}"
            for side, text in zip((f"The {kind}" for kind in done.kinds), report.raised, strict=True)
            if text
        ),
        *([] if report.same_random_state else ["The state of the random generators differs afterwards."]),
        *(
            [f"The code could not be compared statement by statement: {report.unreadable}"]
            if report.unreadable
            else []
        ),
        *(
            f"{each.function}, line {each.line}, was not run{f': {each.what}' if each.what else ''}."
            for each in report.not_run
        ),
        *(f"{name} gives other results each time." for name in report.nondeterministic),
        *done.notes,
    ]
    if notes:
        yield element("h2", "Notes")
        yield element("ul", *[element("li", note) for note in notes])
