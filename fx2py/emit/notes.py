"""Comments: what leads a line back to the model. Text from a file passes through ``text.comment``."""

from __future__ import annotations

import posixpath

from fx2py.graph.data import Node


def origin_note(node: Node) -> str:
    """Module path, file, line and code of the model that a node comes from; '' when nothing is recorded."""
    source = node.meta.source
    where = f"{posixpath.basename(source.file)}:{source.line}" if source else ""
    place = " · ".join(filter(None, (node.meta.module, where)))
    return f"{place}  {source.code}" if source and source.code else place
