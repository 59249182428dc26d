"""The page of a comparison: the verdict first, the place with its lines, the error of each module; inert like any page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fx2py.compare.module_errors import ModuleError
from fx2py.compare.report import Deviation, Divergence, EquivalenceReport, LeafOutcome, RunOutcome
from fx2py.show.diff_page import Compared, diff_page, plotted
from fx2py.show.outline import Outline
from fx2py.show.plot import error_plot
from tests.show.browser import CHROMIUM, chromium
from tests.show.models import HOSTILE, IMAGE, outline_of, stack
from tests.show.test_page import Elements

EQUAL = EquivalenceReport((RunOutcome((LeafOutcome("output", "float32[2]", "float32[2]"),)),))


def line_of(outline: Outline, text: str) -> int:
    return next(number for number, line in enumerate(outline.lines, 1) if text in line)


def different(outline: Outline, **facts: object) -> EquivalenceReport:
    leaf = LeafOutcome("output", "float32[2]", "float32[2]", ("values",), 2, 0.5)
    line = line_of(outline, "weights.qkv.weight")
    place = Divergence(
        "dynamic", "changed", line, line, "x * 2.0", "x * 2.5", module_path="layers.3.attention"
    )
    return EquivalenceReport((RunOutcome((leaf,)),), first_divergent=replace(place, **facts))


def compared(report: EquivalenceReport, *errors: ModuleError) -> Compared:
    found = outline_of(stack())
    return Compared("net.pt2", "net_fx2py", "bit for bit", report.verdict, report, found, errors)


def test_equal_code_has_the_verdict_and_no_place() -> None:
    page = Elements(diff_page(compared(EQUAL)))
    assert [each["class"] for each in page.of("p") if "verdict" in (each.get("class") or "")] == [
        "verdict equivalent"
    ]
    assert "Where to look first" not in page.text
    assert not [each for each in page.of("span") if each.get("class") == "l hit"]


def test_a_difference_has_its_lines_marked_in_the_excerpt_and_in_the_code() -> None:
    found = outline_of(stack())
    page = Elements(diff_page(compared(different(found))))
    line = str(line_of(found, "weights.qkv.weight"))
    assert [each["data-n"] for each in page.of("span") if each.get("class") == "l hit"] == [line, line]
    assert "x * 2.0" in page.text
    assert "x * 2.5" in page.text
    assert "layers.3.attention" in page.text
    places = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(places) == len(set(places))


def test_the_facts_of_a_place_are_in_words() -> None:
    found = outline_of(stack())
    apart = Deviation("float32", (2, 3), 4, 0.5, 0.25, 12, (1, 2), nans=(0, 1))
    report = different(found, deviations=(apart,), explains_rest=True, chain=("layer 3 of 12", "attention"))
    text = Elements(diff_page(compared(report))).text
    assert "float32[2, 3]: 4 elements differ, at most by 0.5" in text
    assert "most at [1, 2]" in text
    assert "0 and 1 NaN" in text
    assert "layer 3 of 12 › attention" in text
    assert "all that differs later follows from it" in text


def test_a_place_in_another_file_or_at_no_line_has_no_excerpt() -> None:
    found = outline_of(stack())
    for facts in ({"file": "_tables.py"}, {"line": 0, "end_line": 0}, {"line": 10**6, "end_line": 10**6}):
        page = Elements(diff_page(compared(different(found, **facts))))
        assert "x * 2.5" in page.text
        assert not [each for each in page.of("span") if each.get("class") == "l hit"]


def test_the_plot_says_where_the_error_enters() -> None:
    errors = [
        ModuleError("layers.0", elements=6),
        ModuleError("layers.1", elements=6, differing=3, largest=1e-6, relative=1e-6),
        ModuleError("layers.2", elements=6, differing=6, largest=1e-3, relative=1e-3),
        ModuleError("layers.3", elements=6, differing=6),
    ]
    page = Elements(error_plot(errors, {"layers.1": 7}))
    classes = [each["class"] for each in page.of("g")]
    assert classes == ["row same", "row first", "row other", "row other"]
    across = [float(each["cx"] or 0) for each in page.of("circle")]
    assert across == sorted(across)
    assert "enters here" in page.text
    assert "layers.3: 6 of 6 elements differ, not finite" in page.text
    assert {each["href"] for each in page.of("a")} == {"#L7"}


@pytest.mark.parametrize(
    "errors",
    [
        [ModuleError("")],
        [ModuleError("a", differing=1, relative=5.0)],
        [ModuleError("a", is_comparable=False)],
    ],
)
def test_a_plot_of_one_module_is_drawn(errors: list[ModuleError]) -> None:
    assert Elements(error_plot(errors, {})).of("circle")


def test_the_plot_has_the_layers_and_what_is_beside_the_first_error() -> None:
    inner = ("norm", "attention.qkv", "attention.out", "attention", "mlp.fc", "mlp")
    paths = [f"layers.{layer}{each and '.'}{each}" for layer in range(4) for each in (*inner, "")]
    first = paths.index("layers.2.attention.out")
    errors = [ModuleError(path, differing=int(place >= first)) for place, path in enumerate(paths)]
    shown = [each.path for each in plotted([*errors, ModuleError("norm")])]
    assert [path for path in shown if path.count(".") == 1] == [f"layers.{layer}" for layer in range(4)]
    assert shown[-1] == "norm"
    assert "layers.1.attention" in shown
    assert "layers.1.attention.out" not in shown
    assert {"layers.2.attention.qkv", "layers.2.attention.out"} <= set(shown)


def test_the_plot_of_very_many_modules_is_of_the_outer_ones() -> None:
    paths = [path for n in range(400) for path in (f"layers.{n}.a.b", f"layers.{n}.a", f"layers.{n}")]
    shown = plotted([*map(ModuleError, paths), ModuleError("norm")])
    assert [each.path for each in shown] == ["norm"]


def test_what_was_not_settled_is_said() -> None:
    report = replace(EQUAL, unreadable="line 3 is no such thing", nondeterministic=("aten.rand",))
    text = Elements(diff_page(compared(report))).text
    assert "line 3 is no such thing" in text
    assert "aten.rand gives other results each time." in text
    nothing = EquivalenceReport((RunOutcome((), raised=("ValueError: x", "ValueError: x")),))
    assert "both sides raise the same error" in Elements(diff_page(compared(nothing))).text


def test_markup_in_a_report_stays_text() -> None:
    found = outline_of(stack())
    report = different(
        found, expected=HOSTILE, actual=IMAGE, module_path=HOSTILE, node=IMAGE, entered=(HOSTILE,)
    )
    done = replace(compared(report, ModuleError(IMAGE, HOSTILE)), one=HOSTILE, other=IMAGE, notes=(HOSTILE,))
    page = Elements(diff_page(done))
    assert not page.of("script")
    assert not page.of("img")
    (policy,) = [each["content"] or "" for each in page.of("meta") if each.get("http-equiv")]
    assert "script-src 'none'" in policy


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_fits_a_phone_and_a_desktop(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    found = outline_of(stack())
    errors = [ModuleError(f"layers.{layer}", differing=1, relative=10.0**-layer) for layer in range(12)]
    path.write_text(diff_page(compared(different(found), *errors)), encoding="utf-8")
    with chromium() as page:
        for width in (390, 1440):
            page.size(width)
            page.open(path)
            assert page.value("document.documentElement.scrollWidth") <= width
            assert (
                page.value("getComputedStyle(document.querySelector('.plot .first circle')).fill")
                == "rgb(194, 54, 43)"
            )
        assert page.errors == []
