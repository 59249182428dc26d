"""What a command says beside its result: notes, progress and faults, on stderr; a fault under ``--json`` on stdout too.

The library speaks to callers in Python; here options of the command line stand in place of its arguments.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import typer

from fx2py.cli import terminal
from fx2py.errors import (
    Admit,
    Argument,
    Choose,
    Fx2pyError,
    Hint,
    InternalError,
    OtherRankError,
    Remedy,
    ReplayError,
    Supply,
)

# -- options in place of arguments ---------------------------------------------------------------------------------

_ADMITTING = {"functions": "--allow", "ops": "--allow-op", "classes": "--allow-class", "trust_all": "--trust"}
_OPTIONS = {
    Argument.EVERY_GRAPH: "fx2py gen --all",
    Argument.KEEP_SUBMODULES: "--keep-submodules",
    Argument.OVERWRITE: "gen --force",
    Argument.WRITE_BESIDE: "gen --keep-edits",
    Argument.INPUTS: "--inputs FILE: a torch.save'd tuple, dict or (args, kwargs)",
}


def with_options(text: str) -> str:
    """A message or hint with an option for each argument that it knows of."""
    if not isinstance(text, Hint):
        return text
    return "".join([part if isinstance(part, str) else option_of(part) for part in text.parts])


def option_of(remedy: Remedy) -> str:
    """What stands for an argument on the command line."""
    match remedy:
        case Admit(field, entry):
            return f"{_ADMITTING[field]} {entry}".rstrip()
        case Choose(graph):
            return f"--model {graph!r}"
        case Supply():
            return f"artifact.bind({remedy}) in Python"
        case Argument():
            return _OPTIONS[remedy]


# -- notes and progress --------------------------------------------------------------------------------------------


def print_note(text: str) -> None:
    """A remark beside the result; on stderr, so that it never mixes with what a pipe reads."""
    terminal.print_line(terminal.stderr(), with_options(text), "dim")


class NoteHandler(logging.Handler):
    """Prints what the library logs as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        shown = copy.copy(record)  # other handlers get the record, too
        if isinstance(record.args, tuple):
            shown.args = tuple([with_options(arg) if isinstance(arg, str) else arg for arg in record.args])
        print_note(shown.getMessage())


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on a terminal while something is under way that may take seconds."""
    console = terminal.stderr()
    if terminal.is_silent() or not console.is_terminal:
        yield
        return
    from rich.spinner import Spinner

    with terminal.live(console, Spinner("dots", terminal.shown(text), style="status.spinner")):
        yield


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal while ``total`` things are worked on; call the result with the name of each that is done.

    While a large file is hashed there is a bar for it too, in mebibytes.
    """
    console = terminal.stderr()
    if terminal.is_silent() or not console.is_terminal:
        yield lambda name: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from fx2py.digests import hashing

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,  # see terminal.live
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task(text, total=total)
        hashed: dict[Path, TaskID] = {}

        def report(path: Path, done: int, of: int) -> None:
            if path not in hashed:
                hashed[path] = bar.add_task(terminal.shown(f"hashing {path.name}, MiB").plain, total=of >> 20)
            bar.update(hashed[path], completed=done >> 20, visible=done < of)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=terminal.shown(f"{text} (done: {name})").plain)

        with hashing(report=report):
            yield advance


# -- files ---------------------------------------------------------------------------------------------------------


@contextmanager
def written(path: Path, descriptor: int | None) -> Iterator[IO[bytes]]:
    """A file that is written whole or not at all, or what is open as ``descriptor``; ReplayError where that fails."""
    from fx2py.files import whole_file

    try:
        if descriptor is not None:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            return
        with whole_file(path) as staging, staging.open("wb") as file:
            yield file
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError, too
        raise unwritten(path, error) from None


def unwritten(path: Path, error: Exception) -> ReplayError:
    reason = getattr(error, "strerror", None) or error
    return ReplayError(f"{path} cannot be written: {reason}.", "Choose another file.")


# -- faults --------------------------------------------------------------------------------------------------------

JSON = "--json"
DEBUG = "--debug"
_NO_MEMORY = re.compile("DefaultCPUAllocator: |Storage size calculation overflowed|out of memory")
"""What torch says in a RuntimeError when there is no memory: the allocator of the CPU (c10/core/impl/alloc_cpu.cpp), the
size of a storage (aten/src/ATen/EmptyTensor.cpp), and the allocators of other devices."""


_INSTALL_TORCH = "Install torch 2.10 or newer beside fx2py: pip install torch"


def _is_raised_by_torch(fault: ImportError) -> bool:
    """Whether torch did not get to the end of its own import, for want of a library of the system for example."""
    modules = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(fault.__traceback__)]
    return "torch" in modules and "torch" not in sys.modules  # a module that fails is taken out again


def known_fault(fault: Exception) -> Fx2pyError:
    """A fault as one that a user can be told; of those that are not fx2py's own, the lack of torch and of memory are known."""
    if isinstance(fault, Fx2pyError):
        return fault
    if isinstance(fault, ModuleNotFoundError) and fault.name == "torch":
        return Fx2pyError("torch is not installed.", _INSTALL_TORCH)
    if isinstance(fault, ImportError) and _is_raised_by_torch(fault):
        return Fx2pyError(f"torch cannot be imported: {fault}.", _INSTALL_TORCH)
    if isinstance(fault, MemoryError) or (isinstance(fault, RuntimeError) and _NO_MEMORY.search(str(fault))):
        return Fx2pyError(
            "there is not enough memory for this.", "The graph, or what came out of it, is too large."
        )
    return InternalError(f"{type(fault).__name__}: {fault}")


def tell(fault: Exception) -> int:
    """Tell the user of a fault that ends the command; returns the exit code.

    A fault of another rank is told by that rank; the document that the first rank prints has it too.
    """
    if DEBUG in sys.argv[1:]:
        for line in "".join(traceback.format_exception(fault)).splitlines():
            terminal.print_line(terminal.faults(), line)
    known = known_fault(fault)
    if not isinstance(known, OtherRankError):
        print_fault(known)
    print_fault_document({**fault_data(known), "exit_code": known.exit_code})
    return known.exit_code


def exit_code_of(work: Callable[[], None]) -> int:
    """The exit code with which the work of a command ends; the user is told of a fault."""
    try:
        work()
    except typer.Exit as ended:
        return ended.exit_code
    except Exception as fault:  # the boundary of a process, or of one run of several
        return tell(fault)
    return 0


def print_fault(fault: Fx2pyError, name: str = "") -> None:
    """One message: what is wrong, with which graph of the file where it has a name, then the next step."""
    console = terminal.faults()
    label = terminal.rank_prefix() if isinstance(fault, InternalError) else f"{terminal.rank_prefix()}error: "
    message = with_options(f"{name}: {fault.message}" if name else fault.message)
    console.print(terminal.shown(label, "bold red") + terminal.shown_lines(message), soft_wrap=True)
    if fault.hint:
        terminal.print_line(console, with_options(fault.hint), "dim")


def fault_data(fault: Fx2pyError) -> dict[str, object]:
    return {"error": with_options(fault.message), "hint": with_options(fault.hint)}


def print_fault_document(data: dict[str, object]) -> None:
    """The one JSON document of a command that failed, where JSON was asked for."""
    if JSON in sys.argv[1:]:
        terminal.print_json(data)
