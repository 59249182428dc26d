"""``make mutants``: damage the code of ten graphs, and say how many ``fx2py diff`` finds, and names."""

from __future__ import annotations

import argparse

from tests.mutants.graphs import SUBJECTS, subject
from tests.mutants.measure import Outcome, measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=5, help="damages of each kind and graph")
    parser.add_argument("--graph", action="append", choices=SUBJECTS, help="one of the graphs alone")
    parser.add_argument("--verbose", action="store_true", help="list what was missed")
    asked = parser.parse_args()
    outcomes: list[Outcome] = []
    for name in asked.graph or SUBJECTS:
        own = list(measured(subject(name), asked.each))
        outcomes += own
        print(f"{name:14} {_summary(own)}", flush=True)
        if asked.verbose:
            for each in own:
                if each.is_wrong:
                    print(f"    {each}")
    for kind in dict.fromkeys(each.kind for each in outcomes):
        print(f"{kind:22} {_summary([each for each in outcomes if each.kind == kind])}")
    print(f"all {_summary(outcomes)}")


def _summary(outcomes: list[Outcome]) -> str:
    differing = [each for each in outcomes if each.differs]
    equal = [each for each in outcomes if not each.differs]
    return (
        f"{len(outcomes):4} damages, {len(differing):4} differ, {sum(o.is_caught for o in differing):4} caught, "
        f"{sum(o.is_named for o in differing):4} named; {sum(o.is_caught for o in equal):3} of {len(equal)} equal ones alarmed"
    )


if __name__ == "__main__":
    main()
