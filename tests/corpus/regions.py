"""Regions in which torch's state differs: autocast, grad mode, inference mode."""

import torch
from torch import fx, nn, randn

from tests.corpus.registry import graph


def matrix():
    return (randn(3, 4),)


@graph("compile", args=matrix)
@graph("aot_forward", args=matrix)
class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = self.linear(x)
        return low.float() + self.linear(x)


@graph("compile", args=matrix)
class NestedAutocast(nn.Module):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ x.t()
            with torch.autocast("cpu", enabled=False):
                y = y.float() @ y.float()
        return y


@graph("compile", args=lambda: (randn(3, 4, requires_grad=True),))
class NoGrad(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            frozen = x * 2
            with torch.enable_grad():
                live = x * 3
        return frozen + live, frozen, live


@graph("compile", args=matrix)
def inference_mode(x):
    with torch.inference_mode():
        return x * 2


@graph("built", args=lambda: (randn(3, requires_grad=True),))
def grad_mode_switches(x):
    made = fx.Graph()
    x = made.placeholder("x")
    made.call_function(torch._C._set_grad_enabled, (False,))
    frozen = made.call_function(torch.mul, (x, 2))
    made.call_function(torch._C._set_grad_enabled, (True,))
    made.output((frozen, made.call_function(torch.mul, (x, 3))))
    return fx.GraphModule(nn.Module(), made)


@graph("built", args=matrix)
def autocast_enter_and_exit(x):
    made = fx.Graph()
    x = made.placeholder("x")
    mode = made.call_function(torch.amp.autocast_mode._enter_autocast, ("cpu", torch.bfloat16, True, None))
    low = made.call_function(torch.matmul, (x, made.call_method("t", (x,))))
    made.call_function(torch.amp.autocast_mode._exit_autocast, (mode,))
    made.output((low, made.call_function(torch.neg, (x,))))
    return fx.GraphModule(nn.Module(), made)
