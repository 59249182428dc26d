"""The calls of a program that processes make together: which they are, and what is recorded of their groups."""

import pytest
import torch
from torch import fx

import fx2py
from fx2py.artifact import open_artifact
from fx2py.program.analyses.collectives import Collective
from tests.distributed.graphs import all_reduce, every_operator, functional, wait


def generated(build):
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    return fx2py.generate(fx.GraphModule(torch.nn.Module(), graph))


def test_a_graph_without_collectives_has_none():
    assert generated(lambda graph, x: graph.call_function(torch.relu, (x,))).collectives == ()


def test_a_name_alone_is_no_collective():
    artifact = generated(lambda graph, x: {"_c10d_functional": graph.call_function(wait, (x,))})
    assert artifact.collectives == ()


def test_group_size_and_terms_are_read_from_each_call():
    found = {call.op: call for call in generated(every_operator(2)).collectives}
    assert found["all_reduce"] == Collective("all_reduce", "0", None, ("reduce_op='sum'",))
    assert found["all_gather_into_tensor"].size == 2
    assert found["reduce_scatter_tensor_coalesced"].terms == ("reduce_op='sum'", "group_size=2")
    assert found["all_to_all_single"].size == 2
    assert found["broadcast"].terms == ("src=1",)
    assert {call.group for call in found.values()} == {"0"}


def test_arguments_may_be_keywords_and_the_overload_left_open():
    def build(graph, x):
        arguments = {"reduce_op": "max", "group_name": "mesh"}
        return graph.call_function(functional.all_reduce, (x,), arguments)

    assert generated(build).collectives == (Collective("all_reduce", "mesh", None, ("reduce_op='max'",)),)


@pytest.mark.skipif(not hasattr(functional, "isend"), reason="torch 2.10 has no such collective")
def test_a_call_between_two_is_not_made_by_all():
    def build(graph, x):
        return graph.call_function(functional.isend.default, (x, 1, 0, "0"))

    assert [call.by_all for call in generated(build).collectives] == [False]


def test_a_folder_has_the_collectives_of_its_code(tmp_path):
    artifact = generated(all_reduce('it\'s "the" group'))
    artifact.write(tmp_path / "folder")
    assert open_artifact(tmp_path / "folder").collectives == artifact.collectives
    assert artifact.collectives[0].group == 'it\'s "the" group'
