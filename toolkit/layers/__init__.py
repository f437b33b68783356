"""Small modules the nets are made of."""
