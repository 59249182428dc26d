"""The page of a model: its modules as a tree, its code, its weights and operators, each linked with the others."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

from fx2py.artifact.manifest import Manifest
from fx2py.collector import collector_paused
from fx2py.show.markup import Markup, document, element, joined
from fx2py.show.outline import Module, Outline, abbreviated, paths_around
from fx2py.show.parts import code_sections, table_section

_DEEPEST = 12
"""Rows below this depth are indented no further."""


@collector_paused()
def model_page(manifest: Manifest, outline: Outline) -> str:
    """One self-contained HTML page of the generated code."""
    title = title_of(manifest)
    tabs = ("modules", "code", "weights", "operators")
    body = joined(
        [
            _header(title, manifest, outline, tabs),
            element("main", _tree(outline), _code(outline), _weights(outline), _operators(manifest)),
        ]
    )
    return document(title, body, ("base.css", "model.css"), "model.js", _data(outline))


def title_of(manifest: Manifest) -> str:
    """What a page calls a graph: the name of its file, else of its class."""
    origin = manifest.graph
    file = pathlib.PurePath(origin.path).name if origin.path else ""
    cls = manifest.modules[0].cls.rpartition(".")[2] if manifest.modules else ""
    model = (
        origin.model if origin.model != "model" else ""
    )  # the name that torch.export.save gives the only one
    return " · ".join(filter(None, (cls, file, model))) or "a graph"


def _header(title: str, manifest: Manifest, outline: Outline, tabs: Sequence[str]) -> Markup:
    name, _, rest = title.partition(" · ")
    buttons = [
        element(
            "button",
            tab.capitalize(),
            type="button",
            role="tab",
            id=f"tab-{tab}",
            aria_controls=tab,
            data_tab=tab,
        )
        for tab in tabs
    ]
    search = element(
        "div",
        Markup(
            '<label for="search" class="unseen">Search</label>'
            '<input id="search" type="search" placeholder="Search" autocomplete="off" spellcheck="false" role="combobox" '
            'aria-expanded="false" aria-controls="found" aria-autocomplete="list">'
            '<kbd aria-hidden="true">/</kbd><ul id="found" role="listbox" aria-label="Found" hidden></ul>'
        ),
        class_="search script",
    )
    return element(
        "header",
        element("h1", name, " ", element("small", rest)),
        element("p", *_facts(manifest, outline), class_="facts"),
        search,
        element("div", *buttons, role="tablist", aria_label="Views", class_="tabs script"),
    )


def _facts(manifest: Manifest, outline: Outline) -> Iterator[Markup]:
    counts = {
        "lines": len(outline.lines),
        "functions": len(outline.functions),
        "operator calls": outline.modules[""].operators or sum(each.calls for each in manifest.targets),
        "numbers in weights": sum(prod(each.shape) for each in manifest.weights),
    }
    for what, count in counts.items():
        yield element("span", element("b", abbreviated(count), title=f"{count:,}"), f" {what}")


def anchor(outline: Outline, module: Module) -> str:
    """The line that a module leads to: its own first one, else that of the function around it."""
    spans = module.spans
    if not spans and module.function in outline.functions:
        spans = (outline.functions[module.function].span,)
    return f"#L{spans[0].first}" if spans else "#code"


# -- the tree ------------------------------------------------------------------------------------------------------


def _tree(outline: Outline) -> Markup:
    rows = [_row(outline, number, module) for number, module in enumerate(outline.modules.values())]
    return element(
        "nav",
        element("h2", "Modules"),
        element("ul", *rows, id="tree", aria_label="Modules"),
        id="modules",
        aria_label="Modules",
    )


def _row(outline: Outline, number: int, module: Module) -> Markup:
    cls = module.class_name or outline.held(module)
    whole = f"{', '.join(module.inputs)} → {', '.join(module.outputs)}"
    link = element(
        "a",
        element("span", module.name or "(model)", class_="name"),
        element("span", cls, class_="cls"),
        element(
            "span",
            abbreviated(module.parameters) if module.parameters else "",
            class_="num",
            title=f"{module.parameters:,} parameters",
        ),
        element("span", _shapes(module), class_="shape", title=whole),
        element("span", _calls(module), class_="calls"),
        href=anchor(outline, module),
    )
    return element(
        "li",
        element("span", class_="fold", aria_hidden="true"),
        link,
        id=f"m{number}",
        class_=f"d{min(module.depth, _DEEPEST)}" + (" inline" if module.is_inline else ""),
    )


def _shapes(module: Module) -> str:
    """The first input and the first output, and how many more there are of each."""
    ends = [
        f"{values[0]} +{len(values) - 1}" if len(values) > 1 else "".join(values)
        for values in ([each for each in values if each] for values in (module.inputs, module.outputs))
    ]
    return " → ".join(ends) if any(ends) else ""


def _calls(module: Module) -> str:
    """How many operators a module calls, and in how many calls where there are several."""
    operators = f"{module.operators:,} op{'' if module.operators == 1 else 's'}" if module.operators else ""
    return f"{operators} in {module.calls} calls" if module.calls > 1 else operators


# -- the code ------------------------------------------------------------------------------------------------------


def _code(outline: Outline) -> Markup:
    return element(
        "section",
        element("div", id="card", class_="script", hidden=True, aria_live="polite"),
        element("div", *code_sections(outline), id="text", tabindex="0", aria_label="Code"),
        id="code",
        aria_label="Code",
    )


# -- tables --------------------------------------------------------------------------------------------------------


def _weights(outline: Outline) -> Markup:
    numbers = {path: number for number, path in enumerate(outline.modules)}
    rows = [
        (
            (_weight(outline, numbers, each.name), each.name),
            (each.dtype, each.dtype),
            ("×".join(map(str, each.shape)) or "scalar", prod(each.shape)),
            (f"{prod(each.shape):,}", prod(each.shape)),
        )
        for each in outline.weights
    ]
    return table_section("weights", "Weights", ("name", "dtype", "shape", "numbers"), rows)


def _weight(outline: Outline, numbers: Mapping[str, int], name: str) -> Markup:
    """The name of a weight, linked to the innermost module that has it."""
    path = next(each for each in paths_around(name) if each in numbers)
    return element("a", name, href=anchor(outline, outline.modules[path]), data_m=numbers[path])


def _operators(manifest: Manifest) -> Markup:
    rows = [
        (
            (element("a", each.name, href="#code", data_q=_searched(each.name)), each.name),
            (f"{each.calls:,}", each.calls),
            (each.library, each.library),
        )
        for each in manifest.targets
    ]
    return table_section("operators", "Operators", ("name", "calls", "library"), rows)


def _searched(target: str) -> str:
    """The search text that finds the calls of a target: the operator of an overload, else its last name."""
    parts = target.split(".")
    return parts[3] if target.startswith("torch.ops.") and len(parts) > 3 else parts[-1]


# -- data ----------------------------------------------------------------------------------------------------------


def _data(outline: Outline) -> object:
    """The data of the script: modules in the order of the tree, functions, weights."""
    numbers = {path: number for number, path in enumerate(outline.modules)}
    modules = [
        {**module.to_json(), "depth": module.depth, "children": [numbers[path] for path in module.children]}
        for module in outline.modules.values()
    ]
    functions = {
        name: {
            "lines": [each.span.first, each.span.last],
            "calls": [[site.name, site.line] for site in each.calls],
        }
        for name, each in outline.functions.items()
    }
    weights = [[each.name, each.dtype, list(each.shape)] for each in outline.weights]
    return {"modules": modules, "functions": functions, "weights": weights}
