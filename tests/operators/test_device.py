"""The fact ``device default`` is proven by calling each factory under another default device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fx2py.operators.facts import facts_named, table

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "as_tensor": (1.0,),
    "arange": (3,),
    "empty_permuted": ((2, 3), (0, 1)),
    "empty_strided": ((2, 3), (3, 1)),
    "eye": (3,),
    "full": ((2,), 1.0),
    "linspace": (0, 1, 3),
    "logspace": (0, 1, 3),
    "randint": (5, (2,)),
    "randperm": (4,),
    "range": (0, 2),
    "scalar_tensor": (1.0,),
    "tensor": ([1.0],),
    "tril_indices": (3, 3),
    "triu_indices": (3, 3),
}

WITHOUT_A_MODE = {"range"}
"""What ``torch.device`` as a mode passes by (``_device_constructors`` in torch/utils/_device.py): such a call must name
the device that it moves to all the more."""


@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).device == "default"])
def test_a_factory_makes_its_result_on_the_default_device(name: str) -> None:
    args = ARGUMENTS.get(name, (4,))
    factory = getattr(torch, name, None) or getattr(torch.ops.aten, name)
    with torch.device("meta"):
        assert factory(*args).is_meta or name in WITHOUT_A_MODE
        assert not factory(*args, device="cpu").is_meta
