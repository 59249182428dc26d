"""The checks that an exported program makes of its inputs: the same that generated code carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData
from fx2py.program.input_table import demand_object, input_table
from fx2py.runtime.checks import InputError, input_checks


def input_checker(data: GraphData, constant: Callable[[Any], Any]) -> Callable[..., None]:
    """A function of the caller's arguments, parameter by parameter, that raises ReplayError where one is refused.

    ``constant`` gives the Python object of a recorded value. A graph without a contract admits everything.
    """
    table = None
    if data.contract is not None and data.convention is not None:
        table, _ = input_table(data.contract, data.convention)
    if table is None:
        return _admit
    demands = {name: demand_object(demand, constant) for name, demand in table.demands}
    check = input_checks(demands, {name: (low, high) for name, low, high in table.ranges}, table.guards)

    def refuse_misfits(*arguments: Any) -> None:
        try:
            check(*arguments)
        except InputError as error:
            hint = "Pass inputs of the shapes and structure that the model was exported for."
            raise ReplayError(f"{error}.", hint) from None

    return refuse_misfits


def _admit(*arguments: Any) -> None:
    """What a graph without a contract says of its inputs."""
