"""The results of a row and how they are printed: a line of counts a row, and what needs an explanation."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tests.conformance.cases import Row
from tests.conformance.digests import Address
from tests.conformance.judge import Judgement, Verdict

SHOWN = 12
WRONG = (Verdict.DIFFERENT, Verdict.FAILED)


@dataclass
class Result:
    """What became of every case of a row; ``again`` says for a sample whether a second process generated the same."""

    row: Row
    judged: list[tuple[str, Judgement]] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)
    again: list[tuple[Address, bool]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, group: str, judgement: Judgement) -> None:
        self.judged.append((group, judgement))

    def count(self, verdict: Verdict) -> int:
        return len(self.of(verdict))

    def of(self, verdict: Verdict) -> list[tuple[str, Judgement]]:
        return [entry for entry in self.judged if entry[1].verdict is verdict]

    @property
    def generated(self) -> list[tuple[str, str]]:
        """The cases that have a graph, as group and name."""
        return [(group, one.case) for group, one in self.judged if one.verdict is not Verdict.NOT_CAPTURED]

    @property
    def is_wrong(self) -> bool:
        return any(map(self.count, WRONG)) or not all(same for _, same in self.again)

    @property
    def is_incomplete(self) -> bool:
        return bool(self.not_reached or self.count(Verdict.OVERDUE))


def report(result: Result) -> str:
    """Every difference and failure by name; refusals and what torch cannot capture by their reasons."""
    lines = [f"{result.row.name}: {result.row.about}"]
    for verdict in (*WRONG, Verdict.OVERDUE):
        lines += [f"  {fault_line(group, one)}" for group, one in result.of(verdict)]
    lines += [
        f"  differs in another process: {' '.join(address)}" for address, same in result.again if not same
    ]
    for verdict in (Verdict.REFUSED, Verdict.NOT_CAPTURED):
        lines += reasons(verdict.value, result.of(verdict))
    excluded = result.row.excluded
    lines += [
        f"  excluded, {reason}: {', '.join(name for name in excluded if excluded[name] == reason)}"
        for reason in dict.fromkeys(excluded.values())
    ]
    if result.not_reached:
        first, number = result.not_reached[0], len(result.not_reached)
        lines.append(
            f"  INCOMPLETE: {number} groups not reached in {result.row.seconds} seconds, first {first}"
        )
    return "\n".join(lines)


def fault_line(group: str, judgement: Judgement) -> str:
    return f"{judgement.verdict.value}: {group} {judgement.case}: {judgement.detail}"


def reasons(title: str, entries: list[tuple[str, Judgement]]) -> list[str]:
    """The commonest reasons with their number and the first case; what varies within a reason is left out."""
    kinds = Counter(kind_of(one.detail) for _, one in entries)
    first = {kind_of(one.detail): f"{group} {one.case}" for group, one in reversed(entries)}
    lines = [
        f"  {title} {number}: {kind} (first: {first[kind]})" for kind, number in kinds.most_common(SHOWN)
    ]
    rest = sum(number for _, number in kinds.most_common()[SHOWN:])
    return [*lines, *([f"  {title} {rest}: other reasons"] if rest else [])]


def kind_of(detail: str) -> str:
    return re.sub(r"\d+", "N", detail)[:160]


def table(results: list[Result]) -> str:
    """One line a row."""
    head = ["row", "graphs", *(verdict.value for verdict in Verdict), "not reached", "2nd process", "seconds"]
    body = [
        [
            result.row.name + (" (incomplete)" if result.is_incomplete else ""),
            str(len(result.generated)),
            *(str(result.count(verdict)) for verdict in Verdict),
            str(len(result.not_reached)),
            f"{sum(same for _, same in result.again)}/{len(result.again)}",
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        for line in (head, *body)
    ]
    return "\n".join(lines)
