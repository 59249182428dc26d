"""Standard output that may be a full disk, a pipe that nobody reads any more, or not there."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from fx2py.errors import Fx2pyError

PIPE_CLOSED = 141
"""The exit code of a program that ends since nobody reads its output, as a shell gives it."""


class Output:
    """A stream: that it cannot be written ends the program, with a message unless its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return int(self._or_end(self.stream.write, text))

    def flush(self) -> None:
        self._or_end(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _or_end(self, act: Callable[..., Any], *args: str) -> Any:
        try:
            return act(*args)
        except BrokenPipeError:
            self._drop()
            raise SystemExit(PIPE_CLOSED) from None
        except OSError as error:
            self._drop()
            reason = error.strerror or str(error)
            raise Fx2pyError(f"the output cannot be written: {reason}.", "Send it elsewhere.") from None

    def _drop(self) -> None:
        """What is still to be written goes nowhere, so that Python does not try again at its end."""
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())


@contextmanager
def guarded_output() -> Iterator[None]:
    """Standard output is an ``Output`` meanwhile, and is written whole."""
    before = sys.stdout
    output: Any = Output(before or io.StringIO())
    sys.stdout = output
    try:
        yield
    finally:
        sys.stdout = before
        output.flush()
