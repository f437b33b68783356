"""From pictures to results on disk."""
