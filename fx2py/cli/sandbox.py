"""``--sandbox``: a command's work in a child process that locks itself in; only text comes back."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import typer

from fx2py.cli import launch, messages, terminal
from fx2py.cli.debugger import pass_over
from fx2py.cli.options import SandboxOptions, TrustOptions
from fx2py.distributed.launcher import Alone, Rank
from fx2py.errors import ReplayError, escaped

if TYPE_CHECKING:
    from fx2py.distributed.world import World
    from fx2py.trust import Policy

LockIn: TypeAlias = Callable[[], None]
"""Called by the work once torch is imported, before it reads anything untrusted."""
Work: TypeAlias = Callable[[LockIn, int | None], None]
"""The work of a command; where it is given a descriptor, it writes the requested file to it."""

_OUTCOMES = (1, 3)
"""The exit codes of work that was done: *different* and *not compared* are no faults."""
_MOST_TEXT = 64 * 2**20


def perform(
    work: Work,
    asked: SandboxOptions,
    *,
    rank: Rank | None,
    device: str | None,
    reads: Iterable[Path | None],
    writes: Path | None = None,
    as_json: bool,
) -> None:
    """Do the work of a command: here, or where ``--sandbox`` asks for it in a process that can do little else.

    Raises ReplayError for what needs more than a sandbox leaves: other processes, and devices.
    """
    if not asked.sandbox:
        work(lambda: None, None)
        return
    if rank is not None:
        raise ReplayError("several ranks cannot run in a sandbox, which has no network.", "Run one of them.")
    if device not in (None, "cpu", "meta"):
        raise ReplayError(f"{device} cannot be reached from a sandbox.", "Leave out --device, or --sandbox.")
    outcome: typer.Exit | None = None
    with _descriptor_of(writes) as writable:
        try:
            _perform_apart(work, asked, reads, writable, as_json)
        except typer.Exit as ended:
            if ended.exit_code not in _OUTCOMES:
                raise
            outcome = ended  # the work is done, and its file is kept
    if outcome is not None:
        raise outcome


@contextmanager
def at_work(
    lock_in: LockIn, doing: str, trust: TrustOptions, rank: Rank | None
) -> Iterator[tuple[Alone | World, Policy]]:
    """The processes of a run, and what it may call; from here on the sandbox is closed, and kernels are checked."""
    policy = trust.policy()

    from fx2py.trust.checked_kernels import checked_kernels

    lock_in()
    with messages.working(doing), checked_kernels(trusted=trust.trust), launch.world(rank) as ranks:
        yield ranks, policy


@contextmanager
def _descriptor_of(output: Path | None) -> Iterator[int | None]:
    """A descriptor for the result, since the child can open no file; the file is written whole or not at all."""
    if output is None:
        yield None
        return
    from fx2py.files import whole_file

    try:
        with whole_file(output) as staging:
            descriptor = os.open(staging, os.O_WRONLY)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
    except OSError as error:
        raise messages.unwritten(output, error) from None


def _perform_apart(
    work: Work, asked: SandboxOptions, reads: Iterable[Path | None], writable: int | None, as_json: bool
) -> None:
    """Do the work in a child that can read what is beside ``reads`` and here, and show what it says.

    ``writable`` is a descriptor that the work may write to. Raises typer.Exit with the exit code of the work where that is
    not 0, and ReplayError where it was stopped.
    """
    from fx2py.trust.sandbox import lock_in, require_sandbox

    require_sandbox()
    readable = [Path(), *(path.resolve().parent for path in reads if path is not None)]
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    child = os.fork()
    if child == 0:
        _child(
            lambda: work(lambda: lock_in(asked.limits, readable), writable), out_write, err_write, writable
        )
    os.close(out_write)
    os.close(err_write)
    try:
        with messages.working("running in a sandbox"):
            document, remarks, stopped = _collect(out_read, err_read, asked.sandbox_seconds)
    finally:
        os.kill(child, signal.SIGKILL)  # of a process that is waited for: one that has ended stays until then
        status = os.waitpid(child, 0)[1]
    for line in remarks.splitlines():
        terminal.print_line(terminal.stderr(), line)
    code = _code(status, stopped)
    if as_json or code in (0, 1, 3):
        _show(document, as_json)
    if code:
        raise typer.Exit(code)


def _show(document: str, as_json: bool) -> None:
    if not document:
        raise ReplayError("the run ended inside the sandbox without a result.", "Do not trust the graph.")
    if not as_json:
        terminal.write(escaped(document, "\n"))
        return
    try:
        terminal.print_json(json.loads(document))
    except (ValueError, RecursionError):  # whoever has taken the child over may write anything
        raise ReplayError(
            "what came out of the sandbox is no JSON document.", "Do not trust the graph."
        ) from None


def _code(status: int, stopped: str) -> int:
    """The exit code of a child that ended by itself; raises ReplayError for any other end."""
    if stopped:
        raise ReplayError(
            f"the sandbox stopped the run: {stopped}.",
            "Raise the limit if you expected the graph to take so much.",
        )
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1, 2, 3, 70):
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ReplayError(f"the run ended inside the sandbox with {how}.", "Do not trust the graph.")
    return code


def _collect(out_read: int, err_read: int, seconds: float) -> tuple[str, str, str]:
    """What the child writes to both pipes until it closes them, and why it has to be stopped before that."""
    end = time.monotonic() + seconds
    parts: dict[int, list[bytes]] = {out_read: [], err_read: []}
    open_ones, size, stopped = {out_read, err_read}, 0, ""
    while open_ones and not stopped:
        ready = select.select(list(open_ones), [], [], max(end - time.monotonic(), 0))[0]
        if not ready:
            stopped = f"it took more than {seconds:g} seconds"
        for descriptor in ready:
            part = os.read(descriptor, 1 << 16)
            parts[descriptor].append(part)
            size += len(part)
            if not part:
                open_ones.remove(descriptor)
        if size > _MOST_TEXT:
            stopped = f"it wrote more than {_MOST_TEXT:,} bytes"
    for descriptor in parts:
        os.close(descriptor)
    document, remarks = (
        b"".join(parts[each]).decode("utf-8", "backslashreplace") for each in (out_read, err_read)
    )
    return document, remarks, stopped


# -- the child ---------------------------------------------------------------------------------------------------


def _child(work: Callable[[], None], out_write: int, err_write: int, writable: int | None) -> NoReturn:
    """Do the work, with only two pipes and ``writable`` of the parent's descriptors; never returns."""
    code = 70
    sys.breakpointhook = pass_over
    try:
        os.setsid()
        _close_others(out_write, err_write, writable)
        out = os.fdopen(out_write, "w", encoding="utf-8", errors="backslashreplace")
        err = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        with terminal.writing_to(out, err):
            code = messages.exit_code_of(work)
        out.flush()
        err.flush()
    finally:
        os._exit(code)


def _close_others(out_write: int, err_write: int, writable: int | None) -> None:
    """Close every other descriptor; 1 and 2 lead to ``err_write``."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(err_write, 1)
    os.dup2(err_write, 2)
    held = {0, 1, 2, out_write, *([] if writable is None else [writable])}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in held:
            with suppress(OSError):  # the listing's own is closed already
                os.close(int(name))
