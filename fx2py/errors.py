"""The errors a user can meet, named for what the user can do about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

PolicyField: TypeAlias = Literal["functions", "ops", "classes", "trust_all"]


@dataclass(frozen=True, slots=True)
class Admit:
    """The argument that admits a name from a file."""

    field: PolicyField
    entry: str = ""

    def __str__(self) -> str:
        return f"policy=Policy({self.field}={'True' if self.field == 'trust_all' else {self.entry}})"


@dataclass(frozen=True, slots=True)
class Choose:
    """The argument that chooses one graph of a file."""

    graph: str

    def __str__(self) -> str:
        return f"model={self.graph!r}"


@dataclass(frozen=True, slots=True)
class Supply:
    """The argument that gives a submodule, by its path, a callable of the caller's."""

    path: str

    def __str__(self) -> str:
        return f"submods={{{self.path!r}: a callable}}"


class Argument(Enum):
    """Arguments and functions that are the same for every graph."""

    EVERY_GRAPH = "generate_each"
    KEEP_SUBMODULES = "keep_submodules=True"
    INPUTS = "inputs of your own, as args and kwargs"
    OVERWRITE = "write(folder, force=True)"
    WRITE_BESIDE = "another folder"

    def __str__(self) -> str:
        return self.value


Remedy: TypeAlias = Admit | Choose | Supply | Argument


class Hint(str):
    """A text for callers in Python that knows which of its ``parts`` are arguments.

    The command line shows an option in place of each (``fx2py.cli.messages``).
    """

    parts: tuple[str | Remedy, ...]

    def __new__(cls, *parts: str | Remedy) -> Hint:
        made = super().__new__(cls, "".join(map(str, parts)))
        made.parts = tuple(
            each for part in parts for each in (part.parts if isinstance(part, Hint) else [part])
        )
        return made

    @classmethod
    def joined(cls, separator: str, parts: Iterable[str | Remedy]) -> Hint:
        return cls(*[each for part in parts for each in (separator, part)][1:])


class Fx2pyError(Exception):
    """A fault that the user can act on: one sentence that says what is wrong, and a hint with the next step."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if isinstance(hint, Hint) else Hint(hint)

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
    """The graph holds things that cannot be generated exactly, or saved; ``findings`` holds every reason, not only the first."""

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


class UntrustedTargetError(Fx2pyError):
    """A name from a file may not become a callable or class.

    ``admit`` is the argument that admits it; the hint shows it, and ``more`` after it.
    """

    def __init__(
        self,
        name: str,
        field: PolicyField,
        entry: str = "",
        reason: str = "is not among the names that fx2py admits",
        more: str = "",
    ) -> None:
        self.name = name
        self.admit = Admit(field, entry)
        super().__init__(
            f"{name} {reason}", Hint("Read the code first; to admit it, pass ", self.admit, f".{more}")
        )


class AbsentOperatorError(UntrustedTargetError):
    """The name is that of an operator which the installed torch does not have; admitting it would not help."""

    def __init__(self, name: str, namespace: str, torch_version: str) -> None:
        super().__init__(name, "ops", namespace, f"is not an operator of torch {torch_version}.")
        self.hint = Hint(
            "Run the graph under the release of torch that wrote it, or save it again under this one."
        )


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


class EditedFolderError(ArtifactError):
    """A generated folder holds what was edited or added by hand, and writing it anew would lose that."""

    def __init__(self, folder: str, files: tuple[str, ...]) -> None:
        self.files = files
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        super().__init__(
            f"{folder} was edited since it was generated ({printable(', '.join(files[:3]))}{more}).",
            Hint("To lose the edits: ", Argument.OVERWRITE, ". To keep both: ", Argument.WRITE_BESIDE, "."),
        )


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


def with_article(name: str) -> str:
    """A name of a class or kind with its article."""
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


def escaped(text: str, kept: str = "") -> str:
    """Text with Python's escapes for what cannot be seen or could steer a terminal, except the characters ``kept``."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in kept else repr(sign)[1:-1] for sign in text)


def printable(text: str) -> str:
    """Text from a file as part of one line of a message."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
