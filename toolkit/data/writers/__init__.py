"""Annotated images as files of other formats; what a format cannot hold is named."""
