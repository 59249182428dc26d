"""What a CUDA graph may rely on: generated code reads no numbers of the device on the host, and moves none there.

The device meta stands for one, so that these tests need none: its tensors have shapes and no numbers.
"""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import fx2py
from fx2py import Artifact, GenerateOptions, Policy
from fx2py.graph.data import GraphData
from fx2py.integrations import vllm
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from tests.corpus import CASES
from tests.corpus.registry import PROGRAM_KINDS
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")
DEVICE = "meta"
EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "compile_ahead.py"))
ATTENTION = "aten::scaled_dot_product_attention"


class HostReads(TorchDispatchMode):
    """Records the operators whose result the host has to wait for, and those that move numbers to or from the device."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if isinstance(func, torch._ops.HigherOrderOperator):
            return func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if reads(func, given, (kwargs or {}).get("device")):
            self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


def reads(func: Any, tensors: list[torch.Tensor], target: torch.device | None) -> bool:
    """Whether the host needs the numbers of a tensor for the result, or tensors of two devices take part.

    A tensor of no dimension on the host is a number that a kernel is given. An index counts only where it is a mask.
    """
    depends = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
    if func in INDEXING:
        depends = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors[1:])
    places = {tensor.device.type for tensor in tensors if tensor.dim()}
    if target is not None and places:
        places.add(torch.device(target).type)
    return bool(depends) or len(places) > 1


INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}


def moved(value: Any) -> Any:
    return tree_map_only(
        torch.Tensor, lambda tensor: torch.empty_like(tensor, device=DEVICE, requires_grad=False), value
    )


def reads_of(bind: Callable[[], Callable[..., Any]], args: Any, kwargs: Any) -> Counter[str]:
    """What the host reads in a call; a graph that needs numbers goes as far as it can without them."""
    with torch.no_grad():
        call, (args, kwargs) = bind(), moved((args, kwargs))
        with HostReads() as made:
            try:
                call(*args, **kwargs)
            except (
                Exception
            ) as error:  # tensors without numbers raise errors of any type where those are needed
                made.seen[f"{type(error).__name__}: {error}"] += 1
    return made.seen


# -- models: none at all ----------------------------------------------------------------------------------------------


def block() -> tuple[nn.Module, tuple[Any, ...]]:
    return EXAMPLE["transformer"](), (EXAMPLE["sample_input"](),)


def bert() -> tuple[nn.Module, tuple[Any, ...]]:
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    return transformers.BertModel(config), (torch.arange(8).view(1, 8),)


def llama() -> tuple[nn.Module, tuple[Any, ...]]:
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        use_cache=False,
    )
    return transformers.LlamaModel(config), (torch.arange(8).view(1, 8),)


def resnet() -> tuple[nn.Module, tuple[Any, ...]]:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    return transformers.ResNetModel(config), (torch.randn(1, 3, 32, 32),)


BORDERS = {block: ATTENTION, bert: ATTENTION, llama: "aten::add", resnet: "aten::relu"}
"""Where each model is cut."""


@pytest.fixture(scope="module", params=BORDERS, ids=lambda make: make.__name__)
def exported(request: pytest.FixtureRequest) -> tuple[ExportedProgram, tuple[Any, ...], str]:
    torch.manual_seed(0)
    model, args = request.param()
    model = model.eval().requires_grad_(False)
    return torch.export.export(model, args, strict=False), args, BORDERS[request.param]


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "stitched"])
@pytest.mark.parametrize("how", [{}, {"optimize": True}, {"exact_ops": True}], ids=["plain", "-O", "exact"])
def test_a_call_of_a_model_reads_nothing_on_the_host(
    exported: tuple[ExportedProgram, tuple[Any, ...], str], how: dict[str, bool], is_cut: bool
) -> None:
    program, args, border = exported
    options = GenerateOptions(split_at=(border,) if is_cut else (), **how)
    artifact = fx2py.generate(program, options=options)
    assert reads_of(lambda: artifact.bind(device=DEVICE), args, {}) == Counter()


@pytest.mark.parametrize("is_inlined", [False, True])
def test_code_for_an_engine_reads_nothing_on_the_host(is_inlined: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval().to(DEVICE)
    stitched, pieces = vllm.split_graph(fx.symbolic_trace(model), ["torch.nn.ReLU"])
    calls = {piece.submod_name: getattr(stitched, piece.submod_name).forward for piece in pieces}
    if not is_inlined:
        for piece in pieces:
            setattr(stitched, piece.submod_name, Called(piece.graph))
    code, names, consts = vllm.generate_execution_code(stitched)
    given = {} if is_inlined else calls
    assert (
        reads_of(lambda: vllm.compile_execution_fn(code, given, names, consts), (torch.ones(2, 4),), {})
        == Counter()
    )


class Called(nn.Module):
    """A piece that an engine compiled: no graph, and so no part of the code."""

    def __init__(self, piece: nn.Module) -> None:
        super().__init__()
        self.piece = piece

    def forward(self, *args: Any) -> Any:
        return self.piece(*args)


# -- graphs of every kind: none but the graph's own -------------------------------------------------------------------


def reads_of_graph(data: GraphData, args: Any, kwargs: Any) -> Counter[str]:
    """What an interpreter of the graph, on the same device, reads: the graph's own calls."""
    return reads_of(
        lambda: Reference(data, Policy(trust_all=True), device=torch.device(DEVICE)), args, kwargs
    )


def reads_of_code(artifact: Artifact, args: Any, kwargs: Any) -> Counter[str]:
    return reads_of(lambda: artifact.bind(device=DEVICE, policy=Policy(trust_all=True)), args, kwargs)


@pytest.mark.parametrize("case", parameters(representative()))
def test_generated_code_reads_nothing_that_its_graph_does_not(case: Any) -> None:
    captured = case.capture()
    expected = reads_of_graph(open_graph(captured.graph), captured.args, captured.kwargs)
    artifact = fx2py.generate(captured.graph)
    assert reads_of_code(artifact, captured.args, captured.kwargs) <= expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kind in PROGRAM_KINDS])
def test_optimized_code_reads_nothing_that_its_graph_does_not(name: str) -> None:
    captured = CASES[name].capture()
    expected = reads_of_graph(open_graph(captured.graph), captured.args, captured.kwargs)
    artifact = fx2py.generate(captured.graph, options=GenerateOptions(optimize=True))
    assert reads_of_code(artifact, captured.args, captured.kwargs) <= expected


# -- what is recorded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "read"),
    [
        (lambda x: x.sum().item(), "aten._local_scalar_dense.default"),
        (lambda x: 1 if x.sum() > 0 else 2, "aten._local_scalar_dense.default"),
        (lambda x: x.nonzero(), "aten.nonzero.default"),
        (lambda x: x[x > 0], "aten.index.Tensor"),
        (lambda x: x.cpu(), "aten._to_copy.default"),
        (lambda x: torch.empty(2, 4).copy_(x), "aten.copy_.default"),
        (lambda x: torch.equal(x, x), "aten.equal.default"),
        (lambda x: x.unique(), "aten._unique2.default"),
    ],
)
def test_what_the_host_waits_for_is_seen(call: Callable[..., Any], read: str) -> None:
    assert read in reads_of(lambda: call, (torch.ones(2, 4),), {})


@pytest.mark.parametrize(
    "call", [lambda x: x * 2 + 1, lambda x: x @ x.t(), lambda x: x[torch.zeros_like(x).long()]]
)
def test_what_stays_on_the_device_is_not(call: Callable[..., Any]) -> None:
    assert reads_of(lambda: call, (torch.ones(2, 4),), {}) == Counter()
