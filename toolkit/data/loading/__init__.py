"""From data set to batches: which sample comes when, read by worker processes."""
