"""``--sandbox``: what a run may do there, what it may not, and what its parent says of it."""

from __future__ import annotations

import builtins
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="there is no sandbox on this system"
)


def saved(folder: Path, build: Callable[[fx.Graph, fx.Node], Any]) -> None:
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    torch.save(fx.GraphModule(nn.Module(), graph), folder / "graph.pt")
    torch.save((torch.ones(2),), folder / "in.pt")


def calling(folder: Path, function: Any, *args: Any) -> None:
    """A graph that calls any function of Python, as a graph can once it is trusted or has found a hole."""
    saved(folder, lambda graph, x: (x, graph.call_function(function, args)))


def run(folder: Path, *options: str, verb: str = "run") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fx2py", verb, "graph.pt", "--inputs", "in.pt", "--sandbox", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_result_is_that_without_a_sandbox(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.add, (x, 1)))
    done = run(tmp_path, "--json", "--output", "out.pt")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["outputs"][0]["mean"] == 2.0
    assert torch.load(tmp_path / "out.pt").tolist() == [2.0, 2.0]
    table = run(tmp_path)
    assert "result  float32  [2]    cpu       2     2    2    0" in table.stdout


def test_a_package_that_a_hook_found_and_no_path_holds_can_be_read(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.add, (x, 1)))
    script = """
import sys
from importlib.util import find_spec, spec_from_file_location
spec = find_spec("fx2py")
class Editable:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return spec_from_file_location(name, spec.origin) if name == "fx2py" else None
sys.meta_path.insert(0, Editable)
beside = spec.origin.rsplit("/", 2)[0]
sys.path[:] = [entry for entry in sys.path if entry not in ("", beside)]
from fx2py.cli.app import main
sys.argv = ["fx2py", "run", "graph.pt", "--inputs", "in.pt", "--sandbox"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "result  float32" in done.stdout


def test_only_the_child_imports_torch(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.add, (x, 1)))
    code = """
import sys
from fx2py.cli.app import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""
    command = [sys.executable, "-c", code, "run", "graph.pt", "--inputs", "in.pt", "--sandbox", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["outputs"]
    assert done.stderr == "False\n"


def test_a_verdict_comes_out(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.add, (x, 1)))
    done = run(tmp_path, verb="diff")
    assert done.returncode == 0
    assert "equivalent: the same, bit for bit" in done.stdout
    subprocess.run(
        [sys.executable, "-m", "fx2py", "gen", "graph.pt"], cwd=tmp_path, check=True, capture_output=True
    )
    source = tmp_path / "graph_fx2py" / "execution_fn.py"
    source.write_text(source.read_text().replace("torch.add(x, 1)", "torch.add(x, 2)"))
    different = run(tmp_path, verb="diff")
    assert different.returncode == 1
    assert different.stdout.startswith("different in call 1 of the case 'in.pt'\n")


def test_a_fault_of_the_file_is_told_as_without_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "graph.pt").write_bytes(b"nothing")
    torch.save((torch.ones(2),), tmp_path / "in.pt")
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: graph.pt ")


@pytest.fixture
def listening():
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    yield server
    server.close()


def test_code_that_is_trusted_can_write_no_file(tmp_path: Path) -> None:
    calling(tmp_path, builtins.open, str(tmp_path / "mark"), "w")
    done = run(tmp_path, "--trust")
    assert done.returncode == 2
    assert "error: the graph raised PermissionError: [Errno 1] Operation not permitted" in done.stderr
    assert not (tmp_path / "mark").exists()


def test_code_that_is_trusted_reaches_nobody(tmp_path: Path, listening: socket.socket) -> None:
    calling(tmp_path, socket.create_connection, listening.getsockname())
    done = run(tmp_path, "--trust")
    assert done.returncode == 2
    assert "the graph raised PermissionError" in done.stderr
    with pytest.raises(TimeoutError):
        listening.accept()


@pytest.mark.parametrize("shell", [os.system, subprocess.getoutput, os.popen])
def test_code_that_is_trusted_starts_no_program(tmp_path: Path, shell: Any) -> None:
    calling(tmp_path, shell, f"touch {tmp_path}/mark")
    run(tmp_path, "--trust")
    assert not (tmp_path / "mark").exists()


def test_what_a_process_that_has_locked_itself_in_can_do() -> None:
    script = """
import ctypes, json, mmap, os, signal, socket, sys, threading
from pathlib import Path
import torch
from fx2py.trust.sandbox import GIBI, Limits, lock_in
folder = Path(sys.argv[1])
kept = open(folder / "kept", "w")
lock_in(Limits(GIBI, 60.0), [folder])
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome(lambda: socket.socket())))
    thread.start(); thread.join()
    return found[0]
def outcome(act):
    try:
        return str(act())
    except Exception as error:
        return type(error).__name__
print(json.dumps({name: outcome(act) for name, act in {
    "read": lambda: (folder / "data").read_text(), "list": lambda: len(os.listdir(folder)) > 0,
    "write to what is open": lambda: kept.write("x"), "import": lambda: __import__("wave").__name__,
    "compute": lambda: int((torch.ones(300, 300) @ torch.ones(300, 300)).sum()),
    "threads": lambda: torch.set_num_threads(2) or int(torch.ones(10**6).sum()),
    "a lot of memory": lambda: torch.ones(2**29).numel(), "some memory": lambda: torch.ones(2**25).numel(),
    "read elsewhere": lambda: Path("/etc/passwd").read_text(), "list elsewhere": lambda: os.listdir("/root"),
    "write": lambda: (folder / "mark").write_text("x"), "append": lambda: open(folder / "data", "a"),
    "truncate": lambda: os.truncate(folder / "data", 0), "remove": lambda: os.remove(folder / "data"),
    "rename": lambda: os.rename(folder / "data", folder / "mark"), "folder": lambda: os.mkdir(folder / "mark"),
    "link": lambda: os.symlink("data", folder / "mark"), "mode": lambda: os.chmod(folder / "data", 0o777),
    "temporary": lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR), "memory file": lambda: os.memfd_create("m"),
    "times": lambda: os.utime(folder / "data"), "attribute": lambda: os.setxattr(folder / "data", "user.a", b""),
    "socket": lambda: socket.socket(), "local socket": lambda: socket.socketpair(), "in a thread": in_thread,
    "fork": os.fork, "exec": lambda: os.execv("/bin/true", ["true"]), "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "signal": lambda: os.kill(os.getppid(), 0), "signal by name": lambda: call(234, os.getppid(), os.getppid(), 0),
    "trace": lambda: call(101, 16, os.getppid(), 0, 0), "read memory": lambda: call(310, os.getppid(), 0, 0, 0, 0, 0),
    "more": lambda: call(302, 0, 9, (ctypes.c_ulong * 2)(2**60, 2**60), None), "io_uring": lambda: call(425, 1, None),
    "bpf": lambda: call(321, 0, None, 0), "open in another way": lambda: call(437, -100, b"data", None, 0),
    "keyboard": lambda: call(16, 0, 0x5412, b"x"), "owner": lambda: call(72, 0, 8, os.getppid()),
    "new space": lambda: call(272, 0x10000000), "mount": lambda: call(165, b"a", b"b", b"c", 0, None),
    "modules": lambda: call(313, 0, b"", 0), "chroot": lambda: os.chroot("/"), "quit seccomp": lambda: call(157, 22, 0, 0, 0, 0),
}.items()}))
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data").write_text("data")
        done = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True
        )
        assert Path(folder, "data").read_text() == "data"
        assert sorted(os.listdir(folder)) == ["data", "kept"]
    found = json.loads(done.stdout)
    files = {"read": "data", "list": "True", "write to what is open": "1", "import": "wave"}
    allowed = files | {"compute": "27000000", "threads": "1000000", "some memory": str(2**25)}
    assert {name: found.pop(name) for name in allowed} == allowed
    assert found.pop("a lot of memory") == "RuntimeError"
    assert set(found.values()) <= {"PermissionError", "OSError"}, found


def test_memory_is_limited(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.ones, (2**29,)))
    done = run(tmp_path, "--sandbox-memory", "1")
    assert done.returncode == 2
    assert "can't allocate memory" in done.stderr
    assert done.stderr.count("error: ") == 1


def test_time_is_limited(tmp_path: Path) -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        square = graph.call_function(torch.ones, (3000, 3000))
        for _ in range(2000):
            square = graph.call_function(torch.matmul, (square, square))
        return square

    saved(tmp_path, build)
    done = run(tmp_path, "--sandbox-seconds", "5")
    assert done.returncode == 2
    assert "error: the sandbox stopped the run: it took more than 5 seconds." in done.stderr
    assert done.stdout == ""


def test_a_kernel_that_crashes_ends_in_one_sentence(tmp_path: Path) -> None:
    calling(tmp_path, os.abort)
    done = run(tmp_path, "--trust", "--output", "out.pt")
    assert done.returncode == 2
    assert "error: the run ended inside the sandbox with SIGABRT." in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.pt", "in.pt"]


def test_what_the_child_writes_is_escaped_by_the_parent(tmp_path: Path) -> None:
    calling(tmp_path, os.write, 2, b"\x1b[31mred\n")
    done = run(tmp_path, "--trust")
    assert "\\x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_child_that_pretends_to_be_done_gives_no_result(tmp_path: Path) -> None:
    calling(tmp_path, os._exit, 0)
    done = run(tmp_path, "--trust", "--json")
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 2
    assert json.loads(done.stdout)["error"] == "the run ended inside the sandbox without a result."
    assert "error: the run ended inside the sandbox without a result." in done.stderr


def test_an_error_in_the_sandbox_is_a_document_where_json_is_asked_for(tmp_path: Path) -> None:
    calling(tmp_path, builtins.open, str(tmp_path / "mark"), "w")
    done = run(tmp_path, "--trust", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"]) == (2, 2)
    assert document["error"].startswith("the graph raised PermissionError: ")
    assert f"error: {document['error']}" in done.stderr


@pytest.mark.parametrize("text", [b"{", b"[" * 50_000], ids=["cut", "nested"])
def test_a_child_that_writes_no_json_gives_an_error_document(tmp_path: Path, text: bytes) -> None:
    """A trusted graph can write to the pipe that the parent reads the document from."""
    saved(
        tmp_path,
        lambda graph, x: (x, *[graph.call_function(os.write, (number, text)) for number in range(3, 12)]),
    )
    done = run(tmp_path, "--trust", "--json")
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2


def test_a_system_without_a_sandbox_says_so(fx2py, here: Path, monkeypatch) -> None:
    saved(here, lambda graph, x: x)
    monkeypatch.setattr(platform, "machine", lambda: "sparc64")
    result = fx2py("run", "graph.pt", "--inputs", "in.pt", "--sandbox")
    assert result.code == 2
    assert (
        "there is no sandbox here: it needs Linux on x86_64 with seccomp, and this is Linux on sparc64."
        in result.err
    )
    assert result.err.count("error: ") == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_is_not_reached_from_a_sandbox(fx2py, here: Path, device: str) -> None:
    saved(here, lambda graph, x: x)
    result = fx2py("run", "graph.pt", "--inputs", "in.pt", "--sandbox", "--device", device)
    assert result.code == 2
    assert f"{device} cannot be reached from a sandbox" in result.err


def test_the_page_of_code_that_differs_is_written_all_the_same(tmp_path: Path) -> None:
    saved(tmp_path, lambda graph, x: graph.call_function(torch.add, (x, 1)))
    subprocess.run(
        [sys.executable, "-m", "fx2py", "gen", "graph.pt"], cwd=tmp_path, check=True, capture_output=True
    )
    source = tmp_path / "graph_fx2py" / "execution_fn.py"
    source.write_text(source.read_text().replace("+ 1", "+ 2").replace(", 1)", ", 2)"))
    done = run(tmp_path, "--html", "page.html", verb="diff")
    assert done.returncode == 1, done.stderr
    assert "verdict different" in (tmp_path / "page.html").read_text()
