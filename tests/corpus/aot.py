"""Forward, backward and joint graphs from AOTAutograd."""

import torch
import torch.nn.functional as F
from functorch.compile import aot_function
from torch import nn, randn
from torch._functorch.aot_autograd import aot_export_joint_simple, aot_export_module

from tests.corpus.captures import Captured, Recorder, copied
from tests.corpus.registry import GRAPH_PICKLER_OF_2_10, graph


def matrix():
    return (randn(3, 4),)


@graph("aot_forward", args=matrix)
@graph("aot_backward", args=matrix)
class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


@graph("aot_forward", args=matrix, train=False)
class Inference(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).softmax(-1)


@graph("aot_forward", args=lambda: (randn(4, 3),))
@graph("aot_backward", args=lambda: (randn(4, 3),))
class NormalizedWithDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return F.dropout(self.norm(self.linear(x)), 0.5, self.training)


@graph("aot_forward", args=lambda: (randn(2, 3, 6, 6),))
@graph("aot_backward", args=lambda: (randn(2, 3, 6, 6),))
class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return F.max_pool2d(self.conv(x).relu(), 2)


@graph("aot_forward", args=lambda: (randn(1, 2, 4, 8, requires_grad=True),))
@graph("aot_backward", args=lambda: (randn(1, 2, 4, 8, requires_grad=True),))
def attention(x):
    return F.scaled_dot_product_attention(x, x, x, is_causal=True)


@graph("aot_forward", args=lambda: (randn(3, 4, requires_grad=True),), dynamic=True)
@graph("aot_backward", args=lambda: (randn(3, 4, requires_grad=True),), dynamic=True)
def dynamic_sizes(x):
    return x.view(-1).softmax(0) * x.shape[0]


@graph("aot_forward", args=lambda: (torch.tensor(True), randn(3, requires_grad=True)))
@graph("aot_backward", args=lambda: (torch.tensor(True), randn(3, requires_grad=True)))
def branches(flag, x):
    return torch.cond(flag, lambda x: x.sin(), lambda x: x.cos() * 2, (x,))


@graph("built", args=lambda: (randn(3, requires_grad=True), randn(3)))
def forward_of_aot_function(x, y):
    recorder = Recorder()
    aot_function(lambda x, y: (x * y).sin(), fw_compiler=recorder.boxed, bw_compiler=recorder.boxed)(x, y)
    return recorder.captured[0]


@graph(
    "built",
    not_savable_as=["to_folder", *GRAPH_PICKLER_OF_2_10],
    args=lambda: ([randn(3, requires_grad=True), randn(3)], [randn(3)]),
)
def joint(primals, tangents):
    return aot_export_joint_simple(lambda x, y: ((x * y).sin(),), primals, trace_joint=True)


@graph("built", args=lambda: (randn(2, 4),))
def exported_training_step(x):
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def forward(self, x):
            return (self.linear(x).square().mean(),)

    model = Loss()
    traced, _ = aot_export_module(model, (x,), trace_joint=True, output_loss_index=0)
    return Captured(traced, (*copied(tuple(model.parameters())), x))
