"""Several ranks as real processes: forked from one that has imported torch already, or started by torchrun itself."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

PATIENCE = 60
"""Seconds after which ranks that still run are taken to hang."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.distributed.warm"])


@dataclass(frozen=True)
class Result:
    """What one rank printed and how it ended."""

    code: int
    out: str
    err: str


def fx2py_ranks(
    size: int, *arguments: object, folder: Path, environment: Mapping[str, str] | None = None
) -> list[Result]:
    """The command line in ``size`` processes, as torchrun would start it; each rank's result."""
    return call_ranks(
        size, _command_line, [str(each) for each in arguments], folder=folder, environment=environment
    )


def call_ranks(
    size: int,
    function: Callable[..., None],
    *arguments: Any,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> list[Result]:
    """``function(*arguments)`` in ``size`` processes, with torchrun's variables and store, and ``folder`` as directory.

    With an ``environment`` of its own, it is another launcher: the first rank holds the store.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if environment is None else None
    port = _free_port() if store is None else store.port
    elastic = {"TORCHELASTIC_RUN_ID": "tests", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    printed = folder / f"printed-{time.monotonic_ns()}"
    printed.mkdir()
    launched = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    processes = []
    for rank in range(size):
        own = {
            **launched,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            **(elastic if environment is None else environment),
        }
        process = _FORKS.Process(target=_rank, args=(folder, printed / str(rank), own, function, arguments))
        process.start()
        processes.append(process)
    try:
        return [_result(process, printed / str(rank)) for rank, process in enumerate(processes)]
    finally:
        for process in processes:
            process.kill()


def torchrun(size: int, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """``torchrun -m fx2py ...`` with ``folder`` as the current directory."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command = [*launcher, "-m", "fx2py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _rank(
    folder: Path, printed: Path, environment: Mapping[str, str], function: Callable[..., None], arguments: Any
) -> None:
    """The body of a forked process: what it prints, from C++ too, goes to files."""
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(printed.with_suffix(f".{stream}"), os.O_CREAT | os.O_WRONLY), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    try:
        function(*arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _command_line(arguments: list[str]) -> None:
    from fx2py.cli.app import main

    sys.argv = ["fx2py", *arguments]
    main()


def _result(process: Any, printed: Path) -> Result:
    process.join(PATIENCE)
    assert process.exitcode is not None, "the rank hangs"
    out, err = (printed.with_suffix(f".{stream}").read_text() for stream in ("out", "err"))
    return Result(process.exitcode, out, err)
