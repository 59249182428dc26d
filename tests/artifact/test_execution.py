"""Lines of generated code are registered, and its modules importable, for as long as code needs them."""

from __future__ import annotations

import gc
import importlib
import linecache
import sys
import traceback

import pytest
import torch

import fx2py
from fx2py.errors import ReplayError


class Fails(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(7)


def shown(source: str) -> bool:
    return any("".join(entry[2]) == source for entry in linecache.cache.values() if len(entry) > 2)


def test_traceback_of_code_in_memory_shows_its_line() -> None:
    execute = fx2py.generate(torch.fx.symbolic_trace(Fails())).bind()
    with pytest.raises(RuntimeError) as raised:
        execute(torch.ones(2))
    assert "view = x.view(7)" in "".join(traceback.format_exception(raised.value))


def test_traceback_inside_the_runtime_shows_its_line() -> None:
    artifact = fx2py.generate(torch.fx.symbolic_trace(Fails()))
    with pytest.raises(ReplayError) as raised:
        artifact.bind(submods={"absent": len})
    cause = raised.value.__context__
    assert cause is not None
    assert "the submodules do not fit" in "".join(traceback.format_exception(cause))
    assert "raise RuntimeError(" in "".join(traceback.format_exception(cause))


@pytest.mark.parametrize("exact_ops", [False, True])
def test_a_compiled_function_may_call_generated_code(exact_ops: bool) -> None:
    program = torch.export.export(torch.nn.Linear(4, 4), (torch.ones(2, 4),))
    options = fx2py.GenerateOptions(exact_ops=exact_ops)
    first, second = (fx2py.generate(program, options=options).bind() for _ in "ab")
    compiled = torch.compile(lambda x: first(x) + second(x), backend="eager", fullgraph=True)
    x = torch.ones(2, 4)
    assert torch.equal(compiled(x), first(x) + second(x))


def test_code_that_is_gone_is_not_importable() -> None:
    execute = fx2py.generate(torch.fx.symbolic_trace(Fails())).bind()
    name = execute.__globals__["__name__"]
    assert importlib.import_module(name).__dict__ is execute.__globals__
    del sys.modules[name], execute
    gc.collect()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_lines_are_forgotten_with_the_last_callable() -> None:
    artifact = fx2py.generate(torch.fx.symbolic_trace(Fails()))
    first, second = artifact.bind(), artifact.bind()
    del first
    gc.collect()
    assert shown(artifact.source)
    del second
    gc.collect()
    assert not shown(artifact.source)


def test_a_written_file_runs_as_it_stands(tmp_path) -> None:
    folder = fx2py.generate(torch.fx.symbolic_trace(torch.nn.ReLU())).write(tmp_path / "relu")
    x = torch.tensor([-1.0, 2.0])
    assert torch.equal(folder.bind()(x), torch.relu(x))
