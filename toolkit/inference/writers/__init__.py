"""Output formats of `predict`: what a prediction becomes on disk."""
