"""Classes: their tables, names in files, counts, and weights computed from counts."""
