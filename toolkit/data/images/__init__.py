"""Image files: read strictly, told by their bytes, compared by fingerprints."""
