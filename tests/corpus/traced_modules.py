"""Modules recorded by torch.fx.symbolic_trace: attributes, leaves, containers, sharing, state."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn, randn

from tests.corpus.registry import graph

traced = partial(graph, "symbolic_trace")


def matrix():
    return (randn(3, 4),)


@traced(args=matrix)
class ParametersAndBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(randn(4, 2))
        self.register_buffer("offset", randn(2))
        self.register_buffer("scratch", randn(2), persistent=False)

    def forward(self, x):
        return x @ self.weight + self.offset * self.scratch


@traced(args=matrix)
class TensorAttribute(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.arange(4.0)

    def forward(self, x):
        return x + self.table


@traced(args=matrix)
class TensorConstant(nn.Module):
    def forward(self, x):
        return x + torch.tensor([1.0, 2.0, 3.0, 4.0])


@traced(args=matrix)
class SequentialOfLeaves(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 2), nn.Softmax(-1)))


@traced(args=matrix)
class ListsAndDictsOfModules(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.heads = nn.ModuleDict({"left": nn.Linear(4, 1), "right-hand": nn.Linear(4, 2)})

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return {name: head(x) for name, head in self.heads.items()}


@traced(args=matrix)
class ListsOfParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(randn(4)) for _ in range(2)])

    def forward(self, x):
        return x * self.scales[0] + self.scales[1]


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + self.inner(self.norm(x))


@traced(args=matrix)
class NestedBlocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(), Block())
        self.head = Block()

    def forward(self, x):
        return self.head(self.body(x))


@traced(args=matrix)
class LeafCalledRepeatedly(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x) + self.layer(x))


@traced(args=matrix)
class OneModuleUnderTwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = self.encoder

    def forward(self, x):
        return self.decoder(self.encoder(x)) + self.encoder.weight.sum()


@traced(args=lambda: (torch.randint(0, 6, (2, 3)),))
class TiedParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


@traced(not_savable_as=["to_folder"], args=lambda: (randn(2, 3, 8, 8),), train=False)
class ConvolutionInEvalMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(36, 5)

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


@traced(not_savable_as=["to_folder"], args=lambda: (randn(4, 3),))
class BatchNormInTrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(x), self.norm.running_mean * 1, self.norm.num_batches_tracked + 0


@traced(args=matrix)
class DropoutInTrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x) + self.drop(x)


@traced(args=lambda: (randn(5, 2, 4),))
class RecurrentLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, num_layers=2)
        self.gru = nn.GRU(3, 3, batch_first=True)

    def forward(self, x):
        hidden, state = self.lstm(x)
        return self.gru(hidden)[0], state[1]


@traced(args=lambda: (randn(2, 5, 8),), train=False)
class TransformerLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

    def forward(self, x):
        return self.layer(x)


@traced(args=lambda: (randn(2, 5, 8),))
class AttentionLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        hidden, weights = self.attention(x, x, x)
        return hidden, weights


class Scale(nn.Module):
    """A leaf class of the user's own, with a plain attribute that its forward depends on."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x, power=1):
        return x * self.factor**power


@traced(args=matrix, leaves=(Scale,), needs={"classes": ("tests.corpus.traced_modules.Scale",)})
class LeafClassOfTheUser(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = Scale(3.0)

    def forward(self, x):
        return self.scale(self.scale(x), power=2)


@traced(args=matrix, leaves=(nn.ModuleList,))
class AttributesOfSubmodules(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        self.inner.deep = nn.Linear(4, 4)
        self.inner.register_buffer("shift", randn(4))

    def forward(self, x):
        return F.linear(x, self.inner.deep.weight, bias=self.inner.shift)


@traced(args=matrix)
class CounterInABuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls.add_(1)
        return x * self.calls


@traced(args=matrix)
class StridedAndSharedWeights(nn.Module):
    def __init__(self):
        super().__init__()
        base = randn(8, 8)
        self.register_buffer("transposed", base.t())
        self.register_buffer("window", base[2:6, 1:5])
        self.register_buffer("expanded", randn(4, 1).expand(4, 4))

    def forward(self, x):
        self.window.add_(1)
        return x @ self.window + self.transposed[:4, :4].sum() + self.expanded[0]


@traced(args=lambda: (randn(2, 4, 6),))
class NormalizationLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm1d(4, affine=True)
        self.rms = nn.RMSNorm(6)

    def forward(self, x):
        return self.rms(self.instance(self.group(x)))


@traced(args=matrix)
class KeywordCallsOfLeaves(nn.Module):
    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(4, 4, 2)
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)

    def forward(self, x):
        hidden = self.bilinear(input2=x, input1=x)
        return self.loss(hidden, target=hidden.argmax(-1))
