"""The torch.compile backend: what the model computes, in training and inference, whatever torch captures."""

import copy
import functools
import importlib.metadata
import re
import traceback

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn

from fx2py.integrations.dynamo import fx2py_backend

SPLIT = {"split_at": ["aten::scaled_dot_product_attention"]}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(mixed.transpose(1, 2).reshape(batch, length, 8))


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def assert_trains_alike(model, inner, shapes, tolerance=0.0, **options):
    """Results and gradients of the backend and of the model itself, on one input a shape."""
    theirs = copy.deepcopy(model)
    ours = torch.compile(model, backend=fx2py_backend, options={"inner": inner, **options})
    for shape in shapes:
        x = torch.randn(shape)
        got, want = ours(x), theirs(x)
        assert torch.equal(got, want)
        got.square().sum().backward()
        want.square().sum().backward()
    for one, two in zip(model.parameters(), theirs.parameters(), strict=True):
        assert (one.grad is None) is (two.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=tolerance, atol=0)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
def test_results_and_gradients_are_those_of_the_model_in_every_shape(inner):
    assert_trains_alike(nn.Sequential(Block(), Block()), inner, [(2, 5, 8), (3, 7, 8), (1, 2, 8)], **SPLIT)


@pytest.mark.slow
def test_pieces_are_compiled_by_inductor():
    model = nn.Sequential(Block(), Block())
    ours = torch.compile(model, backend=fx2py_backend, options={"inner": "inductor", **SPLIT})
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x), model(x))
    ours(x).sum().backward()
    assert model[0].qkv.weight.grad is not None


@pytest.mark.slow
def test_a_piece_takes_results_in_the_strides_that_the_compiler_of_another_chose():
    """As a cache of keys gives them: inductor leaves the copy out, and then checks what it was told of strides."""

    def model(x):
        keys = torch.cat([x.new_empty(0), (x * 2).view(2, 16, 2, 8).transpose(1, 2)], -2)
        return F.scaled_dot_product_attention(keys, keys, keys).sin(), keys

    x = torch.randn(2, 16, 16, requires_grad=True)
    compiled = torch.compile(model, backend=fx2py_backend, options={"inner": "inductor", **SPLIT})
    for mode in (torch.enable_grad(), torch.no_grad()):
        with mode:
            torch.testing.assert_close(compiled(x), model(x))


class Broken(nn.Module):
    """Several graphs: what dynamo cannot capture stands between them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        x = torch.relu(self.first(x))
        torch._dynamo.graph_break()
        self.calls.add_(1)
        return torch.relu(self.second(x)) * self.calls


@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
def test_a_model_of_several_graphs_with_changes_in_place(inner):
    assert_trains_alike(Broken(), inner, [(2, 4), (3, 4)], split_at="aten::relu")


class Frozen(nn.Module):
    """A part without gradients, cut in its middle."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            hidden = self.first(torch.relu(self.first(x)))
        with torch.autocast("cpu", torch.bfloat16):
            hidden = torch.relu(self.second(hidden))
            hidden = self.second(hidden)
        return torch.relu(hidden.float()) + x


@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
def test_grad_mode_and_autocast_hold_across_pieces(inner):
    rounding = 2**-7  # the order in which a compiled graph adds gradients in bfloat16 is its own
    assert_trains_alike(Frozen(), inner, [(2, 4)], rounding, split_at=["aten::relu"])


def test_without_options_the_whole_graph_is_generated_code():
    model = Block()
    x = torch.randn(2, 5, 8)
    assert torch.equal(torch.compile(model, backend=fx2py_backend)(x), model(x))


def test_an_option_that_is_not_there_is_named():
    compiled = torch.compile(Block(), backend=fx2py_backend, options={"split": []})
    with pytest.raises(Exception, match=r"no option 'split'(.|\n)*split_at, inner, dump"):
        compiled(torch.randn(2, 5, 8))


def test_the_code_of_each_graph_is_dumped_and_is_what_runs(tmp_path):
    def fail(x):
        return torch.linalg.cholesky(torch.relu(x) - 1)

    compiled = torch.compile(
        fail, backend=fx2py_backend, options={"split_at": "aten::relu", "dump": tmp_path}
    )
    with pytest.raises(torch.linalg.LinAlgError) as fault:
        compiled(torch.zeros(2, 2))
    (folder,) = tmp_path.iterdir()
    assert re.fullmatch(r"graph_\d+_\d+", folder.name)
    frames = [frame for frame in traceback.extract_tb(fault.tb) if frame.filename.startswith(str(tmp_path))]
    assert [frame.name for frame in frames] == ["execution_fn", "submod_1"]
    assert "cholesky" in frames[-1].line


def test_graphs_that_another_backend_cuts_for_buckets_of_gradients_are_dumped_each(tmp_path):
    from torch._dynamo.backends.distributed import DDPOptimizer

    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)))
    backend = functools.partial(fx2py_backend, options={"dump": tmp_path})
    buckets = DDPOptimizer(bucket_bytes_cap=1000, first_bucket_cap=1000, backend_compile_fn=backend)
    x = torch.randn(2, 16)
    assert torch.equal(torch.compile(model, backend=buckets.compile_fn)(x), model(x))
    names = [folder.name for folder in sorted(tmp_path.iterdir())]
    assert len(names) == len(buckets.buckets) > 1
    assert all(re.fullmatch(r"graph_\d+_\d+(_part_\d+)?", name) for name in names)


def test_a_traceback_shows_the_lines_of_code_that_is_not_dumped():
    compiled = torch.compile(lambda x: torch.linalg.cholesky(x - 1), backend=fx2py_backend)
    with pytest.raises(torch.linalg.LinAlgError) as fault:
        compiled(torch.zeros(2, 2))
    frames = [frame for frame in traceback.extract_tb(fault.tb) if frame.name == "execution_fn"]
    assert "cholesky" in frames[-1].line


def test_the_code_is_in_the_structured_trace(monkeypatch):
    logged = []
    monkeypatch.setattr(
        "fx2py.integrations.dynamo.trace_structured",
        lambda kind, metadata_fn, payload_fn: logged.append((kind, metadata_fn()["name"], payload_fn())),
    )
    torch.compile(torch.relu, backend=fx2py_backend)(torch.ones(2))
    ((kind, name, source),) = logged
    assert (kind, name) == ("artifact", "fx2py_execution_fn")
    assert "def execution_fn(" in source


def test_torch_finds_the_backend_by_name():
    (entry,) = importlib.metadata.entry_points(group="torch_dynamo_backends", name="fx2py")
    assert entry.load() is fx2py_backend
    assert torch.equal(torch.compile(torch.cos, backend="fx2py")(torch.ones(2)), torch.ones(2).cos())


def test_sizes_that_pieces_share_reach_their_compilers_as_numbers():
    def model(x):
        size = x.size()
        y = torch.relu(x + 1)
        return y.new_ones(size) + y.view(size) * size[0], size

    options = {"split_at": ["aten::relu"], "inner": "aot_eager"}
    compiled = torch.compile(model, backend="fx2py", dynamic=True, options=options)
    for shape in ((3, 4), (5, 2)):
        x = torch.randn(shape)
        (found, size), (expected, _) = compiled(x), model(x)
        assert torch.equal(found, expected)
        assert size == x.shape


class Deep(nn.Module):
    """Weights whose captured names share far more than eighty characters."""

    def __init__(self):
        super().__init__()
        self.a_module_that_has_quite_a_long_name = nn.ModuleDict(
            {
                f"and_below_it_another_one_with_a_name_as_long_as_people_give_them_{number}": nn.Linear(4, 4)
                for number in range(12)
            }
        )

    def forward(self, x):
        for layer in self.a_module_that_has_quite_a_long_name.values():
            x = torch.relu(layer(x))
        return x


@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
def test_names_that_share_eighty_characters_stay_apart(inner):
    assert_trains_alike(Deep(), inner, [(2, 4)], split_at=["aten::relu"])


def mapped(x, y):
    return torch.vmap(lambda a, b: torch.relu(a * b).sum() * 2)(x, y) + torch.relu(x).sum()


def differentiated(x, y):
    return torch.func.grad(lambda a: torch.relu(a * y).sum())(x) + torch.relu(x)


def forward_differentiated(x, y):
    return torch.func.jvp(torch.relu, (x,), (y,))[1] + torch.relu(x)


def mapped_gradients(x, y):
    return torch.vmap(torch.func.grad(lambda a, b: torch.relu(a * b).sum()))(x, y) + torch.relu(y)


def in_inference_mode(x, y):
    with torch.inference_mode():
        hidden = torch.relu(torch.relu(x) * 2)
    return torch.relu(hidden + y)


def with_one_kernel(x, y):
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
        hidden = torch.relu(F.scaled_dot_product_attention(x[None], y[None], y[None]))
        return torch.relu(F.scaled_dot_product_attention(hidden, y[None], y[None]))


def without_gradients_twice(x, y):
    with torch.no_grad():
        first = torch.relu(x * 2) + 1
    hidden = torch.relu(x * first)
    with torch.no_grad():
        second = torch.relu(hidden * y)
    return torch.relu(hidden * second)


RANGES = [
    *(mapped, differentiated, forward_differentiated, mapped_gradients),
    *(in_inference_mode, with_one_kernel, without_gradients_twice),
]


@pytest.mark.parametrize("model", RANGES)
@pytest.mark.parametrize("inner", ["eager", "aot_eager"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_no_range_of_a_mode_is_cut(model, inner, requires_grad):
    if model is forward_differentiated and inner == "aot_eager" and requires_grad:
        pytest.skip("torch: Nested forward mode AD is not supported at the moment")
    x, y = torch.randn(3, 4, requires_grad=requires_grad), torch.randn(3, 4)
    options = {"inner": inner, "split_at": ["aten::relu", "aten::mul"]}
    want, got = model(x, y), torch.compile(model, backend=fx2py_backend, options=options)(x, y)
    assert torch.equal(got, want)
    assert got.requires_grad is want.requires_grad
    if want.requires_grad:
        (mine,), (theirs,) = (torch.autograd.grad(result.sum(), x) for result in (got, want))
        torch.testing.assert_close(mine, theirs)
