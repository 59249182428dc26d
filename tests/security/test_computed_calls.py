"""What a graph computes is never called: no function, class or module can be reached by walking along attributes."""

import collections

import pytest
import torch

import fx2py
from fx2py.errors import Fx2pyError, UntrustedTargetError
from fx2py.graph.values import OpName
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.runtime import fields_of
from fx2py.trust import Policy
from fx2py.trust.admitted import ValueKind
from fx2py.trust.calls import Calls
from fx2py.trust.functions import BACKEND
from tests.security.test_pickle_attacks import graph_with, write

READ = "read = torch.nn.attention._backend_from_string('__getattribute__');"
BODIES = {
    "attributes_of_an_enum": f"{READ}  result = torch.ops.higher_order.wrap(read, x, 'backward')",
    "attributes_of_an_enum_as_a_key": f"{READ}  result = sorted([x], key = read)",
    "computed_name": "word = '__%s__' % 'class';  result = torch.nn.attention._backend_from_string(word)",
    "method_by_an_operator": "max_1 = x.max;  result = torch.ops.higher_order.wrap(max_1)",
    "input_by_an_operator": "result = torch.ops.higher_order.wrap(x, x)",
    "item_by_an_operator": "item = x[0];  result = torch.ops.higher_order.cond(True, item, item, (x,))",
    "end_of_a_mask": "result = torch.ops.higher_order.flex_attention(x, x, x, x, (1, 1, x), 1.0, {}, (), ())",
    "operand_by_keyword": "result = torch.ops.higher_order.wrap(func = x)",
    "operand_of_an_operand": "result = torch.ops.higher_order.run_and_save_rng_state(x, x)",
}


@pytest.fixture(params=BODIES)
def path(request, tmp_path):
    code = f"\n\ndef forward(self, x):\n    {BODIES[request.param]};  x = None\n    return result\n"
    return write(graph_with(code), tmp_path / "graph.pt")


def test_generated_code_that_calls_what_it_computes_is_refused(path):
    with pytest.raises(UntrustedTargetError):
        fx2py.generate(path).bind()


def test_a_graph_that_calls_what_it_computes_is_refused(path):
    with pytest.raises(UntrustedTargetError):
        Reference(open_graph(path))(torch.ones(2))


def test_a_member_of_an_enum_is_read_by_its_name():
    read = Policy().resolve(BACKEND)
    assert read("MATH") is torch.nn.attention.SDPBackend.MATH
    with pytest.raises(UntrustedTargetError):
        read("__getattribute__")


@pytest.mark.parametrize("name", ["os", "__name__", "nn"])
def test_no_field_is_read_of_what_is_no_record(name):
    with pytest.raises(AttributeError):
        fields_of(torch, (name,))
    with pytest.raises(AttributeError):
        fields_of(torch.ones(2), (name,))


def test_fields_of_a_record_are_those_that_it_declares():
    point = collections.namedtuple("point", "x y")(1, 2)
    assert fields_of(point, ("x", "y")) == [1, 2]
    with pytest.raises(AttributeError):
        fields_of(point, ("x", "count"))


def test_fields_in_an_edited_folder_lead_nowhere(tmp_path):
    write(graph_with(), tmp_path / "graph.pt")
    fx2py.generate(tmp_path / "graph.pt").write(tmp_path / "folder")
    code = tmp_path / "folder" / "execution_fn.py"
    walk = 'a = torch.get_device_module("cuda")\n    relu = fields_of(a, ("os",))\n'
    lines = [walk if "relu = " in line else line for line in code.read_text().splitlines(keepends=True)]
    edited = "".join(lines).replace("a = ", "    a = ", 1)
    code.write_text(edited.replace("def execution_fn(x)", "def execution_fn(x, *, fields_of)"))
    policy = Policy(functions=frozenset({"torch.get_device_module"}))
    execute = fx2py.open_artifact(tmp_path / "folder").bind(policy=policy)
    with pytest.raises(AttributeError):
        execute(torch.ones(2))


@pytest.mark.parametrize("name", ["inline_asm_elementwise", "no_such_operator", "call_torchbind"])
def test_a_higher_order_operator_that_is_not_listed_is_refused(name):
    with pytest.raises(Fx2pyError):
        Policy().check(OpName("higher_order", name))


def test_the_option_admits_what_the_refusal_names():
    op = OpName("higher_order", "wrap")
    with pytest.raises(UntrustedTargetError, match=r"ops=.'higher_order'") as caught:
        Calls(Policy(), lambda part: ValueKind.DATA).function(op, ("f",), (), "a call")
    admitting = Policy(ops=frozenset({caught.value.admit.entry}))
    assert Calls(admitting, lambda part: ValueKind.DATA).function(op, ("f",), (), "a call") is ValueKind.DATA
