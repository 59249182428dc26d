"""Binds callables of one's own in place of submodules: here, to time each layer of a network.

python examples/bind_submodules.py
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import fx2py


def timed(name: str, layer: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    """``layer``, adding the time of each call to ``seconds[name]``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = layer(*args, **kwargs)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        return result

    return call


def main() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)).eval()
    graph = torch.fx.symbolic_trace(network)

    seconds: dict[str, float] = {}
    layers = {name: timed(name, layer, seconds) for name, layer in network.named_children()}
    execute = fx2py.generate(graph).bind(submods=layers)

    x = torch.randn(32, 64)
    assert torch.equal(execute(x), network(x))
    for name, spent in seconds.items():
        print(f"layer {name}: {spent * 1e6:.0f} us")


if __name__ == "__main__":
    main()
