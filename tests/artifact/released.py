"""``python -m tests.artifact.released`` records what generated files carry today as the texts of this release."""

from __future__ import annotations

from fx2py.artifact.manifest import VERSION
from fx2py.emit.carried import RELEASED, Part, fingerprint

PARTS: tuple[Part, ...] = ("loading", "checking")


def with_this_release(recorded: list[str]) -> list[str]:
    """The lines of ``released.txt`` with today's texts as those of this release."""
    earlier = [line for line in recorded if line.split()[1] != VERSION]
    return [*earlier, *(" ".join((part, VERSION, *map(str, fingerprint(part)))) for part in PARTS)]


if __name__ == "__main__":
    lines = with_this_release(RELEASED.read_text(encoding="utf-8").splitlines())
    RELEASED.write_text("\n".join(lines) + "\n", encoding="utf-8")
