"""The command line as a whole: its commands, and how a fault becomes one message and an exit code."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from fx2py.cli import launch, messages, terminal
from fx2py.cli.bench import bench
from fx2py.cli.debugger import with_debugger
from fx2py.cli.diff import diff
from fx2py.cli.gen import gen
from fx2py.cli.options import expanded
from fx2py.cli.run import run
from fx2py.cli.show import show
from fx2py.cli.split import split
from fx2py.cli.streams import guarded_output, with_own_stdout


class _Command(TyperCommand):
    """A command whose help shows no type behind an option that takes no value; typer writes ``<bool>`` there."""

    def get_params(self, ctx: object) -> list[Any]:
        return _without_types_of_flags(super().get_params(cast(typer.Context, ctx)))


class _Group(TyperGroup):
    """The command line itself, in the same way; under ``--json`` a mistake in its use is a document too."""

    def get_params(self, ctx: object) -> list[Any]:
        return _without_types_of_flags(super().get_params(cast(typer.Context, ctx)))

    def parse_args(self, ctx: object, args: list[str]) -> list[str]:
        with _usage_told():
            return super().parse_args(cast(typer.Context, ctx), args)

    def invoke(self, ctx: object) -> object:
        with _usage_told():
            return super().invoke(cast(typer.Context, ctx))


def _without_types_of_flags(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


@contextmanager
def _usage_told() -> Iterator[None]:
    """Print the document of a mistake and let typer show it on stderr.

    Mistakes are click's UsageError, or that of the copy of click that newer versions of typer hold: known by a method.
    """
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            hint = "See the command's --help."
            messages.print_fault_document({"error": error.format_message(), "hint": hint, "exit_code": 2})
        raise


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (gen, show, run, diff, bench, split):
    app.command(cls=_Command)(expanded(with_own_stdout(with_debugger(command))))


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
    debug: Annotated[bool, typer.Option(messages.DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """Turn a saved PyTorch FX graph into Python that a person can read, trust and run at full speed.

    The file is read as data: opening it executes nothing.
    """
    logging.getLogger("fx2py").handlers = [messages.NoteHandler()]


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except Exception as fault:  # the outermost boundary: a user gets a message, never a traceback
        sys.exit(messages.tell(fault))


def main() -> None:
    """Run the command line and exit: 0 fine or equivalent, 1 not equivalent, 2 input or use at fault, 70 internal."""
    try:
        with (
            _faults_told(),
            guarded_output(),
            _faults_told(),
        ):  # the outer one: of an output that cannot be written
            launch.set_launched_rank()
            app(prog_name="fx2py")  # also as ``python -m fx2py``: completion is that of the command
    finally:
        # The process ends: looking through all that torch holds for cycles would take a fifth of a second.
        gc.freeze()
