"""Names that are long and alike: whoever cuts a graph or writes it down keeps them apart."""

import keyword
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

import fx2py
from fx2py.integrations.dynamo import fx2py_backend
from fx2py.integrations.vllm import compile_execution_fn, generate_execution_code, split_graph
from fx2py.program.identifiers import is_identifier
from tests.checking import assert_same_behaviour

X = torch.randn(3, generator=torch.Generator().manual_seed(0))
WORDS = st.sampled_from(
    ["layer", "self", "modules", "weight", "query", "key", "0", "1", "class", "input", "größe"]
)
PREFIXES = st.lists(WORDS, max_size=20).map("_".join)


@st.composite
def alike(draw: st.DrawFn, fewest: int = 4) -> list[str]:
    """Different names of which most begin alike, some for hundreds of characters; and some that Python keeps for itself."""
    prefix, suffix = draw(PREFIXES), draw(PREFIXES)
    middles = draw(st.lists(WORDS, min_size=fewest, max_size=8).map(tuple))
    names = [f"{prefix}_{middle}{number}_{suffix}" for number, middle in enumerate(middles)]
    rest = st.one_of(
        st.sampled_from([*keyword.kwlist, *(f"{word}_1" for word in keyword.kwlist)]), st.text(max_size=99)
    )
    return list(dict.fromkeys([*names, *draw(st.lists(rest, max_size=4))]))


class Nested(nn.Module):
    def __init__(self, names: list[str]) -> None:
        super().__init__()
        for name in names:
            self.add_module(f"m_{name}", nn.Linear(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def graph_of(names: list[str]) -> fx.GraphModule:
    """A graph whose inputs, nodes, weights and modules have these names, and in which every value is needed to its end."""
    torch.manual_seed(0)
    names = [name for name in names if is_identifier(f"w_{name}")]
    root, graph = nn.Module(), fx.Graph()
    root.nested = Nested(names)
    values = [graph.placeholder(f"x_{number}") for number in range(2)]
    for name in names:
        root.register_parameter(f"w_{name}", nn.Parameter(torch.randn(3)))
    for name in names:
        weight = graph.create_node("get_attr", f"w_{name}", name=f"w_{name}")
        inner = graph.create_node("call_module", f"nested.m_{name}", (values[-1],), name=f"nested_{name}")
        values.append(graph.create_node("call_function", torch.mul, (inner, weight), name=name))
    values.append(graph.create_node("call_function", torch.relu, (values[-1],)))
    values += [
        graph.create_node("call_function", torch.sub, (value, values[-1]), name=f"{name}_late")
        for name, value in zip(names, values[2:], strict=False)
    ]
    graph.output(tuple(values[2:]))
    return fx.GraphModule(root, graph)


def drop_in(gm: fx.GraphModule) -> Callable[..., object]:
    split, _ = split_graph(gm, ["torch.relu"])
    code, submods, consts = generate_execution_code(split)
    return compile_execution_fn(code, {name: getattr(split, name) for name in submods}, submods, consts)


def generated(gm: fx.GraphModule, **options: object) -> Callable[..., object]:
    return fx2py.generate(gm, options=fx2py.GenerateOptions(**options)).bind()


WAYS = {
    "generated": generated,
    "generated for its split": lambda gm: generated(gm, split_at=("torch.relu",)),
    "generated with pieces": lambda gm: generated(gm, split_at=("torch.relu",), keep_submodules=True),
    "split": lambda gm: fx2py.split(gm, "torch.relu"),
    "split and generated": lambda gm: generated(fx2py.split(gm, "torch.relu"), keep_submodules=True),
    "split_graph": lambda gm: split_graph(gm, ["torch.relu"])[0],
    "the drop-in's code": drop_in,
    "backend": lambda gm: fx2py_backend(gm, [X, X], options={"split_at": "torch.relu"}),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(names=alike())
def test_the_graph_computes_the_same_however_it_is_cut(way, names):
    gm = graph_of(names)
    with torch.no_grad():
        assert_same_behaviour(WAYS[way](gm), gm, (X, X + 1))


@settings(max_examples=25, deadline=None)
@given(names=alike())
def test_a_file_of_a_split_holds_every_name(names, tmp_path_factory):
    gm = graph_of(names)
    folder = tmp_path_factory.mktemp("split")
    split = fx2py.split(gm, "torch.relu")
    fx2py.save_graph(split, folder / "split.fx2py")
    artifact = fx2py.generate(folder / "split.fx2py", options=fx2py.GenerateOptions(keep_submodules=True))
    execute = fx2py.open_artifact(artifact.write(folder / "code").folder).bind()
    with torch.no_grad():
        assert_same_behaviour(execute, gm, (X, X + 1))


LONG = "l_self_modules_encoder_modules_layer_modules_0_modules_attention_modules_self_modules_"


def test_a_compiler_gets_pieces_whose_inputs_are_long_and_alike():
    gm = graph_of(
        [f"{LONG}query_parameters_weight", f"{LONG}key_parameters_weight", f"{LONG}query_parameters_bias"]
    )
    with torch.no_grad():
        compiled = fx2py_backend(gm, [X, X], options={"split_at": "torch.relu", "inner": "aot_eager"})
        assert_same_behaviour(compiled, gm, (X, X + 1))
