"""The machine that compiled code is for: machine code runs where everything it was made for is the same."""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import dataclass, fields
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Machine:
    """``torch`` with its commit, ``python``, the ``system`` with its architecture, a digest of the ``processor``'s
    features, and the ``accelerator`` ('' on the CPU)."""

    torch: str
    python: str
    system: str
    processor: str
    accelerator: str = ""

    def difference(self, other: Machine) -> str:
        """The first thing in which another machine differs, as a sentence's end; '' when code of one runs on both."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs:
                return f"compiled for {field.name} {ours or 'none'}, and this is {theirs or 'none'}"
        return ""


@functools.cache
def this_machine(device: str) -> Machine:
    """The machine of this process, as code for ``device`` sees it."""
    return Machine(
        torch=f"{torch.__version__} ({torch.version.git_version})",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        accelerator=torch.cuda.get_device_name(device) if device.startswith("cuda") else "",
    )


def _processor() -> str:
    """A digest of what the processor can do; where the system does not list it, of its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    listed = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    features = " ".join(sorted(listed.partition(":")[2].split())) or platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:16]
