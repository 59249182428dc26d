"""Folders of ``to_folder``: what they hold is read, what they lack is named and refused where it is needed."""

import math
from pathlib import Path

import pytest
import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

import fx2py
from fx2py.errors import ReplayError, UnknownFormatError
from fx2py.read import open_graph
from tests.checking import assert_same_behaviour


def folder_of(gm: fx.GraphModule, path: Path) -> Path:
    gm.to_folder(path, "SavedGraph")
    return path


class Tied(nn.Module):
    """One weight in two modules, of which to_folder pickles the first and prints the second."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_weights_that_were_tied_are_one(tmp_path):
    gm = fx.symbolic_trace(Tied())
    root = open_graph(folder_of(gm, tmp_path / "saved")).root
    assert root.find("embedding.weight") is root.find("head.weight")
    run = fx2py.generate(tmp_path / "saved").bind()
    assert_same_behaviour(run, gm, (torch.arange(6),))


def test_the_table_beside_a_folder_is_what_counts(tmp_path):
    """As in the program that the folder is, which loads the table last."""
    folder = folder_of(fx.symbolic_trace(nn.Sequential(nn.PReLU())), tmp_path / "saved")
    state = torch.load(folder / "state_dict.pt")
    state["0.weight"] = torch.tensor([3.0])
    torch.save(state, folder / "state_dict.pt")
    assert fx2py.generate(folder).bind()(torch.tensor([-1.0])).item() == -3


@pytest.mark.parametrize("train", [True, False])
def test_a_batch_norm_of_unknown_mode_is_refused(tmp_path, train):
    gm = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train(train))
    artifact = fx2py.generate(folder_of(gm, tmp_path / "saved"))
    assert "'1' needs to know whether it was in training mode" in artifact.manifest.notes[0]
    with pytest.raises(
        ReplayError, match="'1' needs to know whether it was in training mode, which to_folder does not"
    ):
        artifact.bind()
    run = artifact.bind(submods={"1": gm.get_submodule("1")})
    assert_same_behaviour(run, gm, (torch.randn(2, 3, 8, 8),), calls=1)


def test_modules_in_files_of_their_own_keep_their_mode(tmp_path):
    gm = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)).eval())
    run = fx2py.generate(folder_of(gm, tmp_path / "saved")).bind()
    assert_same_behaviour(run, gm, (torch.randn(2, 4),))


def test_a_recurrent_module_runs_on_the_tensors_of_the_table(tmp_path):
    gm = fx.symbolic_trace(nn.Sequential(nn.LSTM(3, 2)))
    run = fx2py.generate(folder_of(gm, tmp_path / "saved")).bind()
    assert_same_behaviour(run, gm, (torch.randn(2, 3),))
    lstm = open_graph(tmp_path / "saved").root.children["0"]
    held = lstm.attributes["_flat_weights"].items
    assert [id(value.tensor) for value in held] == [id(tensor) for tensor in lstm.parameters.values()]


def rounded_root(x):
    return math.floor(x)


fx.wrap("rounded_root")


def test_a_lost_import_is_named(tmp_path):
    folder = folder_of(fx.symbolic_trace(lambda x: rounded_root(x) + 1), tmp_path / "saved")
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(folder)
    assert "tests_read_test_folder_rounded_root, which nothing defines" in caught.value.message
    assert "torch.save" in caught.value.hint


def test_a_lost_structure_of_inputs_is_named(tmp_path):
    gm = make_fx(lambda pair: {"sum": pair[0] + pair[1]})((torch.ones(2), torch.ones(2)))
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(folder_of(gm, tmp_path / "saved"))
    assert "does not write the structure of the inputs and outputs" in caught.value.message
    assert "torch.save" in caught.value.hint


def test_the_one_graph_of_a_folder_has_no_name(tmp_path):
    folder = folder_of(fx.symbolic_trace(nn.Sequential(nn.ReLU())), tmp_path / "saved")
    with pytest.raises(UnknownFormatError, match="holds no graph 'other'"):
        open_graph(folder, model="other")
