"""Texts of the library with options of the command line in place of arguments in Python."""

from __future__ import annotations

from fx2py.errors import Admit, Argument, Choose, Hint, Remedy, Supply

_ADMITTING = {"functions": "--allow", "ops": "--allow-op", "classes": "--allow-class", "trust_all": "--trust"}
_OPTIONS = {
    Argument.EVERY_GRAPH: "fx2py gen --all",
    Argument.KEEP_SUBMODULES: "--keep-submodules",
    Argument.INPUTS: "--inputs FILE: a torch.save'd tuple, dict or (args, kwargs)",
}


def with_options(text: str) -> str:
    """A message or hint with an option for each argument that it knows of."""
    if not isinstance(text, Hint):
        return text
    return "".join(part if isinstance(part, str) else option_of(part) for part in text.parts)


def option_of(remedy: Remedy) -> str:
    """What stands for an argument on the command line."""
    match remedy:
        case Admit(field, entry):
            return f"{_ADMITTING[field]} {entry}".rstrip()
        case Choose(graph):
            return f"--model {graph!r}"
        case Supply():
            return f"artifact.bind({remedy}) in Python"
        case Argument():
            return _OPTIONS[remedy]
