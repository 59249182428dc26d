"""The errors a user can meet, named for what the user can do about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias


class Fx2pyError(Exception):
    """A fault that the user can act on: one sentence that says what is wrong, and a hint with the next step.

    Both speak to a caller in Python; the command line puts its own options in place of arguments.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UnknownFormatError(Fx2pyError):
    """The file is not a saved graph, is damaged, or is of a format that no reader knows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing of a graph that cannot be translated: the node it belongs to and the reason."""

    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


class UnsupportedGraphError(Fx2pyError):
    """The graph holds things that cannot be generated exactly, or saved; carries every finding, not only the first."""

    def __init__(
        self, findings: tuple[Finding, ...], where: str = "the graph", what: str = "generated exactly"
    ) -> None:
        self.findings = findings
        shown = "".join(f"\n  {finding}" for finding in findings[:20])
        rest = f"\n  ... and {len(findings) - 20} more" if len(findings) > 20 else ""
        super().__init__(f"{where} cannot be {what}:{shown}{rest}")


class SplitError(Fx2pyError):
    """The graph cannot be split as asked: it does not hold what it should be split at."""


class ModuleCallError(Fx2pyError, RuntimeError):
    """A graph calls a module where its code is given none to call."""


class OptionError(Fx2pyError):
    """An option or argument that was passed from Python does not exist, or is of another kind."""


PolicyField: TypeAlias = Literal["functions", "ops", "classes", "trust_all"]


def admitting(field: PolicyField, entry: str) -> str:
    """The argument that admits a name from a file, as a caller writes it."""
    return f"policy=Policy({field}={'True' if field == 'trust_all' else {entry}})"


class UntrustedTargetError(Fx2pyError):
    """A name from a file may not become a callable or class.

    ``field`` and ``entry`` are what a Policy needs to admit it, ``option`` is that as an argument; the hint shows it.
    """

    def __init__(
        self,
        name: str,
        field: PolicyField,
        entry: str = "",
        reason: str = "is not among the names that fx2py admits",
    ) -> None:
        self.name, self.field, self.entry = name, field, entry
        self.option = admitting(field, entry)
        super().__init__(f"{name} {reason}", f"Read the code first; to admit it, pass {self.option}.")


@contextmanager
def refusals_name(place: str | None) -> Iterator[None]:
    """Makes each UntrustedTargetError that is raised inside say which file named what was refused."""
    try:
        yield
    except UntrustedTargetError as refused:
        if place is not None:
            refused.message = f"{place}: {refused.message}"
            refused.args = (refused.message,)
        raise


class ArtifactError(Fx2pyError):
    """A generated folder is incomplete, damaged, edited beyond what the audit admits, or cannot be written."""


class ReplayError(Fx2pyError):
    """The generated code or the reference cannot be run as asked: inputs, submodules or device do not fit."""


class OtherRankError(Fx2pyError):
    """Another process of the run failed, and says so itself; ``exit_code`` is the worst of all."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InternalError(Fx2pyError):
    """fx2py itself is at fault; nothing was written."""

    exit_code = 70

    def __init__(self, message: str) -> None:
        super().__init__(
            f"internal error: {message}",
            "This is a fault of fx2py, not of your graph. Please report it with the graph or the command that led here.",
        )
