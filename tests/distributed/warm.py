"""What every rank needs, imported and looked up once, in the process that they are forked from."""

import torch._dynamo
import torch.export

import fx2py.cli.call
import fx2py.cli.diff
import fx2py.cli.run
import fx2py.cli.subject
import fx2py.cli.summary
import fx2py.compare.graphs
import fx2py.replay.distributed
import tests.distributed.models
from fx2py.trust import classes, functions, operators

functions.functions()
functions.methods()
functions.attributes()
classes.arguments()
classes.module_classes()
operators.higher_order()
