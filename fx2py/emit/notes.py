"""Comments: what leads a line back to the model. Text from a file passes through ``text.comment``."""

from __future__ import annotations

import posixpath

import torch
from torch.utils._dtype_abbrs import dtype_abbrs

from fx2py.graph.data import Node, SymMeta, TensorMeta, ValueMeta


def value_note(meta: ValueMeta) -> str:
    """Dtype and shape of a recorded value, as in ``f32[1, 16]``; '' when nothing is recorded."""
    if isinstance(meta, TensorMeta):
        shape = ", ".join([str(size) for size in meta.shape])
        return f"{dtype_abbreviation(meta.dtype)}[{shape}]"
    if isinstance(meta, SymMeta):
        return f"{meta.kind} {meta.expression}"
    if isinstance(meta, tuple):
        notes = [value_note(part) for part in meta[:4]]
        return f"({', '.join(notes)}{', ...' if len(meta) > 4 else ''})" if any(notes) else ""
    return ""


def dtype_abbreviation(dtype: torch.dtype) -> str:
    return dtype_abbrs.get(dtype, str(dtype).removeprefix("torch."))


def origin_note(node: Node) -> str:
    """Module path, file, line and code of the model that a node comes from; '' when nothing is recorded."""
    source = node.meta.source
    where = f"{posixpath.basename(source.file)}:{source.line}" if source else ""
    place = " · ".join(filter(None, (node.meta.module, where)))
    return f"{place}  {source.code}" if source and source.code else place
