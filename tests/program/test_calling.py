"""Results in containers: built as the caller gets them."""

import collections

import pytest
import torch

import fx2py


class Packed(torch.nn.Module):
    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(x.sin())


@pytest.mark.parametrize(
    "pack",
    [
        lambda y: collections.defaultdict(list, {"a": y}),
        lambda y: collections.defaultdict(None, {"a": y}),
        lambda y: collections.deque([y, y], 3),
        lambda y: collections.deque([y]),
    ],
    ids=["defaultdict", "defaultdict without factory", "bounded deque", "deque"],
)
def test_a_container_keeps_what_it_holds_beside_its_items(pack, tmp_path):
    program = torch.export.export(Packed(pack), (torch.ones(2),))
    artifact = fx2py.generate(program)
    for opened in (artifact, fx2py.open_artifact(artifact.write(tmp_path / "out").folder)):
        result, expected = opened.bind()(torch.ones(2)), pack(torch.ones(2).sin())
        assert type(result) is type(expected)
        assert repr(result) == repr(expected)


def test_an_ordered_dict_comes_back_in_its_order():
    program = torch.export.export(Packed(lambda y: collections.OrderedDict(b=y, a=y + 1)), (torch.ones(2),))
    result = fx2py.generate(program).bind()(torch.ones(2))
    assert type(result) is collections.OrderedDict
    assert list(result) == ["b", "a"]
