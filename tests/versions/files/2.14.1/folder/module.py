
import torch
from math import inf
from math import nan
NoneType = type(None)
import torch
from torch import device
import torch.fx._pytree as fx_pytree
import torch.utils._pytree as pytree

from torch.nn import *
class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        setattr(self, 'layers', torch.load(r'folder/layers.pt', weights_only=False)) # Module(   (0): Linear(in_features=3, out_features=2, bias=True)   (1): ReLU() )
        self.load_state_dict(torch.load(r'folder/state_dict.pt'))



    def forward(self, x : torch.Tensor) -> tuple[torch.Tensor,torch.Tensor]:
        layers_0 = getattr(self.layers, "0")(x);  x = None
        layers_1 = getattr(self.layers, "1")(layers_0);  layers_0 = None
        split = torch.functional.split(layers_1, 1, dim = 1)
        getitem = split[0]
        getitem_1 = split[1];  split = getitem_1 = None
        mul = torch.mul(layers_1, complex(0.0, 2.0));  layers_1 = None
        mul_1 = mul * complex(-0.0, -1.0);  mul = None
        real = torch.real(mul_1);  mul_1 = None
        return (getitem, real)

