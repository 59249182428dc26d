"""Paths that are no regular files, files that lie about themselves, and manifests that somebody wrote by hand."""

import io
import json
import os
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from rich.console import Console

import fx2py
from fx2py.cli import messages, terminal
from fx2py.cli.app import main
from fx2py.errors import ArtifactError, UnknownFormatError
from fx2py.files import whole_file
from fx2py.read import open_graph
from tests.corpus.formats import write_to_folder
from tests.read.graphs import added
from tests.security.test_pickle_attacks import graph_with, write


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, unix_socket, device])
def test_what_is_no_file_is_refused_unopened(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "graph.pt")
    with pytest.raises(UnknownFormatError, match=r"graph\.pt is a pipe, a socket or a device"):
        open_graph(tmp_path / "graph.pt")


@pytest.mark.parametrize("member", ["module.py", "state_dict.pt"])
def test_a_pipe_inside_a_folder_is_refused_unopened(member, tmp_path):
    path = write_to_folder(added(), tmp_path)
    (path / member).unlink()
    os.mkfifo(path / member)
    with pytest.raises(UnknownFormatError, match=str(path)):
        open_graph(path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(UnknownFormatError, match="does not exist"):
            open_graph(tmp_path / name)


def test_members_of_an_archive_that_share_bytes_are_refused(tmp_path):
    path = write(graph_with(_buffers={"a": torch.ones(4)}), tmp_path / "graph.pt")
    with zipfile.ZipFile(path, "a") as archive:
        shared = next(member for member in archive.filelist if member.filename.endswith("data/0"))
        for number in range(1, 4):
            member = zipfile.ZipInfo(shared.filename[:-1] + str(number))
            member.header_offset, member.CRC = shared.header_offset, shared.CRC
            member.file_size = member.compress_size = shared.file_size
            archive.filelist.append(member)
        archive._didModify = True
    with pytest.raises(UnknownFormatError, match="lies over"):
        open_graph(path)


@pytest.mark.parametrize("way", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_member_that_does_not_unpack_is_refused(way, tmp_path):
    stored = write(graph_with(), tmp_path / "stored.pt")
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(tmp_path / "graph.pt", "w", way) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
        start = archive.getinfo(next(name for name in source.namelist() if name.endswith("data.pkl")))
    data = bytearray((tmp_path / "graph.pt").read_bytes())
    place = start.header_offset + 30 + len(start.filename)
    data[place : place + 16] = b"\xff" * 16
    (tmp_path / "graph.pt").write_bytes(data)
    with pytest.raises(UnknownFormatError, match=r"(data\.pkl|byteorder) is (damaged|compressed)"):
        open_graph(tmp_path / "graph.pt")


def test_a_member_with_a_name_of_several_lines_stays_in_its_line(tmp_path):
    path = write(graph_with(), tmp_path / "graph.pt")
    name = b"graph/data.pkl"
    data = path.read_bytes()
    end = data.rindex(name)
    path.write_bytes(data[:end] + b"graph/d\nta.pkl" + data[end + len(name) :])
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(path)
    assert "\n" not in caught.value.message


# -- generated folders -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    path = write(graph_with(), tmp_path / "graph.pt")
    torch.save((torch.ones(2),), tmp_path / "inputs.pt")
    fx2py.generate(path).write(tmp_path / "graph_fx2py")
    return tmp_path / "graph_fx2py"


@pytest.fixture
def run(monkeypatch, capsys):
    """The exit code and the messages of a command."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fx2py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0), capsys.readouterr().err

    return call


OTHERS = (5, True, 1.5, [], {}, "x", [5], [{}], {"weights.pt": 5}, 10**400, ["a", 5])


def wrong_manifests(manifest: dict) -> dict[str, str]:
    """Each entry of a manifest, with something else where its value stands."""
    found = {}
    for key, value in manifest.items():
        for other in OTHERS:
            found[f"{key}={other!r:.20}"] = {**manifest, key: other}
        for inner in value if type(value) is dict else ():
            found |= {f"{key}.{inner}={o!r:.20}": {**manifest, key: {**value, inner: o}} for o in OTHERS}
    return {name: json.dumps(document) for name, document in found.items()}


def test_no_manifest_is_the_fault_of_fx2py(folder):
    manifest = folder / "manifest.json"
    documents = wrong_manifests(json.loads(manifest.read_text()))
    refused = 0
    for name, text in documents.items():
        manifest.write_text(text)
        message = refusal(folder)
        assert not message or str(folder) in message, name
        refused += bool(message)
    assert refused > len(documents) / 2


def refusal(folder: Path) -> str:
    """Why a folder is refused; empty when it is opened."""
    try:
        fx2py.open_artifact(folder)
    except ArtifactError as error:
        return error.message
    return ""


@pytest.mark.parametrize("text", [b"\xff\xfe{", b'{"schema": NaN}', b'{"schema": 1, "schema": {}}', b"\0"])
def test_a_manifest_that_is_no_json_is_refused(text, folder):
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        fx2py.open_artifact(folder)


@pytest.mark.parametrize("name", ["manifest.json", "execution_fn.py"])
def test_a_huge_hollow_file_is_not_read(name, folder):
    os.truncate(folder / name, 2**38)
    with pytest.raises(ArtifactError, match="too long"):
        fx2py.open_artifact(folder)


@pytest.mark.parametrize("name", ["weights.pt", "execution_fn.py"])
def test_a_pipe_in_a_generated_folder_is_refused_unopened(name, folder):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ArtifactError, match="is missing"):
        fx2py.open_artifact(folder)


@pytest.mark.parametrize(
    "path", ["/dev/zero", "../pipe", "../../../../../../../etc/passwd", "x" * 5000, "\0", "."]
)
def test_a_manifest_that_names_another_graph_is_refused(path, folder, run):
    os.mkfifo(folder.parent / "pipe")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graph"]["path"] = path
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for command in ("run", "diff"):
        status, message = run(command, folder)
        assert status == 2
        assert message.count("error:") == 1


def test_a_folder_that_the_manifest_names_must_be_as_it_was(tmp_path, run):
    path = write_to_folder(added(), tmp_path)
    torch.save((torch.ones(2),), tmp_path / "inputs.pt")
    fx2py.generate(path).write(tmp_path / "out")
    assert run("diff", tmp_path / "out", "--inputs", tmp_path / "inputs.pt")[0] == 0
    code = path / "module.py"
    code.write_text(code.read_text() + "\n# changed\n")
    status, message = run("diff", tmp_path / "out", "--inputs", tmp_path / "inputs.pt")
    assert (status, "has changed" in message) == (2, True)


def test_weights_that_are_exchanged_while_a_folder_is_opened_are_refused(folder, monkeypatch):
    load = torch.load

    def exchange(path, **options):
        tensors = load(path, **options)
        torch.save({"b": torch.zeros(3)}, path)
        return tensors

    monkeypatch.setattr(torch, "load", exchange)
    with pytest.raises(ArtifactError, match="not the file that the manifest names"):
        fx2py.open_artifact(folder)


# -- writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", ['{"name": "a web page"}', "", "{}", '{"schema": 1}'])
def test_a_folder_with_a_manifest_of_something_else_is_left_alone(manifest, folder, tmp_path, run):
    other = tmp_path / "extension"
    other.mkdir()
    (other / "manifest.json").write_text(manifest)
    status, message = run("gen", tmp_path / "graph.pt", "-o", other)
    assert status == 2
    assert "was not generated by fx2py" in message
    assert [path.name for path in other.iterdir()] == ["manifest.json"]


def test_a_link_to_a_generated_folder_stays_a_link(folder, tmp_path, run):
    (tmp_path / "link").symlink_to(folder)
    assert run("gen", tmp_path / "graph.pt", "-o", tmp_path / "link")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert fx2py.open_artifact(folder).source


def test_a_link_inside_a_folder_is_removed_and_not_followed(folder, tmp_path, run):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (folder / "link").symlink_to(outside)
    assert run("gen", tmp_path / "graph.pt", "-o", folder)[0] == 2  # somebody added it
    assert run("gen", tmp_path / "graph.pt", "-o", folder, "--force")[0] == 0
    assert not (folder / "link").exists()
    assert (outside / "precious").read_text() == "kept"


def test_a_link_that_waits_for_the_result_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".result.pt.{os.getpid()}").symlink_to(victim)
    with pytest.raises(FileExistsError), whole_file(tmp_path / "result.pt") as staging:
        staging.write_text("overwritten")
    assert victim.read_text() == "kept"


def test_folders_that_are_generated_at_once_are_whole(folder, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    artifact = fx2py.generate(tmp_path / "graph.pt")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: artifact.write(folder), range(12)))
    assert fx2py.open_artifact(folder).source == artifact.source
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    shutil.rmtree(folder)


# -- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "diff"])
def test_a_refused_name_is_shown_with_its_file_and_its_option(command, tmp_path, run):
    code = "\n\ndef forward(self, x):\n    load = torch.load(x)\n    return load\n"
    path = write(graph_with(code), tmp_path / "graph.pt")
    torch.save((torch.ones(2),), tmp_path / "inputs.pt")
    status, message = run(command, path, "--inputs", tmp_path / "inputs.pt")
    assert status == 2
    assert f"{path}: torch.load is not among" in message
    assert "--allow torch.load" in message


def test_the_name_of_a_file_cannot_steer_the_terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "stderr", lambda: Console(file=screen, force_terminal=True))
    name = "[/b][link=x]\x1b]0;title\x07\u202e.pt2"
    with messages.working(f"running {name}"):
        pass
    with messages.progress("generating", 1) as advance:
        advance(name)
    assert "[/b][link=x]" in screen.getvalue()
    assert "\x1b]0" not in screen.getvalue()
    assert "\u202e" not in screen.getvalue()
