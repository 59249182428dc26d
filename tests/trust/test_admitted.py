"""The table of what is admitted: each line is decided anew, data gives data, and what has no line is refused."""

import collections
import inspect
from pathlib import Path

import pytest
import torch
from torch import fx
from torch._inductor.runtime.hints import HalideMeta

import fx2py.trust
from fx2py.errors import UntrustedTargetError
from fx2py.graph.values import Name, OpName, Record
from fx2py.trust import Policy, functions, operators
from fx2py.trust.admitted import ATTRIBUTES, FUNCTIONS, METHODS, OPERATORS, ValueKind
from fx2py.trust.calls import Calls
from fx2py.trust.data import code_in, is_code
from tests.trust import survey


class Called(collections.namedtuple("Called", "a")):
    def __call__(self):
        return 1


class Compared(collections.namedtuple("Compared", "a")):
    def __eq__(self, other):
        return True

    __hash__ = tuple.__hash__


TABLE = Path(fx2py.trust.__file__).with_name("admitted.txt")


def data():
    """A value of each type that a graph may compute."""
    weights = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    return [
        *(
            None,
            True,
            1,
            1.5,
            1j,
            "text",
            b"bytes",
            ...,
            range(2),
            slice(1),
            (1,),
            [1],
            {"a": 1},
            {1},
            frozenset(),
        ),
        *(collections.OrderedDict(), collections.defaultdict(list), collections.deque()),
        *(
            iter([1]),
            iter((1,)),
            iter("a"),
            iter({}),
            enumerate([1]),
            zip([1]),
            reversed([1]),
            iter(range(2)),
        ),
        *({}.items(), {}.keys(), {}.values()),
        *(torch.ones(2, 2), torch.ones(2, dtype=torch.complex64), torch.nn.Parameter(torch.ones(1)), weights),
        *(
            torch.float32,
            torch.device("cpu"),
            torch.strided,
            torch.contiguous_format,
            torch.per_tensor_affine,
        ),
        *(torch.Size([1]), torch.Generator(), torch.finfo(), torch.iinfo(torch.int32)),
        *(
            torch.nn.attention.SDPBackend.MATH,
            torch._C.DispatchKey.CPU,
            torch.nn.functional.ScalingType.TensorWise,
        ),
        *(torch.sort(torch.ones(2)), torch.frexp(torch.ones(1)), torch.aminmax(torch.ones(1))),
        torch.ops.quantized.linear_prepack(weights, None),
    ]


def kind_of(value):
    if type(value).__module__ == "torch.return_types":
        return ValueKind.RESULT
    limits = isinstance(value, torch.finfo | torch.iinfo)
    return (
        ValueKind.LIMITS
        if limits
        else ValueKind.DEVICE if isinstance(value, torch.device) else ValueKind.DATA
    )


@pytest.mark.skipif(torch.__version__.split("+")[0] != "2.13.0", reason="the table is that of torch 2.13.0")
def test_each_line_is_what_the_survey_decides():
    assert TABLE.read_text().splitlines() == list(survey.lines())


def test_each_function_that_is_refused_has_its_reason():
    decided = {id(value) for path, value in functions.functions().items()}
    left = [path for path, value in survey.functions_by_path().items() if id(value) not in decided]
    refused = {path for path in functions.candidates() if path in survey.REFUSED}
    objects = {id(functions.candidates()[path]) for path in refused}
    assert [path for path in left if id(functions.candidates()[path]) not in objects] == []


@pytest.mark.parametrize("kind", [type(each).__name__ for each in data()])
def test_data_is_no_code(kind):
    assert not any(is_code(each) for each in data() if type(each).__name__ == kind)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_an_attribute_is_data_of_whatever_it_may_be_read(name):
    of, result = ATTRIBUTES[name]
    for value in data():
        kind = kind_of(value)
        if of and kind not in of:
            continue
        try:
            found = getattr(value, name)
        except (AttributeError, RuntimeError, NotImplementedError):
            continue
        assert code_in(found) is None
        assert result is ValueKind.DATA or kind_of(found) is result


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_gives_data_of_whatever_it_may_be_called(name):
    rule = METHODS[name]
    for value in data():
        for args in ((), (1,), (0,), (torch.ones(2, 2),)):
            try:
                found = getattr(value, name)(*args)
            except Exception:
                continue
            assert code_in(found) is None
            if rule.result is ValueKind.RESULT and not (
                rule.needs_dim and not (args and type(args[0]) is int)
            ):
                assert found is None or kind_of(found) is ValueKind.RESULT


@pytest.mark.parametrize("path", sorted(FUNCTIONS))
def test_a_function_takes_nothing_that_it_would_call(path):
    """What a function in Python names as callable it must not be given; operators take what their schemas list."""
    value, rule = functions.candidates()[path], FUNCTIONS[path]
    if not inspect.isfunction(value) or path in survey.CONTEXTS:
        return
    parameters = survey._parameters(value) or []
    called = {
        each.partition(":")[0].partition("=")[0].strip() for each in parameters if survey.CALLED.search(each)
    }
    assert called <= rule.without


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_takes_and_gives_data(name):
    namespace, _, own = name.partition("::")
    assert survey.is_typed(name)
    assert operators.admits(OpName(namespace, own)) or name in operators._WITHHELD or namespace == "prim"


def test_what_a_newer_torch_brings_is_refused(monkeypatch):
    monkeypatch.setattr(torch.functional, "new_in_this_version", lambda x: x, raising=False)
    functions.candidates.cache_clear()
    functions.rules.cache_clear()
    functions.functions.cache_clear()
    with pytest.raises(UntrustedTargetError, match="new_in_this_version"):
        Policy().check(Name("torch.functional", "new_in_this_version"))


def test_an_operator_that_is_not_listed_is_refused():
    library = torch.library.Library("aten", "FRAGMENT")
    library.define("fx2py_new_operator(Tensor x) -> Tensor")
    with pytest.raises(UntrustedTargetError):
        Policy().check(OpName("aten", "fx2py_new_operator", "default"))


def test_a_method_of_a_class_is_refused():
    calls = Calls(Policy(), lambda value: ValueKind.DATA)
    for receiver in (Name("builtins", "dict"), Name("torch", "Tensor"), (Name("builtins", "int"),)):
        with pytest.raises(UntrustedTargetError, match="a class"):
            calls.method("__setitem__", (receiver, "a", 1), (), "a call")


def built(cls):
    return Record(Name(cls.__module__, cls.__qualname__), (("a", 1),))


@pytest.mark.parametrize("cls", [HalideMeta, Called, Compared, fx.immutable_collections.immutable_list])
def test_a_record_that_a_call_takes_has_data_alone(cls):
    """``HalideMeta.is_cuda`` is a method, where a tensor's is a bool."""
    calls = Calls(Policy(), lambda value: ValueKind.DATA)
    if cls is fx.immutable_collections.immutable_list:
        calls.data([built(cls)], "a call")
        return
    with pytest.raises(UntrustedTargetError, match="has code of its own"):
        calls.data([built(cls)], "a call")
    if cls is not Called:
        calls.result((built(cls),), "the result")
