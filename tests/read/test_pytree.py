"""Structures of inputs and outputs: the live spec and its JSON text give the same tree."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import Any

import pytest
from torch.utils import _pytree as pytree

from fx2py.graph.values import Name
from fx2py.read.pytree import tree_of_json, tree_of_spec
from tests.read.exported_models import Pair, Point

FIELDS = {"tests.read.exported_models.Point": ["x", "y"]}


def counted(**items: Any) -> defaultdict[str, Any]:
    return defaultdict(list, items)


@pytest.mark.parametrize(
    "value",
    [
        1,
        (1, [2, {"a": (3,)}]),
        OrderedDict(z=1),
        counted(x=1),
        deque([1, 2], 3),
        Point(1, (2,)),
        Pair(1),
        {1: 2},
    ],
)
def test_both_readers_give_the_same_tree(value: Any) -> None:
    spec = pytree.tree_structure(value)
    tree = tree_of_spec(spec)
    assert tree == tree_of_json(pytree.treespec_dumps(spec), FIELDS)
    assert tree.leaf_count == spec.num_leaves


def test_a_class_that_is_not_registered_keeps_its_name_and_fields() -> None:
    leaf = '{"type": null, "context": null, "children_spec": []}'
    text = f'[1, {{"type": "models.Out", "context": "[\\"x\\"]", "children_spec": [{leaf}]}}]'
    tree = tree_of_json(text)
    assert (tree.kind, tree.cls, tree.keys) == ("record", Name("models", "Out"), ("x",))


@pytest.mark.parametrize("text", ["[]", "[2, {}]", "[1, {}]", "{", '[1, {"type": 3, "children_spec": []}]'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (JSON faults have messages of their own)
        tree_of_json(text)
