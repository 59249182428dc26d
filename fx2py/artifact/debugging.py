"""What ``breakpoint`` is in audited code: a debugger, and nothing that a file or the environment names."""

from __future__ import annotations

import os
import pdb
import sys
from collections.abc import Callable


def audited_breakpoint() -> Callable[..., object]:
    """The function to put in the place of Python's ``breakpoint``, which imports whatever ``PYTHONBREAKPOINT`` names.

    It is the hook that the host has set, such as an IDE, a notebook or the command line, else ``stop``.
    """
    return stop if sys.breakpointhook is sys.__breakpointhook__ else sys.breakpointhook


def stop() -> None:
    """Stop the caller in pdb; no file of commands is run, since ``.pdbrc`` may be one of the folder's.

    ``PYTHONBREAKPOINT=0`` turns it off, as it does Python's own.
    """
    if os.environ.get("PYTHONBREAKPOINT") != "0":
        pdb.Pdb(readrc=False).set_trace(sys._getframe(1))
