"""What the library logs, as remarks on the screen."""

from __future__ import annotations

import logging

from fx2py.cli import render
from fx2py.cli.hints import with_options


class Remarks(logging.Handler):
    """Prints each record beside the result."""

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            record.args = tuple([with_options(arg) if isinstance(arg, str) else arg for arg in record.args])
        render.print_note(record.getMessage())
