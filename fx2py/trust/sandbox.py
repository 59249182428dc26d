"""A sandbox that a process enters and cannot leave: it can compute, read a few folders, and write to open files.

Linux needs neither privileges nor libraries for that: resource limits, a seccomp filter that lists the allowed system
calls and, where the kernel has it, Landlock for the files that may be read. The numbers are those of the kernel's
headers (``linux/landlock.h``, ``linux/seccomp.h``, ``asm/unistd_64.h``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fx2py.errors import ReplayError

GIBI = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """The bytes that a run may allocate beyond those that importing torch took, and the seconds that its parent gives it."""

    memory: int
    seconds: float


def require_sandbox() -> None:
    """Raise ReplayError where this system has no sandbox."""
    system = f"{platform.system()} on {platform.machine()}"
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64" or struct.calcsize("P") != 8:
        reason = f"this is {system}"
    elif not _has_seccomp():
        reason = "this kernel has no seccomp filters"
    else:
        return
    raise ReplayError(
        f"there is no sandbox here: it needs Linux on x86_64 with seccomp, and {reason}.",
        "Run the file in a container or a virtual machine instead.",
    )


def lock_in(limits: Limits, readable: Iterable[Path]) -> None:
    """Give up for good all rights that a run does not need; torch must have been imported.

    What remains: threads, memory up to the limit, reading below ``readable`` and of Python's and torch's own files,
    writing to what is open. No file can be opened for writing, no socket made, no program or process started, and no
    process traced or signalled. Raises ReplayError where the kernel refuses.
    """
    _limit(limits)
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _prctl(_DUMPABLE, 0)
    _prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    _restrict_reading([*readable, *_own_files()])
    _restrict_calls()


# -- limits ------------------------------------------------------------------------------------------------------


def _limit(limits: Limits) -> None:
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, taken + limits.memory),
        (resource.RLIMIT_FSIZE, limits.memory),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


# -- the kernel's own interface ----------------------------------------------------------------------------------

_NO_NEW_PRIVILEGES, _DUMPABLE, _DIES_WITH_PARENT = 38, 4, 1
_SECCOMP, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 317, 444, 445, 446


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise _refused(f"prctl {option}")


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return int(library.syscall(ctypes.c_long(number), *arguments))


def _refused(what: str) -> ReplayError:
    reason = os.strerror(ctypes.get_errno())
    return ReplayError(f"the sandbox cannot be closed: {what}: {reason}.", "Nothing was run.")


# -- files: Landlock ---------------------------------------------------------------------------------------------

_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS_BY_VERSION = ((1, 13), (2, 14), (3, 15), (5, 16))
"""The rights over files that a version of Landlock knows, counted from its lowest bit."""


def _restrict_reading(readable: Iterable[Path]) -> None:
    """Files below ``readable`` can be read, no other, and none can be changed; without Landlock they all can be read."""
    version = _call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return
    rights = max(count for since, count in _RIGHTS_BY_VERSION if since <= version)
    wanted = [(1 << rights) - 1, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    handled = struct.pack(f"={len(wanted)}Q", *wanted)  # files; TCP; signals and abstract sockets
    rules = _call(_LANDLOCK_CREATE, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint32(0))
    if rules < 0:
        raise _refused("Landlock")
    for path in {path.resolve() for path in readable}:
        _let_read(rules, path)
    if _call(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) != 0:
        raise _refused("Landlock")
    os.close(rules)


def _let_read(rules: int, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError:
        return  # a path that does not exist needs no rule
    rights = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
    beneath = struct.pack("=Qi", rights, descriptor)
    if _call(_LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), beneath, ctypes.c_uint32(0)) != 0:
        raise _refused(f"Landlock, {path}")
    os.close(descriptor)


def _own_files() -> Iterator[Path]:
    """What Python and torch read while they run: modules, shared libraries, and what the system tells of itself."""
    yield from map(Path, {*sys.path, *sysconfig.get_paths().values(), sys.prefix, sys.base_prefix} - {""})
    yield from _packages()
    system = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
    yield from map(Path, system)
    yield from map(
        Path, ("/sys/devices/system", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat")
    )


def _packages() -> Iterator[Path]:
    """Folders of the packages that are imported: an editable install finds them by a hook, on no ``sys.path``."""
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from map(Path, getattr(module, "__path__", ()))


# -- system calls: seccomp ---------------------------------------------------------------------------------------

_ARCHITECTURE = 0xC000003E
_ALLOWED = (
    *(0, 1, 17, 18, 19, 20, 3, 5, 4, 6, 262, 332, 8),  # read, write, seek, close, stat
    *(9, 10, 11, 12, 25, 26, 27, 28, 221),  # memory
    *(13, 14, 15, 131, 219),  # signals of its own
    *(21, 269, 439, 89, 267, 217, 79, 137, 138),  # access, readlink, getdents, getcwd, statfs
    *(32, 33, 292, 293, 73, 77, 74, 75),  # dup, pipe, flock, truncate, fsync
    *(7, 23, 270, 271, 232, 233, 290, 291),  # poll, select, epoll, eventfd
    *(202, 449, 273, 274, 334, 24, 203, 204, 309, 143, 145, 146, 147, 218, 324, 158),  # threads
    *(60, 231, 186, 39, 110, 102, 104, 107, 108, 98, 99, 100, 63, 97, 318),  # exit, who it is, what it uses
    *(228, 229, 230, 35, 96, 201),  # time
)
"""The system calls that are allowed with any arguments."""
_OPEN, _OPENAT, _IOCTL, _FCNTL, _CLONE, _CLONE3, _PRLIMIT, _TGKILL = 2, 257, 16, 72, 56, 435, 302, 234
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0x400000  # the last one makes O_TMPFILE
_THREAD = 0x10000
_OF_DESCRIPTORS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
"""Commands of ``fcntl`` that duplicate, lock, and read or set flags; others send signals."""
_OF_STREAMS = (0x5401, 0x541B, 0x5450, 0x5451)
"""Commands of ``ioctl`` that ask whether a stream is a terminal, how much it holds, or set close-on-exec."""

_LOAD, _IF_EQUAL, _IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NOT_PERMITTED, _NO_SUCH_CALL = 1, 38
_SET_FILTER, _ALL_THREADS = 1, 1

Instruction = tuple[int, int, int, int]
"""Code, jumps where true and where false, operand: one instruction of a BPF program."""


def _has_seccomp() -> bool:
    allow = struct.pack("=I", _ALLOW)
    return _call(_SECCOMP, ctypes.c_uint(2), ctypes.c_uint(0), allow) == 0


def _restrict_calls() -> None:
    code = [struct.pack("=HBBI", *each) for each in _program()]
    instructions = ctypes.create_string_buffer(b"".join(code))
    program = struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(instructions))
    if _call(_SECCOMP, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(_ALL_THREADS), program) != 0:
        raise _refused("seccomp")


def _program() -> list[Instruction]:
    """The filter: a system call that is not listed fails with EPERM."""
    code: list[Instruction] = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, _ARCHITECTURE), (_RETURN, 0, 0, _KILL)]
    code.append((_LOAD, 0, 0, 0))
    for number in _ALLOWED:
        code += _when(number, [(_RETURN, 0, 0, _ALLOW)])
    code += _when(_OPEN, _unless_any(1, _WRITING))
    code += _when(_OPENAT, _unless_any(2, _WRITING))
    code += _when(_CLONE, [_argument(0), (_IF_ANY, 0, 1, _THREAD), (_RETURN, 0, 0, _ALLOW), *_refusal()])
    code += _when(
        _CLONE3, [(_RETURN, 0, 0, _ERROR | _NO_SUCH_CALL)]
    )  # glibc then falls back to clone, whose flags a filter can read: they are not behind a pointer
    code += _when(_FCNTL, _one_of(1, _OF_DESCRIPTORS))
    code += _when(_IOCTL, _one_of(1, _OF_STREAMS))
    code += _when(_PRLIMIT, [*_none_in(2), (_RETURN, 0, 0, _ALLOW)])
    code += _when(_TGKILL, _one_of(0, (os.getpid(),)))
    return [*code, *_refusal()]


def _when(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    return [(_IF_EQUAL, 0, len(body), number), *body]


def _refusal() -> list[Instruction]:
    return [(_RETURN, 0, 0, _ERROR | _NOT_PERMITTED)]


def _argument(place: int, *, upper: bool = False) -> Instruction:
    """Load half of an argument: BPF has 32-bit registers, and x86_64 stores the lower half first."""
    return (_LOAD, 0, 0, 16 + 8 * place + 4 * upper)


def _unless_any(place: int, bits: int) -> list[Instruction]:
    return [_argument(place), (_IF_ANY, 1, 0, bits), (_RETURN, 0, 0, _ALLOW), *_refusal()]


def _one_of(place: int, values: Iterable[int]) -> list[Instruction]:
    tests = [(_IF_EQUAL, 0, 1, value) for value in values]
    return [
        _argument(place),
        *(part for test in tests for part in (test, (_RETURN, 0, 0, _ALLOW))),
        *_refusal(),
    ]


def _none_in(place: int) -> list[Instruction]:
    """Refuse unless an argument is a null pointer."""
    halves = [_argument(place), _argument(place, upper=True)]
    return [part for half in halves for part in (half, (_IF_EQUAL, 1, 0, 0), *_refusal())]
