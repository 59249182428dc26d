"""``fx2py run``: what it runs, on which inputs, what it shows and saves."""

import copy
import json
import os
import pickle
import shutil
import time

import pytest
import torch

import fx2py as library


@pytest.fixture
def generated(here, saved):
    """net_fx2py in the current directory, generated from saved/net.pt2."""
    library.generate(saved / "net.pt2").write(here / "net_fx2py")
    return here / "net_fx2py"


@pytest.fixture
def rows(tmp_path):
    """A file of inputs: five rows."""
    torch.manual_seed(1)
    torch.save((torch.randn(2, 4),), tmp_path / "rows.pt")
    return tmp_path / "rows.pt"


def reference(saved, x):
    return torch.export.load(saved / "net.pt2").module()(x)


def test_shows_every_output_of_a_graph(fx2py, here, saved):
    result = fx2py("run", saved / "net.pt2")
    assert (result.code, result.err) == (0, "")
    for text in ("hidden", "total", "float32", "[2, 3]", "cpu", "min", "mean", "max", "nan", "time"):
        assert text in result.out
    assert "stored beside the graph" in result.out
    assert list(here.iterdir()) == []


def test_without_an_argument_takes_the_newest_folder_and_says_which(fx2py, here, saved, generated):
    library.generate(saved / "net.pt2").write(here / "older_fx2py")
    past = time.time() - 60
    os.utime(here / "older_fx2py" / "manifest.json", (past, past))
    result = fx2py("run")
    assert result.code == 0
    assert "net_fx2py" in result.out
    assert "older_fx2py" not in result.out


def test_saves_what_the_model_returns(fx2py, here, saved, generated, rows):
    result = fx2py("run", generated, "--inputs", rows, "--output", "result.pt")
    assert result.code == 0, result.err
    assert "result.pt" in result.out
    loaded = torch.load(here / "result.pt", weights_only=True)
    expected = reference(saved, *torch.load(rows))
    assert list(loaded) == ["hidden", "total"]
    assert torch.equal(loaded["hidden"], expected["hidden"])
    assert torch.equal(loaded["total"], expected["total"])


@pytest.mark.parametrize("form", ["args", "args and kwargs", "kwargs"])
def test_inputs_are_args_and_kwargs_or_a_tuple_or_a_dict(fx2py, here, saved, tmp_path, form):
    x = torch.ones(2, 4)
    data = {"args": (x,), "args and kwargs": ((), {"x": x}), "kwargs": {"x": x}}[form]
    torch.save(data, tmp_path / "inputs.pt")
    result = fx2py("run", saved / "net.pt2", "--inputs", tmp_path / "inputs.pt", "-o", "result.pt")
    assert result.code == 0, result.err
    assert torch.equal(torch.load("result.pt")["hidden"], reference(saved, x)["hidden"])


def test_inputs_of_a_wrong_shape_are_the_users_fault(fx2py, here, saved, tmp_path):
    torch.save((torch.ones(2, 7),), tmp_path / "inputs.pt")
    result = fx2py("run", saved / "net.pt2", "--inputs", tmp_path / "inputs.pt", "-o", "result.pt")
    assert result.code == 2
    assert result.err.count("error:") == 1
    assert list(here.iterdir()) == []


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_hostile_inputs_file_is_refused_and_not_executed(fx2py, here, saved, tmp_path):
    (tmp_path / "inputs.pt").write_bytes(pickle.dumps((Bomb(tmp_path / "executed"),)))
    result = fx2py("run", saved / "net.pt2", "--inputs", tmp_path / "inputs.pt")
    assert result.code == 2
    assert "inputs.pt" in result.err
    assert not (tmp_path / "executed").exists()


def test_a_missing_inputs_file_is_named(fx2py, here, saved):
    result = fx2py("run", saved / "net.pt2", "--inputs", "nowhere.pt")
    assert result.code == 2
    assert "nowhere.pt" in result.err


def test_a_graph_without_recorded_shapes_asks_for_inputs(fx2py, here, saved, rows):
    result = fx2py("run", saved / "net.pt")
    assert result.code == 2
    assert "--inputs" in result.err
    assert fx2py("run", saved / "net.pt", "--inputs", rows).code == 0


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "toaster"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what happens without a GPU")
def test_a_device_that_is_not_there_is_a_clear_error(fx2py, here, saved, device):
    for command in ("run", "diff"):
        result = fx2py(command, saved / "net.pt2", "--device", device)
        assert result.code == 2
        assert device in result.err
        assert result.err.count("error:") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_moves_everything(fx2py, here, saved):
    result = fx2py("run", saved / "net.pt2", "--device", "cuda", "--json")
    assert {row["device"] for row in json.loads(result.out)["outputs"]} == {"cuda:0"}


def test_json_holds_the_table_and_the_time(fx2py, here, saved, rows):
    result = fx2py("run", saved / "net.pt2", "--inputs", rows, "--repeat", 3, "--json")
    data = json.loads(result.out)
    expected = reference(saved, *torch.load(rows))["hidden"]
    hidden = data["outputs"][0]
    assert hidden["dtype"] == "float32"
    assert hidden["shape"] == [2, 3]
    assert hidden["device"] == "cpu"
    assert hidden["nan"] == 0
    assert hidden["max"] == pytest.approx(expected.max().item())
    assert hidden["mean"] == pytest.approx(expected.mean().item())
    assert len(data["seconds"]) == 3
    assert data["median_seconds"] == sorted(data["seconds"])[1]


def test_nan_and_infinite_results_are_shown(fx2py, here, saved, tmp_path):
    x = torch.ones(2, 4)
    x[0] = float("nan")
    torch.save((x,), tmp_path / "inputs.pt")
    data = json.loads(fx2py("run", saved / "net.pt2", "--inputs", tmp_path / "inputs.pt", "--json").out)
    assert data["outputs"][0]["nan"] == 3
    assert data["outputs"][1]["nan"] == 1
    assert data["outputs"][1]["mean"] is None


def test_the_same_seed_gives_the_same_random_numbers(fx2py, here, tmp_path):
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.rand_like, (x,)))
    torch.save(torch.fx.GraphModule(torch.nn.Module(), graph), tmp_path / "noise.pt")
    torch.save((torch.zeros(8),), tmp_path / "inputs.pt")

    def mean(seed):
        out = fx2py(
            "run", tmp_path / "noise.pt", "--inputs", tmp_path / "inputs.pt", "--seed", seed, "--json"
        ).out
        return json.loads(out)["outputs"][0]["mean"]

    assert mean(5) == mean(5)
    assert mean(5) != mean(6)


@pytest.fixture
def foreign(tmp_path, rows):
    """A graph that calls a function outside torch."""
    graph = torch.fx.Graph()
    graph.output(graph.call_function(copy.copy, (graph.placeholder("x"),)))
    torch.save(torch.fx.GraphModule(torch.nn.Module(), graph), tmp_path / "foreign.pt")
    return tmp_path / "foreign.pt"


def test_a_function_outside_torch_is_refused_with_the_option_that_admits_it(fx2py, here, foreign, rows):
    for command in ("run", "diff"):
        result = fx2py(command, foreign, "--inputs", rows)
        assert result.code == 2
        assert "--allow copy.copy" in result.err
        assert fx2py(command, foreign, "--inputs", rows, "--allow", "copy.copy").code == 0


def test_trust_admits_everything_and_says_what_that_means(fx2py, here, foreign, rows):
    result = fx2py("run", foreign, "--inputs", rows, "--trust")
    assert result.code == 0
    assert "any code" in result.err


def test_an_edited_folder_runs_when_it_passes_the_audit(fx2py, here, generated, rows):
    code = generated / "execution_fn.py"
    code.write_text(code.read_text().replace("torch.relu(", "torch.sigmoid("))
    result = fx2py("run", "--inputs", rows)
    assert result.code == 0, result.err


def test_an_edited_folder_that_fails_the_audit_needs_trust(fx2py, here, generated, rows, tmp_path):
    code = generated / "execution_fn.py"
    code.write_text(code.read_text() + f"\n\n__import__('os').mkdir({str(tmp_path / 'executed')!r})\n")
    result = fx2py("run", "--inputs", rows)
    assert result.code == 2
    assert "--trust" in result.err
    assert not (tmp_path / "executed").exists()


def test_verbose_shows_how_submodules_are_bound(fx2py, here, saved, rows):
    assert "linear" not in fx2py("run", saved / "net.pt", "--inputs", rows).out
    result = fx2py("run", saved / "net.pt", "--inputs", rows, "--verbose")
    assert "linear" in result.out
    assert "forward" in result.out


def test_notes_are_shown_beside_results(fx2py, here, saved, rows, tmp_path):
    graph = torch.load(saved / "net.pt", weights_only=False)
    graph.register_forward_hook(copy.copy)
    torch.save(graph, tmp_path / "hooked.pt")
    for command in ("run", "diff"):
        assert (
            "note: hooks of the graph itself" in fx2py(command, tmp_path / "hooked.pt", "--inputs", rows).out
        )
        result = fx2py(command, tmp_path / "hooked.pt", "--inputs", rows, "--json")
        assert "_forward_hooks (copy.copy)" in json.loads(result.out)["notes"][0]


def test_json_keeps_types_values_and_dtypes_apart(fx2py, here):
    torch.save(torch.fx.symbolic_trace(lambda x: (x, 3)), "pair.pt")
    torch.save((torch.ones(2),), "inputs.pt")
    tensor, number = json.loads(fx2py("run", "pair.pt", "--inputs", "inputs.pt", "--json").out)["outputs"]
    assert (tensor["type"], tensor["dtype"], tensor["value"]) == ("Tensor", "float32", None)
    assert (number["type"], number["dtype"], number["value"]) == ("int", None, "3")


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((torch.ones(2, 4), 1), "takes 1 positional argument but 2 were given"),
        ({"y": torch.ones(2, 4)}, "unexpected keyword argument 'y'"),
        ((torch.ones(2, 5),), "must be 4, not 5"),
    ],
)
def test_inputs_that_do_not_fit_are_not_blamed_on_the_graph(inputs, reason, fx2py, here, saved):
    torch.save(inputs, "inputs.pt")
    fx2py("gen", saved / "net.pt2")
    refused = fx2py("run", "net_fx2py", "--inputs", "inputs.pt")
    assert refused.code == 2
    assert "the inputs do not fit the graph" in refused.err
    assert reason in refused.err
    assert "inputs.pt" in refused.err


@pytest.mark.parametrize("command", [("run",), ("diff",)])
@pytest.mark.parametrize("option", ["-O", "--exact-ops"])
def test_options_of_generating_are_refused_for_a_folder(command, option, fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    refused = fx2py(*command, "net_fx2py", option)
    assert refused.code == 2
    assert f"was generated without {option}" in refused.err


def test_what_is_no_device_is_said_in_one_line(fx2py, here, saved):
    refused = fx2py("run", saved / "net.pt2", "--device", "gpu")
    assert refused.code == 2
    assert refused.err.startswith("error: 'gpu' is no name of a device.\n")


def test_runs_without_gradients_so_that_no_result_carries_a_graph(fx2py, here, saved, rows):
    assert fx2py("run", saved / "net.pt2", "--inputs", rows, "--output", "out.pt", "--memory").code == 0
    result = torch.load("out.pt", weights_only=True)
    assert not any(leaf.requires_grad for leaf in torch.utils._pytree.tree_leaves(result))


def test_code_that_asks_for_gradients_gets_them(fx2py, here, tmp_path):
    class Slope(torch.nn.Module):
        def forward(self, x):
            return torch.autograd.grad((x * x).sum(), x)[0]

    torch.save(torch.fx.symbolic_trace(Slope()), tmp_path / "slope.pt")
    torch.save((torch.ones(2, requires_grad=True),), tmp_path / "x.pt")
    result = fx2py("run", tmp_path / "slope.pt", "--inputs", tmp_path / "x.pt", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["outputs"][0]["mean"] == 2


def test_a_folder_runs_on_its_own_sample_inputs_without_the_graph(fx2py, here, saved, tmp_path):
    copy = tmp_path / "net.pt2"
    shutil.copy(saved / "net.pt2", copy)
    fx2py("gen", copy)
    copy.unlink()
    assert "The inputs are those stored beside the graph." in fx2py("run", "net_fx2py").out
