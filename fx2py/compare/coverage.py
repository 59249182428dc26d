"""Which functions of generated code ran: nothing is known about a branch that no case took."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from fx2py.compare.report import NotRun
from fx2py.emit.older_schemas import LOADING


class Coverage:
    """The functions of a generated file, and which of them ran; ``call`` is its entry, bound."""

    def __init__(self, source: str, call: Callable[..., object]) -> None:
        tree = ast.parse(source.partition(LOADING)[0])
        self._functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        code = getattr(inspect.unwrap(call), "__code__", None)
        self._file = code.co_filename if isinstance(code, CodeType) else None
        self._ran: set[str] = set()

    def watched(self, call: Callable[..., object]) -> Callable[..., object]:
        """``call``, recording which functions run in it, until the code enters a debugger."""

        def traced(*args: object, **kwargs: object) -> object:
            before = sys.gettrace()
            sys.settrace(self._called)
            try:
                return call(*args, **kwargs)
            finally:
                sys.settrace(before)

        return traced

    def _called(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        """The trace function: called for each call of a Python function, and for nothing else, since it returns None."""
        if frame.f_code.co_filename == self._file:
            self._ran.add(frame.f_code.co_name)
        return None

    def not_run(self) -> tuple[NotRun, ...]:
        """The functions that did not run, with the line that names each one."""
        return tuple(
            NotRun(name, node.lineno, self._use(name))
            for name, node in self._functions.items()
            if name not in self._ran
        )

    def _use(self, name: str) -> str:
        lines = [
            each.lineno
            for function in self._functions.values()
            for each in ast.walk(function)
            if isinstance(each, ast.Name) and each.id == name
        ]
        return f"named in line {min(lines)}" if lines else ""
