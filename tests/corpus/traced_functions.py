"""Functions recorded by torch.fx.symbolic_trace: signatures, operators, literals, containers, mutation."""

import math
import operator
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import fx, randn

from tests.corpus.registry import GRAPH_PICKLER_BEFORE_2_12, graph

traced = partial(graph, "symbolic_trace")


def matrix():
    return (randn(3, 4),)


def two_matrices():
    return (randn(3, 4), randn(3, 4))


@traced(args=matrix)
def methods(x):
    return x.relu().sum(dim=-1, keepdim=True).add(1, alpha=2)


@traced(args=two_matrices)
def arithmetic_operators(x, y):
    return (x + y) * 2 - x / (y @ y.T).sum() + (-x) ** 2 // 1 % 3


@traced(args=two_matrices)
def reflected_operators(x, y):
    return 2 - x + 1 / (x * x + 1) + 2**y


@traced(args=lambda: (torch.arange(12).reshape(3, 4), torch.arange(12).flip(0).reshape(3, 4)))
def bitwise_operators(x, y):
    return (x & y) | (x ^ 3) ^ ~y, x << 2, y >> 1


@traced(args=two_matrices)
def comparisons(x, y):
    return x < y, x <= y, x == y, x != y, x > 0.5, x >= y


@traced(args=two_matrices)
def operator_functions(x, y):
    return operator.add(operator.mul(x, y), operator.neg(y)), operator.matmul(x, operator.truediv(y, 2).t())


@traced(args=two_matrices)
def torch_functions(x, y):
    return torch.cat([torch.sin(x), torch.maximum(x, y)], dim=1), torch.stack((x, y)).mean((0, 1))


@traced(args=matrix)
def functional_calls(x):
    return F.softmax(F.gelu(F.layer_norm(x, (4,)), approximate="tanh"), dim=-1)


@traced(args=matrix)
def shapes_and_sizes(x):
    return x.view(x.size(0), -1), x.shape, x.reshape(x.shape[0] * x.shape[1]), x.dim(), x.dtype


@traced(args=lambda: (randn(4, 5, 6), torch.tensor([0, 2])))
def indexing(x, rows):
    return x[0], x[..., 1], x[:, None], x[1:3, ::2, -1], x[rows], x[rows, :, rows], x[x > 0]


@traced(args=lambda: (randn(6, 6), 2), not_savable_as=GRAPH_PICKLER_BEFORE_2_12)
def slices_that_hold_nodes(x, n):
    return x[n:], x[:n, n], x[slice(None, n, n)], x[(n, slice(n, None))]


@traced(args=lambda: ({"hidden": randn(2, 3), 7: randn(2, 3)}, [randn(2)]))
def inputs_in_containers(batch, more):
    return batch["hidden"] + batch[7], more[0]


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@traced(
    args=two_matrices,
    not_savable_as=["graph_pickler", "to_folder"],
    needs={"classes": ("tests.corpus.traced_functions.Pair",)},
)
def namedtuple_output(x, y):
    return Pair(x + y, second=x - y)


@traced(args=matrix)
def nested_output(x):
    return {"a": [x, (x + 1, None)], "b": {"c": 1, "d": "text"}}, (), [], {}


@traced(args=matrix)
def structseq_results(x):
    best = torch.max(x, dim=1)
    return best.values, best.indices, best[0], torch.topk(x, 2)[1]


@traced(args=matrix)
def unpacked_tuple(x):
    left, right = torch.chunk(x, 2, dim=1)[0], x.unbind(0)[1]
    return left, right


@traced(args=matrix)
def same_value_twice(x):
    y = x.exp()
    return y, y, [y]


@traced(args=matrix)
def returns_its_input(x):
    return x


@traced(args=matrix)
def returns_nothing(x):
    return None


@traced(args=matrix)
def returns_a_literal(x):
    return 3.5


@traced()
def takes_nothing():
    return torch.ones(2, 3), torch.arange(4)


@traced(args=matrix, extra_args=[two_matrices])
def defaults(x, y=2.5, *, flag=True, scale=None):
    return x * y, flag, scale


@traced(args=lambda: (randn(2), randn(2), randn(2)))
def variadic_positional(x, *rest):
    return x + rest[0] * rest[1]


@traced(args=matrix, kwargs=lambda: {"bias": randn(4), "scale": 2.0})
def variadic_keywords(x, **options):
    return x * options["scale"] + options["bias"]


@traced(args=matrix, kwargs=lambda: {"bias": randn(4)})
def keyword_only(x, *, bias):
    return x + bias


@traced(args=two_matrices)
def annotated_signature(x: torch.Tensor, y: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return x + 1, cast(torch.Tensor, y) * 2


@traced(args=lambda: (2.5, 7))
def scalars(a, b):
    return a * b, a**2, -b, b // 2, b % 3, divmod(b, 2) if isinstance(b, int) else a


@traced(args=lambda: (3.0,))
def math_functions(x):
    return math.pi * x, x + math.inf


fx.wrap("sqrt_of")


def sqrt_of(number):
    return math.sqrt(number)


fx.wrap("len")


@traced(
    args=matrix,
    not_savable_as=["graph_pickler", "to_folder"],
    needs={"functions": ("tests.corpus.traced_functions.sqrt_of",)},
)
def wrapped_functions(x):
    return x * sqrt_of(x.size(-1)), len(x)


@traced(args=matrix)
def dead_code(x):
    x.cos().sin()
    torch.ones(3)
    return x + 1


@traced(args=matrix)
def in_place_methods(x):
    y = x.clone()
    y.add_(1).mul_(2)
    x.clamp_(min=0)
    return y


@traced(args=two_matrices)
def in_place_operators(x, y):
    x += y
    x *= 2
    y -= x
    return x + y


@traced(args=lambda: (randn(4, 4), 3))
def in_place_operators_on_numbers(x, n):
    m = n
    m += 1
    return x * n + m, n


@traced(args=matrix)
def float_literals(x):
    return x + 1e-08, x * 0.1, x - 1e300, x + -0.0, x * float("inf"), torch.full((2,), float("nan")), x / 3e-5


@traced(args=lambda: (torch.arange(4),))
def integer_literals(x):
    return x + (2**62), x * -1, torch.full((2,), 2**63 - 1), (2**70, -(2**65), 0, True)


@traced(args=matrix)
def string_literals(x):
    return x, "it's", 'a "quote"', "back\\slash\n", "é漢😀", "", "{x} # no: comment"


@traced(args=matrix)
def torch_literals(x):
    y = x.to(torch.float64).to(device=torch.device("cpu"), memory_format=torch.preserve_format)
    return y, torch.zeros(2, dtype=torch.int8, layout=torch.strided), torch.Size([2, 3])


@traced(args=matrix)
def literal_containers(x):
    return x, {1: 2, None: 3, (1, 2): [4], "a": ()}, [1, [2, [3]]], (1,), slice(1, None, 2), range(3), ...


@traced(args=matrix)
def attributes_of_tensors(x):
    return x.T, x.shape[0], x.ndim, x.is_cuda, x.grad, x.real


@traced(args=matrix)
def names_that_python_or_the_code_uses(x):
    lambda_, getattr_, torch_, input_1 = x + 1, x + 2, x + 3, x + 4
    return lambda_ * getattr_, torch_ / input_1


@traced(args=lambda: tuple(randn(2) for _ in range(4)))
def parameters_named_like_what_code_uses(torch, operator, nan, inf):
    return torch + operator, nan * float("nan"), inf


@traced(args=lambda: (randn(2), "fast"), concrete_args={"mode": "fast"})
def specialized_on_a_string(x, mode="slow"):
    return x * 2 if mode == "fast" else x


@traced(args=lambda: (randn(2), True), concrete_args={"flag": True})
def specialized_on_a_flag(x, flag):
    return x.relu() if flag else x.neg()


@traced(
    not_savable_as=["to_folder"],
    args=lambda: ({"a": randn(2), "b": [randn(2), randn(2)]},),
    concrete_args={"batch": {"a": fx.PH, "b": [fx.PH, fx.PH]}},
)
def flattened_inputs(batch):
    return {"sum": batch["a"] + batch["b"][0], "rest": (batch["b"][1],)}


@traced(args=lambda: (torch.randn(2, 3, dtype=torch.complex64),))
def complex_numbers(x):
    return x * 1j, x.conj(), torch.view_as_real(x), x + complex(0.5, -2), x.abs()


@traced(args=lambda: (randn(3, 4).bfloat16(), randn(3, 4).half()))
def half_precision(x, y):
    return x @ x.T, y + 1, x.float() + y, x.to(torch.float8_e4m3fn).to(torch.float32)


@traced(args=matrix)
def random_operations(x):
    noise = torch.rand(3, 4) + torch.randn_like(x)
    return F.dropout(x + noise, p=0.5), torch.bernoulli(torch.sigmoid(noise)), torch.randperm(5)


@traced(args=lambda: (randn(2, 8),))
def einsum_and_splits(x):
    parts = torch.split(x, [3, 5], dim=1)
    return torch.einsum("bi,bj->bij", parts[0], parts[1])


@traced(args=lambda: (torch.randint(0, 5, (2, 3)), randn(5, 4), randn(2, 3) > 0))
def masks_and_embeddings(tokens, table, mask):
    hidden = F.embedding(tokens, table)
    return hidden.masked_fill(mask.unsqueeze(-1), float("-inf")).softmax(-2), torch.where(mask, 1.0, 0.0)


@traced(args=lambda: (torch.tensor([float("nan"), float("inf"), -0.0, 1.0]),))
def special_values(x):
    return x + 0, x * -1, torch.nan_to_num(x), x.isnan(), torch.copysign(x, torch.tensor(-1.0))


@traced(args=lambda: (randn(1, 2, 5, 5), randn(3, 2, 3, 3)))
def convolution_and_pooling(x, weight):
    return F.max_pool2d(F.conv2d(x, weight, padding=(1, 1)), kernel_size=2, stride=2)


@traced(args=lambda: (randn(1, 2, 4, 8),) * 3)
def attention(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)
