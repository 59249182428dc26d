"""The page as text: complete without scripts, self-contained, and inert whatever the names in it are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from fx2py.show.markup import Markup, document, element, escape
from fx2py.show.outline import outline
from fx2py.show.page import model_page
from tests.show.models import HOSTILE, IMAGE, LAYERS, hostile, outline_of, stack


class Elements(HTMLParser):
    """Every element with its attributes, the text outside scripts and styles, and the content of those."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.raw, self.last = "", [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))
        self.last = tag

    def handle_endtag(self, tag) -> None:
        self.last = ""

    def handle_data(self, data) -> None:
        if self.last in ("script", "style"):
            self.raw.append(data)
        else:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def page_of_stack(**options) -> str:
    made = stack(**options)
    return model_page(made.manifest, outline_of(made))


def page_of_hostile() -> str:
    source, manifest = hostile()
    return model_page(manifest, outline(source, manifest, "x"))


@pytest.mark.parametrize("flat", [True, False])
def test_has_the_code_and_the_tree_without_any_script(flat: bool) -> None:
    made = stack(flat=flat)
    page = Elements(page_of_stack(flat=flat))
    code = page.text[page.text.index("import torch") :]
    for line in made.source.splitlines():
        assert line in page.text
    assert code.count("def ") == made.source.count("def ")
    for each in made.manifest.modules:
        assert each.path.rpartition(".")[2] in page.text
    assert f"{LAYERS} × Block" in page.text


def test_every_link_leads_to_a_place_in_the_page() -> None:
    page = Elements(page_of_stack())
    places = {attributes["id"] for _, attributes in page.found if "id" in attributes}
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) > 100
    assert {link.removeprefix("#") for link in links} <= places
    assert len(places) == sum("id" in attributes for _, attributes in page.found)


def test_loads_nothing_and_allows_one_script_by_its_hash() -> None:
    page = Elements(page_of_stack())
    assert not [name for name, attributes in page.found if {"src", "srcset", "style"} & set(attributes)]
    assert not {name for name, _ in page.found} & {"link", "img", "iframe", "object", "form", "base"}
    (policy,) = [each["content"] for each in page.of("meta") if each.get("http-equiv")]
    style, _, script = page.raw
    assert policy.split("; ")[0] == "default-src 'none'"
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_markup_in_names_stays_text() -> None:
    page = Elements(page_of_hostile())
    assert HOSTILE in page.text
    assert IMAGE in page.text
    assert len(page.of("script")) == 2
    assert not page.of("img")
    assert not [
        attributes for _, attributes in page.found if any(name.startswith("on") for name in attributes)
    ]
    assert "\u202e" not in page.text
    assert "abc\\u202edef" in page.text


def test_markup_in_names_does_not_end_the_data() -> None:
    page = page_of_hostile()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    paths = [each["path"] for each in json.loads(data[1])["modules"]]
    assert any(HOSTILE.replace(".", "") in path for path in paths)


def test_the_page_is_the_same_each_time() -> None:
    assert page_of_stack() == page_of_stack()


def test_text_is_escaped_once_and_markup_is_not() -> None:
    assert escape("<a b='c' d=\"e\">&") == "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;"
    assert element("b", "<", Markup("<i>"), class_="x", data_y='"', hidden=True, id=False) == (
        '<b class="x" data-y="&quot;" hidden>&lt;<i></b>'
    )
    assert escape("a\x00\x1b\u202e\tb\n") == "a\\x00\\x1b\\u202e\\tb\n"


def test_a_title_cannot_end_the_head() -> None:
    page = document("</title><script>", Markup(""), ("base.css",), "model.js", {"x": "</script>"})
    assert len(Elements(page).of("script")) == 2
