"""The options that several commands share, each declared once: as an alias, or as a field of a group of options.

A command takes a group as one parameter, and ``expanded`` shows typer the fields in its place.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fx2py.cli.messages import print_note
from fx2py.collector import collector_paused
from fx2py.errors import OptionError

if TYPE_CHECKING:
    from fx2py.compare.tolerance import Tolerance
    from fx2py.program.options import GenerateOptions
    from fx2py.trust import Policy
    from fx2py.trust.sandbox import Limits

_trusting = functools.partial(typer.Option, rich_help_panel="Trust")

SourcePath: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="GRAPH_OR_FOLDER",
        help="A saved graph or a generated folder. Default: the newest *_fx2py here.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", help="Print the result, or the error, as one JSON document and nothing else."),
]
Verbose: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Show the lines of the code that were edited; in run, how submodules are bound."
    ),
]
ModelName: TypeAlias = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Which graph of a file that holds several.")
]


Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Move weights, inputs and every device in the code: cpu, cuda, cuda:1.",
    ),
]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of made inputs and of random operators.")
]


@dataclass(frozen=True, slots=True)
class InputOptions:
    """What the code is called with, and where."""

    file: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="A torch.save'd (args, kwargs), tuple or dict of inputs. Without it: the graph's own sample inputs, "
            "else inputs made from the recorded shapes.",
        ),
    ] = None
    device: Device = None
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """What both sides of a comparison are called with, and where."""

    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="A torch.save'd (args, kwargs), tuple or dict of inputs; may be repeated. Without it: the graph's own "
            "sample inputs.",
        ),
    ] = None
    device: Device = None
    seed: Seed = 0
    count: Annotated[
        int | None,
        typer.Option(
            "--cases",
            min=1,
            metavar="N",
            help="How many inputs to compare on: given or recorded ones, then made ones. Default: some of each kind.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class SideOptions:
    """What takes the place of one side of a comparison, or where it runs."""

    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FILE:NAME",
            help="Compare with the module that the function NAME of a Python file makes, on the weights of the graph; needs --trust.",
        ),
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE",
            help="Compare with results that run --output saved, on this or another machine.",
        ),
    ] = None
    device_b: Annotated[
        str | None,
        typer.Option("--device-b", metavar="DEVICE", help="Run the code on another device than the graph."),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="float64",
            help="Say too which side is closer to the graph in double precision.",
        ),
    ] = None

    @property
    def is_of_another(self) -> bool:
        """Whether the other side is no code of the graph."""
        return self.against is not None or self.results is not None

    def require_two_models(self) -> None:
        """Raise OptionError for what two models cannot be compared by."""
        for option, value in (("--reference", self.reference), ("--device-b", self.device_b)):
            if value is not None:
                raise OptionError(
                    f"{option} is for a graph and its code, and two models are named.",
                    f"Leave out {option}, or name the graph and its own folder.",
                )

    def checked(self, trusted: bool, count: int | None) -> SideOptions:
        """These options; raises OptionError for what does not go together, and where there is no file of ``against``."""
        if self.reference not in (None, "float64"):
            raise OptionError(
                f"--reference takes float64, not {self.reference}.", "Pass --reference float64."
            )
        if len([each for each in (self.against, self.results, self.device_b) if each is not None]) > 1:
            raise OptionError(
                "--against, --results and --device-b each name the other side.", "Pass one of them."
            )
        if self.results is not None and count is not None:
            raise OptionError("--results are those of one call.", "Leave out --cases.")
        if self.reference is not None and self.is_of_another:
            raise OptionError(
                "--reference judges a graph and its code.", "Leave out --against and --results."
            )
        if self.against is not None:
            _require_function_of_file(self.against, trusted)
        return self


def _require_function_of_file(place: str, trusted: bool) -> None:
    file, _, name = place.rpartition(":")
    if not file or not name:
        raise OptionError(
            f"--against {place} names no function.",
            "Name a function without parameters too: --against eager.py:build.",
        )
    if not Path(file).is_file():
        raise OptionError(
            f"{file} of --against {'is no file' if Path(file).exists() else 'is not there'}.",
            "Name the Python file of the function: --against eager.py:build.",
        )
    if not trusted:
        raise OptionError(f"--against runs {file}.", "Read the file; if you trust it, pass --trust.")


@dataclass(frozen=True, slots=True)
class ToleranceOptions:
    """How far apart two numbers may be; by default they are the same bit for bit."""

    close: Annotated[
        bool,
        typer.Option(
            "--close", help="Compare within the tolerances of torch.testing.assert_close for each dtype."
        ),
    ] = False
    rtol: Annotated[
        float | None, typer.Option("--rtol", metavar="X", help="Relative tolerance; needs --atol.")
    ] = None
    atol: Annotated[
        float | None, typer.Option("--atol", metavar="X", help="Absolute tolerance; needs --rtol.")
    ] = None
    ulps: Annotated[
        int | None,
        typer.Option("--ulp", min=0, metavar="N", help="Compare within N representable numbers."),
    ] = None

    def tolerance(self) -> Tolerance | None:
        from fx2py.compare.tolerance import Tolerance

        has_limits = (self.rtol, self.atol) != (None, None)
        measures = [self.close, has_limits, self.ulps is not None]
        if sum(measures) > 1:
            raise OptionError(
                "--close, --rtol with --atol, and --ulp each say how far apart numbers may be.",
                "Pass one of them.",
            )
        return Tolerance(self.rtol, self.atol, self.ulps) if any(measures) else None


@dataclass(frozen=True, slots=True)
class CodeOptions:
    """Which graph is meant, and how its code is generated."""

    model: ModelName = None
    exact_ops: Annotated[
        bool, typer.Option("--exact-ops", help="Keep every torch.ops overload; emit no native calls.")
    ] = False
    optimize: Annotated[
        bool,
        typer.Option("-O", "--optimize", help="Leave out, or compute once, what provably changes nothing."),
    ] = False
    flat: Annotated[
        bool,
        typer.Option(
            "--flat", help="Write straight-line code: no functions for modules, no loops over layers."
        ),
    ] = False

    def require_none_generated(self) -> None:
        """Raise OptionError for what says how code is generated, where none is."""
        given = {"--exact-ops": self.exact_ops, "-O": self.optimize, "--flat": self.flat}
        for option in (name for name, value in given.items() if value):
            raise OptionError(
                f"{option} says how code is generated, and two models are compared as they are.",
                f"Leave out {option}.",
            )

    def generating(self) -> GenerateOptions:
        from fx2py.program.options import GenerateOptions

        return GenerateOptions(exact_ops=self.exact_ops, optimize=self.optimize, flat=self.flat)


@dataclass(frozen=True, slots=True)
class TrustOptions:
    """What the file may name beyond torch's own."""

    allow: Annotated[
        list[str] | None,
        _trusting("--allow", metavar="PACKAGE.FUNCTION", help="Import and admit a function."),
    ] = None
    allow_op: Annotated[
        list[str] | None,
        _trusting(
            "--allow-op",
            metavar="NAMESPACE[=MODULE]",
            help="Admit the operators of a library, which MODULE registers.",
        ),
    ] = None
    allow_class: Annotated[
        list[str] | None,
        _trusting("--allow-class", metavar="PACKAGE.CLASS", help="Import and admit a module class."),
    ] = None
    trust: Annotated[
        bool, _trusting("--trust", help="Admit every name: the graph may then run any code on this machine.")
    ] = False

    @property
    def is_given(self) -> bool:
        return bool(self.allow or self.allow_op or self.allow_class or self.trust)

    def policy(self) -> Policy:
        """What is admitted; says so when that is everything.

        Every command comes here first, so that here torch and what stands on it are imported. Meanwhile no cycles are
        looked for, which takes a tenth of the time of the imports.
        """
        with collector_paused():
            import_module("fx2py.api")
            from fx2py.trust import Policy

        if self.trust:
            print_note("--trust: every name is admitted; the graph may run any code on this machine.")
        return Policy(
            functions=frozenset(self.allow or ()),
            ops=frozenset(self.allow_op or ()),
            classes=frozenset(self.allow_class or ()),
            trust_all=self.trust,
        )


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Whether to run in a sandbox, and what a run may take there."""

    sandbox: Annotated[
        bool,
        _trusting(
            "--sandbox",
            help="Run in a process without network, other programs and files to write; Linux only.",
        ),
    ] = False
    sandbox_memory: Annotated[
        float, _trusting("--sandbox-memory", min=0.01, metavar="GIB", help="Memory that it may take.")
    ] = 8.0
    sandbox_seconds: Annotated[
        float, _trusting("--sandbox-seconds", min=1, metavar="N", help="Time that it may take.")
    ] = 600.0

    @property
    def limits(self) -> Limits:
        from fx2py.trust.sandbox import GIBI, Limits

        return Limits(int(self.sandbox_memory * GIBI), self.sandbox_seconds)


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer: each parameter that takes a group is replaced by the options of the group."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type] = {
        name: each.annotation
        for name, each in signature.parameters.items()
        if isinstance(each.annotation, type) and is_dataclass(each.annotation)
    }

    @functools.wraps(command)
    def call(**given: object) -> None:
        for name, group in groups.items():
            given[name] = group(**{option.name: given.pop(option.name) for option in fields(group)})
        command(**given)

    parameters = [
        option
        for name, each in signature.parameters.items()
        for option in (_options_of(groups[name]) if name in groups else [each])
    ]
    call.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return call


def _options_of(group: type) -> list[inspect.Parameter]:
    parameters = inspect.signature(group, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
