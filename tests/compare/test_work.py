"""The work of a comparison grows with what is stored, not with how often it is named or repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fx2py
from fx2py.cli.call import summarize
from fx2py.compare.sides import Side, diff_callables
from fx2py.compare.tensors import compare_values
from fx2py.replay.memory import measured_peak

TEBI = 2**40


class Elements(TorchDispatchMode):
    """Counts the elements of all operands that kernels are given; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if not func.is_view:
            self.count += sum(leaf.numel() for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor))
        return func(*args, **(kwargs or {}))


def work(act: Callable[[], Any]) -> int:
    with Elements() as elements:
        act()
    return elements.count


def with_buffers(views: Callable[[torch.Tensor], list[torch.Tensor]]) -> fx.GraphModule:
    """A graph that adds the first element of each view of one storage."""
    root, graph = nn.Module(), fx.Graph()
    result = graph.placeholder("x")
    for index, view in enumerate(views(torch.arange(5000.0))):
        root.register_buffer(f"view{index}", view)
        element = graph.call_method("select", (graph.get_attr(f"view{index}"), 0, 0))
        result = graph.call_function(torch.add, (result, element))
    graph.output(result)
    return fx.GraphModule(root, graph)


@pytest.mark.parametrize(
    "views",
    [
        lambda n: lambda s: [s[i : i + 4] for i in range(n)],
        lambda n: lambda s: [s.view(-1) for _ in range(n)],
    ],
    ids=["small views", "the whole storage"],
)
def test_many_views_of_one_storage_are_compared_as_one(views: Any, tmp_path: Any) -> None:
    def compared(count: int) -> int:
        graph = with_buffers(views(count))
        torch.save(graph, tmp_path / "graph.pt")
        artifact = fx2py.generate(tmp_path / "graph.pt")
        artifact.write(tmp_path / "folder")
        opened = fx2py.open_artifact(tmp_path / "folder")
        report = None

        def diff() -> None:
            nonlocal report
            report = fx2py.diff(tmp_path / "graph.pt", opened, (torch.ones(4),))

        elements = work(diff)
        assert report is not None
        assert report.equal
        return elements

    one, many = compared(1), compared(50)
    assert many < 2 * one


def test_a_small_file_of_a_huge_expanded_tensor_is_compared(tmp_path: Any) -> None:
    torch.save(with_buffers(lambda storage: [storage[:1].expand(2 * TEBI)]), tmp_path / "graph.pt")
    artifact = fx2py.generate(tmp_path / "graph.pt")
    artifact.write(tmp_path / "folder")
    opened = fx2py.open_artifact(tmp_path / "folder")
    assert fx2py.diff(tmp_path / "graph.pt", opened, (torch.ones(4),)).equal


def test_elements_that_differ_are_counted_as_often_as_they_are_repeated() -> None:
    expected = torch.tensor([[1.0], [2.0]]).expand(2, TEBI)
    actual = torch.tensor([[1.0], [5.0]]).expand(2, TEBI)
    assert compare_values(expected, actual) == (TEBI, 3.0)


def test_a_repeated_tensor_and_one_in_full_are_compared_element_by_element() -> None:
    assert compare_values(torch.ones(1).expand(4), torch.tensor([1.0, 1.0, 2.0, 3.0])) == (2, 2.0)


def test_a_huge_expanded_result_is_summarized() -> None:
    (row,) = summarize(torch.tensor([[1.0], [3.0], [torch.nan]]).expand(3, TEBI))
    assert (row.min, row.mean, row.max, row.nan) == (1.0, 2.0, 3.0, TEBI)


def test_a_result_that_stands_in_many_places_is_looked_through_once() -> None:
    value = torch.arange(1000.0)
    one, many = (work(lambda n=n: list(summarize((value,) * n))) for n in (1, 50))
    assert many == one


def test_results_that_stand_in_many_places_are_compared_once() -> None:
    side = Side(lambda x: [x.view(-1)] * 50)
    alone = Side(lambda x: [x.view(-1)])
    many, one = (work(lambda s=s: diff_callables(s, s, (torch.ones(1000),))) for s in (side, alone))
    assert many < 2 * one


class Copying(TorchDispatchMode):
    """Counts the copies of a whole storage of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        is_copy = func in (torch.ops.aten.clone.default, torch.ops.aten._to_copy.default)
        if is_copy and result.untyped_storage().nbytes() == self.size:
            self.count += 1
        return result


def test_weights_that_no_call_writes_into_are_copied_once() -> None:
    weight = torch.randn(1000)
    sides = [Side(lambda x: x + weight.sum(), {"weight": weight}) for _ in range(2)]
    with Copying(weight.untyped_storage().nbytes()) as copying:
        assert diff_callables(*sides, (torch.ones(2),), calls=2).equal
    assert copying.count == 1


@pytest.mark.parametrize("shape", [(100, 1000), (1, 100_000), (50, 10, 200)])
def test_large_results_are_compared_in_pieces(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fx2py.compare.tensors.PIECE", 1000)
    one = torch.arange(100_000.0).view(shape)
    other = one.clone()
    other.view(-1)[::1000] += 2
    found: list[tuple[int, float | None]] = []
    peak = measured_peak(lambda x, y: found.append(compare_values(x, y)), (one, other), {})
    assert found == [(100, 2.0)]
    assert peak < one.nbytes // 4
