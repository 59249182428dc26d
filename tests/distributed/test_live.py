"""Live graphs of DTensors: captured, generated and compiled in the process of each rank."""

import pytest
import torch
import torch.distributed as dist
from torch._dynamo.functional_export import _dynamo_graph_capture_for_export

import fx2py
from tests.distributed.models import parallel_block, whole_block
from tests.distributed.ranks import call_ranks


def generate():
    dist.init_process_group("gloo")
    block, x = whole_block()
    graph = _dynamo_graph_capture_for_export(parallel_block((2,)))(x)
    artifact = fx2py.generate(graph)
    torch.testing.assert_close(artifact.bind()(x), block(x))
    assert fx2py.diff(graph, artifact, (x,)).equal
    dist.destroy_process_group()


def test_a_live_graph_of_dtensors_is_generated(tmp_path):
    results = call_ranks(2, generate, folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results[0].err


def compile_with(inner):
    dist.init_process_group("gloo")
    block, (_, x) = parallel_block((2,)), whole_block()
    compiled = torch.compile(block, backend="fx2py", options={"inner": inner})
    assert torch.equal(compiled(x), torch.compile(block, backend=inner)(x))
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
def test_the_backend_compiles_a_model_of_dtensors(tmp_path, inner):
    results = call_ranks(2, compile_with, inner, folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results[0].err
