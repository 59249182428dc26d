"""What a module's ``__dict__`` holds for torch's own use, beside the attributes of its class.

Source: ``Module.__init__`` of torch/nn/modules/module.py, and ``GraphModule`` of torch/fx/graph_module.py.
"""

from __future__ import annotations

from fx2py.graph.values import Name

GRAPH_MODULE = Name("torch.fx.graph_module", "GraphModule")

CALL_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""The tables of hooks that can change the result of calling a module, or its gradient."""

ROOT_HOOKS = "hooks of the graph itself are no part of the code, which is its forward alone: {}"

_MODULE = frozenset(
    {
        *CALL_HOOKS,
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
        "training",
        "_parameters",
        "_buffers",
        "_modules",
        "_non_persistent_buffers_set",
        "_is_full_backward_hook",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks_with_kwargs",
        "_flat_weight_refs",  # of torch.nn.RNNBase: weak references, which ``_init_flat_weights`` makes again from its weights
    }
)
_GRAPH_MODULE = _MODULE | {
    "_graph",
    "_code",
    "code",
    "_lineno_map",
    "_prologue_start",
    "_tracer_cls",
    "_tracer_extras",
    "_graphmodule_cls_name",
    "_graphmodule_graph_node_meta_stack_trace",
    "_in_spec",
    "_out_spec",
    "_replace_hooks",
    "_create_node_hooks",
    "_erase_node_hooks",
    "_deepcopy_hooks",
    "meta",
    "shape_env",
}
MODULE_STATE = {False: _MODULE, True: _GRAPH_MODULE}
"""The names that are torch's own, by whether the module is a GraphModule."""
