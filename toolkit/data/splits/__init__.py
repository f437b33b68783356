"""One data set becomes several: which images belong together, and how they are shared out."""
