"""Digests of large files are remembered as long as the files stay as they were, and nothing depends on that."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fx2py import digests
from fx2py.digests import hashing, sha256_of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE", 1000)
    return tmp_path / "cache" / "fx2py" / "digests.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A large file that was written a while ago."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 2000)
    time.sleep(0.11)
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_is_read_once(cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sha256_of(file)
    monkeypatch.setattr(digests, "pieces", None)
    assert sha256_of(file) == first == _sha256(file)
    assert cache.exists()


def _overwritten(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"y" * 2000)
    os.utime(
        path, ns=(status.st_atime_ns, status.st_mtime_ns)
    )  # which cannot set the time of the inode's change


def _replaced(path: Path) -> None:
    path.with_name("other").write_bytes(b"z" * 2000)
    path.with_name("other").replace(path)


@pytest.mark.parametrize("change", [_overwritten, _replaced, lambda path: path.write_bytes(b"x" * 2001)])
def test_a_file_that_changed_is_read_again(change: Callable[[Path], object], cache: Path, file: Path) -> None:
    sha256_of(file)
    change(file)
    assert sha256_of(file) == _sha256(file)


def test_a_file_that_was_written_just_now_is_not_remembered(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x" * 2000)
    sha256_of(tmp_path / "new")
    assert not cache.exists()


def test_small_files_are_not_remembered(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 999)
    time.sleep(0.11)
    sha256_of(tmp_path / "small")
    assert not cache.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": [1, 2, 3]}', "[" * 5000, '"text"'])
def test_a_damaged_cache_is_none(content: str, cache: Path, file: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert sha256_of(file) == _sha256(file)
    assert sha256_of(file) == _sha256(file)


def test_a_cache_that_others_can_write_is_none(cache: Path, file: Path) -> None:
    sha256_of(file)
    known = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: ["forged", True] for key in known}))
    assert sha256_of(file) == "forged"  # what only the user could have written is believed
    cache.chmod(0o666)
    assert sha256_of(file) == _sha256(file)


def test_where_nothing_can_be_kept_nothing_is(file: Path, cache: Path) -> None:
    cache.parent.parent.write_text("no folder")
    assert sha256_of(file) == _sha256(file)


def test_the_oldest_are_forgotten(cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_MOST", 2)
    for name in "abc":
        file.with_name(name).write_bytes(b"x" * 2000)
    time.sleep(0.11)
    for name in "abc":
        sha256_of(file.with_name(name))
    inodes = [int(key.split("-")[1]) for key in json.loads(cache.read_text())]
    assert inodes == [file.with_name(name).stat().st_ino for name in "bc"]


def test_whoever_waits_hears_how_far_it_is(cache: Path, file: Path) -> None:
    heard: list[tuple[Path, int, int]] = []
    with hashing(report=lambda *progress: heard.append(progress)):
        sha256_of(file)
    assert heard == [(file, 2000, 2000)]
