"""Which ranks a recorded process group has, and what cannot be known or does not fit together."""

import pytest

from fx2py.distributed.groups import plan_groups
from fx2py.errors import ReplayError
from fx2py.program.analyses.collectives import Collective


def reduce(group, *, size=None):
    return Collective("all_reduce", group, size)


def gather(group, size):
    return Collective("all_gather_into_tensor", group, size)


def test_the_members_of_a_group_are_the_ranks_that_name_it():
    grid = [[reduce("1"), reduce("3")], [reduce("2"), reduce("3")], [reduce("1"), reduce("4")]]
    grid.append([reduce("2"), reduce("4")])
    plan = plan_groups(grid, is_shared=False)
    assert plan == {"1": (0, 2), "2": (1, 3), "3": (0, 1), "4": (2, 3)}


def test_groups_come_in_the_same_order_on_every_rank():
    one, other = [reduce("b"), reduce("a")], [reduce("a"), reduce("b")]
    assert list(plan_groups([one, other], is_shared=False)) == ["a", "b"]


def test_the_first_group_of_torch_is_the_whole_world():
    send = Collective("isend", "0", by_all=False)
    assert plan_groups([[send], [send], []], is_shared=False) == {"0": (0, 1, 2)}


def test_no_collectives_need_no_groups():
    assert plan_groups([[], []], is_shared=True) == {}


def test_a_group_of_another_size_is_refused():
    with pytest.raises(ReplayError, match="group of 4 ranks, but 2 of this run"):
        plan_groups([[gather("1", 4)], [gather("1", 4)]], is_shared=False)


def test_the_ranks_of_a_group_in_a_shared_graph_cannot_be_known():
    with pytest.raises(ReplayError, match="'3' cannot be known"):
        plan_groups([[reduce("3")]] * 4, is_shared=True)


def test_a_shared_graph_may_name_the_world_or_a_group_as_large():
    calls = [reduce("0"), gather("1", 2), reduce("1")]
    assert plan_groups([calls, calls], is_shared=True) == {"0": (0, 1), "1": (0, 1)}


def test_ranks_that_call_in_another_order_are_refused():
    one, other = [reduce("0"), gather("0", 2)], [gather("0", 2), reduce("0")]
    with pytest.raises(
        ReplayError, match=r"call 1 is all_reduce\(\) on rank 0, all_gather_into_tensor\(\) on rank 1"
    ):
        plan_groups([one, other], is_shared=False)


def test_a_rank_that_calls_less_often_is_refused():
    with pytest.raises(ReplayError, match=r"call 2 is all_reduce\(\) on rank 0, missing on rank 1"):
        plan_groups([[reduce("0"), reduce("0")], [reduce("0")]], is_shared=False)


def test_ranks_that_reduce_otherwise_are_refused():
    total, largest = (Collective("all_reduce", "0", terms=(f"reduce_op={op!r}",)) for op in ("sum", "max"))
    with pytest.raises(ReplayError, match="max"):
        plan_groups([[total], [largest]], is_shared=False)


def test_groups_of_their_own_may_be_called_in_any_order():
    one, other = [reduce("1"), reduce("2")], [reduce("2"), reduce("1")]
    assert plan_groups([one, other], is_shared=False) == {"1": (0, 1), "2": (0, 1)}


def test_calls_between_two_ranks_differ():
    send, receive = (Collective(op, "0", by_all=False) for op in ("isend", "irecv"))
    assert plan_groups([[send], [receive]], is_shared=False) == {"0": (0, 1)}


def test_a_name_that_is_no_text_outside_python_is_refused():
    with pytest.raises(ReplayError, match="no name that torch takes"):
        plan_groups([[reduce("\ud800")]], is_shared=False)
