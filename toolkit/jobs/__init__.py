"""What a verb does: from a checked config to a training, an evaluation, predicted pictures, a page."""
