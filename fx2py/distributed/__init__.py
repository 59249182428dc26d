"""A graph that several processes run together: their launcher, how they meet and end, and their process groups."""
