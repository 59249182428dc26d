# What the functions of execution_fn.py are bound to


def bind(runtime, code, tensors, device=None, submods=None):
    """The graph as a callable over these tensors; every table of the code is filled here."""
    modules = {}
    weights = list(tensors.values())[:5]
    consts = []
    names = {
        "weights": runtime.weight_records(
            ["up.weight", "up.bias", "down.weight", "down.bias", "scale"], weights
        ),
        "check_inputs": runtime.input_checks({"x": runtime.Shape(2, 4)}),
    }
    renamed = {}
    return runtime.assemble(code, modules, weights, consts, names, submods, renamed)
