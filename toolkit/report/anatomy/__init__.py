"""The page, the table and the drawings of a model's anatomy."""
