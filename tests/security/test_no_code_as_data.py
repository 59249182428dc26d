"""No value of a graph is code: every link of the chains that once led from a saved graph to a call of its choice."""

import pytest
import torch
from torch import nn

import fx2py
from fx2py.errors import Fx2pyError, UntrustedTargetError
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy
from tests.security.test_pickle_attacks import graph_with, write

LINKS = {
    "any attribute of a ParameterDict": "box = self.box;  result = box['__init__']",
    "a method of a ParameterDict that compiles": "box = self.box;  result = box['compile']",
    "an attribute of a ParameterDict set": "box = self.box;  box['forward'] = x;  setitem = box",
    "an attribute by the function": "box = self.box;  result = _operator.getitem(box, '__class__')",
    "an attribute set by the function": "box = self.box;  result = _operator.setitem(box, 'forward', x)",
    "an attribute deleted": "box = self.box;  result = _operator.delitem(box, 'weight')",
    "a method of a module": "box = self.box;  result = box.__getitem__('__init__')",
    "a method that sets": "box = self.box;  result = box.__setitem__('forward', x)",
    "a module updated": "box = self.box;  result = box.update({'forward': x})",
    "a module in a container": "box = self.box;  result = list([box])",
    "a module taken from a container": "box = self.box;  pair = tuple((box, x));  item = pair[0]",
    "a module as an argument": "box = self.box;  result = torch.relu(box)",
    "a module as a receiver": "layer = self.layer;  result = layer.add(x)",
    "a module kept by a list": "kept = list([x]);  box = self.box;  grown = kept.append(box)",
    "the modules of a list": "layers = self.layers;  result = iter(layers)",
    "a module passed to a module": "box = self.box;  result = self.layer(box)",
    "a module as a result": "result = self.box",
    "a method of a class": "result = torch.Tensor.__getitem__(torch.Tensor, 0)",
    "a class as a receiver": "result = getattr(torch.Tensor, 'shape')",
    "a class made generic": "result = _operator.getitem(list, int)",
    "a class in a list": "result = list([int])",
    "a class that is appended": "kept = list([x]);  grown = kept.append(int);  item = kept[1]",
    "a method of a list": "items = list([x]);  f = getattr(items, 'index');  found = torch.relu(x)",
    "a method of a tensor": "result = x.values",
    "a method of a slice": "part = slice(1, 2, None);  result = getattr(part, 'indices')",
    "a method of what a function may return": "most = torch.max(x);  result = most.values",
    "the node of autograd": "y = x * 2;  result = y.grad_fn",
    "the node by its getter": "result = torch.Tensor.grad_fn.__get__(x)",
    "cond by its function": "f = getattr([x], 'index');  result = torch.cond(True, f, f, (x,))",
    "cond of a tensor": "result = torch.cond(True, x, x, (x,))",
    "while_loop of a tensor": "result = torch.while_loop(x, x, (x,))",
    "cond of a module that is no graph": "f = self.layer;  "
    "result = torch.ops.higher_order.cond(True, f, f, (x,))",
    "cond of a module by keyword": "f = self.layer;  result = torch.cond(True, true_fn = f, false_fn = f)",
    "a module among the operands": "f = self.layer;  result = torch.ops.higher_order.wrap(f, f)",
    "an operator as a value": "result = torch.relu(torch.ops.aten.relu.default)",
    "an operator called by another": "result = torch.ops.higher_order.with_effects(x, "
    "torch.ops.higher_order.wrap, x, x)",
    "iter with a sentinel": "result = iter(x, 1)",
    "next of that": "f = x.values;  items = iter(f, 1);  result = next(items)",
    "sorted by a key": "result = sorted([x], key = x)",
    "max by a key": "result = max([x], key = x)",
    "min by a key": "result = min([x], key = x)",
    "list.sort by a key": "items = list([x]);  done = items.sort(key = x)",
    "sorted by a device": "result = sorted([x], key = device(type='cpu'))",
    "sorted by a class": "result = sorted([x], key = int)",
    "a distance of one's own": "result = torch.nn.functional.triplet_margin_with_distance_loss("
    "x, x, x, distance_function = int)",
    "a decorator": "result = torch.no_grad(x)",
    "a decorator by another name": "result = torch.enable_grad(orig_func = x)",
    "inference_mode as a decorator": "f = torch.inference_mode(x);  result = list([f])",
    "a context that is called": "f = torch.amp.autocast_mode._enter_autocast('cpu', None, True, None);  "
    "result = list([f])",
    "a module of torch": "result = torch.get_device_module('cpu')",
    "torch.compile": "result = torch.compile(x)",
    "a compiler's options": "result = torch.compile(options = {'cpp.cxx': ('sh',)})",
    "an array": "result = x.numpy()",
    "an array by its protocol": "result = x.__array__()",
    "a format that reads attributes": "result = torch.ops.higher_order.print('{0.__class__.__init__}', x)",
    "a format that is computed": "text = str(x);  result = torch.ops.higher_order.print(text, x)",
    "a callback of lobpcg": "result = torch.lobpcg(x, tracker = x)",
    "a class by the keyword of a dict": "result = dict(dtype = int)",
    "a class by the keyword of an update": "kept = dict();  done = kept.update(dtype = int)",
    "a method by a path through a module": "layer = self.layer;  size = len(layer);  result = self.layer.type",
    "a message that is called": "result = torch._check(False, x)",
}


def saved(body, path, **attributes):
    result = "result" if "result =" in body else "x"
    code = f"\n\ndef forward(self, x):\n    {body}\n    return {result}\n"
    modules = {
        "box": nn.ParameterDict({"weight": nn.Parameter(torch.ones(2))}),
        "layer": nn.Linear(2, 2),
        "layers": nn.ModuleList([nn.ReLU()]),
    }
    return write(
        graph_with(
            code, "import torch\nimport _operator\nfrom torch import device", _modules=modules, **attributes
        ),
        path,
    )


@pytest.fixture(params=LINKS)
def path(request, tmp_path):
    return saved(LINKS[request.param], tmp_path / "graph.pt")


def test_the_interpreter_refuses_before_anything_runs(path):
    with pytest.raises(UntrustedTargetError):
        Reference(open_graph(path))


def test_generated_code_is_refused_before_anything_runs(path):
    with pytest.raises(UntrustedTargetError):
        fx2py.generate(path).bind()


def test_an_edited_folder_is_refused_before_anything_runs(path, tmp_path):
    folder = fx2py.generate(path).write(tmp_path / "folder").folder
    code = folder / "execution_fn.py"
    code.write_text(code.read_text().replace("x", "y", 0) + "\n")
    with pytest.raises(UntrustedTargetError):
        fx2py.open_artifact(folder).bind()


def test_a_path_leads_to_nothing_that_the_file_does_not_hold(tmp_path):
    """``type`` is data of a device, and a method of every module."""
    path = saved("done = self.layer(x);  result = self.layer.type", tmp_path / "graph.pt")
    with pytest.raises(Fx2pyError, match="holds nothing there"):
        Reference(open_graph(path))(torch.ones(2))
    with pytest.raises(Fx2pyError, match="no attribute"):
        fx2py.generate(path)


def test_a_weight_is_read_after_its_module_was_called(tmp_path):
    path = saved("done = self.layer(x);  result = self.layer.weight", tmp_path / "graph.pt")
    weight = open_graph(path).root.children["layer"].parameters["weight"]
    for run in (Reference(open_graph(path)), fx2py.generate(path).bind()):
        assert torch.equal(run(torch.ones(2)), weight)


READS = {
    "a parameter of a ParameterDict": ("box = self.box;  result = box['weight']", torch.ones(2)),
    "how many a module holds": ("layers = self.layers;  result = len(layers)", 1),
    "the type of a number": ("result = isinstance(x, torch.Tensor)", True),
    "one of several types": ("result = isinstance(x, (int, float))", False),
    "a type as a dtype": ("y = x.to(int);  result = y.dtype", torch.int64),
    "a dtype by keyword": ("y = torch.ones(2, dtype = int);  result = y.dtype", torch.int64),
    "the type of a device": ("place = x.device;  result = place.type", "cpu"),
    "the index of a device": ("place = x.device;  result = place.index", None),
    "the limit of a dtype": (
        "kind = x.dtype;  limits = torch.finfo(kind);  result = limits.max",
        3.4028234663852886e38,
    ),
    "a field of a sort": ("pair = x.sort();  result = pair.indices", torch.tensor([0, 1])),
    "a field of a maximum": ("pair = torch.max(x, dim = 0);  result = pair.indices", torch.tensor(0)),
    "a format of numbers": ("done = torch.ops.higher_order.print('{} {name}', 1, name = 2)", torch.ones(2)),
    "sorted without a key": ("result = sorted([2, 1], key = None)", [1, 2]),
}


@pytest.mark.parametrize("name", READS)
def test_what_is_data_is_still_read(name, tmp_path):
    body, expected = READS[name]
    path = saved(body, tmp_path / "graph.pt")
    for run in (Reference(open_graph(path)), fx2py.generate(path).bind()):
        found = run(torch.ones(2))
        assert torch.equal(found, expected) if isinstance(expected, torch.Tensor) else found == expected


def test_the_option_turns_the_gate_off(tmp_path):
    path = saved(
        "items = list([x]);  f = getattr(items, 'index');  result = list([f])", tmp_path / "graph.pt"
    )
    trusting = Policy(trust_all=True)
    for run in (Reference(open_graph(path), trusting), fx2py.generate(path).bind(policy=trusting)):
        assert callable(run(torch.ones(2))[0])
