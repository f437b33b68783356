"""Pages about what was measured: of one evaluation, of two beside one another, of many runs."""
