"""``python -m tests.artifact.released`` records the files that every folder has alike today as those of this release."""

from __future__ import annotations

from fx2py.artifact.manifest import VERSION
from fx2py.emit.embedded import RELEASED, fingerprint, fixed_files


def with_this_release(recorded: list[str]) -> list[str]:
    """The lines of ``released.txt`` with today's texts as those of this release."""
    earlier = [line for line in recorded if line.split()[1] != VERSION]
    today = fixed_files().items()
    return [*earlier, *(" ".join((name, VERSION, *map(str, fingerprint(text)))) for name, text in today)]


if __name__ == "__main__":
    lines = with_this_release(RELEASED.read_text(encoding="utf-8").splitlines())
    RELEASED.write_text("\n".join(lines) + "\n", encoding="utf-8")
