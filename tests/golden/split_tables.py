# What the functions of execution_fn.py are bound to


def bind(runtime, code, tensors, device=None, submods=None):
    """The graph as a callable over these tensors; every table of the code is filled here."""
    modules = {
        "submod_0": code.submod_0,
        "submod_1": code.submod_1,
        "submod_2": code.submod_2,
    }
    weights = list(tensors.values())[:0]
    consts = []
    names = {}
    renamed = {}
    return runtime.assemble(code, modules, weights, consts, names, submods, renamed)
