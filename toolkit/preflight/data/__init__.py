"""What a check finds out about the samples of a data set."""
