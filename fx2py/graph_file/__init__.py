"""Graph files: fx2py's own format for a graph as data, whatever it was read from; written and read by one codec.

A zip archive as ``torch.save`` writes it, of the list of the tensors, with the rest as JSON in a member beside them.
"""
