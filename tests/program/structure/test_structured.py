"""Structured code: a function for each distinct module, weights by name, loops over equal layers; exact all the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fx2py
from fx2py.errors import ArtifactError, Fx2pyError, UntrustedTargetError
from fx2py.graph.values import Ref
from fx2py.program.ir import Assign, Call, CalledModule, Function, Local, Loop, Parameter
from fx2py.program.options import GenerateOptions
from fx2py.program.structure.bodies import Unsound
from fx2py.program.structure.inlined import inlined, require_same
from fx2py.program.structure.outline import structured


class Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size))

    def forward(self, x):
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + 1e-6)
        return self.weight * x


class Attention(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x, mask):
        query, key, value = self.qkv(x).split(x.shape[-1], dim=-1)
        scores = query @ key.transpose(-2, -1) + mask
        context = scores.softmax(-1) @ value
        return self.out(context)


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = Norm(size)
        self.attention = Attention(size)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, hidden, mask):
        residual = hidden
        hidden = self.norm(hidden)
        hidden = residual + self.attention(hidden, mask)
        return hidden + self.mlp(hidden)


class Stack(nn.Module):
    def __init__(self, depth: int = 3, size: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(size) for _ in range(depth)])
        self.norm = Norm(size)

    def forward(self, x):
        mask = torch.zeros(x.shape[1], x.shape[1]).masked_fill(torch.ones(4, 4).triu(1) > 0, -1e9)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class Shared(nn.Module):
    """One layer that is called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Block(8)

    def forward(self, x):
        mask = torch.zeros(4, 4)
        for _ in range(3):
            x = self.layer(x, mask)
        return x


class Widths(nn.Module):
    """Layers that differ in a number of their code."""

    class Layer(nn.Module):
        def __init__(self, inner: int, outer: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(inner, outer))

        def forward(self, x):
            flat = x.reshape(-1, self.weight.shape[0])
            flat = flat @ self.weight
            return flat.reshape(2, 4, self.weight.shape[1])

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = self.Layer(8, 16), self.Layer(16, 8)

    def forward(self, x):
        return self.down(self.up(x).relu())


class Skips(nn.Module):
    """A layer that gives two values, of which one skips the next layer."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            first = self.fc(x)
            second = first.sin() + x
            return first, second * 2

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(3)])

    def forward(self, x):
        kept = []
        for layer in self.layers:
            first, x = layer(x)
            kept.append(first)
        return x + sum(kept)


class Counting(nn.Module):
    """Layers that write to their buffers."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(8))

        def forward(self, x):
            self.calls.add_(1)
            x = x + self.calls
            return x.relu()

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[self.Layer() for _ in range(3)])

    def forward(self, x):
        return self.layers(x)


class OddNames(nn.Module):
    """Names of modules and weights that mean something in Python, or in a generated file."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: Block(8) for name in ("lambda", "weights", "moved", "0", "é")})
        self.torch = Norm(8)

    def forward(self, x):
        mask = torch.zeros(4, 4)
        for layer in self.layers.values():
            x = layer(x, mask)
        return self.torch(x)


class Branches(nn.Module):
    """Layers whose branches have weights of their own."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            x = torch.cond(x.sum() > 0, lambda x: self.up(x).sin(), lambda x: self.down(x).cos(), (x,))
            return x + 1

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(2)])
        self.norm = Norm(8)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(self.norm(x))


MODELS: dict[str, Any] = {
    "branches": Branches,
    "a stack": Stack,
    "a shared layer": Shared,
    "widths": Widths,
    "skips": Skips,
    "counting": Counting,
    "odd names": OddNames,
    "a sequence": lambda: nn.Sequential(
        *[nn.Sequential(nn.Linear(8, 8), Norm(8), nn.ReLU()) for _ in range(3)]
    ),
}


def exported(model: nn.Module, **options: Any) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(model.eval(), (torch.rand(2, 4, 8),), **options)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def program(request: pytest.FixtureRequest) -> torch.export.ExportedProgram:
    return exported(request.param())


def test_results_and_changes_of_buffers_are_those_of_the_graph(program) -> None:
    artifact = fx2py.generate(program)
    report = fx2py.diff(program, artifact)
    assert report.equal, report


@pytest.mark.parametrize(
    "how",
    [
        {"optimize": True},
        {"exact_ops": True},
        {"comments": False},
        {"keep_submodules": True},
        {"split_at": ("aten::softmax",)},
    ],
    ids=lambda how: next(iter(how)),
)
@pytest.mark.parametrize("model", [Stack, Branches])
def test_it_goes_with_every_other_option(model: Any, how: dict[str, Any]) -> None:
    if model is Branches and "split_at" in how:
        how = {"split_at": ("aten::add.Tensor",)}
    program = exported(model())
    artifact = fx2py.generate(program, options=GenerateOptions(**how))
    assert fx2py.diff(program, artifact).equal


def test_it_amounts_to_the_flat_code(program) -> None:
    flat = fx2py.generate(program).program
    form = structured(flat)
    assert form.is_structured
    require_same(flat, form)


def test_it_is_written_read_and_run_by_torch_alone(program, tmp_path: Path) -> None:
    folder = tmp_path / "model_fx2py"
    fx2py.generate(program).write(folder)
    opened = fx2py.open_artifact(folder)
    assert fx2py.diff(program, opened).equal
    assert (
        "weights[" not in re.sub(r"weights(\.\w+|\[\d+\])+\.", "", opened.source)
        or "Sequential" in opened.source
    )


def test_a_layer_is_written_once_and_called_in_a_loop() -> None:
    source = fx2py.generate(exported(Stack(3))).source
    assert source.count("def block(") == source.count("def attention(") == 1
    assert "for layer in weights.layers:" in source
    assert "query, key, value = " in source
    assert "weights.qkv.weight" in source


def test_the_code_is_as_long_for_more_layers() -> None:
    few, many = (fx2py.generate(exported(Stack(depth))).source for depth in (2, 12))
    assert len(many.splitlines()) <= 1.05 * len(few.splitlines())


def test_one_layer_that_is_called_again_is_a_loop_of_rounds() -> None:
    source = fx2py.generate(exported(Shared())).source
    assert "in range(3):" in source


def test_a_number_that_differs_is_an_argument() -> None:
    source = fx2py.generate(exported(Widths())).source
    assert source.count("def layer(") == 1
    assert re.search(r"layer\(x, 8, 16, weights.up\)", source)


def test_the_planned_peak_is_that_of_the_flat_code(program) -> None:
    from fx2py.program.analyses.peak_memory import planned_peak
    from fx2py.program.structure.moves import peak_of

    flat = fx2py.generate(program).program
    assert (peak_of(flat, structured(flat)) or 0) <= (planned_peak(flat).bytes or 0)


class Shrinking(nn.Module):
    """Layers of one class whose results differ in size."""

    class Layer(nn.Module):
        def forward(self, x, step: int):
            x = x[:, ::step].exp()
            x = x.sin()
            return x.cos() + 1

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(3)])

    def forward(self, x):
        for step, layer in enumerate(self.layers, 1):
            x = layer(x, step)
        return x


def test_sizes_of_each_call_count_where_one_function_serves_several() -> None:
    from fx2py.program.analyses.peak_memory import planned_peak
    from fx2py.program.structure.moves import peak_of

    flat = fx2py.generate(exported(Shrinking())).program
    assert peak_of(flat, structured(flat)) == planned_peak(flat).bytes


def test_where_sizes_vary_a_value_is_moved_that_would_outlive_its_use() -> None:
    batch = torch.export.Dim("batch", min=2)
    source = fx2py.generate(exported(Stack(3), dynamic_shapes={"x": {0: batch}})).source
    assert "moved = [x]" in source
    assert "layer(moved.pop(0)" not in source.split("def execution_fn")[0]


class Masked(nn.Module):
    """Layers that all read one value of the caller's."""

    class Layer(nn.Module):
        def forward(self, x, mask):
            x = x.masked_fill(mask, 0.0)
            x = x.exp().sin()
            return x + x.cos()

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(3)])

    def forward(self, x):
        mask = x.exp() > 1
        for layer in self.layers:
            x = layer(x, mask)
        return x


def test_what_every_round_of_a_loop_reads_is_not_moved() -> None:
    batch = torch.export.Dim("batch", min=2)
    source = fx2py.generate(exported(Masked(), dynamic_shapes={"x": {0: batch}})).source
    assert "layer(moved.pop(0), mask)" in source
    assert "del mask" not in source.split("def execution_fn")[0]


class Ordered(nn.Module):
    """A module that makes what it returns in another order."""

    class Inner(nn.Module):
        def forward(self, x):
            out = x.sin().exp()
            scale = x.cos().exp()
            return scale, out, None

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = self.Inner(), self.Inner()

    def forward(self, x):
        first_scale, first_out, _ = self.one(x)
        last_scale, last_out, _ = self.other(first_out * first_scale)
        return last_out * last_scale


def test_results_have_the_names_of_the_line_that_calls_a_module_in_any_order() -> None:
    source = fx2py.generate(exported(Ordered())).source
    assert "first_out, first_scale = inner(" in source
    assert "last_out, last_scale = inner(" in source


class Rotated(nn.Module):
    """A module whose two results its caller's line takes as one tuple."""

    class Rotary(nn.Module):
        def forward(self, x):
            cos = x.cos().exp()
            sin = x.sin().exp()
            return cos, sin

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = self.Rotary(), self.Rotary()

    def forward(self, x):
        position_embeddings = self.one(x)
        x = x * position_embeddings[0] + position_embeddings[1]
        position_embeddings = self.other(x)
        return x * position_embeddings[0] + position_embeddings[1]


def test_results_that_a_line_takes_as_one_tuple_keep_the_names_of_the_module_that_returns_them() -> None:
    source = fx2py.generate(exported(Rotated())).source
    assert source.count("cos, sin = rotary(") == 2
    assert "position_embeddings =" not in re.sub("#.*", "", source)


class Wrapped(nn.Module):
    """Layers that call one module and add to it, below a norm that gives its input's other form too, but for the last."""

    class Norm(nn.Module):
        def forward(self, x):
            x = x.to(torch.float32)
            y = x * x.pow(2).mean(-1, keepdim=True).rsqrt()
            return x, y

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))

        def forward(self, x):
            return x + self.inner(x)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.around = Wrapped.Norm(), Wrapped.Around()

        def forward(self, x):
            residual, x = self.norm(x)
            return (residual + self.around(x)).relu()

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer() for _ in range(3)])
        self.norm = self.Norm()

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        _, x = self.norm(x)
        return x


def test_what_only_calls_another_at_one_place_stays_inline() -> None:
    source = fx2py.generate(exported(Wrapped())).source
    assert "def around" not in source
    assert "def sequential(" in source


def test_a_call_that_needs_less_of_a_function_is_given_the_rest_too() -> None:
    source = fx2py.generate(exported(Wrapped())).source
    assert "_, x = norm(x" in source
    assert source.count("def norm") == 1


class Numbered(nn.Module):
    """Values of one line, each of which dies where the next is made of it."""

    class Layer(nn.Module):
        def forward(self, x):
            x = self.mixed(x.sin(), x.cos(), x.exp())
            return x.tanh() * x

        def mixed(self, low, mid, high):
            high = high * low
            return high - (mid.exp() * high).exp()

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = self.Layer(), self.Layer()

    def forward(self, x):
        return self.other(self.one(x))


def test_a_name_with_a_number_is_assigned_again_where_its_value_dies() -> None:
    source = fx2py.generate(exported(Numbered())).source
    assert "    del x_1\n    x_2 = torch.exp(x_2)\n" in source  # x_1 is free, and would leave a del of x_2


def test_a_graph_without_modules_stays_flat() -> None:
    class Plain(nn.Module):
        def forward(self, x):
            return x + 1

    program = exported(Plain())
    assert fx2py.generate(program).source == fx2py.generate(program).source


def test_sizes_may_vary() -> None:
    program = exported(Widths(), dynamic_shapes=None)
    batch = torch.export.Dim("batch", min=2)

    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), Norm(8)) for _ in range(3)])

        def forward(self, x):
            return self.layers(x).reshape(x.shape[0], -1)

    program = exported(Free(), dynamic_shapes={"x": {0: batch}})
    call = fx2py.generate(program).bind()
    assert torch.equal(call(torch.ones(5, 4, 8)), program.module()(torch.ones(5, 4, 8)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "stack_fx2py"
    fx2py.generate(exported(Stack(3))).write(path)
    return path


EDITS = {
    "a loop over something else": ("for layer in weights.layers:", "for layer in print(weights):"),
    "a weight that is called": ("weights.qkv.weight", "weights.qkv.weight()"),
    "no round of a loop": ("weights.layers:", "weights.layers[1:1]:"),
    "rounds without end": (
        "check_inputs(x)\n",
        "check_inputs(x)\n    for _ in range(1000000000000):\n        y = x\n",
    ),
    "a record in a list": ("check_inputs(x)\n", "check_inputs(x)\n    y = [weights.layers]\n"),
    "a record by another name": ("check_inputs(x)\n", "check_inputs(x)\n    y = weights.layers\n"),
    "what moves arguments by another name": (
        "check_inputs(x)\n",
        "check_inputs(x)\n    moved = [x]\n    y = moved\n",
    ),
    "what moves arguments changed": (
        "check_inputs(x)\n",
        "check_inputs(x)\n    moved = [x]\n    moved.append(x)\n",
    ),
    "the list of weights cleared": ("check_inputs(x)\n", "check_inputs(x)\n    weights.layers.clear()\n"),
    "a method of a weight": ("weights.qkv.weight", "weights.qkv.weight.register_hook"),
    "a method of a list": ("weights.layers:", "weights.layers.copy:"),
    "a record as a value": ("weights.qkv.weight", "weights.qkv"),
    "a class of a record": ("weights.norm)", "weights.__class__)"),
    "code in a loop": (
        "        moved = [x]\n",
        "        __import__('os').system('true')\n        moved = [x]\n",
    ),
    "a loop with an else": (
        "def block(",
        "def other(weights):\n    for _ in range(2):\n        x = weights.a\n    else:\n        x = weights.b\n    return x\n\n\ndef block(",
    ),
    "a while loop": (
        "def block(",
        "def other(x):\n    while True:\n        x = x + 1\n    return x\n\n\ndef block(",
    ),
    "a function under another name": ("attention(", "eval("),
}


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
def test_an_edit_that_reaches_further_is_refused(folder: Path, old: str, new: str) -> None:
    source = folder / "execution_fn.py"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new, 1))
    with pytest.raises((ArtifactError, UntrustedTargetError)):
        fx2py.open_artifact(folder).bind(policy=fx2py.Policy())


_PARAMETERS = [
    "x",
    *(f"p_layers_0_{name}" for name in ("up_bias", "up_weight", "down_bias", "down_weight")),
]
_BRANCH = f"def true_graph_0(\n    {', '.join(_PARAMETERS)},\n):\n".replace(", ", ",\n    ")
BRANCHES = {
    "a loop": "    for layer in weights.layers[0:1]:\n        y = layer.up.weight.__class__\n",
    "a method of a weight": "    y = weights.norm.weight.register_hook\n",
    "a record": "    y = weights.layers.clear()\n",
    "many arguments": "    y = weights.count\n",
    "the weights by another name": "    y = weights\n",
    "another value by the name of the weights": "    weights = x\n",
}


@pytest.mark.parametrize("name", BRANCHES)
def test_an_edit_of_a_branch_that_reaches_further_is_refused(tmp_path: Path, name: str) -> None:
    fx2py.generate(exported(Branches())).write(tmp_path / "out")
    source = tmp_path / "out" / "execution_fn.py"
    own = "*weights" if name == "many arguments" else ", ".join([*_PARAMETERS, "*", "weights"])
    text = source.read_text()
    assert _BRANCH in text
    source.write_text(text.replace(_BRANCH, f"def true_graph_0({own}):\n{BRANCHES[name]}"))
    with pytest.raises((ArtifactError, UntrustedTargetError)):
        fx2py.open_artifact(tmp_path / "out").bind(policy=fx2py.Policy())


LEFT_BEHIND = (
    "def other(x, weights):\n    y = weights.weight.register_hook\n    return torch.os.system(x)\n\n\n"
)


def test_a_function_that_nothing_calls_stays_as_it_is_unless_defining_it_does_something(folder: Path) -> None:
    source = folder / "execution_fn.py"
    text = source.read_text()
    source.write_text(text.replace("def execution_fn(", f"{LEFT_BEHIND}def execution_fn("))
    assert fx2py.diff(exported(Stack(3)), fx2py.open_artifact(folder), policy=fx2py.Policy()).equal
    for parameters in ("(x=torch.os, weights=1)", "(x, *, weights=1)"):
        changed = LEFT_BEHIND.replace("(x, weights)", parameters)
        source.write_text(text.replace("def execution_fn(", f"{changed}def execution_fn("))
        with pytest.raises((ArtifactError, UntrustedTargetError)):
            fx2py.open_artifact(folder).bind(policy=fx2py.Policy())


def test_an_edit_of_a_layer_counts_for_all_and_is_found(folder: Path) -> None:
    source = folder / "execution_fn.py"
    text = source.read_text()
    assert "1e-06" in text
    source.write_text(text.replace("1e-06", "1e-02"))
    assert not fx2py.diff(exported(Stack(3)), fx2py.open_artifact(folder)).equal


def test_code_that_calls_without_end_is_unsound() -> None:
    form = structured(fx2py.generate(exported(Stack(2))).program)
    *functions, entry = form.functions
    with pytest.raises(Unsound, match="arguments"):
        inlined(
            [*functions[:-1], functions[-1].__class__(**{**_fields(functions[-1]), "parameters": ()}), entry],
            _paths(form),
        )


def test_only_an_edited_text_is_limited_in_its_steps() -> None:
    """A generated program of many layers is inlined to be checked; its own size is no fault of it."""
    step = Function("step", (Parameter("x", "x"),), (), (), Ref("x"), module=CalledModule("", 2))
    rounds = Loop("_", 200_000, 0, 200_000, 200_000, (Assign("x", Call(Local("step"), (Ref("x"),))),))
    entry = Function("execution_fn", (Parameter("x", "x"),), (), (rounds,), Ref("x"))
    assert inlined([step, entry], []).result == Ref("x")
    with pytest.raises(Unsound, match="more than 1,000 steps"):
        inlined([step, entry], [], most=1_000)


def _fields(function: Any) -> dict[str, Any]:
    return {name: getattr(function, name) for name in function.__slots__}


def _paths(program: Any) -> list[str]:
    return [weight.path for weight in program.weights]


def test_every_error_is_one_of_fx2py() -> None:
    assert issubclass(ArtifactError, Fx2pyError)
