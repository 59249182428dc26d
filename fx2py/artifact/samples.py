"""The sample inputs of a graph as a file of its folder, so that the folder runs without the graph."""

from __future__ import annotations

import io

import torch
from torch.utils import _pytree as pytree

from fx2py.graph.data import SampleInputs
from fx2py.read.pt2.tensors import weights_only

LIMIT = 32 * 2**20
"""The bytes that sample inputs in a folder may have: a batch of images, not a data set."""


def packed_samples(samples: SampleInputs | None) -> tuple[bytes, tuple[str, ...]]:
    """What ``sample_inputs.pt`` holds, and a note where it is nothing though the graph has sample inputs.

    Only what torch's weights-only reader gives back is kept.
    """
    if samples is None:
        return b"", ()
    call = (samples.args, dict(samples.kwargs))
    tensors = [leaf for leaf in pytree.tree_leaves(call) if isinstance(leaf, torch.Tensor)]
    if sum(map(_stored_bytes, tensors)) > LIMIT:
        return b"", (f"the sample inputs are not in the folder: they have more than {LIMIT >> 20} MiB",)
    file = io.BytesIO()
    try:
        torch.save(call, file)
        weights_only(file.getvalue())
    except Exception as error:  # the objects of a live graph may raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        return b"", (f"the sample inputs are not in the folder: {reason}",)
    return file.getvalue(), ()


def unpacked_samples(content: bytes) -> SampleInputs | None:
    """The sample inputs in a file's content, on the CPU; None of an empty one. Raises ValueError for other content."""
    if not content:
        return None
    found = weights_only(content)
    if type(found) is not tuple or [type(part) for part in found] != [tuple, dict]:
        raise ValueError("holds something else than the arguments of a call")
    return SampleInputs(*found)


def _stored_bytes(tensor: torch.Tensor) -> int:
    try:
        return tensor.untyped_storage().nbytes()
    except (NotImplementedError, RuntimeError):  # a sparse tensor has none
        return tensor.numel() * tensor.element_size()
