"""Literal arguments and results: every bit, every type, and what has no literal at all."""

import enum
import math
import operator
import struct
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import fx, nn
from torch.nn.attention import SDPBackend

import fx2py
from fx2py.errors import UnsupportedGraphError
from fx2py.trust import Policy
from tests.edge_cases.building import X, call_graph, lazily, module_of, output_graph

FLOATS = {
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
    "negative nan": -math.nan,
    "negative zero": -0.0,
    "zero": 0.0,
    "tenth": 0.1,
    "smallest": 5e-324,
    "largest": 1.7976931348623157e308,
    "17 digits": 0.30000000000000004,
    "third": 1 / 3,
    "negative": -1e-05,
}


@pytest.mark.parametrize("number", FLOATS.values(), ids=FLOATS)
def test_float_keeps_every_bit(assert_exact, number):
    """pytorch/pytorch 46748."""
    assert_exact(output_graph((number, [number], {"key": number})), 0)
    assert_exact(call_graph(torch.mul, X, number), torch.ones(2))


def test_payload_of_a_nan_is_kept():
    payload = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_0000_0123))[0]
    result = fx2py.generate(output_graph([payload])).bind()(0)
    assert struct.pack("d", result[0]) == struct.pack("d", payload)


PARTS = (0.0, -0.0, 1.5, -2.0, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("real", PARTS)
def test_complex_keeps_both_parts(assert_exact, real):
    """pytorch/pytorch 188596."""
    assert_exact(output_graph([complex(real, imaginary) for imaginary in PARTS]), 0, through=["fx2py"])


def test_complex_as_argument(assert_exact):
    assert_exact(
        call_graph(torch.mul, X, complex(-0.0, 2.0)), torch.ones(2, dtype=torch.complex64), through=["fx2py"]
    )


@pytest.mark.parametrize(
    "number",
    [2**63, 2**64, -(2**63), -(2**64) - 1, 10**400, -(10**400), 1 << 20_000, 0, -1],
    ids=int.bit_length,
)
def test_integer_of_any_size(assert_exact, number):
    assert_exact(output_graph((number, [number])), 0, through=["fx2py"])


def test_bool_is_not_an_int(assert_exact):
    assert_exact(output_graph([True, 1, False, 0, 1.0, {True: 1, 0: False}]), 0)


TEXTS = [
    *(
        "",
        "'",
        '"',
        "'\"",
        '"""',
        "\\",
        "\\n",
        "\n",
        "\r\n",
        "\0",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
    ),
    *("é漢😀", "{x}", "%s", "# type: ignore", "a" * 10_000, "\u202eabc", "\N{ZERO WIDTH SPACE}"),
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_text_is_kept(assert_exact, text):
    assert_exact(output_graph((text, {text: [text]})), 0, through=["fx2py"])


@pytest.mark.parametrize("data", [b"", b"'", b'"\\', bytes(range(256))], ids=len)
def test_bytes_are_kept(assert_exact, data):
    assert_exact(output_graph((data, [data])), 0, through=["fx2py"])


class Plain(enum.Enum):
    ONE = 1
    ALIAS = 1  # noqa: PIE796 - an alias is the point
    TWO = "two"


class Number(enum.IntEnum):
    SEVEN = 7


class Text(str, enum.Enum):
    WORD = "word"


class Bits(enum.Flag):
    READ = 1
    WRITE = 2


ENUM_POLICY = Policy(classes=frozenset(f"{__name__}.{name}" for name in ("Plain", "Number", "Text", "Bits")))


@pytest.mark.parametrize("member", [Plain.ONE, Plain.ALIAS, Plain.TWO, Number.SEVEN, Text.WORD, Bits.READ])
def test_enum_member_stays_that_member(assert_exact, member):
    """pytorch/pytorch 194756."""
    assert_exact(output_graph([member, {"key": member}]), 0, through=["fx2py"], policy=ENUM_POLICY)
    assert_exact(call_graph(operator.eq, X, member), member.value, through=["fx2py"], policy=ENUM_POLICY)


def test_combined_flags_stay_combined(assert_exact):
    assert_exact(output_graph([Bits.READ | Bits.WRITE]), 0, through=[])


def test_int_enum_as_a_dimension(assert_exact):
    graph = call_graph(torch.unsqueeze, X, Number.SEVEN)
    assert_exact(graph, torch.ones(1, 1, 1, 1, 1, 1, 1), through=["fx2py"], policy=ENUM_POLICY)


@pytest.mark.parametrize("member", [SDPBackend.MATH, torch._C._SDPBackend.FLASH_ATTENTION], ids=str)
def test_enum_of_torch_bindings_stays_that_member(assert_exact, member):
    """pytorch/pytorch 194573."""
    assert_exact(output_graph([member]), 0, through=["fx2py"])


TORCH_VALUES = [
    torch.device("cpu"),
    torch.device("cuda", 1),
    torch.device("meta"),
    *(torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.complex128, torch.quint8, torch.bits8),
    *(torch.strided, torch.sparse_csr, torch._mkldnn),
    *(torch.contiguous_format, torch.channels_last, torch.channels_last_3d, torch.preserve_format),
    *(torch.per_tensor_affine, torch.per_channel_symmetric),
]


@pytest.mark.parametrize("value", TORCH_VALUES, ids=str)
def test_value_of_torch_is_kept(assert_exact, value):
    assert_exact(output_graph((value, [value])), 0, through=["fx2py"])


def test_device_and_dtype_as_arguments(assert_exact):
    gm = call_graph(
        torch.zeros_like, X, dtype=torch.float16, device=torch.device("cpu"), layout=torch.strided
    )
    assert_exact(gm, torch.ones(2))


def test_size_stays_a_size(assert_exact):
    assert_exact(output_graph((torch.Size([2, 3]), [torch.Size([])])), 0)


def test_size_that_holds_a_node(assert_exact):
    assert_exact(call_graph(torch.zeros, torch.Size([2, 3])), 0)


def test_generator_as_an_argument_is_advanced():
    """The generator is an object with a state: the call must use that one."""
    generator = torch.Generator().manual_seed(7)
    graph = fx.Graph()
    graph.output(graph.call_function(torch.bernoulli, (graph.placeholder("x"),), {"generator": generator}))
    run = fx2py.generate(module_of(graph)).bind()
    state = generator.get_state()
    first = run(torch.full((8,), 0.5))
    again = torch.Generator()
    again.set_state(state)
    assert torch.equal(first, torch.bernoulli(torch.full((8,), 0.5), generator=again))
    assert not torch.equal(generator.get_state(), state)


def test_placement_of_a_distributed_tensor_is_kept(assert_exact):
    placements = pytest.importorskip("torch.distributed.tensor")
    values = [placements.Shard(1), placements.Replicate(), placements.Partial("sum")]
    assert_exact(output_graph([values, tuple(values)]), 0, through=[])


INDICES = {
    "integer": 1,
    "slice": slice(1, None, 2),
    "whole": slice(None),
    "ellipsis": (..., 0),
    "none": None,
    "tuple": (slice(None), 0, None),
    "list": [0, 2],
    "nested list": ([0, 1], slice(None, None, 1)),
    "bool": True,
    "negative": (slice(-2, None), -1),
    "empty": (),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_index_of_any_kind(assert_exact, index):
    assert_exact(call_graph(operator.getitem, X, index), torch.arange(12.0).reshape(3, 4))


def test_node_inside_a_slice(assert_exact):
    graph = fx.Graph()
    x, n = graph.placeholder("x"), graph.placeholder("n")
    indices = [slice(n, None), (slice(None, n), n), (..., slice(0, None, n)), n]
    graph.output([graph.call_function(operator.getitem, (x, index)) for index in indices])
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.arange(12.0).reshape(3, 4), 2)


def test_item_picked_by_text_by_number_and_by_node(assert_exact):
    graph = fx.Graph()
    batch, key = graph.placeholder("batch"), graph.placeholder("key")
    graph.output([graph.call_function(operator.getitem, (batch, pick)) for pick in ("it's", 7, None, key)])
    assert_exact(fx.GraphModule(nn.Module(), graph), {"it's": 1, 7: 2, None: 3, (1,): 4}, (1,))


def test_mask_and_tensor_as_index(assert_exact):
    graph = fx.Graph()
    x, mask = graph.placeholder("x"), graph.placeholder("mask")
    graph.output([graph.call_function(operator.getitem, (x, index)) for index in (mask, (mask, 0), [mask])])
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(3, 2), torch.tensor([True, False, True]))


Point = namedtuple("Point", ["x", "y"])
POINT_POLICY = Policy(functions=frozenset({"builtins.getattr"}), classes=frozenset({f"{__name__}.Point"}))


def test_namedtuple_keeps_its_type_in_arguments_and_results(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    picked = graph.call_function(getattr, (Point(x, [x, 1]), "y"))
    graph.output((Point(x, Point(1, picked)), {"key": Point(None, x)}))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"], policy=POINT_POLICY)


def test_namedtuple_in_a_saved_graph_keeps_its_type(assert_exact):
    assert_exact(output_graph(Point(X, 1)), torch.ones(2), policy=POINT_POLICY)


def test_named_result_of_torch_keeps_its_type(assert_exact):
    assert_exact(call_graph(torch.max, X, 0), torch.ones(2, 3))


@dataclass
class Answer:
    logits: torch.Tensor
    extra: object = None


def test_dataclass_in_arguments_keeps_its_type(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(getattr, (Answer(x, [x]), "extra")))
    assert_exact(module_of(graph), torch.ones(2), through=[])


def test_containers_come_out_as_plain_list_and_dict(assert_exact):
    gm = output_graph([[X, []], {"a": [1], "b": {}}, ([2],)])
    result = assert_exact(gm, torch.ones(2)).bind()(torch.ones(2))
    assert type(result) is list
    assert type(result[0]) is list
    assert type(result[1]) is dict
    assert type(result[1]["a"]) is list


def test_container_of_a_result_is_new_on_each_call():
    run = fx2py.generate(output_graph([[1], {"a": [2]}])).bind()
    first = run(0)
    first[0].append(3)
    first[1]["a"].append(4)
    assert run(0) == [[1], {"a": [2]}]


def test_container_of_an_argument_is_new_on_each_call(assert_exact):
    assert_exact(lazily(operator.iadd, [1], X), [2], through=["fx2py"])


def test_dict_keeps_its_order_and_its_keys(assert_exact):
    keyed = {"b": X, "a": 1, 3: 2, None: 3, (1, "x"): [X], True: 4, 2.5: 5, b"bytes": 6}
    assert_exact(output_graph(keyed), torch.ones(2), through=["fx2py"])


def test_ordered_dict_in_an_argument(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(list, (OrderedDict(b=x, a=x),)))
    assert_exact(module_of(graph), 1, through=["fx2py"])


@pytest.mark.parametrize(
    "value",
    [set(), {1, 2}, frozenset(), frozenset({"a"}), {1, "a", None, 2.5}, range(3), range(5, 0, -2), range(0)],
    ids=lambda value: f"{type(value).__name__} of {len(value)}",
)
def test_set_and_range_are_kept(assert_exact, value):
    assert_exact(call_graph(operator.contains, value, X), 1, through=["fx2py"])
    assert_exact(output_graph([value]), 0, through=["fx2py"])


@pytest.mark.parametrize("number", [128, 200, 65480 % 256])
def test_a_device_with_a_number_that_torch_cannot_count_to_is_refused(number):
    with pytest.raises(UnsupportedGraphError, match="cannot count to"):
        fx2py.generate(call_graph(torch.zeros, (2,), device=torch.device("cpu", number)))


def test_a_device_with_the_largest_number_is_kept():
    artifact = fx2py.generate(call_graph(torch.zeros, (2,), device=torch.device("cpu", 127)))
    assert '"cpu:127"' in artifact.tables
