"""The page in a real browser: by mouse, by keyboard alone, on a phone, without scripts, and whatever its names are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fx2py.show.outline import outline
from fx2py.show.page import model_page
from tests.show.browser import CHROMIUM, Page, chromium
from tests.show.models import hostile, outline_of, stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
SELECTED = "document.querySelector('#tree [aria-selected=true] .name').textContent"
CARD = "document.querySelector('#card h2').firstChild.textContent"
HASH = "decodeURIComponent(location.hash)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    source, manifest = hostile()
    pages = {
        "stack": model_page(stack().manifest, outline_of(stack())),
        "flat": model_page(stack(flat=True).manifest, outline_of(stack(flat=True))),
        "hostile": model_page(manifest, outline(source, manifest, "x")),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture
def page(browser: Page, files: dict[str, Path]) -> Iterator[Page]:
    """The page of the model on a desktop; nothing may have gone wrong in it."""
    browser.errors.clear()
    browser.size(1440)
    browser.open(files["stack"])
    yield browser
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("file:")] == []


def is_in_view(page: Page, selector: str) -> bool:
    return page.value(
        f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect();"
        "return r.height > 0 && r.top >= 0 && r.top < innerHeight; })()"
    )


def test_opens_at_the_entry_with_the_layers_folded(page: Page) -> None:
    assert page.value(SELECTED) == "(model)"
    assert is_in_view(page, "[data-f=execution_fn] h3")
    assert page.value("[...document.querySelectorAll('#tree li')].filter((row) => !row.hidden).length") == 3
    assert page.value("document.querySelectorAll('#tree li').length") > 100


def test_a_click_on_a_module_shows_its_function_and_weights(page: Page) -> None:
    page.open(page_file(page), "#/layers.7.attention")
    assert page.value(CARD) == "layers.7.attention"
    assert is_in_view(page, "[data-f=attention] h3")
    assert "qkv.weight" in page.value("document.querySelector('#card ul').textContent")
    page.click("#tree [aria-selected=true] .fold")
    page.click("#tree [aria-selected=true] + li a")
    assert page.value(CARD) == "layers.7.attention.qkv"
    assert page.value(HASH) == "#/layers.7.attention.qkv"
    hit = page.value("document.querySelector('.hit').textContent")
    assert "weights.qkv.weight" in hit
    assert is_in_view(page, ".hit")


def page_file(page: Page) -> Path:
    return Path(page.value("location.pathname"))


def test_a_click_on_a_call_goes_into_that_layer(page: Page) -> None:
    page.open(page_file(page), "#/layers.7")
    page.click("[data-f=block] a[data-f=attention]")
    assert page.value(CARD) == "layers.7.attention"
    page.value(
        "history.back(); new Promise((done) => addEventListener('popstate', () => setTimeout(done), {once: true}))"
    )
    assert page.value(CARD) == "layers.7"


def test_weights_in_the_code_lead_to_their_module(page: Page) -> None:
    page.open(page_file(page), "#/layers.4.attention")
    page.click("[data-f=attention] .w[data-w='out.weight']")
    assert page.value(CARD) == "layers.4.attention.out"


def test_all_uses_of_a_name_light_up(page: Page) -> None:
    page.open(page_file(page), "#/layers.0.attention")
    page.hover("[data-f=attention] .v")
    lit = page.value("[...document.querySelectorAll('.use')].map((each) => each.textContent)")
    assert len(lit) > 1
    assert len(set(lit)) == 1


def test_everything_is_reached_by_the_keyboard_alone(page: Page) -> None:
    page.press("/")
    assert page.value("document.activeElement.id") == "search"
    page.press(*"layers.9.att", "Enter")
    assert page.value(CARD) == "layers.9.attention"
    assert page.value("document.activeElement.getAttribute('role')") == "treeitem"
    page.press("ArrowRight", "ArrowRight")
    assert page.value(CARD) == "layers.9.attention.qkv"
    page.press("ArrowLeft", "ArrowLeft", "ArrowUp")
    assert page.value(CARD) == "layers.9.norm"
    page.press("Enter")
    assert page.value("document.activeElement.id") == "text"
    page.press("Home", "Escape")


def test_tab_stops_at_the_views_the_tree_and_the_calls(page: Page) -> None:
    stops = []
    for _ in range(6):
        page.press("Tab")
        stops.append(page.value("document.activeElement.id || document.activeElement.className"))
    assert stops[:2] == ["search", "tab-code"]
    assert stops[2].startswith("m")
    assert "text" in stops


def test_tables_are_sorted_by_the_keyboard(page: Page) -> None:
    page.value("document.querySelector('#tab-code').focus()")
    page.press("ArrowRight")
    assert page.value("document.body.dataset.tab") == "weights"
    page.value("document.querySelector('#weights th:nth-child(4) button').focus()")
    counts = (
        "[...document.querySelectorAll('#weights td:nth-child(4)')].map((cell) => Number(cell.dataset.k))"
    )
    page.press("Enter")
    assert page.value(counts) == sorted(page.value(counts))
    page.press("Enter")
    assert page.value(counts) == sorted(page.value(counts), reverse=True)
    assert (
        page.value("document.querySelector('#weights th:nth-child(4)').getAttribute('aria-sort')")
        == "descending"
    )


def test_search_finds_modules_weights_and_lines(page: Page) -> None:
    page.press("/", *"qkv")
    kinds = page.value("[...document.querySelectorAll('#found .kind')].map((each) => each.textContent)")
    assert {"module", "weight", "line"} <= set(kinds)
    page.press("Escape")
    assert page.value("document.querySelector('#found').hidden")


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone_in_both_colours(page: Page, dark: bool) -> None:
    page.size(390, 844, dark=dark)
    page.open(page_file(page))
    assert page.value("document.documentElement.scrollWidth") <= 390
    assert page.value("document.body.dataset.tab") == "modules"
    page.click("#tree li a")
    assert page.value("document.body.dataset.tab") == "code"
    assert page.value("document.documentElement.scrollWidth") <= 390
    background = page.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 384) is dark


def test_shows_code_and_tree_without_scripts(page: Page, files: dict[str, Path]) -> None:
    page.size(390, 844, scripts=False)
    page.open(files["stack"])
    page.size(390, 844)
    assert not page.value("document.documentElement.classList.contains('js')")
    assert page.value("[...document.querySelectorAll('#tree li')].every((row) => row.offsetHeight > 0)")
    assert "def attention(" in page.value("document.querySelector('#text').textContent")
    assert page.value("[...document.querySelectorAll('.fn')].every((section) => section.offsetHeight > 30)")
    assert page.value("document.querySelector('#search').offsetHeight") == 0
    assert page.value("document.documentElement.scrollWidth") <= 390


def test_flat_code_shows_the_statements_of_a_module(page: Page, files: dict[str, Path]) -> None:
    page.open(files["flat"], "#/layers.7.attention")
    lines = page.value("[...document.querySelectorAll('.hit')].map((line) => line.textContent).join('')")
    assert "layers.7.attention.qkv.weight" in lines
    assert "layers.8" not in lines
    assert is_in_view(page, ".hit")


def test_names_that_are_markup_run_nothing(page: Page, files: dict[str, Path]) -> None:
    page.open(files["hostile"])
    assert page.value("document.querySelectorAll('script').length") == 2
    page.press("/", *"alert")
    assert page.value("document.querySelectorAll('#found li').length") > 0
    page.press("Enter")
    count = page.value("document.querySelectorAll('#tree li').length")
    for _ in range(count):
        page.press("ArrowDown")
    assert page.value("document.querySelectorAll('img, iframe').length") == 0
    assert page.errors == []
