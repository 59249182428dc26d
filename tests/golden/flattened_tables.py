# What the functions of execution_fn.py are bound to


def bind(runtime, code, tensors, device=None, submods=None):
    """The graph as a callable over these tensors; every table of the code is filled here."""
    norm = runtime.build(
        "norm",
        "torch.nn.modules.normalization.LayerNorm",
        True,
        {"normalized_shape": (4,), "eps": 1e-05, "elementwise_affine": True},
        {"weight": tensors["norm.weight"], "bias": tensors["norm.bias"]},
        {},
    )
    block_up = runtime.build(
        "block.up",
        "torch.nn.modules.linear.Linear",
        True,
        {"in_features": 4, "out_features": 8},
        {"weight": tensors["block.up.weight"], "bias": tensors["block.up.bias"]},
        {},
    )
    block_down = runtime.build(
        "block.down",
        "torch.nn.modules.linear.Linear",
        True,
        {"in_features": 8, "out_features": 4},
        {"weight": tensors["block.down.weight"], "bias": tensors["block.down.bias"]},
        {},
    )
    modules = {"norm": norm, "block.up": block_up, "block.down": block_down}
    weights = list(tensors.values())[:1]
    consts = []
    names = {"weights": runtime.weight_records(["block.scale"], weights)}
    renamed = {}
    return runtime.assemble(code, modules, weights, consts, names, submods, renamed)
