"""Quantized models: dynamic, static and converted by torch.ao's FX passes."""

from functools import partial

import torch
from torch import nn, randn
from torch.ao.quantization import QConfigMapping, default_dynamic_qconfig, get_default_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from tests.corpus.registry import GRAPH_PICKLER_OF_2_10, graph

quantized = partial(graph, "built", rebuildable=False)


def matrix():
    return (randn(3, 4),)


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


def prepared(x):
    mapping = QConfigMapping().set_global(get_default_qconfig("x86"))
    model = prepare_fx(network(), mapping, (x,))
    model(x)
    return model


@quantized(args=matrix, not_savable_as=["pt", "pickle", "to_folder", "package", *GRAPH_PICKLER_OF_2_10])
def observed(x):
    return prepared(x)


@quantized(args=matrix, not_savable_as=GRAPH_PICKLER_OF_2_10)
def statically_quantized(x):
    return convert_fx(prepared(x))


@quantized(args=matrix, not_savable_as=GRAPH_PICKLER_OF_2_10)
def dynamically_quantized(x):
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    return convert_fx(prepare_fx(network(), mapping, (x,)))


@graph("make_fx", args=matrix)
def fake_quantized(x):
    return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)


@graph("symbolic_trace", args=matrix)
def quantized_tensors(x):
    small = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)
    return small.dequantize(), small.int_repr(), small
