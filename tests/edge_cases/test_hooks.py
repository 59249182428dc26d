"""Hooks of modules: live ones run; those of a file are code that it only names, so what needs them is refused."""

import copy
import io
import operator
import pickle

import pytest
import torch
from torch import fx, nn
from torch.fx._graph_pickler import GraphPickler, Options

import fx2py
from fx2py.errors import ReplayError
from fx2py.read import open_graph
from tests.checking import assert_same_behaviour

X = torch.ones(2, 3)


def doubled(module, args, result):
    return result * 2


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 3))

    def forward(self, x):
        return self.second(self.first(x))


class LeavesOnly(fx.Tracer):
    def is_leaf_module(self, module, name):
        return True


def traced(model):
    tracer = LeavesOnly()
    gm = fx.GraphModule(model, tracer.trace(model))
    gm._tracer_cls = None
    gm.graph._tracer_cls = None
    return gm


def weight_normed():
    model = Layers()
    nn.utils.weight_norm(model.first)
    return model


def hooked_inside():
    model = Layers()
    model.second[1].register_forward_hook(doubled)
    return model


def observing_gradients():
    model = Layers()
    model.first.register_full_backward_hook(doubled)
    return model


SAVERS = {
    "torch.save": lambda gm, path: torch.save(gm, path),
    "stream": lambda gm, path: torch.save(gm, path, _use_new_zipfile_serialization=False),
    "pickle": lambda gm, path: path.write_bytes(pickle.dumps(gm)),
    "GraphPickler": lambda gm, path: path.write_bytes(GraphPickler.dumps(gm, Options(ops_filter=None))),
}
MODELS = {
    "weight_norm": (weight_normed, "'first' has _forward_pre_hooks (torch.nn.utils.weight_norm.WeightNorm)"),
    "inside": (hooked_inside, "'second.1' has _forward_hooks (tests.edge_cases.test_hooks.doubled)"),
    "backward": (observing_gradients, "'first' has _backward_hooks (tests.edge_cases.test_hooks.doubled)"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
@pytest.mark.parametrize(("make", "reason"), MODELS.values(), ids=MODELS)
def test_a_saved_module_with_hooks_is_shown_and_refused(tmp_path, make, reason, save):
    path = tmp_path / "graph"
    save(traced(make()), path)
    artifact = fx2py.generate(path)
    assert any(reason in note for note in artifact.manifest.notes)
    opened = fx2py.open_artifact(artifact.write(tmp_path / "folder").folder)
    for code in (artifact, opened):
        with pytest.raises(ReplayError) as caught:
            code.bind()
        assert reason in caught.value.message
    with pytest.raises(ReplayError) as caught:
        fx2py.diff(path, artifact, args=(X,))
    assert reason in caught.value.message


def test_a_callable_may_stand_for_a_module_whose_hooks_a_file_lost(tmp_path):
    model = hooked_inside()
    torch.save(traced(copy.deepcopy(model)), tmp_path / "graph.pt")
    run = fx2py.generate(tmp_path / "graph.pt").bind(submods={"second": model.second})
    assert_same_behaviour(run, model, (X,))


def nested(hook):
    inner, graph = fx.symbolic_trace(nn.ReLU()), fx.Graph()
    inner.register_forward_hook(hook)
    graph.output(graph.call_module("inner", (graph.placeholder("x"),)))
    return fx.GraphModule({"inner": inner}, graph)


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_a_nested_graph_with_hooks_is_not_flattened_without_them(tmp_path, save):
    save(nested(doubled), tmp_path / "graph")
    artifact = fx2py.generate(tmp_path / "graph")
    with pytest.raises(ReplayError, match="'inner' has _forward_hooks"):
        artifact.bind()
    with pytest.raises(ReplayError, match="'inner' has _forward_hooks"):
        fx2py.diff(tmp_path / "graph", artifact, args=(X,))


def branching():
    """A graph of torch.cond whose first operand has a hook."""
    graph = fx.Graph()
    flag, x = graph.placeholder("flag"), graph.placeholder("x")
    branches = (graph.get_attr("one"), graph.get_attr("other"))
    chosen = graph.call_function(torch.ops.higher_order.cond, (flag, *branches, (x,)))
    graph.output(graph.call_function(operator.getitem, (chosen, 0)))
    gm = fx.GraphModule({"one": branch(torch.sin), "other": branch(torch.cos)}, graph)
    gm.one.register_forward_hook(tripled)
    return gm


def tripled(module, args, result):
    return (result[0] * 3,)


def branch(function):
    graph = fx.Graph()
    graph.output((graph.call_function(function, (graph.placeholder("x"),)),))
    return fx.GraphModule({}, graph)


def test_a_live_operand_keeps_its_hooks():
    run = fx2py.generate(branching()).bind()
    assert torch.equal(run(torch.tensor(True), X), X.sin() * 3)


def test_an_operand_with_hooks_from_a_file_is_refused(tmp_path):
    path = tmp_path / "graph.pickle"
    path.write_bytes(pickle.dumps(branching()))
    with pytest.raises(ReplayError, match="'one' has _forward_hooks"):
        fx2py.generate(path).bind()


def test_hooks_of_the_graph_itself_are_named(tmp_path):
    gm = traced(Layers())
    gm.register_forward_hook(doubled)
    torch.save(gm, tmp_path / "graph.pt")
    for source in (gm, tmp_path / "graph.pt"):
        (note,) = open_graph(source).notes
        assert note.startswith("hooks of the graph itself are no part of the code")
        assert "_forward_hooks" in note


def test_hooks_of_modules_that_are_not_called_do_not_matter(tmp_path):
    model = Layers()
    model.second.register_forward_hook(doubled)
    gm = fx.symbolic_trace(model)  # calls second.0 and second.1; the hook is part of the graph
    buffer = io.BytesIO()
    torch.save(gm, buffer)
    (tmp_path / "graph.pt").write_bytes(buffer.getvalue())
    assert_same_behaviour(fx2py.generate(tmp_path / "graph.pt").bind(), gm, (X,))


def test_hooks_of_state_dicts_change_no_result(tmp_path):
    gm = traced(Layers())
    gm.first.register_load_state_dict_post_hook(doubled)
    torch.save(gm, tmp_path / "graph.pt")
    artifact = fx2py.generate(tmp_path / "graph.pt")
    assert artifact.manifest.notes == ()
    assert_same_behaviour(artifact.bind(), gm, (X,))


def test_a_graph_file_keeps_what_was_lost(tmp_path):
    torch.save(traced(hooked_inside()), tmp_path / "graph.pt")
    fx2py.save_graph(open_graph(tmp_path / "graph.pt"), tmp_path / "graph.fx2py")
    with pytest.raises(ReplayError, match=r"'second\.1' has _forward_hooks"):
        fx2py.generate(tmp_path / "graph.fx2py").bind()
