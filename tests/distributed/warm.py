"""What every rank needs, imported and looked up once, in the process that they are forked from."""

from importlib import import_module

from fx2py.trust import classes, functions, operators

for name in (
    *("torch._dynamo", "torch.export", "fx2py.cli.app", "fx2py.cli.call", "fx2py.artifact"),
    *("fx2py.read", "fx2py.compare.diff", "fx2py.distributed.world", "tests.distributed.models"),
):
    import_module(name)
for table in (functions.functions, functions.methods, functions.attributes, operators.higher_order):
    table()
classes.arguments()
classes.module_classes()
