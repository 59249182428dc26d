"""The key of a user: made once, private, and the only thing that vouches for compiled code."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from fx2py.artifact import signing


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_signature_holds_for_its_message_alone() -> None:
    signature = signing.sign(b"message")
    assert signing.is_signed(b"message", signature)
    assert not signing.is_signed(b"messagE", signature)
    assert not signing.is_signed(b"message", "")
    assert not signing.is_signed(b"message", signature[:-1])


@pytest.mark.parametrize("text", ["\u00e9" * 64, "\ud800", "\0"])
def test_any_text_can_stand_where_a_signature_belongs(text: str) -> None:
    signing.sign(b"message")
    assert not signing.is_signed(b"message", text)


def test_without_a_key_nothing_is_signed_and_asking_makes_none(state: Path) -> None:
    assert not signing.is_signed(b"message", "0" * 64)
    assert list(state.iterdir()) == []


def test_the_key_is_private(state: Path) -> None:
    signing.sign(b"message")
    key = state / "fx2py" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert len(key.read_bytes()) == 32
    assert list(key.parent.iterdir()) == [key]


@pytest.mark.parametrize("damage", ["open to others", "short", "link"])
def test_a_key_that_others_may_know_vouches_for_nothing(damage: str, state: Path) -> None:
    signature = signing.sign(b"message")
    key = state / "fx2py" / "key"
    if damage == "open to others":
        key.chmod(0o640)
    elif damage == "short":
        key.write_bytes(b"")
    else:
        key.rename(state / "elsewhere")
        key.symlink_to(state / "elsewhere")
    assert not signing.is_signed(b"message", signature)
    with pytest.raises(OSError, match=r"private|hold 32 bytes|symbolic"):
        signing.sign(b"message")


def test_a_relative_state_folder_is_not_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    signing.sign(b"message")
    assert (tmp_path / ".local" / "state" / "fx2py" / "key").is_file()


def test_a_key_in_the_current_folder_vouches_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signature = signing.sign(b"message")
    own = tmp_path / ".local" / "state"
    own.mkdir(parents=True)
    (tmp_path / "fx2py").rename(own / "fx2py")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", ".")
    monkeypatch.chdir(tmp_path)
    assert not signing.is_signed(b"message", signature)
    with pytest.raises(OSError, match="no absolute path"):
        signing.sign(b"message")


def _sign(_: int) -> str:
    return signing.sign(b"message")


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_processes_that_start_at_once_share_one_key() -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_sign, range(16), chunksize=1))) == 1
