"""Exported archives: which model, what is recorded, what is refused and how it is said."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.export.pt2_archive import PT2ArchiveWriter
from torch.export.pt2_archive._package import package_pt2

from fx2py.errors import UnknownFormatError
from tests.read.archives import MODEL, SAMPLES, WEIGHTS, members_of, read_pt2, with_json, write_archive


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.register_buffer("wide", torch.randn(1, 3).expand(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).relu() + self.wide


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "small.pt2"
    torch.export.save(torch.export.export(Small(), (torch.ones(4, 2),)), path)
    return path


@pytest.fixture(scope="module")
def members(saved: Path) -> dict[str, bytes]:
    return members_of(saved)


def test_provenance_names_the_file_its_hash_and_its_torch(saved: Path) -> None:
    found = read_pt2(saved).provenance
    assert (found.format, found.path, found.model) == ("pt2", str(saved), "model")
    assert found.torch_version == str(torch.__version__)
    assert found.sha256 is not None
    assert len(found.sha256) == 64


def test_sample_inputs_that_are_plain_data_are_read(saved: Path) -> None:
    samples = read_pt2(saved).sample_inputs
    assert samples is not None
    assert torch.equal(samples.args[0], torch.ones(4, 2))
    assert dict(samples.kwargs) == {}


def test_writing_to_a_weight_does_not_change_the_file(saved: Path) -> None:
    before = saved.read_bytes()
    weight = read_pt2(saved).root.find("linear.weight")
    with torch.no_grad():
        weight.zero_()
    assert saved.read_bytes() == before


def test_one_of_several_models_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "two.pt2"
    programs = {name: torch.export.export(Small(), (torch.ones(4, 2),)) for name in ("first", "second")}
    package_pt2(path, exported_programs=programs)
    weight = read_pt2(path, model="second").root.find("linear.weight")
    assert torch.equal(weight, programs["second"].state_dict["linear.weight"])
    with pytest.raises(
        UnknownFormatError, match=r"several graphs:\n  first   ExportedProgram, \d+ nodes\n  second"
    ):
        read_pt2(path)
    with pytest.raises(UnknownFormatError, match="no graph 'third'"):
        read_pt2(path, model="third")


def test_an_archive_without_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "extra.pt2"
    with PT2ArchiveWriter(str(path)) as writer:
        writer.write_string("extra/note", "nothing")
    with pytest.raises(UnknownFormatError, match="without an exported program"):
        read_pt2(path)


def test_weights_that_were_saved_fake_hold_no_data(tmp_path: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        program = torch.export.export(torch.nn.Linear(2, 3), (torch.ones(4, 2),))
    path = tmp_path / "fake.pt2"
    torch.export.save(program, path)
    weight = read_pt2(path).root.find("weight")
    assert weight.device.type == "meta"
    assert weight.shape == (3, 2)


def test_absent_optional_fields_take_their_defaults(tmp_path: Path, members: dict[str, bytes]) -> None:
    def older(document: Any) -> None:
        for key in ("torch_version", "guards_code", "verifiers"):
            document.pop(key)
        graph = document["graph_module"]["graph"]
        for key in ("custom_obj_values", "sym_float_values"):
            graph.pop(key)
        for node in graph["nodes"]:
            node.pop("name", None)
            node.pop("is_hop_single_tensor_return")

    data = read_pt2(write_archive(tmp_path / "older.pt2", with_json(members, MODEL, older)))
    assert [node.name for node in data.graph.nodes][-4:] == ["linear", "relu", "add", "output"]


UNKNOWN = """
import sys
from fx2py.read import open_graph
data = open_graph(sys.argv[1])
assert "transformers" not in sys.modules
print(data.convention.output.cls, data.convention.output.keys, data.sample_inputs is None)
"""


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_a_model_output_reads_without_its_package(tmp_path: Path, family: str) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(_transformer(family), path)
    run = subprocess.run(
        [sys.executable, "-c", UNKNOWN, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert "transformers.modeling_outputs." in run.stdout
    assert "'last_hidden_state'" in run.stdout


def _transformer(family: str) -> torch.export.ExportedProgram:
    transformers = pytest.importorskip("transformers")
    ids = torch.tensor([[1, 2, 3]])
    small = {"vocab_size": 11, "use_cache": False}
    if family == "bert":
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        model = transformers.BertModel(transformers.BertConfig(**small, **sizes)).eval()
        return torch.export.export(model, (ids,), strict=False)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    model = transformers.T5Model(transformers.T5Config(**small, **sizes)).eval()
    return torch.export.export(model, (), {"input_ids": ids, "decoder_input_ids": ids}, strict=False)


def first_weight(document: Any) -> Any:
    return next(iter(document["config"].values()))


def set_sizes(*sizes: int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        meta = first_weight(document)["tensor_meta"]
        meta["sizes"] = [{"as_int": size} for size in sizes]
        meta["strides"] = [{"as_int": 1} for _ in sizes]

    return change


def set_meta(key: str, value: Any) -> Callable[[Any], None]:
    return lambda document: first_weight(document)["tensor_meta"].update({key: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_sizes(1 << 62, 1 << 62), "reaches to"),
        (set_sizes(-1), "negative"),
        (set_sizes(*[1] * 1000), "1000 sizes"),
        (set_meta("strides", [{"as_int": 1 << 63}, {"as_int": 1}]), "reaches to"),
        (set_meta("strides", [{"as_int": -1}, {"as_int": 1}]), "negative"),
        (set_meta("strides", []), "0 strides"),
        (set_meta("storage_offset", {"as_int": 3}), "reaches to"),
        (set_meta("dtype", 99), "dtype code 99"),
        (set_meta("layout", 1), "layout"),
        (set_meta("sizes", [{"as_expr": {"expr_str": "Symbol('s0')"}}]), "str where an int"),
        (lambda document: first_weight(document).update(path_name="../../model"), "missing"),
        (lambda document: document.pop("config"), "config"),
    ],
)
def test_a_weight_that_does_not_fit_its_bytes_is_refused(
    tmp_path: Path, members: dict[str, bytes], change: Callable[[Any], None], reason: str
) -> None:
    path = write_archive(tmp_path / "damaged.pt2", with_json(members, WEIGHTS, change))
    with pytest.raises(UnknownFormatError, match=reason) as refused:
        read_pt2(path)
    assert str(path) in refused.value.message


def graph_of(document: Any) -> Any:
    return document["graph_module"]["graph"]


def deep_tree(document: Any) -> None:
    spec = '{"type": "builtins.list", "context": "null", "children_spec": [' * 3000 + "]}" * 3000
    document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = f"[1, {spec}]"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["schema_version"].update(major=9), "schema version 9"),
        (lambda d: graph_of(d)["nodes"].pop(0), "uses 'linear'"),
        (lambda d: graph_of(d)["nodes"].append(graph_of(d)["nodes"][0]), "defines 'linear' twice"),
        (lambda d: graph_of(d)["nodes"][0]["inputs"][0].pop("kind"), "does not say how argument"),
        (lambda d: graph_of(d)["nodes"][0]["inputs"][0].update(arg={"as_magic": 1}), "as_magic"),
        (lambda d: graph_of(d)["nodes"][0].update(target=7), "node 0 \\(7\\)"),
        (
            lambda d: graph_of(d)["nodes"][0]["metadata"].update(stack_trace=[1]),
            r"node 0 \(torch.ops.aten.linear.default\): has a list where a str belongs",
        ),
        (
            lambda d: graph_of(d)["nodes"][0]["inputs"][0].update(name=7),
            r"has an int where a str belongs \(at inputs\[0\].name\)",
        ),
        (
            lambda d: d["graph_module"]["signature"]["input_specs"].pop(),
            "the signature has 3 inputs, the graph 4",
        ),
        (lambda d: d["graph_module"]["signature"]["output_specs"].clear(), "outputs"),
        (lambda d: d["graph_module"]["module_call_graph"].clear(), "how the program is called"),
        (deep_tree, "too deeply"),
    ],
)
def test_a_damaged_graph_is_refused_with_its_place(
    tmp_path: Path, members: dict[str, bytes], change: Callable[[Any], None], reason: str
) -> None:
    path = write_archive(tmp_path / "damaged.pt2", with_json(members, MODEL, change))
    with pytest.raises(UnknownFormatError, match=reason) as refused:
        read_pt2(path)
    assert f"{path}: member {MODEL}" in refused.value.message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 200_000, "too deeply"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_model_that_is_no_json_is_refused(
    tmp_path: Path, members: dict[str, bytes], data: bytes, reason: str
) -> None:
    with pytest.raises(UnknownFormatError, match=reason):
        read_pt2(write_archive(tmp_path / "damaged.pt2", {**members, MODEL: data}))


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    with pytest.raises(UnknownFormatError, match=f"{MODEL} is there twice"):
        read_pt2(write_archive(tmp_path / "twice.pt2", members, twice=MODEL))


@pytest.mark.parametrize("member", [MODEL, WEIGHTS, "archive_version", "data/weights/weight_0"])
def test_a_missing_member_is_named(tmp_path: Path, members: dict[str, bytes], member: str) -> None:
    rest = {name: data for name, data in members.items() if name != member}
    with pytest.raises(
        UnknownFormatError, match="without an exported program" if member == MODEL else member
    ):
        read_pt2(write_archive(tmp_path / "short.pt2", rest))


def test_missing_or_empty_sample_inputs_are_none(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = write_archive(tmp_path / "bare.pt2", {**members, SAMPLES: b""})
    assert read_pt2(path).sample_inputs is None


def test_compressed_weights_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = tmp_path / "compressed.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"program/{name}", data)
    with pytest.raises(UnknownFormatError, match="compressed"):
        read_pt2(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_and_cut_bytes_are_read_or_refused(tmp_path: Path, saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path / "fuzzed.pt2"
    path.write_bytes(content[:cut])
    _read_or_refused(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_in_the_json_is_read_or_refused(
    tmp_path: Path, members: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([MODEL, WEIGHTS]))
    document = json.loads(members[name])
    holder, key = data.draw(st.sampled_from(list(_places(document))))
    holder[key] = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({}))
    )
    changed = {**members, name: json.dumps(document).encode()}
    _read_or_refused(write_archive(tmp_path / "fuzzed.pt2", changed))


def _places(value: Any) -> Any:
    """Every (container, key) of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield value, key
        yield from _places(part)


def _read_or_refused(path: Path) -> None:
    try:
        message = read_pt2(path).provenance.path or ""
    except UnknownFormatError as refusal:
        message = refusal.message
    assert str(path) in message


def test_a_token_that_is_used_as_a_value_is_refused(tmp_path: Path) -> None:
    from tests.read.exported_models import PROGRAMS

    def misused(document: Any) -> None:
        mul = graph_of(document)["nodes"][-1]
        mul["inputs"][0]["arg"]["as_tensor"]["name"] = "getitem_2"

    path = tmp_path / "effects.pt2"
    torch.export.save(PROGRAMS["ordered effects, decomposed"](), path)
    changed = with_json(members_of(path), MODEL, misused)
    with pytest.raises(UnknownFormatError, match="token getitem_2 is used as a value"):
        read_pt2(write_archive(tmp_path / "misused.pt2", changed))
