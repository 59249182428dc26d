"""What the library says of arguments, in the words of the command line."""

from __future__ import annotations

import re

_OPTIONS = tuple(
    (re.compile(pattern), option)
    for pattern, option in (
        (r"policy=Policy\(functions=\{'([^']*)'\}\)", r"--allow \1"),
        (r"policy=Policy\(ops=\{'([^']*)'\}\)", r"--allow-op \1"),
        (r"policy=Policy\(classes=\{'([^']*)'\}\)", r"--allow-class \1"),
        (r"policy=Policy\(trust_all=True\)", "--trust"),
        (r"model='([^']*)'", r"--model '\1'"),
        (r"with generate_each", "with fx2py gen --all"),
        (r"keep_submodules=True", "--keep-submodules"),
        (r"split_at=\[OP\]", "--split-at OP"),
        (r"pass submods=(\{[^{}]*\})", r"bind it in Python, artifact.bind(submods=\1)"),
        (
            r"Pass inputs of your own, as args and kwargs",
            "Pass --inputs FILE: a torch.save'd tuple, dict or (args, kwargs)",
        ),
    )
)
"""An argument as hints of the library write it, and the option that stands for it."""


def with_options(text: str) -> str:
    """A message or hint of the library with options in place of arguments."""
    for argument, option in _OPTIONS:
        text = argument.sub(option, text)
    return text
