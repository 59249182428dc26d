"""The splitter writes exactly what black writes, or leaves the statement to black."""

from __future__ import annotations

import random

import black
import pytest

from fx2py.emit.layout import Line, fits, lay_out, split

MARK = "    # ~"
MODE = black.Mode(target_versions={black.TargetVersion.PY310})
CASES = {
    "call": "total = torch.cat(first_name_of_many, second_name_of_many, third_name_of_many, the_last_name)",
    "call that needs a line an argument": f"total = f({', '.join(['quite_a_long_argument'] * 9)})",
    "list in a call": f"total = torch.cat([{', '.join(['a_long_name'] * 8)}], dim=-1)",
    "list alone in a call": f"total = torch.cat([{', '.join(['a_long_name'] * 8)}])",
    "method": f"total = receiver.view({', '.join(['a_long_name'] * 8)})",
    "string with brackets and commas": 'total = f("a, (b], [{,", ' + ", ".join(["a_long_name"] * 8) + ")",
    "subscript": f"total = table[{', '.join(['a_long_name'] * 5)}, 2:, ..., 3:quite_a_long_bound]",
    "dict": "return {" + ", ".join([f'"key_{n}": a_long_value' for n in range(6)]) + "}",
    "returned tuple": f"return {', '.join(['a_long_name'] * 9)}",
    "returned pair": f"return {'a_long_name' * 4}, {'a_long_name' * 4}",
    "keywords": f"total = f({', '.join([f'keyword_{n}=a_long_name' for n in range(6)])})",
    "nested": f"total = f(key=[({', '.join(['a_long_name'] * 4)}), [{', '.join(['a_long_name'] * 8)}]])",
}


def by_black(statements: list[str]) -> list[list[str]]:
    """The lines of each statement inside a function, as black lays them out."""
    source = "def f():\n" + "".join(f"    {statement}\n{MARK}\n" for statement in statements)
    results: list[list[str]] = [[]]
    for line in black.format_str(source, mode=MODE).splitlines()[1:]:
        if line == MARK:
            results.append([])
        else:
            results[-1].append(line)
    return results[:-1]


@pytest.mark.parametrize("statement", CASES.values(), ids=CASES.keys())
def test_common_shape_is_split_as_black_splits_it(statement: str) -> None:
    assert split(statement) == by_black([statement])[0]


@pytest.mark.parametrize(
    "statement",
    [
        f"total = {'a_long_name' * 5} + {'a_long_name' * 5}",
        f"total = [{', '.join(['a_long_name'] * 9)}].append(1)",
        f"total = f({', '.join(['a_long_name'] * 9)})(1)",
        f"def f({'a_long_name' * 7}=(1, 2)):",
        f"total = f('{'a' * 80}')",
        f"total = f(({'a' * 90},))",
        f"return [{', '.join(['a_long_name'] * 9)}], rest",
        f"{'a' * 60} = {'b' * 60}(x)",
        f"{'名' * 40} = f(x, y)",
    ],
)
def test_rare_shape_is_left_to_black(statement: str) -> None:
    assert split(statement) is None


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("rest", ["", ", *, weights, consts", ", *args, submods", ", **kwargs"])
def test_function_header_is_split_as_black_splits_it(count: int, rest: str) -> None:
    names = ", ".join([f"{'quite_a_long_' * (5 if count == 1 else 2)}name_{n}={n}" for n in range(count)])
    header = f"def execution_fn({names}{rest}):"
    formatted = black.format_str(f"{header}\n    return None\n", mode=MODE).splitlines()
    assert split(header, indent="") == formatted[:-1]


def test_characters_outside_ascii_count_as_wide() -> None:
    assert fits("a" * 88)
    assert not fits("a" * 89)
    assert not fits("名" * 45)


def test_wide_statement_is_laid_out_as_black_lays_it_out() -> None:
    statement = f"{'名' * 20} = f({', '.join(['é' * 10] * 4)})"
    assert lay_out([Line(statement)]) == by_black([statement])[0]


@pytest.mark.parametrize("seed", range(4))
def test_random_statements_are_split_as_black_splits_them(seed: int) -> None:
    make = Statements(seed)
    statements = [
        statement for statement in (make.statement() for _ in range(500)) if not fits(statement, 84)
    ]
    expected = by_black(statements)
    known = 0
    for statement, lines in zip(statements, expected, strict=True):
        ours = split(statement)
        assert ours is None or ours == lines
        known += ours is not None
    assert known > len(statements) / 2


class Statements:
    """Random statements of generated code, with names, literals and containers of every length."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def statement(self) -> str:
        depth = self.random.choice([1, 2, 3, 4])
        forms = {
            lambda: f"{self.name()} = {self.call(depth)}": 8,
            lambda: self.call(depth): 2,
            lambda: f"{self.name()} = {self.value(depth)}": 2,
            lambda: f"{self.name()} = {self.name()}[{self.index()}]": 2,
            lambda: f"{self.name()}[{self.index()}] = {self.value(depth)}": 1,
            lambda: f"{self.name()} = {self.name()} + {self.name()}": 1,
            lambda: f"return {', '.join(self.values(depth))}": 4,
        }
        return self.random.choices(list(forms), list(forms.values()))[0]()

    def name(self) -> str:
        size = self.random.choice([1, 3, 8, 8, 15, 30])
        return self.random.choice("xyz") + "".join(self.random.choices("abcdefg_", k=size))

    def leaf(self) -> str:
        text = "".join(self.random.choices("ab (),[]{}", k=self.random.choice([0, 3, 10, 40, 90])))
        literals = ["0", "-1", "-2.5", "1e-05", "None", "True", "torch.float32", f'"{text}"']
        return self.name() if self.random.random() < 0.6 else self.random.choice(literals)

    def values(self, depth: int) -> list[str]:
        return [self.value(depth - 1) for _ in range(self.random.choice([1, 1, 2, 2, 3, 4, 7, 15]))]

    def value(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.5:
            return self.leaf()
        inner = self.values(depth)
        forms = [
            f"[{', '.join(inner)}]",
            f"({', '.join(inner)}{',' if len(inner) == 1 else ''})",
            f"{{{', '.join(inner)}}}",
            "{" + ", ".join([f'"{self.name()}": {value}' for value in inner]) + "}",
            *("[]", "()", "{}"),
        ]
        return self.call(depth) if self.random.random() < 0.3 else self.random.choice(forms)

    def call(self, depth: int) -> str:
        callee = self.random.choice(["torch.cat", "F.linear", "functools.partial", f"{self.name()}.view"])
        keywords = [f"{self.name()}={self.value(depth - 1)}" for _ in range(self.random.choice([0, 0, 1, 3]))]
        unpacked = ['**{"from": x}'] if self.random.random() < 0.05 else []
        return f"{callee}({', '.join([*self.values(depth), *keywords, *unpacked])})"

    def index(self) -> str:
        parts = [self.value(1), f"2:{self.name()}", ":", "...", "-1:"]
        return ", ".join(self.random.choices(parts, k=self.random.choice([1, 2, 5, 9])))
