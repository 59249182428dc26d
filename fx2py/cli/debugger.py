"""``breakpoint`` in the code that a command runs: what it does, and that leaving the debugger is no fault."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from fx2py.cli import messages, terminal

P = ParamSpec("P")

NOT_COMPARED = 3
"""The exit code of ``diff`` that compared nothing."""


class DebuggerLeft(BaseException):
    """The user left the debugger; no ``except Exception`` on the way takes it for a fault of the code."""


def with_debugger(command: Callable[P, None]) -> Callable[P, None]:
    """A command in which ``breakpoint`` stops in pdb, unless the host has a debugger of its own, and leaving pdb is no fault."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        hook = sys.breakpointhook
        sys.breakpointhook = stop if hook is sys.__breakpointhook__ else hook
        try:
            command(*args, **kwargs)
        except DebuggerLeft:
            code = NOT_COMPARED if command.__name__ == "diff" else 0
            messages.print_note("left in the debugger, before the end.")
            left = {"left": "in the debugger, before the end", "exit_code": code}
            verdict = {"verdict": "not compared", "equal": False} if code == NOT_COMPARED else {}
            messages.print_fault_document(left | verdict)
            raise typer.Exit(code) from None
        finally:
            sys.breakpointhook = hook

    return call


def stop() -> None:
    """Stop the caller in pdb; ``PYTHONBREAKPOINT`` can turn that off, but names no other function here."""
    if os.environ.get("PYTHONBREAKPOINT") == "0":
        return
    if terminal.rank_prefix():
        messages.print_note("breakpoint() is passed over: several ranks run, and there is one terminal.")
    elif _is_nobody_there():
        messages.print_note("breakpoint() is passed over: the standard input is at its end.")
    else:
        from fx2py.cli.prompt import Prompt  # imports pdb, which few commands need

        Prompt(DebuggerLeft).set_trace(sys._getframe(1))


@functools.cache
def _is_nobody_there() -> bool:
    """Whether the first stop finds nothing to read, as under a scheduler; what is read later is Python's to keep."""
    stdin = sys.stdin
    if stdin is None or stdin.closed:
        return True
    return isinstance(stdin, io.TextIOWrapper) and not stdin.isatty() and not _peeked(stdin.buffer)


def _peeked(stream: object) -> bool:
    return not isinstance(stream, io.BufferedReader) or bool(stream.peek(1))


def pass_over() -> None:
    """What ``breakpoint`` is where nobody can be asked."""
    messages.print_note("breakpoint() is passed over in the sandbox.")
