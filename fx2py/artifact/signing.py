"""Signatures with a key that only this user has, which tell one's own compiled code from anybody else's.

The key is 32 random bytes in ``$XDG_STATE_HOME/fx2py`` (default ``~/.local/state/fx2py``), readable by its owner alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

_LENGTH = 32
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def sign(message: bytes) -> str:
    """The HMAC-SHA256 of a message, in hexadecimal; OSError when there is no key and none can be written."""
    return _signature(_read_key(_key_file()) or _new_key(_key_file()), message)


def is_signed(message: bytes, signature: str) -> bool:
    """Whether this user signed the message; a key that others could read counts as none."""
    try:
        key = _read_key(_key_file())
    except OSError:
        return False
    return key is not None and hmac.compare_digest(_signature(key, message).encode(), _bytes(signature))


def _bytes(text: str) -> bytes:
    """The bytes of a text from a file, which may hold lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _signature(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _key_file() -> Path:
    chosen = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    if not home.is_absolute():  # a key in the current folder could be anybody's
        raise OSError(f"the home folder {str(Path.home())!r} is no absolute path")
    return home / "fx2py" / "key"


def _read_key(path: Path) -> bytes | None:
    """The key, None when there is no file; OSError when others could read the file, or it is not a key."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & _OPEN_TO_OTHERS):
            raise PermissionError(f"{path} is not private to this user")
        key = file.read()
    if len(key) != _LENGTH:
        raise OSError(f"{path} does not hold {_LENGTH} bytes")
    return key


def _new_key(path: Path) -> bytes:
    """A new key, or that of a process which was faster: ``os.link`` gives a finished file its name, or fails."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, staging = tempfile.mkstemp(dir=path.parent, prefix=".key.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_LENGTH))
        with contextlib.suppress(FileExistsError):
            os.link(staging, path)
    finally:
        os.unlink(staging)
    key = _read_key(path)
    if key is None:
        raise FileNotFoundError(f"{path} disappeared while it was written")
    return key
