"""Small graphs of every kind that torch makes; each family is a file of this package that registers its graphs."""

from importlib import import_module

from tests.corpus.registry import CASES, Case

FAMILIES = (
    "traced_functions",
    "traced_modules",
    "by_hand",
    "made_by_make_fx",
    "exported",
    "compiled",
    "aot",
    "split",
    "higher_order",
    "regions",
    "custom_operators",
    "quantized",
)
for family in FAMILIES:
    import_module(f"tests.corpus.{family}")

__all__ = ["CASES", "Case"]
