"""Transforms: by name, ours and albumentations', and the pipeline that runs them in a row."""
