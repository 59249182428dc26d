# What the functions of execution_fn.py are bound to


def bind(runtime, code, tensors, device=None, submods=None):
    """The graph as a callable over these tensors; every table of the code is filled here."""
    modules = {}
    weights = list(tensors.values())[:0]
    consts = []
    names = {
        "Pair": runtime.container("tests.emit.golden_cases.Pair", ("first", "second")),
        "check_inputs": runtime.input_checks(
            {
                "batch": {
                    "ids": runtime.Shape(2),
                    "rest": (runtime.Shape(2), runtime.Shape(2)),
                },
                "pair": runtime.Fields(
                    "tests.emit.golden_cases.Pair",
                    {"first": runtime.Shape(2), "second": runtime.Shape(2)},
                    "namedtuple",
                ),
                "scale": runtime.Shape(1),
            }
        ),
    }
    renamed = {}
    return runtime.assemble(code, modules, weights, consts, names, submods, renamed)
