"""The standard streams: output that may meet a full disk or a closed pipe, and what other code writes meanwhile.

Only ``terminal`` writes to a command's own streams. Whatever else writes, a graph that prints, a library that warns or
logs, a kernel that writes to descriptor 1, is no part of the result and knows nothing of terminals: it is shown on
standard error, its control characters as escapes.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, ParamSpec, TextIO, TypeVar, cast

from fx2py.cli import terminal
from fx2py.errors import Fx2pyError

P = ParamSpec("P")
R = TypeVar("R")

PIPE_CLOSED = 141
"""The exit code of a program that ends because nobody reads its output: that of a shell, 128 + SIGPIPE."""


class Output:
    """A stream that ends the program when it cannot be written, with a message unless its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self._or_end(lambda: self.stream.write(text))

    def flush(self) -> None:
        self._or_end(self.stream.flush)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def _or_end(self, act: Callable[[], R]) -> R:
        try:
            return act()
        except BrokenPipeError:
            self._drop()
            raise SystemExit(PIPE_CLOSED) from None
        except OSError as error:
            self._drop()
            reason = error.strerror or str(error)
            raise Fx2pyError(f"the output cannot be written: {reason}.", "Send it elsewhere.") from None

    def _drop(self) -> None:
        """Send what is still buffered nowhere, so that Python does not try to write it again when it exits."""
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())


@contextmanager
def guarded_output() -> Iterator[None]:
    """Standard output is an ``Output`` inside the block, and is flushed at its end."""
    before = sys.stdout
    output = Output(before or io.StringIO())
    sys.stdout = cast(TextIO, output)
    try:
        yield
    finally:
        sys.stdout = before
        output.flush()


# -- what other code writes -------------------------------------------------------------------------------------------

_STDOUT = 1
_SHOWN_OF_DESCRIPTOR = 64 * 1024


class Strays(io.TextIOBase):
    """A stream for what other code writes: each line is shown on standard error, marked as not fx2py's."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            terminal.print_stray(line)
        return len(text)

    def end(self) -> None:
        """Show a last line that has no newline."""
        if self._line:
            self.write("\n")

    def writable(self) -> bool:
        return True


def with_own_stdout(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose standard output holds what it prints by way of ``terminal``, and nothing else."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        with _strays_redirected():
            command(*args, **kwargs)

    return call


_before: tuple[TextIO, TextIO] | None = None
"""The standard streams of the process while a command has them redirected."""


@contextmanager
def _strays_redirected() -> Iterator[None]:
    global _before
    outer, _before = _before, (sys.stdout, sys.stderr)
    strays = Strays()
    error = sys.stderr or io.StringIO()
    with _descriptor_redirected(sys.stdout, strays) as own, terminal.writing_to(own, error):
        sys.stdout = sys.stderr = strays
        try:
            yield
        finally:
            strays.end()
            sys.stdout, sys.stderr = _before
            _before = outer


@contextmanager
def original_streams() -> Iterator[None]:
    """Inside the block the process has its terminal as before the command, to talk to the user.

    Where standard output is none, it holds the result and nothing else, so that the talk is on standard error.
    """
    streams = sys.stdout, sys.stderr
    output, error = _before or streams
    with terminal.paused(), _descriptor_restored(terminal.out()):
        sys.stdout, sys.stderr = output if terminal.out().isatty() else error, error
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams


@contextmanager
def _descriptor_restored(own: TextIO) -> Iterator[None]:
    """Descriptor 1 leads to where the command's own stream leads."""
    if _before is None or not _is_descriptor(_before[0], _STDOUT):
        yield
        return
    redirected = os.dup(_STDOUT)
    os.dup2(own.fileno(), _STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(redirected, _STDOUT)
        os.close(redirected)


@contextmanager
def _descriptor_redirected(stream: TextIO, strays: Strays) -> Iterator[TextIO]:
    """A stream to the target of ``stream``, while descriptor 1 is redirected to a file, whose content ``strays`` gets."""
    if not _is_descriptor(stream, _STDOUT):
        yield stream
        return
    stream.flush()
    with tempfile.TemporaryFile() as file:
        own = os.fdopen(os.dup(_STDOUT), "w", encoding=stream.encoding, errors=stream.errors)
        guarded = Output(own)
        os.dup2(file.fileno(), _STDOUT)
        try:
            yield cast(TextIO, guarded)
        finally:
            os.dup2(own.fileno(), _STDOUT)
            _show_strays(file, strays)
            try:
                guarded.flush()
            finally:
                own.close()


def _is_descriptor(stream: TextIO, number: int) -> bool:
    """Whether a stream writes to this descriptor: it may have been replaced or closed."""
    try:
        return stream.fileno() == number
    except (AttributeError, OSError, ValueError):
        return False


def _show_strays(file: IO[bytes], strays: Strays) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    strays.write(file.read(_SHOWN_OF_DESCRIPTOR).decode("utf-8", "backslashreplace"))
    strays.end()
    if size > _SHOWN_OF_DESCRIPTOR:
        strays.write(f"... {size - _SHOWN_OF_DESCRIPTOR} more bytes\n")
