"""The calling convention of a graph whose caller passes and gets nested containers."""

from __future__ import annotations

from collections.abc import Sequence

from fx2py.graph.data import CallingConvention, Tree


def pytree_convention(
    parameters: Sequence[str], inputs: Tree, output: Tree | None, placeholders: int
) -> CallingConvention:
    """The convention of a pytree code generator.

    ``inputs`` is a tuple with an entry for each parameter, or a pair of a tuple of positional and a dict of keyword
    arguments. Raises ValueError when its leaves are not as many as the placeholders.
    """
    names, trees, keywords = list(parameters), inputs.children, 0
    if names[:1] == ["self"] and len(trees) == len(names):
        names, trees = names[1:], trees[1:]
    elif _has_keywords(inputs):
        keywords = len(trees[1].children)
        names, trees = names[names[:1] == ["self"] :], (*trees[0].children, *trees[1].children)
    if len(names) != len(trees) or sum(tree.leaf_count for tree in trees) != placeholders:
        raise ValueError(f"its parameters {', '.join(parameters)} do not fit its {placeholders} placeholders")
    pairs = tuple(zip(names, trees, strict=True))
    split = len(pairs) - keywords
    return CallingConvention(pairs[:split], pairs[split:], output)


def boxed_convention(parameter: str, placeholders: int) -> CallingConvention:
    """The convention of a graph that takes all its inputs in one list."""
    leaves = tuple(Tree("leaf") for _ in range(placeholders))
    return CallingConvention(((parameter, Tree("list", leaves)),), (), None)


def _has_keywords(inputs: Tree) -> bool:
    return [inputs.kind, *(child.kind for child in inputs.children)] == ["tuple", "tuple", "dict"]
