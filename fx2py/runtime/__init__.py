"""What a generated folder needs to load itself, bind its code and check its inputs: torch and nothing else of fx2py.

``_runtime.py`` of each folder is these files as one (see ``fx2py.emit.embedded``), so no top-level name stands in two of
them. fx2py binds generated code with the same functions.
"""

from fx2py.runtime.autograd import below_autograd
from fx2py.runtime.binding import assemble, from_bits, live, retarget
from fx2py.runtime.checks import Fields, InputError, Integer, Shape, input_checks
from fx2py.runtime.modules import Missing, ModuleCalls, build, graph_module
from fx2py.runtime.records import container, field_names, fields_of
from fx2py.runtime.sample_run import CannotRun, run_samples
from fx2py.runtime.weight_files import read_weights
from fx2py.runtime.weight_tree import weight_records

__all__ = [
    "CannotRun",
    "Fields",
    "InputError",
    "Integer",
    "Missing",
    "ModuleCalls",
    "Shape",
    "assemble",
    "below_autograd",
    "build",
    "container",
    "field_names",
    "fields_of",
    "from_bits",
    "graph_module",
    "input_checks",
    "live",
    "read_weights",
    "retarget",
    "run_samples",
    "weight_records",
]
