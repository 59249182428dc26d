"""The rows of the table, by name."""

from __future__ import annotations

from tests.conformance.cases import Row
from tests.conformance.compiled_models import COMPILED
from tests.conformance.export_examples import EXAMPLES
from tests.conformance.modules import MODULES
from tests.conformance.operators import ATEN, COMPILE, TORCH
from tests.conformance.random_graphs import RANDOM
from tests.conformance.transformer_models import MODELS

ROWS: dict[str, Row] = {
    row.name: row for row in (ATEN, TORCH, COMPILE, EXAMPLES, MODULES, MODELS, COMPILED, RANDOM)
}
