"""The options that several commands share."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fx2py.cli import render
from fx2py.collector import collector_paused

if TYPE_CHECKING:
    from fx2py.trust import Policy

TRUST = "Trust"

InputsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="A torch.save'd (args, kwargs), tuple or dict of inputs. Without it: the graph's own sample inputs, "
        "else inputs made from the recorded shapes.",
    ),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Move weights, inputs and every device in the code: cpu, cuda, cuda:1.",
    ),
]
Sandbox: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        rich_help_panel=TRUST,
        help="Run in a process without network, other programs and files to write; Linux only.",
    ),
]
SandboxMemory: TypeAlias = Annotated[
    float,
    typer.Option(
        "--sandbox-memory", min=0.01, metavar="GIB", rich_help_panel=TRUST, help="Memory that it may take."
    ),
]
SandboxSeconds: TypeAlias = Annotated[
    float,
    typer.Option(
        "--sandbox-seconds", min=1, metavar="N", rich_help_panel=TRUST, help="Time that it may take."
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", help="Seed of made inputs and of random operators.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
ModelName: TypeAlias = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Which graph of a file that holds several.")
]
ExactOps: TypeAlias = Annotated[
    bool, typer.Option("--exact-ops", help="Keep every torch.ops overload; emit no native calls.")
]
SplitAt: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--split-at",
        metavar="OP",
        help="Cut the graph at an operator or module and keep the pieces as functions; may be given several times.",
    ),
]
Optimize: TypeAlias = Annotated[
    bool, typer.Option("-O", "--optimize", help="Leave out, or compute once, what provably changes nothing.")
]
Allow: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="PACKAGE.FUNCTION", rich_help_panel=TRUST, help="Import and admit a function."
    ),
]
AllowOp: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-op",
        metavar="NAMESPACE[=MODULE]",
        rich_help_panel=TRUST,
        help="Admit the operators of a library, which MODULE registers.",
    ),
]
AllowClass: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-class",
        metavar="PACKAGE.CLASS",
        rich_help_panel=TRUST,
        help="Import and admit a module class.",
    ),
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--trust",
        rich_help_panel=TRUST,
        help="Admit every name: the graph may then run any code on this machine.",
    ),
]


def policy(
    allow: list[str] | None, allow_op: list[str] | None, allow_class: list[str] | None, trust: bool
) -> Policy:
    """What the trust options admit beyond torch's own names; says so when that is everything.

    Every command comes here first, so that here torch and what stands on it are imported. Meanwhile no cycles are
    looked for, which takes a tenth of the time of the imports.
    """
    with collector_paused():
        import_module("fx2py.api")
        from fx2py.trust import Policy

    if trust:
        render.print_note("--trust: every name is admitted; the graph may run any code on this machine.")
    return Policy(
        functions=frozenset(allow or ()),
        ops=frozenset(allow_op or ()),
        classes=frozenset(allow_class or ()),
        trust_all=trust,
    )
