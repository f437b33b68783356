"""What a check finds out about a model, and about the data as that model gets to see it."""
