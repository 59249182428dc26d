"""Sequences aligned where most of their items are equal."""

from __future__ import annotations

from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fx2py.compare.sequences import aligned

WORDS = st.lists(st.sampled_from("abcdef"), max_size=12)


@given(WORDS, WORDS)
@settings(max_examples=200, deadline=None)
def test_pairs_are_equal_items_in_ascending_order(ours: list[str], theirs: list[str]) -> None:
    pairs = aligned(ours, theirs)
    assert all(ours[row] == theirs[column] for row, column in pairs)
    assert pairs == sorted(set(pairs))
    assert [column for _, column in pairs] == sorted({column for _, column in pairs})


@given(WORDS, st.integers(0, 12), st.sampled_from("abcxyz"))
@settings(max_examples=200, deadline=None)
def test_one_inserted_item_leaves_all_others_aligned(ours: list[str], place: int, item: str) -> None:
    theirs = [*ours[:place], item, *ours[place:]]
    assert len(aligned(ours, theirs)) == len(ours)


def test_repetitive_parts_are_aligned_with_as_many_pairs_as_can_be() -> None:
    assert len(aligned("abcabcabcabc", "abcabxabcabc")) == 11


def test_long_sequences_with_few_differences_take_no_time() -> None:
    ours = [number % 97 for number in range(100_000)]
    theirs = [*ours[:50_000], -1, *ours[50_000:]]
    start = perf_counter()
    assert len(aligned(ours, theirs)) == len(ours)
    assert perf_counter() - start < 5
