"""The torch.compile backend on sizes that depend on the numbers in a tensor: symbols without a value while compiling."""

import pytest
import torch
import torch._dynamo
from torch import nn

import fx2py
from tests.checking import assert_same_behaviour

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
COUNTS = torch.tensor([2, 4])
WAYS = [{"inner": "aot_eager"}, {"inner": "aot_eager", "split_at": "torch.relu"}, {"split_at": "torch.relu"}]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def split_by_a_tensor(x, counts):
    return [torch.relu(part) * 2 for part in x.split(counts.tolist())]


def nonzero(x, counts):
    return torch.relu(x).nonzero() + 1


def item(x, counts):
    count = counts[0].item()
    torch._check(count >= 0)
    torch._check(count <= 3)
    return torch.relu(x[:count]) + count


def sizes_of_new_tensors(x, counts):
    one, two = counts.tolist()
    torch._check(one >= 0)
    torch._check(two >= 0)
    return torch.cat([torch.relu(x.new_ones(one)), x.new_zeros(two)])


def mask(x, counts):
    return torch.relu(x[x > 0]) * 2


def sizes_of_sizes(x, counts):
    first = torch.relu((x > 0).nonzero())
    second = torch.relu((first > 0).nonzero())
    return first.sum() + second.float()


def unique(x, counts):
    return torch.relu(torch.unique(x.round())) + 1


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize(
    "model", [split_by_a_tensor, nonzero, item, sizes_of_new_tensors, mask, sizes_of_sizes, unique]
)
def test_the_graph_computes_what_the_model_does_with_other_numbers_too(model, options):
    compiled = torch.compile(model, backend="fx2py", options=options, fullgraph=True)
    for x, counts in ((X, COUNTS), (-X, COUNTS.flip(0) - 1)):
        assert_same_behaviour(compiled, model, (x, counts))


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_gradients_are_those_of_the_model(options):
    compiled = torch.compile(mask, backend="fx2py", options=options, fullgraph=True)
    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    compiled(x, COUNTS).sum().backward()
    mask(y, COUNTS).sum().backward()
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_what_the_model_demands_of_a_size_is_still_demanded(options):
    compiled = torch.compile(item, backend="fx2py", options=options, fullgraph=True)
    compiled(X, COUNTS)
    with pytest.raises(RuntimeError, match="<= 3"):
        compiled(X, torch.tensor([4, 4]))


class Inside(nn.Module):
    def forward(self, x):
        return torch.relu(x).sum() + x.nonzero().float().sum()


@pytest.mark.slow
def test_a_piece_with_such_sizes_inside_is_compiled_ahead():
    options = fx2py.GenerateOptions(split_at=("aten::relu",), compile="inductor")
    artifact = fx2py.generate(torch.export.export(Inside(), (X,)), options=options)
    assert artifact.manifest.notes == ()
    with torch.no_grad():
        for x in (X, X * (X > 0)):
            torch.testing.assert_close(artifact.bind()(x), Inside()(x))
