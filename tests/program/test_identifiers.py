"""Variable names: identifiers, distinct, readable, whatever the text is."""

from __future__ import annotations

import keyword

from hypothesis import given
from hypothesis import strategies as st

from fx2py.program.identifiers import distinct_identifiers, identifier_for

CAPTURED = (
    "l_self_modules_encoder_modules_layer_modules_{}_modules_attention_modules_query_parameters_weight_"
)
STEMS = st.sampled_from([CAPTURED, "x" * 200 + "{}", "é" * 90 + "{}", "a_" * 60 + "{}b", "{}"])
TEXTS = st.lists(
    st.one_of(st.text(max_size=200), st.builds(str.format, STEMS, st.integers(0, 99))), max_size=30
)


@given(TEXTS)
def test_every_text_gets_an_identifier_of_its_own(texts) -> None:
    names = distinct_identifiers(texts)
    assert len(set(names)) == len(texts)
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    assert all(len(name) <= 90 for name in names)


def test_of_a_captured_weight_the_names_of_the_modules_stay() -> None:
    assert identifier_for(CAPTURED.format(7)) == "l_self_encoder_layer_7_attention_query_weight"


def test_a_longer_name_keeps_its_ends() -> None:
    name = identifier_for(f"first_{'and_so_on_' * 20}last_7")
    assert name.startswith("first_and")
    assert name.endswith("_last_7")
    assert len(name) == 80
