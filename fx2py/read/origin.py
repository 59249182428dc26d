"""Where a node comes from: what stack traces and module stacks say."""

from __future__ import annotations

import itertools
import re
from collections import deque
from functools import lru_cache

from fx2py.graph.data import ModuleFrame, SourceLine

RECORDED_KEYS = ("val", "example_value", "tensor_meta")
"""The keys of ``node.meta`` under which export and AOTAutograd, Dynamo, and ``ShapeProp`` record the result."""
_FRAME = 'File "'
_PLACE = re.compile(r", line (\d{1,9}), in ([^\n]*)\n?([^\n]*)")
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
_MOST_CALLERS = 64
"""A line is compared with all that called it: a text of a million frames must not make one of a million lines."""
_CALL = re.compile(r"@(\d{1,9})$")


def source_line(stack_trace: str) -> SourceLine | None:
    """The innermost frame outside the torch package, with its callers there; else the innermost of ``torch.nn``."""
    lines: deque[tuple[str, int, str, int]] = deque(maxlen=_MOST_CALLERS)
    of_torch: SourceLine | None = None
    depth = -1
    texts = stack_trace.split(_FRAME)
    for before, text in itertools.pairwise(texts):
        file, _, rest = text.partition('"')
        is_outside = _TORCH not in file and _TORCH_ON_WINDOWS not in file
        if not (is_outside or _MODULES_OF_TORCH.search(file)) or not _ends_before_a_line(before):
            continue
        match = None if not file or file.startswith(_GENERATED) or "\n" in file else _PLACE.match(rest)
        if match is None:
            continue
        depth += match[2] == "forward"
        found = (file, int(match[1]), match[3].strip(), max(depth, 0))
        if is_outside:
            lines.append(found)
        else:
            of_torch = SourceLine(*found[:3])
    line: SourceLine | None = None
    for file, number, code, around in lines:
        line = SourceLine(file, number, code, line, around)
    return line or of_torch


def _ends_before_a_line(text: str) -> bool:
    """Whether only spaces stand before what follows on its line: ``File "`` may also be part of a line of code."""
    return text.rstrip(" \t")[-1:] in ("\n", "")


def module_path(recorded: str) -> str:
    """The dotted path below the root of a module as a tracer records it: ``"L['self'].layers[0].mlp"``, ``"layers.0"``."""
    path = "" if recorded == _NO_MODULE else _ROOT.sub("", recorded)
    return _MODULE_STEP.sub(r".\1", path).strip(".")


def module_stack(text: str) -> tuple[ModuleFrame, ...]:
    """A module stack as archives hold it: ``key,path,class`` entries joined by ``;``, outermost first."""
    frames = map(_frame_of_entry, text.split(_MODULES)) if text else ()
    return tuple([frame for frame in frames if frame is not None])


@lru_cache(maxsize=1024)
def _frame_of_entry(entry: str) -> ModuleFrame | None:
    """One entry of a module stack; kept, because the nodes of a module and of all modules in it repeat it."""
    parts = parts_between_commas(entry)
    return module_frame(parts[0], parts[1], "".join(parts[2:3])) if len(parts) > 1 else None


def module_frame(key: str, path: str, cls: str) -> ModuleFrame:
    """A frame of a module stack; the key of a repeated call of a module ends in ``@`` and its number."""
    call = _CALL.search(key)
    return ModuleFrame(module_path(path), cls, int(call[1]) if call else 0)


def parts_between_commas(text: str) -> list[str]:
    """The parts of a text between the commas that stand outside brackets."""
    parts: list[str] = []
    depth = 0
    for part in text.split(","):
        if depth:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
        depth += part.count("[") + part.count("(") - part.count("]") - part.count(")")
    return parts
