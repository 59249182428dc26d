"""What the library logs, as remarks on the screen."""

from __future__ import annotations

import logging

from fx2py.cli import render


class Remarks(logging.Handler):
    """Prints each record beside the result."""

    def emit(self, record: logging.LogRecord) -> None:
        render.print_note(record.getMessage())
