"""What cutting a graph into pieces means, for a graph as data and for a live one."""
