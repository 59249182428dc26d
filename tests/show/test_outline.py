"""The outline of generated code: every module with the lines that compute it, and what a name selects."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from fx2py.errors import ArtifactError, Fx2pyError
from fx2py.show.definitions import Span, definitions
from fx2py.show.outline import Outline, abbreviated, outline, rows, select
from tests.show.models import LAYERS, outline_of, stack


def code(found: Outline, path: str) -> str:
    return found.text(found.modules[path].spans)


def test_every_instance_of_a_module_leads_to_its_function() -> None:
    found = outline_of(stack())
    for layer in range(LAYERS):
        assert found.modules[f"layers.{layer}.attention"].function == "attention"
        assert "\ndef attention(" in code(found, f"layers.{layer}.attention")


def test_an_inline_module_leads_to_the_statements_that_read_its_weights() -> None:
    found = outline_of(stack())
    qkv = found.modules["layers.7.attention.qkv"]
    assert (qkv.function, qkv.is_inline) == ("attention", True)
    assert "weights.qkv.weight" in code(found, "layers.7.attention.qkv")
    assert "weights.out" not in code(found, "layers.7.attention.qkv")


def test_an_inline_module_without_weights_leads_to_the_function_around_it() -> None:
    found = outline_of(stack())
    gelu = found.modules["layers.3.mlp.1"]
    assert (gelu.function, gelu.is_inline, gelu.spans) == ("sequential", True, ())
    assert "gelu" in found.text(select(found, "layers.3.mlp.1", "x").spans)


def test_a_list_of_modules_sums_up_what_is_in_it() -> None:
    found = outline_of(stack())
    layers = found.modules["layers"]
    assert found.held(layers) == f"{LAYERS} × Block"
    assert layers.parameters == LAYERS * found.modules["layers.0"].parameters > 0
    assert layers.operators == LAYERS * found.modules["layers.0"].operators


def test_flat_code_is_outlined_by_module_paths() -> None:
    found = outline_of(stack(flat=True))
    spans = {path: each.spans for path, each in found.modules.items()}
    layers = [spans[f"layers.{layer}"] for layer in range(LAYERS)]
    assert all(len(each) == 1 for each in layers)
    assert all(one[0].last + 1 == other[0].first for one, other in pairwise(layers))
    (attention,) = spans["layers.5.attention"]
    assert layers[5][0].first <= attention.first <= attention.last <= layers[5][0].last
    assert "layers.5.attention.qkv.weight" in code(found, "layers.5.attention.qkv")
    assert "layers.5.attention.qkv.weight" not in code(found, "layers.5.attention.out")


def test_code_without_comments_has_the_modules_all_the_same() -> None:
    flat = outline_of(stack(flat=True, comments=False))
    assert flat.modules["layers.5.attention"].spans == ()
    assert select(flat, "layers.5.attention", "x").spans == (flat.functions["execution_fn"].span,)
    assert outline_of(stack(comments=False)).modules["layers.5.attention.qkv"].spans


def test_edited_code_is_outlined_as_it_is_now() -> None:
    made = stack()
    before = outline_of(made)
    edited = f"# mine\n\n{made.source}".replace("def attention(", "def changed(")
    after = outline(edited, made.manifest, "x")
    assert after.modules["layers.0"].spans[0].first == before.modules["layers.0"].spans[0].first + 2
    assert after.modules["layers.0.attention"].spans == ()


def test_text_that_is_no_python_says_where() -> None:
    made = stack()
    with pytest.raises(ArtifactError, match=r"folder/execution_fn.py is not Python, line 2"):
        outline("x = 1\nthis is no python\n", made.manifest, "folder/execution_fn.py")


def test_rows_fold_equal_layers_and_show_the_inside_of_the_first() -> None:
    printed = [(row.depth, row.name, row.what) for row in rows(outline_of(stack()))]
    assert printed[:4] == [
        (0, "", "Stack"),
        (1, "layers", "12 × Block"),
        (2, "norm", "Norm"),
        (2, "attention", "Attention"),
    ]
    assert printed[-1] == (1, "norm", "Norm")


def test_a_class_selects_its_function_and_all_its_modules() -> None:
    found = outline_of(stack())
    chosen = select(found, "Attention", "x")
    assert len(chosen.modules) == LAYERS
    assert chosen.functions == ("attention",)
    assert found.text(chosen.spans).startswith("# Attention")
    assert select(found, found.modules["layers.0"].cls, "x").functions == ("block",)


def test_a_class_in_flat_code_selects_the_statements_of_the_first() -> None:
    found = outline_of(stack(flat=True))
    assert select(found, "Attention", "x").spans == found.modules["layers.0.attention"].spans


def test_a_function_is_selected_by_its_name() -> None:
    found = outline_of(stack())
    assert select(found, "execution_fn", "x").spans == (found.functions["execution_fn"].span,)


@pytest.mark.parametrize(
    ("wrong", "closest"), [("layers.12", "layers.1"), ("Atention", "Attention"), ("attentoin", "attention")]
)
def test_a_wrong_name_is_answered_with_the_closest(wrong: str, closest: str) -> None:
    with pytest.raises(Fx2pyError, match="net has no module, class or function") as raised:
        select(outline_of(stack()), wrong, "net")
    assert closest in raised.value.hint
    assert wrong in raised.value.message


def test_a_list_is_no_module_that_could_be_selected() -> None:
    with pytest.raises(Fx2pyError, match="'layers'"):
        select(outline_of(stack()), "layers", "net")


def test_paths_as_deep_as_a_file_can_say_are_read() -> None:
    made = stack()
    deep = ".".join(["x"] * 5000)
    rows_ = (*made.manifest.modules, replace(made.manifest.modules[-1], path=deep, function=""))
    found = outline(made.source, replace(made.manifest, modules=rows_), "x")
    assert found.modules[deep].depth == 5000


def test_definitions_find_calls_and_weights_at_their_columns() -> None:
    text = (
        "# about f\n"
        "def f(x, weights):\n"
        "    return x + weights.a[0].bias\n"
        "\n"
        "def g(x, *, weights):\n"
        "    y = print('ä', weights.b)\n"
        "    for layer in weights.layers[1:3]:\n"
        "        x = f(x, layer.inner)\n"
        "    return x\n"
    )
    f, g = definitions(text)
    assert (f.span, f.line) == (Span(1, 3), 2)
    assert [(each.steps, each.start, each.end) for each in f.readings] == [
        (("a", 0, "bias"), (3, 15), (3, 32))
    ]
    assert [(each.name, each.line, each.column) for each in g.calls] == [("f", 8, 12)]
    assert [each.steps for each in g.readings] == [("b",), ("layers",), ("layers", "*", "inner")]
    assert g.readings[0].start == (6, 19)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 K"),
        (12_345, "12.3 K"),
        (999_999, "999 K"),
        (1_235_814_400, "1.24 G"),
    ],
)
def test_counts_are_abbreviated_to_three_digits(count: int, text: str) -> None:
    assert abbreviated(count) == text
