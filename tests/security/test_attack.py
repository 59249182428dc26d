"""A short, fixed piece of the run that ``make attack`` makes as long as it is given time, and what it would find."""

import subprocess
import sys

import pytest

from fx2py.graph.values import Name, Ref
from fx2py.trust import calls
from fx2py.trust.admitted import ValueKind
from tests.attack import Attack, Canary, Finding, attacks
from tests.replay.graphs import call


@pytest.fixture(scope="module")
def canary():
    return Canary()


@pytest.fixture
def attack(tmp_path, canary):
    return Attack(tmp_path, canary, frozenset())


def test_graphs_composed_at_random_get_hold_of_no_code():
    *found, last = attacks(120, seed=0, graphs=25)
    assert found == []
    assert last["counts"]["graphs"] + len(last["crashed"]) >= 25
    assert last["counts"]["nodes"] > 20


def test_a_method_that_the_gate_took_for_data_would_be_found(attack, monkeypatch):
    monkeypatch.setitem(calls.ATTRIBUTES, "index", (frozenset(), ValueKind.DATA))
    with pytest.raises(Finding, match="built-in method index"):
        attack._runs([call("found", Name("builtins", "getattr"), Ref("items"), "index")])


def test_a_value_of_another_kind_than_the_gate_says_would_be_found(attack, monkeypatch):
    monkeypatch.setitem(calls.ATTRIBUTES, "shape", (frozenset(), ValueKind.DEVICE))
    with pytest.raises(Finding, match=r"not ValueKind\.DEVICE"):
        attack._runs([call("found", Name("builtins", "getattr"), Ref("x"), "shape")])


EFFECTS = {
    "write": lambda path: path.write_text("written"),
    "start": lambda path: subprocess.run([sys.executable, "--version"], check=True, capture_output=True),
    "compile": lambda path: compile("1", "<string>", "eval"),
    "execute": lambda path: exec("pass"),
    "remove": lambda path: path.unlink(missing_ok=True),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_what_no_graph_may_do_would_be_found(name, canary, tmp_path):
    with pytest.raises(Finding), canary:
        EFFECTS[name](tmp_path / "file")
