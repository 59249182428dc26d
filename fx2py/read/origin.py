"""Where a node comes from: what stack traces and module stacks say."""

from __future__ import annotations

import re

from fx2py.graph.data import SourceLine

RECORDED_KEYS = ("val", "example_value", "tensor_meta")
"""The keys of ``node.meta`` under which export and AOTAutograd, Dynamo, and ``ShapeProp`` record the result."""
_FRAME = 'File "'
_PLACE = re.compile(r", line (\d{1,9}), in [^\n]*\n?([^\n]*)")
_TORCH, _TORCH_ON_WINDOWS = "-packages/torch/", "-packages\\torch\\"
_MODULES_OF_TORCH = re.compile(r"-packages[\\/]torch[\\/]nn[\\/]")
_GENERATED = "<eval_with_key>"
"""The file name of a GraphModule's code, before a counter: ``_EvalCacheLoader`` of torch/fx/graph_module.py."""
_MODULE_STEP = re.compile(r"\.?(?:_modules)?\[['\"]?([^'\"\[\]]+)['\"]?\]")
"""One step below a module in the names that Dynamo gives to sources (torch/_dynamo/source.py): ``._modules['0']`` or ``[0]``."""
_ROOT = re.compile(r"^(?:L\[['\"]self['\"]\]|L__self__|self)\.?")
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"
"""What torch.export records for a node that no module made: torch/_export/passes/_node_metadata_hook.py."""
_MODULES = ";"
"""``ST_DELIMITER`` of torch/_export/serde/serialize.py."""


def source_line(stack_trace: str) -> SourceLine | None:
    """The innermost frame outside the torch package, else the innermost of ``torch.nn``; None when there is neither."""
    innermost: SourceLine | None = None
    texts = stack_trace.split(_FRAME)
    for index in range(len(texts) - 1, 0, -1):
        file, _, rest = texts[index].partition('"')
        is_outside = _TORCH not in file and _TORCH_ON_WINDOWS not in file
        if is_outside or (innermost is None and _MODULES_OF_TORCH.search(file)):
            frame = _frame(file, rest) if _ends_before_a_line(texts[index - 1]) else None
            if frame is not None and is_outside:
                return frame
            innermost = innermost or frame
    return innermost


def _frame(file: str, rest: str) -> SourceLine | None:
    match = None if not file or file.startswith(_GENERATED) or "\n" in file else _PLACE.match(rest)
    return None if match is None else SourceLine(file, int(match.group(1)), match.group(2).strip())


def _ends_before_a_line(text: str) -> bool:
    """Whether only spaces stand before what follows on its line: ``File "`` may also be part of a line of code."""
    return text.rstrip(" \t")[-1:] in ("\n", "")


def module_path(recorded: str) -> str:
    """The dotted path below the root of a module as a tracer records it: ``"L['self'].layers[0].mlp"``, ``"layers.0"``."""
    path = "" if recorded == _NO_MODULE else _ROOT.sub("", recorded)
    return _MODULE_STEP.sub(r".\1", path).strip(".")


def innermost_module(stack: str) -> str:
    """The module path in a module stack's text, as archives hold it: ``key,path,class`` entries joined by ``;``."""
    last = stack.rsplit(_MODULES, 1)[-1]
    return module_path("".join(parts_between_commas(last)[1:2]))


def parts_between_commas(text: str) -> list[str]:
    """The parts of a text between the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for position, sign in enumerate(text):
        depth += (sign in "[(") - (sign in "])")
        if sign == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
