"""The command line as a whole: its commands, and how a fault becomes one message and an exit code."""

from __future__ import annotations

import gc
import logging
import re
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fx2py.cli import launch, render, terminal
from fx2py.cli.bench import bench
from fx2py.cli.diff import diff
from fx2py.cli.gen import gen
from fx2py.cli.log import Remarks
from fx2py.cli.output import guarded_output, speaking_alone
from fx2py.cli.run import run
from fx2py.cli.split import split
from fx2py.errors import Fx2pyError, InternalError, OtherRankError

DEBUG = "--debug"
_NO_MEMORY = re.compile("DefaultCPUAllocator: |Storage size calculation overflowed|out of memory")
"""What torch says in a RuntimeError when there is no memory, on the CPU and elsewhere."""


class _Command(TyperCommand):
    """A command whose help shows no type behind an option that takes no value; typer writes ``<bool>`` there."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _Group(TyperGroup):
    """The command line itself, in the same way."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


def _without_types_of_flags(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (gen, run, diff, bench, split):
    app.command(cls=_Command)(speaking_alone(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.write(f"fx2py {version('fx2py')}\n")
        raise typer.Exit


@app.callback()
def fx2py(
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """Turn a saved PyTorch FX graph into Python that a person can read, trust and run at full speed.

    The file is read as data: opening it executes nothing.
    """
    logging.getLogger("fx2py").handlers = [Remarks()]


def known_fault(fault: Exception) -> Fx2pyError:
    """A fault as one that a user can be told; of those that are not fx2py's own, only the lack of memory is known."""
    if isinstance(fault, Fx2pyError):
        return fault
    if isinstance(fault, MemoryError) or (isinstance(fault, RuntimeError) and _NO_MEMORY.search(str(fault))):
        return Fx2pyError(
            "there is not enough memory for this.", "The graph, or what came out of it, is too large."
        )
    return InternalError(f"{type(fault).__name__}: {fault}")


def main() -> None:
    """Run the command line and exit: 0 fine or equivalent, 1 not equivalent, 2 input or use at fault, 70 internal."""
    try:
        launch.speak_as_launched()
        with guarded_output():
            app()
    except Exception as fault:  # the outermost boundary: a user gets a message, never a traceback
        if DEBUG in sys.argv[1:]:
            render.print_traceback(fault)
        known = known_fault(fault)
        if not isinstance(known, OtherRankError):
            render.print_fault(known)
        sys.exit(known.exit_code)
    finally:
        # The process ends: looking through all that torch holds for cycles would take a fifth of a second.
        gc.freeze()
