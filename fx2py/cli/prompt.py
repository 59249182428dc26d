"""pdb on the terminal of a command, which it has to itself meanwhile."""

from __future__ import annotations

from pdb import Pdb
from types import FrameType, TracebackType
from typing import TextIO, cast

from fx2py.cli import streams, terminal
from fx2py.errors import escaped


class Prompt(Pdb):
    """pdb without the ``.pdbrc`` of the current folder, which may be one of a file's, and with the text of files escaped.

    Leaving it raises ``left``.
    """

    def __init__(self, left: type[BaseException]) -> None:
        super().__init__(stdout=cast(TextIO, _Escaped()), readrc=False)
        self.use_rawinput = True
        self.left = left

    def interaction(self, frame: FrameType | None, traceback: TracebackType | None) -> None:
        with streams.original_streams():
            super().interaction(frame, traceback)

    def do_quit(self, arg: str) -> bool | None:
        self.set_quit()
        raise self.left

    do_q = do_exit = do_EOF = do_quit

    def do_run(self, arg: str) -> None:
        self.message("Leave with q, and run the command again.")

    do_restart = do_run


class _Escaped:
    """Writes to the terminal what pdb shows."""

    def write(self, text: str) -> int:
        return terminal.dialogue().write(escaped(text, "\n\t"))

    def flush(self) -> None:
        terminal.dialogue().flush()
