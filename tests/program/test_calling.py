"""Results in containers: built as the caller gets them, or refused with the reason."""

import collections

import pytest
import torch

import fx2py
from fx2py.errors import UnsupportedGraphError


class Packed(torch.nn.Module):
    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(x.sin())


@pytest.mark.parametrize(
    "pack",
    [lambda y: collections.defaultdict(list, {"a": y}), lambda y: [collections.deque([y], 3)]],
    ids=["defaultdict", "deque"],
)
def test_results_that_hold_more_than_items_are_refused(pack, request):
    program = torch.export.export(Packed(pack), (torch.ones(2),))
    with pytest.raises(UnsupportedGraphError, match=request.node.callspec.id):
        fx2py.generate(program)


def test_an_ordered_dict_comes_back_in_its_order():
    program = torch.export.export(Packed(lambda y: collections.OrderedDict(b=y, a=y + 1)), (torch.ones(2),))
    result = fx2py.generate(program).bind()(torch.ones(2))
    assert type(result) is collections.OrderedDict
    assert list(result) == ["b", "a"]
