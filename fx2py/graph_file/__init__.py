"""Graph files: fx2py's own format for a graph as data, whatever it was read from; written and read by one codec.

A file is the zip archive that ``torch.save`` makes of the list of tensors, with one more member: the rest, as JSON.
"""
