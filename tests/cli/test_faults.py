"""How faults reach the user: one message on stderr, an exit code, no traceback."""

import os
import signal
import subprocess
import sys

import pytest
import torch

import fx2py as library
from fx2py.errors import InternalError


@pytest.fixture
def broken(monkeypatch):
    """Makes ``fx2py.generate`` raise."""

    def raising(fault):
        def generate(*args, **kwargs):
            raise fault

        monkeypatch.setattr(library, "generate", generate, raising=False)

    return raising


def assert_one_fault(result, code, *mentions):
    assert result.code == code
    assert "Traceback" not in result.err
    assert result.err.count("error:") == 1
    for mention in mentions:
        assert mention in result.err


def test_a_missing_file_is_named(fx2py, here):
    result = fx2py("gen", "nowhere.pt2")
    assert_one_fault(result, 2, "nowhere.pt2")
    assert result.out == ""
    assert list(here.iterdir()) == []


def test_an_empty_file_is_named(fx2py, here):
    (here / "empty.pt").touch()
    assert_one_fault(fx2py("gen", "empty.pt"), 2, "empty.pt")
    assert [path.name for path in here.iterdir()] == ["empty.pt"]


def test_a_checkpoint_without_a_graph_is_named(fx2py, here):
    torch.save({"weight": torch.ones(2)}, here / "checkpoint.pt")
    assert_one_fault(fx2py("gen", "checkpoint.pt"), 2, "checkpoint.pt")
    assert [path.name for path in here.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_is_no_graph_is_named(fx2py, here):
    (here / "photos").mkdir()
    assert_one_fault(fx2py("gen", "photos"), 2, "photos")
    assert [path.name for path in here.iterdir()] == ["photos"]


@pytest.mark.parametrize("fault", [ZeroDivisionError("division by zero"), InternalError("lost a node")])
def test_an_internal_fault_exits_70_without_a_traceback(fx2py, here, broken, fault):
    broken(fault)
    assert_one_fault(fx2py("gen", "x.pt"), 70, "internal error", str(fault.args[0]))


def test_a_result_that_no_memory_holds_is_no_fault_of_fx2py(fx2py, here):
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    many = graph.call_function(torch.zeros, (2**23,), {"dtype": torch.float64})
    graph.output((x, graph.call_function(torch.as_strided, (many, (2**22, 2**22), (1, 1)))))
    torch.save(torch.fx.GraphModule(torch.nn.Module(), graph), here / "huge.pt")
    torch.save((torch.ones(1),), here / "in.pt")
    result = fx2py("run", "huge.pt", "--inputs", "in.pt")
    assert_one_fault(result, 2, "not enough memory")


def test_debug_shows_the_traceback(fx2py, here, broken):
    broken(ZeroDivisionError("division by zero"))
    result = fx2py("--debug", "gen", "x.pt")
    assert result.code == 70
    assert "Traceback" in result.err
    assert "ZeroDivisionError: division by zero" in result.err


def test_an_interrupt_exits_130(fx2py, here, broken):
    broken(KeyboardInterrupt())
    result = fx2py("gen", "x.pt")
    assert result.code == 130
    assert "Traceback" not in result.err


def test_a_reader_that_closes_the_pipe_is_no_fault(saved):
    command = [sys.executable, "-m", "fx2py", "gen", "--stdout", str(saved / "net.pt2")]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode != -signal.SIGPIPE


def test_no_argument_where_nothing_was_generated(fx2py, here):
    for command in ("run", "diff"):
        assert_one_fault(fx2py(command), 2, str(here), "fx2py gen")
